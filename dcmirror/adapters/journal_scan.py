"""Reads a whole journal once for a few actions, as fast as the disk gives it.

For reports: writers append and make room meanwhile, and are never made to wait.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from dcmirror.adapters.segments import CRC_BYTES, Segment, list_segments
from dcmirror.core.journal_table import ACTIONS
from dcmirror.core.journal_values import Lane
from dcmirror.core.report_figures import Sources

# A quotation mark inside a text is escaped, so that this can only be the member.
_MEMBER = b'"action":"'
_TIME = re.compile(rb'"@timestamp":"([^"]{10,40})"')
# A line is never older than its segment's last change, give or take a set clock.
_SLACK_SECONDS = 3600.0
_KNOWN = frozenset(name.encode() for name in ACTIONS)
_BUFFER = 1024 * 1024
_MEMBER_BYTES = len(_MEMBER)


class JournalScan:
    """One pass over all segments of all writers.

    Args:
        actions: values of event.action whose documents are wanted.
        since: segments that ended before it are left out.
        sources: where it counts.
        lane: the only one that is read; None: both.
        behind: what ``reached`` said at the end of an earlier pass: only what was
            written since then is read.
    """

    def __init__(
        self,
        directory: Path,
        actions: Collection[str],
        sources: Sources,
        since: float | None = None,
        lane: Lane | None = None,
        behind: Mapping[str, int] | None = None,
    ) -> None:
        self.reached: dict[str, int] = {}
        self._behind = behind or {}
        self._directory = directory
        self._lane = lane
        self._actions = frozenset(name.encode() for name in actions)
        self._since = since
        self._sources = sources

    def documents(self) -> Iterator[dict[str, Any]]:
        """The wanted events; those of one writer in the order in which it wrote."""
        segments = [
            segment
            for segment in list_segments(self._directory)
            if self._lane in (None, segment.lane)
        ]
        for number, (_, own) in enumerate(groupby(segments, lambda each: each.writer)):
            yield from self._writer(list(own), is_oldest=number == 0)

    def _writer(
        self, segments: list[Segment], *, is_oldest: bool
    ) -> Iterator[dict[str, Any]]:
        expected = 1
        for segment in segments:
            has_hole = segment.number != expected
            expected = segment.number + 1
            changed_at: float | None = None
            try:
                changed_at = segment.path.stat().st_mtime
                with open(segment.path, "rb", _BUFFER) as file:
                    if has_hole or (is_oldest and segment is segments[0]):
                        self._reach(_time_of(file.readline()))
                        file.seek(0)
                    if self._since is None or changed_at >= (
                        self._since - _SLACK_SECONDS
                    ):
                        file.seek(self._behind.get(segment.name, 0))
                        yield from self._lines(file, segment.name)
            except OSError:  # its writer made room meanwhile; or it cannot be read
                self._sources.missed += 1
                # Nothing may come after it that would say where the hole ends.
                self._reach(changed_at)
                expected = -1

    def _reach(self, moment: float | None) -> None:
        """The journal is whole from here on, as far as this writer is concerned."""
        if moment is None:
            return
        known = self._sources.reaches_from
        self._sources.reaches_from = moment if known is None else max(known, moment)

    def _lines(self, file: BinaryIO, name: str) -> Iterator[dict[str, Any]]:
        sources, actions, crc32 = self._sources, self._actions, zlib.crc32
        known, end = _KNOWN, file.tell()
        for raw in file:
            sources.lines += 1
            if not raw.endswith(b"\n"):
                break  # still being written, or cut off by a crash
            end += len(raw)
            place = raw.find(_MEMBER) + _MEMBER_BYTES
            if place >= _MEMBER_BYTES:
                action = raw[place : raw.find(b'"', place)]
                # Four lines of five: not even their CRC can change what is reported.
                if action not in actions and action in known:
                    continue
            head = raw[: -CRC_BYTES - 1]
            try:
                is_whole = crc32(head) == int(raw[-11:-3], 16)
            except ValueError:
                is_whole = False
            if not is_whole:
                sources.spoiled += 1
            elif place >= _MEMBER_BYTES and action in actions:
                try:
                    yield orjson.loads(head + b"}")
                except orjson.JSONDecodeError:
                    sources.odd += 1
        self.reached[name] = end
        sources.bytes += file.tell()


def _time_of(line: bytes) -> float | None:
    match = _TIME.search(line)
    try:
        return datetime.fromisoformat(match[1].decode()).timestamp() if match else None
    except ValueError:
        return None
