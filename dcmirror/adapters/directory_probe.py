"""What a directory can do: space, attributes, kind of file system, and a real write."""

from __future__ import annotations

import errno
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from dcmirror.adapters.durable import write_all
from dcmirror.adapters.linux import network_file_system

_ATTRIBUTE = "user.dcmirror.probe"


@dataclass(frozen=True, slots=True)
class DirectoryState:
    """What was found; ``trouble`` is why the directory cannot be used, if it cannot.

    ``is_missing`` directories were judged by the nearest parent that exists.
    """

    path: Path
    trouble: OSError | None = None
    is_missing: bool = False
    network: str | None = None
    has_attributes: bool = True
    free_bytes: int = 0
    total_bytes: int = 0
    free_files: int | None = None


def look_at(path: Path) -> DirectoryState:
    """Look at a directory and write a small file to it, which is removed again."""
    place, is_missing = _nearest(path)
    try:
        room = os.statvfs(place)
        return DirectoryState(
            path=path,
            is_missing=is_missing,
            network=network_file_system(os.fspath(place)),
            has_attributes=_try_writing(place),
            free_bytes=room.f_bavail * room.f_frsize,
            total_bytes=room.f_blocks * room.f_frsize,
            free_files=room.f_favail if room.f_files else None,
        )
    except OSError as error:
        return DirectoryState(path=path, trouble=error, is_missing=is_missing)


def _nearest(path: Path) -> tuple[Path, bool]:
    """``path`` itself, or the nearest parent that exists."""
    for place in (path, *path.parents):
        if os.path.lexists(place):
            return place, place != path
    return path, True


def _try_writing(place: Path) -> bool:
    """Write, sync and remove a file; whether it took an attribute."""
    name = place / f".dcmirror-{secrets.token_hex(8)}.part"
    descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        write_all(descriptor, bytes(4096))
        has_attributes = _takes_attribute(descriptor)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
        os.unlink(name)
    return has_attributes


def _takes_attribute(descriptor: int) -> bool:
    try:
        os.setxattr(descriptor, _ATTRIBUTE, b"x")
    except OSError as error:
        if error.errno in (errno.ENOTSUP, errno.EPERM, errno.ENOSYS):
            return False
        raise
    return True
