"""Journal segments on disk: their names, their lines, and how they are read.

A line is a JSON object whose last member is the CRC-32 of the bytes before it.  A last
line without its end is normal after a crash; a wrong CRC elsewhere is a spoiled line.
"""

from __future__ import annotations

import os
import re
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dcmirror.core.journal_values import Lane

CURRENT = "current.ndjson"
CURRENT_STEPS = "current-steps.ndjson"

_STEPS = f"-{Lane.STEPS.value}"
_NAME = re.compile(
    rf"(?P<writer>\d{{8}}T\d{{6}}Z-[0-9a-f]{{16}}(?:{_STEPS})?)"
    r"-(?P<number>\d{8})\.ndjson"
)
_CRC = re.compile(rb',"crc":"([0-9a-f]{8})"\}')
#: The end of a line, which its checksum stands in.
CRC_BYTES = len(b',"crc":"00000000"}')
#: A piece of that length without an end is damage; a shorter one may get its end yet.
LONGEST_LINE = 1024 * 1024


@dataclass(frozen=True, slots=True, order=True)
class Segment:
    """One file of one writer; they sort by the writer's start, then by number."""

    writer: str
    number: int
    path: Path

    @property
    def name(self) -> str:
        """The file's name."""
        return self.path.name

    @property
    def run(self) -> str:
        """Who wrote it, whichever lane it is."""
        return self.writer.removesuffix(_STEPS)

    @property
    def lane(self) -> Lane:
        """Whether it has steps, or what else is told."""
        return Lane.STEPS if self.writer.endswith(_STEPS) else Lane.STORY


@dataclass(frozen=True, slots=True)
class SegmentLine:
    """One line: ``end`` is the offset behind it, ``number`` counts from 1.

    ``body`` is the JSON object without its CRC, None for a spoiled line.
    """

    number: int
    end: int
    raw: bytes
    body: bytes | None


def stamp(moment: float | None = None) -> str:
    """A time as writers have it in their names; stamps sort as times do."""
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(moment))


def lane_writer(writer: str, lane: Lane) -> str:
    """A writer's name in a lane; its story sorts before its steps, and ships first."""
    return writer + _STEPS if lane is Lane.STEPS else writer


def segment_name(writer: str, number: int) -> str:
    """The name of a writer's segment."""
    return f"{writer}-{number:08}.ndjson"


def list_segments(directory: Path) -> list[Segment]:
    """All segments, the oldest writer's first; a missing directory has none."""
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return []
    found = (segment_at(directory, name) for name in names)
    return sorted(segment for segment in found if segment)


def segment_at(directory: Path, name: str) -> Segment | None:
    """The segment of that name, None if a file of that name is none."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    return Segment(match["writer"], int(match["number"]), directory / name)


def seal(line: str) -> bytes:
    """A JSON object as a journal line, with its CRC and newline."""
    if line[:1] != "{" or line[-1:] != "}" or "\n" in line:
        raise ValueError(f"not a JSON object on one line: {line[:80]!r}")
    head = line[:-1].encode("utf-8", "backslashreplace")
    return b'%s,"crc":"%08x"}\n' % (head, zlib.crc32(head))


def unseal(raw: bytes) -> bytes | None:
    """The JSON object of a line, None if its CRC is missing or wrong."""
    line = raw.rstrip(b"\n")
    match = _CRC.fullmatch(line, len(line) - CRC_BYTES)
    if match is None:
        return None
    head = line[:-CRC_BYTES]
    return head + b"}" if zlib.crc32(head) == int(match[1], 16) else None


def read_segment(path: Path, offset: int = 0, number: int = 0) -> Iterator[SegmentLine]:
    """The whole lines from ``offset`` on, which is behind line ``number``.

    Ends before a last line that has no end yet.
    """
    with open(path, "rb") as file:
        file.seek(offset)
        while raw := file.readline(LONGEST_LINE):
            # Only damage makes a line that long: it is given in pieces, all spoiled.
            if not raw.endswith(b"\n") and len(raw) < LONGEST_LINE:
                return
            offset += len(raw)
            number += 1
            yield SegmentLine(number, offset, raw, unseal(raw))
