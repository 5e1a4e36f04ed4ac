"""The journal's directory as a whole: how full it is, what goes first, what it has.

The supervisor of each command runs this, when it begins a segment and at a start.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

from dcmirror.adapters import checkpoints, segments
from dcmirror.adapters.checkpoints import Position
from dcmirror.adapters.segments import Segment

# Short runs leave short segments: their number has a bound of its own.
_MOST_SEGMENTS = 2000
# Outbox lines were written just before a crash: they can only be in the newest bytes.
_SEARCHED_BYTES = 64 * 1024 * 1024

_ID = re.compile(rb'"id": ?"([^"\\]+)"')


class JournalSpace:
    """Keeps the segments of all writers below ``max_bytes``.

    ``lost`` counts lines that had to go before they were shipped.
    """

    def __init__(self, directory: Path, max_bytes: int, checkpoint: Path) -> None:
        self._directory = directory
        self._max_bytes = max_bytes
        self._checkpoint = checkpoint
        self.lost = 0

    def used(self) -> int:
        """Bytes of all segments."""
        return sum(size for _, size in _sized(self._directory))

    def make_room(self, wanted: int, *, keep_unshipped: bool) -> None:
        """Remove the oldest segments, shipped ones first, until ``wanted`` bytes fit.

        Raises:
            OSError: only lines that must be kept are left.
        """
        sized = _sized(self._directory)
        excess = sum(size for _, size in sized) + wanted - self._max_bytes
        too_many = len(sized) - _MOST_SEGMENTS
        if excess <= 0 and too_many <= 0:
            return
        positions = checkpoints.load(self._checkpoint).writers
        for is_shipped, segment, size in _in_order(sized, positions):
            if excess <= 0 and too_many <= 0:
                break
            position = positions.get(segment.writer)
            lines = 0 if is_shipped else _unshipped_lines(segment, position)
            if lines and keep_unshipped:
                raise OSError(errno.ENOSPC, "full of events that are not shipped yet")
            if _remove(segment.path):
                excess -= size
                too_many -= 1
                self.lost += lines


def find_events(directory: Path, event_ids: Collection[str]) -> set[str]:
    """Which of these events (by event.id) the newest segments have."""
    missing = set(event_ids)
    for path in _newest(directory):
        if not missing:
            break
        missing -= _found_in(path, missing)
    return set(event_ids) - missing


def _sized(directory: Path) -> list[tuple[Segment, int]]:
    sized = []
    for segment in segments.list_segments(directory):
        with suppress(FileNotFoundError):
            sized.append((segment, segment.path.stat().st_size))
    return sized


def _in_order(
    sized: list[tuple[Segment, int]], positions: dict[str, Position]
) -> Iterator[tuple[bool, Segment, int]]:
    """The order in which they go, and whether each was shipped wholly."""
    for wanted in (True, False):
        for segment, size in sized:
            position = positions.get(segment.writer)
            is_shipped = position is not None and position.is_past(segment)
            if is_shipped is wanted:
                yield is_shipped, segment, size


def _unshipped_lines(segment: Segment, position: Position | None) -> int:
    """How many lines of a segment no checkpoint covers."""
    offset = 0
    if position is not None and position.segment == segment.number:
        offset = position.offset
    try:
        return sum(1 for _ in segments.read_segment(segment.path, offset))
    except OSError:
        return 0


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
    sized = _sized(directory)
    sized.sort(key=lambda item: (_modified(item[0].path), item[0]), reverse=True)
    for segment, size in sized:
        yield segment.path
        rest -= size
        if rest <= 0:
            return


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


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
