"""Reads what all writers' journals have behind a checkpoint, in batches.

The logger process runs this.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path

from dcmirror.adapters.checkpoints import Position
from dcmirror.adapters.segments import Segment, list_segments, read_segment
from dcmirror.adapters.sinks import ShippedLine

# Spoiled lines are kept for a person to look at, not to fill the disk.
_CORRUPT_BYTES = 1024 * 1024


@dataclass(slots=True)
class Batch:
    """Lines to ship, and the positions behind them.

    ``spoiled`` counts lines with a wrong CRC, ``missed`` segments that were removed
    before they were read.
    """

    positions: dict[str, Position]
    lines: list[ShippedLine] = field(default_factory=list)
    size: int = 0
    spoiled: int = 0
    missed: int = 0


class JournalReader:
    """Looks into a directory of segments; remembers nothing between two batches."""

    def __init__(
        self, directory: Path, max_lines: int = 500, max_bytes: int = 4 * 1024 * 1024
    ) -> None:
        self._directory = directory
        self._max_lines = max_lines
        self._max_bytes = max_bytes

    def read(self, positions: Mapping[str, Position]) -> Batch:
        """The next lines of every writer, the one that began first first."""
        batch = Batch({})
        # Listed before it is read: a segment with a successor in the list is complete.
        segments = list_segments(self._directory)
        for writer, own in groupby(segments, key=lambda segment: segment.writer):
            position = positions.get(writer) or Position(segment=1)
            batch.positions[writer] = self._read_writer(batch, list(own), position)
        return batch

    def _read_writer(
        self, batch: Batch, segments: list[Segment], position: Position
    ) -> Position:
        for segment in segments:
            if segment.number < position.segment:
                continue
            if segment.number > position.segment:
                batch.missed += _gap(position, segment)
                position = Position(segment.number)
            position = self._read_segment(batch, segment, position)
            if self._is_full(batch):
                break
        return position

    def _read_segment(
        self, batch: Batch, segment: Segment, position: Position
    ) -> Position:
        with suppress(FileNotFoundError):  # its writer made room meanwhile
            is_read = segment.path.stat().st_size <= position.offset
            if is_read or self._is_full(batch):
                return position
            name, last = segment.name, None
            for line in read_segment(segment.path, position.offset, position.line):
                if line.body is None:
                    batch.spoiled += 1
                    self._keep_spoiled(segment, line.raw)
                else:
                    batch.lines.append(ShippedLine(name, line.number, line.body))
                batch.size += len(line.raw)
                last = line
                if self._is_full(batch):
                    break
            if last is not None:
                position = replace(position, offset=last.end, line=last.number)
        return position

    def _is_full(self, batch: Batch) -> bool:
        return len(batch.lines) >= self._max_lines or batch.size >= self._max_bytes

    def _keep_spoiled(self, segment: Segment, raw: bytes) -> None:
        directory = self._directory / "corrupt"
        with suppress(OSError):
            directory.mkdir(exist_ok=True)
            with open(directory / segment.name, "ab") as file:
                if file.tell() + len(raw) <= _CORRUPT_BYTES:
                    file.write(raw.rstrip(b"\n") + b"\n")


def _gap(position: Position, segment: Segment) -> int:
    """Segments between that were never seen; one that was begun was read to its end."""
    unread = 1 if position.offset == 0 else 0
    return segment.number - position.segment - 1 + unread
