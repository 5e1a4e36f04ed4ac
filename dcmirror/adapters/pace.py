"""How fast requests may follow each other, over all threads of a command."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

#: How long a stop may go unnoticed.
_SLICE_SECONDS = 0.1
#: A door that asks for more patience than this gets this much at a time.
_LONGEST_DEFER_SECONDS = 60.0


class Pace:
    """Gives each request its moment, ``1 / per_second`` after the one before.

    There is no burst at all: dCache's limit has no allowance for one.  Nothing here is
    locked while it waits, so a signal handler may call ``stop``.
    """

    def __init__(
        self,
        per_second: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
        stop: threading.Event | None = None,
    ) -> None:
        self._interval = 1.0 / per_second
        self._clock = clock
        self._sleep = sleep
        self._stop = threading.Event() if stop is None else stop
        self._lock = threading.Lock()
        self._next = float("-inf")

    @property
    def is_stopped(self) -> bool:
        """Whether nothing more is to be asked."""
        return self._stop.is_set()

    def stop(self) -> None:
        """End all waits, now and in future."""
        self._stop.set()

    def wait(self, is_over: Callable[[], bool] = lambda: False) -> bool:
        """Wait for the next moment; False if ``stop`` or ``is_over`` comes first."""
        with self._lock:
            moment = max(self._clock(), self._next)
            self._next = moment + self._interval
        while not (self._stop.is_set() or is_over()):
            left = moment - self._clock()
            if left <= 0:
                return True
            self._sleep(min(left, _SLICE_SECONDS))
        return False

    def defer(self, seconds: float) -> None:
        """The door asks for peace: nobody's next request comes before that."""
        until = self._clock() + min(seconds, _LONGEST_DEFER_SECONDS)
        with self._lock:
            self._next = max(self._next, until)
