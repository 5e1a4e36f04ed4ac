"""Small steps that all files on disk share: write everything, sync what is there."""

from __future__ import annotations

import os
from pathlib import Path


def write_all(fd: int, data: memoryview | bytes) -> None:
    """Write it all, however often the kernel takes only a part."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


def sync_file(path: Path) -> None:
    """Make durable what somebody else has written to a file."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fdatasync(fd)
    finally:
        os.close(fd)


def sync_directory(path: Path) -> None:
    """Make names that were made or changed in a directory durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
