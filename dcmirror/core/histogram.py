"""Percentiles of a stream in bounded memory, with a stated accuracy.

Buckets grow by a constant factor, so that the value told for a percentile is within
``ACCURACY`` of a value that was really seen at that rank, however many there were.
"""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass

ACCURACY = 0.01

# A microsecond to a million years, a bit per second to an exabit: nothing is outside.
_SMALLEST, _LARGEST = 1e-6, 1e18

_LOG_GROWTH = math.log((1 + ACCURACY) / (1 - ACCURACY))
_PER_LOG = 1 / _LOG_GROWTH


@dataclass(frozen=True, slots=True)
class Percentiles:
    """What is told of a distribution; None where nothing was seen."""

    count: int
    p50: float | None
    p95: float | None
    p99: float | None
    smallest: float | None
    largest: float | None
    p5: float | None


class LogHistogram:
    """Counts of positive values by their magnitude; merging loses nothing.

    Values that are not positive count as zero, and are told as zero.
    """

    __slots__ = ("_counts", "_first", "_zeros", "count", "largest", "smallest")

    def __init__(self) -> None:
        self.count = 0
        self.smallest = math.inf
        self.largest = -math.inf
        self._zeros = 0
        self._first = 0
        self._counts: array[int] | None = None

    def __repr__(self) -> str:
        return f"<LogHistogram count={self.count} p50={self.percentile(50)}>"

    def add(self, value: float) -> None:
        """Count a value."""
        self.count += 1
        if value < self.smallest:
            self.smallest = max(value, 0.0)
        if value > self.largest:
            self.largest = max(value, 0.0)
        if value <= 0:
            self._zeros += 1
            return
        value = min(max(value, _SMALLEST), _LARGEST)
        self._count(math.ceil(math.log(value) * _PER_LOG), 1)

    def merge(self, other: LogHistogram) -> None:
        """Count everything that the other one has counted."""
        self.count += other.count
        self.smallest = min(self.smallest, other.smallest)
        self.largest = max(self.largest, other.largest)
        self._zeros += other._zeros
        for index, number in enumerate(other._counts or (), start=other._first):
            if number:
                self._count(index, number)

    def percentile(self, percent: float) -> float | None:
        """The value that ``percent`` of all values do not exceed (nearest rank)."""
        if not self.count:
            return None
        rank = max(1, math.ceil(self.count * percent / 100))
        if rank <= self._zeros:
            return 0.0
        rank -= self._zeros
        for index, number in enumerate(self._counts or (), start=self._first):
            rank -= number
            if rank <= 0:
                return min(max(_middle(index), self.smallest), self.largest)
        return self.largest

    def percentiles(self) -> Percentiles:
        """The usual ones."""
        some = self.count > 0
        return Percentiles(
            count=self.count,
            p50=self.percentile(50),
            p95=self.percentile(95),
            p99=self.percentile(99),
            smallest=self.smallest if some else None,
            largest=self.largest if some else None,
            p5=self.percentile(5),
        )

    def _count(self, index: int, number: int) -> None:
        counts = self._counts
        if counts is None:
            self._counts, self._first = array("Q", [number]), index
            return
        place = index - self._first
        if place < 0:
            self._counts = counts = array("Q", bytes(8 * -place)) + counts
            self._first, place = index, 0
        elif place >= len(counts):
            counts.frombytes(bytes(8 * (place + 1 - len(counts))))
        counts[place] += number


def _middle(index: int) -> float:
    """The value of a bucket that is nearest to all in it, relatively."""
    return math.exp((index - 1) * _LOG_GROWTH) * (1 + ACCURACY)
