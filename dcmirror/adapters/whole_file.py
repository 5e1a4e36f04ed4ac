"""Writes a file for people at once: whoever looks sees the old one or the new one."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

from dcmirror.adapters.durable import sync_directory, write_all
from dcmirror.errors import ConfigError


def write_whole(path: Path, text: str) -> None:
    """Replace ``path``; a symlink keeps its place and its target gets the text.

    Raises:
        ConfigError: it cannot be written; what was there is as it was.
    """
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".dcmirror-{secrets.token_hex(8)}.tmp")
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            write_all(fd, text.encode("utf-8", "backslashreplace"))
            os.fsync(fd)
        finally:
            os.close(fd)
        os.replace(temporary, target)
        sync_directory(target.parent)
    except OSError as exc:
        with suppress(OSError):
            os.unlink(temporary)
        raise ConfigError(f"{path}: cannot be written: {exc.strerror or exc}") from exc
