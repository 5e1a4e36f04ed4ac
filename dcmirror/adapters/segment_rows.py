"""The journal's directory, for who looks at it again and again.

The logger and the supervisor of each command run this.  Short runs leave segments by
the thousand: what nobody writes any more is looked at once.
"""

from __future__ import annotations

import fcntl
import os
import stat
import time
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from dcmirror.adapters.checkpoints import Position
from dcmirror.adapters.segments import LONGEST_LINE, Segment, segment_at

# A segment that was changed later may be one that its writer is about to lock.
_QUIET_NS = 10_000_000_000


@dataclass(slots=True)
class SeenSegment:
    """A segment as it was seen last.

    Args:
        until: when it was changed (nanoseconds).
        end: where its lines end: its size; or less, once nobody will end the last one.
        has_ended: whether nobody writes it any more.
    """

    segment: Segment
    size: int = 0
    until: int = 0
    end: int = 0
    has_ended: bool = False

    def look(self) -> None:
        """See it as it is; what cannot be seen is as it was."""
        with suppress(OSError):
            status = os.stat(self.segment.path)
            is_quiet = abs(time.time_ns() - status.st_mtime_ns) > _QUIET_NS
            is_known = (self.size, self.until) == (status.st_size, status.st_mtime_ns)
            self._note(status)
            # Not at the first sight: who looks but once would pay for nothing.
            if is_known and is_quiet and stat.S_ISREG(status.st_mode):
                self._try_lock()

    def _try_lock(self) -> None:
        """Its writer holds a lock on it for as long as it may write."""
        fd = os.open(self.segment.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._note(os.fstat(fd))
            self.end = _end_of_lines(fd, self.size)
            self.has_ended = True
        finally:
            os.close(fd)

    def _note(self, status: os.stat_result) -> None:
        self.size = self.end = status.st_size
        self.until = status.st_mtime_ns


class Row:
    """One writer's segments in their order; one at least."""

    def __init__(self, writer: str, segments: list[SeenSegment]) -> None:
        self.writer = writer
        self.segments = segments
        self.size = 0
        self.has_ended = False
        self._add_up()

    def __repr__(self) -> str:
        return f"<Row {self.writer} segments={len(self.segments)} {self.size} B>"

    @property
    def began(self) -> str:
        """When its run began, as ``stamp`` writes it."""
        return self.writer[: self.writer.index("-")]

    def look(self) -> None:
        """See what may have changed."""
        for each in self.segments:
            if not each.has_ended:
                each.look()
        self._add_up()

    def is_read(self, position: Position) -> bool:
        """Whether nothing will ever come behind this position."""
        if not self.has_ended:
            return False
        last = self.segments[-1]
        if position.segment != last.segment.number:
            return position.segment > last.segment.number
        return position.offset >= last.end

    def _add_up(self) -> None:
        self.size = sum(each.size for each in self.segments)
        self.has_ended = all(each.has_ended for each in self.segments)


class SegmentRows:
    """All writers' rows; remembers what has ended."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._names: set[str] = set()
        self._seen: dict[str, SeenSegment] = {}
        self._rows: list[Row] = []

    def look(self) -> list[Row]:
        """The rows as they are now, the oldest writer's first; none without directory.

        Raises:
            OSError: the directory cannot be read.
        """
        names = set()
        with suppress(FileNotFoundError):
            names = set(os.listdir(self._directory))
        if names != self._names:
            self._arrange(names)
        for row in self._rows:
            if not row.has_ended:
                row.look()
        return self._rows

    def _arrange(self, names: set[str]) -> None:
        for name in names - self._names:
            if segment := segment_at(self._directory, name):
                self._seen[name] = SeenSegment(segment)
        for name in self._names - names:
            self._seen.pop(name, None)
        self._names = names
        seen = sorted(self._seen.values(), key=_place)
        self._rows = [
            Row(writer, list(own))
            for writer, own in groupby(seen, key=lambda each: each.segment.writer)
        ]


def _place(each: SeenSegment) -> tuple[str, int]:
    return each.segment.writer, each.segment.number


def _end_of_lines(fd: int, size: int) -> int:
    """Behind the last whole line, and behind damage that is read in pieces."""
    if not size or os.pread(fd, 1, size - 1) == b"\n":
        return size
    start = max(size - LONGEST_LINE + 1, 0)
    return start + os.pread(fd, LONGEST_LINE, start).rfind(b"\n") + 1
