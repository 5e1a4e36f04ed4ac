"""Reads what all writers' journals have behind a checkpoint, in batches.

The logger process runs this, with one reader for each sink.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from dcmirror.adapters.checkpoints import Position
from dcmirror.adapters.segment_rows import Row, SeenSegment, SegmentRows
from dcmirror.adapters.segments import (
    CRC_BYTES,
    LONGEST_LINE,
    Segment,
    read_segment,
    stamp,
)
from dcmirror.adapters.sinks import ShippedLine
from dcmirror.core.checksums import crc32

# Spoiled lines are kept for a person to look at, not to fill the disk.
_CORRUPT_BYTES = 1024 * 1024
_PIECE_BYTES = LONGEST_LINE
_TIMESTAMP = re.compile(rb'"@timestamp": ?"([^"]{1,40})"')


@dataclass(slots=True)
class Batch:
    """Lines to ship, and the positions behind them.

    ``spoiled`` counts lines with a wrong CRC, ``missed`` segments that were removed
    before they were read.  ``unread`` says of a writer why it ends early: nothing of it
    is passed over, since positions only say how far they are.
    """

    positions: dict[str, Position]
    lines: list[ShippedLine] = field(default_factory=list)
    size: int = 0
    spoiled: int = 0
    missed: int = 0
    unread: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Backlog:
    """What lies behind positions: bytes, and when the oldest event of it happened."""

    size: int
    oldest: float | None


class JournalReader:
    """Looks into a directory of segments; remembers which of them have ended.

    Args:
        keeps_spoiled: whether it sets spoiled lines aside; one reader does.
    """

    def __init__(
        self,
        directory: Path,
        max_lines: int = 4000,
        max_bytes: int = 2 * 1024 * 1024,
        *,
        keeps_spoiled: bool = True,
    ) -> None:
        self._directory = directory
        self._rows = SegmentRows(directory)
        self._max_lines = max_lines
        self._max_bytes = max_bytes
        self._keeps_spoiled = keeps_spoiled

    def read(self, positions: Mapping[str, Position]) -> Batch:
        """The next lines of every writer, the one that began first first."""
        batch = Batch({})
        # Listed before it is read: a segment with a successor in the list is complete.
        for row in self._rows.look():
            position = positions.get(row.writer) or Position(segment=1)
            if not row.is_read(position):
                position = self._read_row(batch, row, position)
            batch.positions[row.writer] = position
        return batch

    def _read_row(self, batch: Batch, row: Row, position: Position) -> Position:
        for segment in (each.segment for each in row.segments):
            if segment.number < position.segment:
                continue
            if segment.number > position.segment:
                batch.missed += _gap(position, segment)
                position = Position(segment.number)
            position = self._read_segment(batch, segment, position)
            if segment.writer in batch.unread or self._is_full(batch):
                break
        return position

    def _read_segment(
        self, batch: Batch, segment: Segment, position: Position
    ) -> Position:
        fd = -1
        try:
            if segment.path.stat().st_size <= position.offset:
                return position
            fd = os.open(segment.path, os.O_RDONLY | os.O_CLOEXEC)
            while not self._is_full(batch):
                piece = os.pread(fd, _PIECE_BYTES, position.offset)
                if b"\n" in piece:
                    position = self._take(batch, segment, position, piece)
                elif len(piece) < _PIECE_BYTES:
                    break
                else:
                    position = self._skip(batch, segment, position)
        except FileNotFoundError:  # its writer made room meanwhile
            pass
        except OSError as exc:
            batch.unread[segment.writer] = f"{segment.name}: {exc.strerror or exc}"
        finally:
            if fd >= 0:
                os.close(fd)
        return position

    def _take(
        self, batch: Batch, segment: Segment, position: Position, piece: bytes
    ) -> Position:
        """Whole lines; each has a number by which it is known for ever."""
        name, number, start = segment.path.name, position.line, 0
        last = number + self._max_lines - len(batch.lines)
        room = self._max_bytes - batch.size
        find, append, make = piece.find, batch.lines.append, ShippedLine._make
        # Not split: that would look at every byte, and copy every line twice.
        while number < last and start < room and (end := find(b"\n", start)) >= 0:
            number += 1
            head = piece[start : end - CRC_BYTES]
            if piece[end - CRC_BYTES : end] == b',"crc":"%08x"}' % crc32(head):
                append(make((name, number, head + b"}")))
            else:
                self._spoil(batch, segment, piece[start:end])
            start = end + 1
        batch.size += start
        return replace(position, offset=position.offset + start, line=number)

    def _skip(self, batch: Batch, segment: Segment, position: Position) -> Position:
        """Damage without an end counts by pieces, the same ones at every reading."""
        piece = next(read_segment(segment.path, position.offset, position.line))
        self._spoil(batch, segment, piece.raw)
        batch.size += len(piece.raw)
        return replace(position, offset=piece.end, line=piece.number)

    def _is_full(self, batch: Batch) -> bool:
        """Or nearly: reading another piece for its first lines would be a waste."""
        size = batch.size + self._max_bytes // 4
        return len(batch.lines) >= self._max_lines or size >= self._max_bytes

    def _spoil(self, batch: Batch, segment: Segment, raw: bytes) -> None:
        batch.spoiled += 1
        if not self._keeps_spoiled:
            return
        directory = self._directory / "corrupt"
        with suppress(OSError):
            directory.mkdir(exist_ok=True)
            with open(directory / segment.name, "ab") as file:
                if file.tell() + len(raw) <= _CORRUPT_BYTES:
                    file.write(raw.rstrip(b"\n") + b"\n")


def backlog(rows: Iterable[Row], positions: Mapping[str, Position]) -> Backlog:
    """How far these positions are behind what all writers have written."""
    size, oldest = 0, None
    for row in rows:
        position = positions.get(row.writer) or Position(segment=1)
        if row.is_read(position):
            continue
        unread = [(each, _unread(each, position)) for each in row.segments]
        size += sum(behind for _, behind in unread)
        first = next((each.segment for each, behind in unread if behind), None)
        # What began later has nothing older, so that few files need to be opened.
        if first and (oldest is None or row.began <= stamp(oldest)):
            at = _first_time(first, position)
            oldest = at if oldest is None else min(oldest, at or oldest)
    return Backlog(size, oldest)


def _unread(seen: SeenSegment, position: Position) -> int:
    segment = seen.segment
    if segment.number < position.segment:
        return 0
    offset = position.offset if segment.number == position.segment else 0
    size = seen.end - offset
    if size <= 0 or seen.has_ended or size >= _PIECE_BYTES:
        return max(size, 0)
    try:
        return _whole_lines(segment.path, offset)
    except FileNotFoundError:
        return 0
    except OSError:  # nobody knows where its last line ends
        return size


def _whole_lines(path: Path, offset: int) -> int:
    """Bytes of lines that have an end; the last one may still be written."""
    with open(path, "rb") as file:
        file.seek(offset)
        return file.read(_PIECE_BYTES).rfind(b"\n") + 1


def _first_time(segment: Segment, position: Position) -> float | None:
    """When the first unread event happened; None where the line does not say it.

    Of what cannot be read: when the last one did.
    """
    offset = position.offset if segment.number == position.segment else 0
    try:
        with open(segment.path, "rb") as file:
            file.seek(offset)
            found = _TIMESTAMP.search(file.readline(_PIECE_BYTES))
        return datetime.fromisoformat(found[1].decode()).timestamp() if found else None
    except OSError:
        with suppress(OSError):
            return segment.path.stat().st_mtime
    except ValueError:
        pass
    return None


def _gap(position: Position, segment: Segment) -> int:
    """Segments between that were never seen; one that was begun was read to its end."""
    unread = 1 if position.offset == 0 else 0
    return segment.number - position.segment - 1 + unread
