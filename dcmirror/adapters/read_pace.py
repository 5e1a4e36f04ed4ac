"""How fast files are read again: a number of bytes per second, over all of them."""

from __future__ import annotations

import time
from collections.abc import Callable

#: What a pause of the reader may be made up for, afterwards.
_CREDIT_SECONDS = 0.5


class ReadPace:
    """Waits after each piece until the next one may be read; None: it never waits."""

    def __init__(
        self,
        bytes_per_second: int | None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._rate = bytes_per_second
        self._clock = clock
        self._sleep = sleep
        self._due = clock()

    def spend(self, number: int) -> None:
        """So many bytes were read."""
        if self._rate is None:
            return
        now = self._clock()
        self._due = max(self._due, now - _CREDIT_SECONDS) + number / self._rate
        if self._due > now:
            self._sleep(self._due - now)
