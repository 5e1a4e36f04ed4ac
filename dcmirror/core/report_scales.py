"""Axes of charts: from values to a share of the height, with round marks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

_STEPS = (1, 2, 2.5, 5, 10, 20, 50, 100)
_SPANS = (1e-3, 1e-2, 0.1, 1, 10, 60, 600, 3600, 6 * 3600, 86400, 7 * 86400)
_LONGER = tuple(30 * 86400 * 10**n for n in range(4))


@dataclass(frozen=True, slots=True)
class Scale:
    """An axis; ``marks`` are values that get a line and a label."""

    low: float
    high: float
    marks: tuple[float, ...]
    is_log: bool = False

    def share(self, value: float) -> float:
        """Where a value is: 0 at the bottom, 1 at the top."""
        low, high = self.low, self.high
        if self.is_log:
            value, low, high = (math.log(max(v, 1e-9)) for v in (value, low, high))
        return min(max((value - low) / (high - low), 0.0), 1.0)


def linear(highest: float, marks: int = 4) -> Scale:
    """From zero to a round value above the highest."""
    if highest <= 0:
        return Scale(0, 1, (0, 1))
    raw = highest / marks
    power = 10.0 ** math.floor(math.log10(raw))
    steps = (each * power for each in _STEPS)
    step = next(s for s in steps if s >= max(raw * 0.999, 1.0) and s == int(s))
    count = math.ceil(highest / step)
    return Scale(0, count * step, tuple(step * n for n in range(count + 1)))


def log_spans(values: Sequence[float]) -> Scale:
    """Durations by magnitude, with marks that people count in."""
    return _log(values, lambda low, high: [*_SPANS, *_LONGER])


def log_decades(values: Sequence[float]) -> Scale:
    """Anything by magnitude."""
    return _log(
        values,
        lambda low, high: [
            10.0**n
            for n in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        ],
    )


def _log(
    values: Sequence[float], ladder: Callable[[float, float], Sequence[float]]
) -> Scale:
    """Between the marks below and above all values, at least two apart."""
    positive = [value for value in values if value > 0] or [1.0]
    low, high = min(positive), max(positive)
    steps = ladder(low, high)
    below = [mark for mark in steps if mark <= low * 1.0001]
    above = [mark for mark in steps if mark >= high * 0.9999]
    bottom = below[-1] if below else low
    top = above[0] if above else high
    if top <= bottom:
        bottom, top = bottom / 10, bottom * 10
    marks = tuple(mark for mark in steps if bottom <= mark <= top)
    return Scale(bottom, top, marks or (bottom, top), is_log=True)
