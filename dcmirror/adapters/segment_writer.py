"""Writes one row of segments: whole lines, one writer, durable when asked.

The journal of each command's supervisor has two of them.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from dcmirror.adapters import segments
from dcmirror.adapters.durable import sync_directory


class SegmentWriter:
    """The segments ``<writer>-NNNNNNNN.ndjson`` and a link to the newest of them."""

    def __init__(
        self, directory: Path, writer: str, link: str, segment_bytes: int
    ) -> None:
        self.writer = writer
        self.number = 0
        self._directory = directory
        self._link = link
        self._segment_bytes = segment_bytes
        self._path = directory
        self._fd = -1
        self._size = 0
        self._synced = 0
        # What a sync that failed left in segments that ended so: file, start, size.
        self._doubtful: list[tuple[Path, int, int]] = []

    def __repr__(self) -> str:
        return f"<SegmentWriter {self.writer} segment={self.number} {self._size} B>"

    def fits(self, size: int) -> bool:
        """Whether so much more goes into the segment that is open."""
        is_short = not self._size or self._size + size <= self._segment_bytes
        return self._fd >= 0 and is_short

    def begin(self) -> None:
        """Open the next segment; the one before must be closed."""
        _make(self._directory)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        name = segments.segment_name(self.writer, self.number + 1)
        fd = os.open(self._directory / name, flags, 0o640)
        try:
            _give(fd, self._directory)
            # Held while we write: nobody prunes it, and the logger knows we live.
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
            self._point_link_to(name)
            sync_directory(self._directory)
        except OSError:
            os.close(fd)
            with suppress(OSError):
                os.unlink(self._directory / name)
            raise
        self._fd, self._size, self._synced = fd, 0, 0
        self._path = self._directory / name
        self.number += 1

    def write(self, data: bytes) -> tuple[int, OSError | None]:
        """Append lines; how many bytes of whole lines are there, and what went wrong.

        Whole lines stay whatever happens: the logger may have shipped them already.
        """
        rest, error = memoryview(data), None
        try:
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        except OSError as exc:
            error = exc
        written = len(data) - len(rest)
        kept = data.rfind(b"\n", 0, written) + 1
        self._size += kept
        if written != kept:
            self._take_back()
        return kept, error

    def sync(self) -> None:
        """Make what was written durable, and what earlier calls could not.

        Raises:
            OSError: not all is.  What a failed sync leaves in a file is unknown: the
                segment ends.
        """
        if self._fd >= 0:
            try:
                os.fdatasync(self._fd)
            except OSError:
                self._end_in_doubt()
                raise
            self._synced = self._size
        while self._doubtful:
            _write_again(*self._doubtful[0])
            del self._doubtful[0]

    def close(self) -> None:
        """End the segment."""
        fd, self._fd = self._fd, -1
        self._size = 0
        if fd >= 0:
            os.close(fd)

    def _take_back(self) -> None:
        """No half line stays where another one could follow it."""
        try:
            os.ftruncate(self._fd, self._size)
        except OSError:
            self._end_in_doubt()  # a torn tail stays; the next line begins another

    def _end_in_doubt(self) -> None:
        """End the segment; the next sync sees to what may not be on the disk."""
        self._doubtful.append((self._path, self._synced, self._size - self._synced))
        self.close()

    def _point_link_to(self, name: str) -> None:
        temporary = self._directory / f".current-{self.writer}"
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        os.symlink(name, temporary)
        os.rename(temporary, self._directory / self._link)


def _write_again(path: Path, start: int, size: int) -> None:
    """The same bytes at the same place: a mere sync could say that all is well.

    The kernel takes for clean what it could not write, and tells of it once.
    """
    with suppress(FileNotFoundError), open(path, "r+b", buffering=0) as file:
        os.pwrite(file.fileno(), os.pread(file.fileno(), size, start), start)
        os.fdatasync(file.fileno())


def _make(directory: Path) -> None:
    try:
        directory.mkdir(mode=0o750)
    except FileExistsError:
        return
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _give(fd, directory.parent)
    finally:
        os.close(fd)


def _give(fd: int, directory: Path) -> None:
    """Let it be the directory's owner's: who ships must read what root wrote."""
    owner = os.stat(directory)
    with suppress(OSError):  # only root gives files away, and not everywhere
        os.fchown(fd, owner.st_uid, owner.st_gid)
