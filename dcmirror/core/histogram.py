"""Percentiles of a stream in bounded memory, with a stated accuracy.

Buckets grow by a constant factor, so that the value told for a percentile is within
``ACCURACY`` of a value that was really seen at that rank, however many there were.
"""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass

ACCURACY = 0.01

# Beyond these, values count as zero, or as the largest: nobody's file takes so long.
_SMALLEST, _LARGEST = 1e-9, 1e18

_LOG_GROWTH = math.log((1 + ACCURACY) / (1 - ACCURACY))
_PER_LOG = 1 / _LOG_GROWTH
_log = math.log
# Makes every index positive, so that int() rounds down; 0 is for zeros.
_SHIFT = 1 - math.floor(math.log(_SMALLEST) * _PER_LOG)


@dataclass(frozen=True, slots=True)
class Percentiles:
    """What is told of a distribution; None where nothing was seen."""

    count: int
    p5: float | None
    p50: float | None
    p95: float | None
    p99: float | None
    largest: float | None


def bucket(value: float) -> int:
    """The number of a value's bucket, 0 for none: to count it in several places."""
    if value <= _SMALLEST:
        return 0
    if value >= _LARGEST:
        value = _LARGEST
    return int(_log(value) * _PER_LOG + _SHIFT)


class LogHistogram:
    """Counts of values by their magnitude; merging loses nothing."""

    __slots__ = ("_counts", "_first", "_length", "_zeros")

    def __init__(self) -> None:
        self._zeros = 0
        self._first = 0
        self._length = 0
        self._counts: array[int] = array("Q")

    def __repr__(self) -> str:
        return f"<LogHistogram count={self.count} p50={self.percentile(50)}>"

    @property
    def count(self) -> int:
        """How many values there were."""
        return self._zeros + sum(self._counts)

    def add(self, value: float) -> None:
        """Count a value; a negative one counts as zero."""
        self.add_to(bucket(value))

    def add_to(self, index: int) -> None:
        """Count a value whose bucket is known."""
        place = index - self._first
        if 0 <= place < self._length:
            self._counts[place] += 1
        else:
            self._count(index, 1)

    def merge(self, other: LogHistogram) -> None:
        """Count everything that the other one has counted."""
        self._zeros += other._zeros
        for index, number in enumerate(other._counts, start=other._first):
            if number:
                self._count(index, number)

    def percentile(self, percent: float) -> float | None:
        """The value that ``percent`` of all values do not exceed (nearest rank)."""
        count = self.count
        if not count:
            return None
        rank = max(1, math.ceil(count * percent / 100)) - self._zeros
        if rank <= 0:
            return 0.0
        index = self._first
        for number in self._counts:
            rank -= number
            if rank <= 0:
                break
            index += 1
        return _middle(index)

    def percentiles(self) -> Percentiles:
        """The usual ones."""
        return Percentiles(
            count=self.count,
            p5=self.percentile(5),
            p50=self.percentile(50),
            p95=self.percentile(95),
            p99=self.percentile(99),
            largest=self.percentile(100),
        )

    def _count(self, index: int, number: int) -> None:
        if index == 0:
            self._zeros += number
            return
        counts = self._counts
        if not counts:
            self._first = index
        place = index - self._first
        if place < 0:
            self._counts = counts = array("Q", bytes(8 * -place)) + counts
            self._first, place = index, 0
        elif place >= len(counts):
            counts.frombytes(bytes(8 * (place + 1 - len(counts))))
        self._length = len(counts)
        counts[place] += number


def _middle(index: int) -> float:
    """The value that is nearest, relatively, to all of a bucket."""
    return math.exp((index - _SHIFT) * _LOG_GROWTH) * (1 + ACCURACY)
