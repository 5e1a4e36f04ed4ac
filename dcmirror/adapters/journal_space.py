"""The journal's directory as a whole: how full it is, what goes first, what it has.

The supervisor of each command runs this, when it begins a segment and at a start.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from dcmirror.adapters import segments
from dcmirror.adapters.checkpoints import Position, Shipped
from dcmirror.adapters.segment_rows import Row, SeenSegment, SegmentRows
from dcmirror.adapters.segments import Segment
from dcmirror.core.journal_table import value_of
from dcmirror.core.journal_values import (
    Lane,
    Piece,
    Value,
    fill,
    least_admitted,
    removal_order,
)

# Short runs leave short segments: their number has a bound of its own.
_MOST_SEGMENTS = 2000
# Outbox lines were written just before a crash: they can only be in the newest bytes.
_SEARCHED_BYTES = 64 * 1024 * 1024
# What was written since the last look at the space, as a share of the whole.
_LOOKS = 64
_MOST_MIN_FREE = 1024**3

_ID = re.compile(rb'"id": ?"([^"\\]+)"')
# A quote inside a string is escaped, so that these stand nowhere but in their places.
_ACTION = re.compile(rb'"action":"([a-z-]+)"')
_STEP = re.compile(rb'"step":"([a-z_]+)"')


class JournalSpace:
    """Keeps the segments of all writers below ``max_bytes``, and some of the disk free.

    Args:
        min_free: bytes to leave free; None: the smaller of 1 % and 1 GiB.
        lost: where lines are counted, by kind, that had to go before they were shipped.
        most: what is worth as much is never refused, however full it is.

    ``least`` is the least value that is written now.
    """

    def __init__(
        self,
        directory: Path,
        max_bytes: int,
        min_free: int | None,
        checkpoint: Path,
        lost: Counter[str],
        most: Value = Value.OUTCOME,
    ) -> None:
        self.used = 0
        self.least = Value.PROGRESS
        self.is_exhausted = False
        self._directory = directory
        self._rows = SegmentRows(directory)
        self._max_bytes = max_bytes
        self._min_free = min_free
        self._shipped = Shipped(checkpoint)
        self._lost = lost
        self._most = most
        self._number = 0
        self._filled = 0.0
        self._room: float = 0
        self._unlooked: float = float("inf")

    @property
    def pressure(self) -> str | None:
        """What is not written for want of space."""
        if self.least is Value.PROGRESS:
            return None
        refused = [value.kind for value in Value if value < self.least]
        return (
            f"journal: {self._filled:.0%} full of events that are not shipped; "
            f"without {', '.join(refused)} for now"
        )

    def measure(self) -> None:
        """Look at the directory, the checkpoint and the disk."""
        positions = self._shipped.positions()
        self.used = self._number = unshipped = gone = 0
        for row in self._rows.look():
            position = positions.get(row.writer) or Position(segment=1)
            self._number += len(row.segments)
            self.used += row.size
            if row.is_read(position):  # as most are, where there are many
                gone += row.size
                continue
            found = [_Found.of(each, position) for each in row.segments]
            unshipped += sum(f.unshipped for f in found)
            gone += sum(f.piece.size for f in found if f.piece.is_shipped)
        self._room, self._unlooked = self._free(), 0
        self._filled = fill(unshipped, self._max_bytes, self._room + gone)
        self.least = min(least_admitted(self._filled, self.least), self._most)

    def claim(self, size: int, lane: Lane) -> None:
        """Say that so many bytes will be written.

        Raises:
            OSError: the disk has not got them, but for what must be left or kept.
        """
        if self._unlooked * _LOOKS > self._max_bytes or self._room < size:
            self.measure()
        if self.is_exhausted:
            self._room, self.is_exhausted = 0, False
        if self._room < size:
            self._room += self._remove(size - self._room, 0, lane, keeps_story=True)
        if self._room < size:
            raise OSError(errno.ENOSPC, "no space left but what is to stay free")
        self._room -= size
        self._unlooked += size
        self.used += size

    def make_room(self, wanted: int, lane: Lane | None, *, keeps_story: bool) -> None:
        """Remove segments, the least valuable first, until ``wanted`` bytes fit.

        Raises:
            OSError: only lines that must be kept are left.
        """
        self.measure()
        too_many = self._number - _MOST_SEGMENTS
        excess = self.used + wanted - self._max_bytes
        if excess <= 0 and too_many <= 0:
            return
        gone = self._remove(excess, too_many, lane, keeps_story=keeps_story)
        if gone < excess and keeps_story:
            raise OSError(errno.ENOSPC, "full of events that are not shipped yet")

    def _remove(
        self, excess: float, too_many: int, lane: Lane | None, *, keeps_story: bool
    ) -> int:
        """Remove segments in their order; how many bytes that gave."""
        found = {f.piece.name: f for f in self._pieces()}
        pieces = [f.piece for f in found.values()]
        gone = 0
        for piece in removal_order(pieces, lane, keeps_story=keeps_story):
            if gone >= excess and too_many <= 0:
                break
            lines = _unshipped_lines(found[piece.name])
            if _remove(self._directory / piece.name):
                self._lost.update(lines)
                gone += piece.size
                too_many -= 1
        self.used -= gone
        return gone

    def _pieces(self) -> list[_Found]:
        positions = self._shipped.positions()
        rows = self._rows.look()
        at = {row.writer: positions.get(row.writer) or Position(1) for row in rows}
        return [
            _Found.of(aged.seen, at[aged.seen.segment.writer])
            for aged in sorted(_aged(rows), key=_age)
        ]

    def _free(self) -> float:
        """Bytes that may be written; negative below the floor."""
        for directory in (self._directory, self._directory.parent):
            with suppress(OSError):
                disk = os.statvfs(directory)
                floor = self._min_free
                if floor is None:
                    total = disk.f_blocks * disk.f_frsize
                    floor = min(total // 100, _MOST_MIN_FREE)
                return disk.f_bavail * disk.f_frsize - floor
        return float("inf")


class _Aged(NamedTuple):
    """A segment, and until when (nanoseconds) it and those before it were written."""

    seen: SeenSegment
    until: int


@dataclass(frozen=True, slots=True)
class _Found:
    """A segment, and from which offset on it is not shipped."""

    segment: Segment
    piece: Piece
    offset: int

    @classmethod
    def of(cls, seen: SeenSegment, position: Position) -> _Found:
        segment, size, offset = seen.segment, seen.size, 0
        if position.is_past(segment):
            offset = size
        elif position.segment == segment.number:
            offset = min(position.offset, size)
        # A killed writer's half line is no line: nobody ships it, nobody misses it.
        is_shipped = offset >= seen.end
        return cls(segment, Piece(segment.name, size, segment.lane, is_shipped), offset)

    @property
    def unshipped(self) -> int:
        return 0 if self.piece.is_shipped else self.piece.size - self.offset


def find_events(directory: Path, event_ids: Collection[str]) -> set[str]:
    """Which of these events (by event.id) the newest segments have."""
    return set().union(*(held for _, held in segments_with(directory, event_ids)))


def segments_with(
    directory: Path, event_ids: Collection[str]
) -> Iterator[tuple[Path, set[str]]]:
    """The newest segments that have some of these events, and which."""
    missing = set(event_ids)
    for path in _newest(directory):
        if not missing:
            return
        if held := _found_in(path, missing):
            yield path, held
            missing -= held


def _aged(rows: Iterable[Row]) -> Iterator[_Aged]:
    for row in rows:
        until = 0
        for seen in row.segments:
            # A clock that was set back must not make a hole in the middle of a row.
            until = max(until, seen.until)
            yield _Aged(seen, until)


def _age(each: _Aged) -> tuple[str, int, bool]:
    """Sorts the oldest first: what one run wrote in both its rows, by time.

    Not all runs by time: a reader tells from the oldest one where the journal begins.
    """
    segment = each.seen.segment
    return segment.run, each.until, segment.lane is Lane.STORY


def _unshipped_lines(found: _Found) -> Counter[str]:
    """How many lines of each kind no checkpoint covers."""
    kinds: Counter[str] = Counter()
    if found.piece.is_shipped:
        return kinds
    with suppress(OSError):
        for line in segments.read_segment(found.segment.path, found.offset):
            action, step = _ACTION.search(line.raw), _STEP.search(line.raw)
            kinds[
                value_of(
                    action[1].decode() if action else "",
                    step[1].decode() if step else "",
                ).kind
            ] += 1
    return kinds


def _remove(path: Path) -> bool:
    """Unlink a segment that nobody writes any more."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(path)
        return True
    except OSError:
        return False
    finally:
        os.close(fd)


def _newest(directory: Path) -> Iterator[Path]:
    rest = _SEARCHED_BYTES
    aged = list(_aged(SegmentRows(directory).look()))
    aged.sort(key=lambda each: (each.until, each.seen.segment), reverse=True)
    for seen in (each.seen for each in aged if each.seen.segment.lane is Lane.STORY):
        yield seen.segment.path
        rest -= seen.size
        if rest <= 0:
            return


def _found_in(path: Path, event_ids: set[str]) -> set[str]:
    """Which events a segment has in whole lines (not only speaks of)."""
    try:
        content = path.read_bytes()
    except OSError:
        return set()
    wanted = {event_id.encode() for event_id in event_ids}
    return {
        match[1].decode()
        for match in _ID.finditer(content)
        if match[1] in wanted and _event_id_at(content, match.start()) == match[1]
    }


def _event_id_at(content: bytes, at: int) -> bytes | None:
    start = content.rfind(b"\n", 0, at) + 1
    end = content.find(b"\n", at)
    body = segments.unseal(content[start:end]) if end >= 0 else None
    if body is None:
        return None
    return str(json.loads(body).get("event", {}).get("id")).encode()
