"""Writes a file for people at once: whoever looks sees the old one or the new one."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path
from stat import S_ISREG

from dcmirror.adapters.durable import sync_directory, write_all
from dcmirror.errors import ConfigError

# As many as the kernel follows.
_MOST_LINKS = 40


def write_whole(path: Path, text: str) -> None:
    """Replace ``path``; a symlink keeps its place and its target gets the text.

    What is no file, a device or a pipe, stays what it is and takes the text.

    Raises:
        ConfigError: it cannot be written; a file that was there is as it was.
    """
    data = text.encode("utf-8", "backslashreplace")
    try:
        number = _open_as(path)
        if number is not None:
            write_all(number, data)
        elif _is_other(path):
            _write_into(path, data)
        else:
            _replace(Path(os.path.realpath(path)), data)
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be written: {exc.strerror or exc}") from exc


def _open_as(path: Path) -> int | None:
    """The descriptor that a path like ``/dev/stdout`` stands for.

    Opened by that name, a file would be written from its start once more, over what
    others print, and a socket cannot be opened at all.
    """
    ours = f"/proc/{os.getpid()}/fd"
    name = os.fspath(path)
    for _ in range(_MOST_LINKS):
        parent, last = os.path.split(name)
        parent = os.path.realpath(parent)
        if parent == ours and last.isdecimal():
            return int(last)
        name = os.path.join(parent, last)
        if not os.path.islink(name):
            break
        name = os.path.join(parent, os.readlink(name))
    return None


def _is_other(path: Path) -> bool:
    """Whether something is there that is no file; a rename would put one in place."""
    try:
        return not S_ISREG(os.stat(path).st_mode)
    except FileNotFoundError:
        return False


def _write_into(path: Path, data: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        write_all(fd, data)
    finally:
        os.close(fd)


def _replace(target: Path, data: bytes) -> None:
    temporary = target.with_name(f".dcmirror-{secrets.token_hex(8)}.tmp")
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            write_all(fd, data)
            os.fsync(fd)
        finally:
            os.close(fd)
        os.replace(temporary, target)
        sync_directory(target.parent)
    except OSError:
        with suppress(OSError):
            os.unlink(temporary)
        raise
