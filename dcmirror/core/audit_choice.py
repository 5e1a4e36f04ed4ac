"""Which copies are read again: a sample that moves on each day, or the oldest.

Pure.  The sample of a day is a slice of all files by the hash of their path; the next
day's begins where it ended, so that each file's turn comes once in ``1 / share`` days,
whatever is added or removed meanwhile.
"""

from __future__ import annotations

import heapq
import zlib
from collections.abc import Iterable
from dataclasses import dataclass

from dcmirror.core.audit_copies import AuditRow

_DAY_SECONDS = 86400
_WHOLE = 1 << 32


@dataclass(frozen=True, slots=True)
class Sample:
    """``share`` of all files, from 0 to 1; ``day`` counts days since the epoch."""

    share: float
    day: int

    @classmethod
    def at(cls, share: float, moment: float) -> Sample:
        """The sample of the day of ``moment`` (seconds since the epoch, UTC)."""
        return cls(share, int(moment // _DAY_SECONDS))

    def has(self, relative: str) -> bool:
        """Whether the file's turn is on this day."""
        place = zlib.crc32(relative.encode("utf-8", "surrogatepass")) / _WHOLE
        return (place - self.day * self.share) % 1.0 < self.share


class Oldest:
    """Of all rows given, the ``number`` whose bytes were proved longest ago.

    Holds no more than so many paths.
    """

    def __init__(self, number: int) -> None:
        self._number = number
        self._heap: list[tuple[float, str]] = []

    def add(self, rows: Iterable[AuditRow]) -> None:
        """Look at some more rows."""
        for row in rows:
            # A heap's head is its smallest: negative, so that it is the youngest.
            item = (-row.proved_at, row.relative)
            if len(self._heap) < self._number:
                heapq.heappush(self._heap, item)
            elif item > self._heap[0]:
                heapq.heapreplace(self._heap, item)

    def chosen(self) -> list[str]:
        """Their paths below the mirror, the oldest first; to be asked once."""
        ordered = sorted(self._heap, key=lambda item: (-item[0], item[1]))
        self._heap = []
        return [relative for _, relative in ordered]
