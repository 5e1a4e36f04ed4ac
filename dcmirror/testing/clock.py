"""A clock that moves only when a test says so."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count


class FakeClock:
    """Call it for the time; ``advance`` moves it and runs what has become due.

    Stands for ``time.time``, ``time.monotonic`` and (``sleep``) ``time.sleep``.
    """

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now
        self.slept: list[float] = []
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()

    def __call__(self) -> float:
        return self.now

    def __repr__(self) -> str:
        return f"<FakeClock {self.now:.3f} due={len(self._due)}>"

    def sleep(self, seconds: float) -> None:
        """Return at once, the time having passed."""
        self.slept.append(seconds)
        self.advance(seconds)

    def at(self, when: float, action: Callable[[], None]) -> None:
        """Run ``action`` once the clock has reached ``when``."""
        heapq.heappush(self._due, (when, next(self._order), action))

    def advance(self, seconds: float) -> None:
        """Move forward; actions run in the order of their times, each at its own."""
        if seconds < 0:
            raise ValueError("time does not run backwards; use set() for a clock jump")
        end = self.now + seconds
        while self._due and self._due[0][0] <= end:
            when, _, action = heapq.heappop(self._due)
            self.now = max(self.now, when)
            action()
        self.now = end

    def set(self, now: float) -> None:
        """Jump, also backwards, running nothing: an administrator set the clock."""
        self.now = now
