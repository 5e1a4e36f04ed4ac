"""How a command waits for the door: the ladder, and the holds as ``watch`` has them.

Its threads share one: a cause that concerns all of them is told once and probed by one
of them, for dCache shuts an address out that errs three times in a row.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, TypeVar

from dcmirror.adapters.proxy_file import ProxyFile
from dcmirror.core.amounts import span_text
from dcmirror.core.door_errors import DoorError, DoorStopped
from dcmirror.core.failures import FailureClass
from dcmirror.core.holds import PROBING, HoldKind, Probing

P = ParamSpec("P")
T = TypeVar("T")

#: Pauses before a request that failed is made again (seconds).
LADDER = (1.0, 3.0, 10.0, 30.0)
#: What ``Retry-After`` may ask for (seconds).
_LONGEST_RETRY_AFTER = 120.0
#: How long a stop, a new proxy or the end of a hold may go unnoticed (seconds).
_SLICE_SECONDS = 0.2
#: Busy, locked, too many requests: statuses below 500 that pass.
_PASSING = frozenset({408, 423, 425, 429})
_HOLDS = {
    FailureClass.CREDENTIAL: HoldKind.CREDENTIAL,
    FailureClass.HOST: HoldKind.DOOR,
}


@dataclass(slots=True)
class _Hold:
    """A cause for which all threads wait; one of them, its prober, tries."""

    since: float
    probing: Probing
    pause: float
    is_over: bool = False
    lost: DoorError | None = None


class Patience:
    """Runs a client's calls until they succeed or there is no hope left.

    Never for a deletion: of one without an answer nobody knows whether it happened.

    Args:
        say: takes a line for the user, once when a hold begins and once when it ends.
        stop: ends every wait within a moment; the call then raises DoorStopped.
        proxy: the proxy file; when it changes, a hold for the credential is probed.
        most_seconds: how long a hold may last before the call raises its cause.
        scale: shortens the pauses, for tests with real servers.
    """

    def __init__(
        self,
        say: Callable[[str], None],
        stop: threading.Event,
        *,
        proxy: Path | None = None,
        most_seconds: float = 600.0,
        ladder: Sequence[float] = LADDER,
        scale: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._say = say
        self._stop = stop
        self._proxy = ProxyFile(proxy)
        self._most_seconds = most_seconds
        self._ladder = tuple(ladder)
        self._scale = scale
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._hold: _Hold | None = None
        self._was_let_in = False
        self._proxy.look(clock())

    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What the function returns, as soon as it returns something.

        Raises:
            DoorError: refused for good, or again and again, or held for too long; or
                the first thing that we hear is that our proxy will not do.
            DoorStopped: told to stop.
        """
        mine: _Hold | None = None
        rungs = iter(self._ladder)
        try:
            while True:
                if mine is None:
                    self._await_others()
                try:
                    answer = function(*args, **kwargs)
                    self._was_let_in = True
                    return answer
                except DoorError as error:
                    mine = self._go_on_after(error, mine, rungs)
        finally:
            self._end(mine)

    def _go_on_after(
        self, error: DoorError, mine: _Hold | None, rungs: Iterator[float]
    ) -> _Hold | None:
        """Wait as the error demands, or raise it; the hold that this thread probes."""
        if isinstance(error, DoorStopped):
            raise error
        self._was_let_in |= error.http_status is not None
        if error.kind in _HOLDS and not self._is_hopeless(error):
            return self._hold_for(error, mine)
        self._end(mine)
        pause = next(rungs, None) if _may_pass(error) else None
        if pause is None:
            raise error
        asked = min(error.retry_after or 0.0, _LONGEST_RETRY_AFTER)
        self._wait(max(pause, asked) * self._scale)
        return None

    def _is_hopeless(self, error: DoorError) -> bool:
        """Before TLS has let us in even once: a proxy that is missing or expired.

        Whoever began the command is told at once, rather than after the night.
        """
        return error.kind is FailureClass.CREDENTIAL and not self._was_let_in

    def _hold_for(self, error: DoorError, mine: _Hold | None) -> _Hold | None:
        if mine is None:
            mine = self._begin(error)
        if mine is None:
            return None
        left = self._most_seconds - (self._clock() - mine.since)
        if left <= 0:
            mine.lost = error
            raise error
        self._wait(min(mine.pause * self._scale, left), self._is_new_proxy)
        mine.pause = min(mine.pause * mine.probing.factor, mine.probing.cap)
        return mine

    def _begin(self, error: DoorError) -> _Hold | None:
        """A hold for this thread to probe; None if another thread has one."""
        probing = PROBING[_HOLDS[error.kind]]
        with self._lock:
            if self._hold is not None:
                return None
            hold = self._hold = _Hold(self._clock(), probing, probing.first)
        most = span_text(self._most_seconds)
        self._say(f"held: {error}; tried again for up to {most}")
        return hold

    def _end(self, mine: _Hold | None) -> None:
        if mine is None or mine.is_over:
            return
        with self._lock:
            self._hold = None
            mine.is_over = True
        if mine.lost is None and not self._stop.is_set():
            self._say(f"goes on after {span_text(self._clock() - mine.since)}")

    def _await_others(self) -> None:
        """While another thread probes a hold, nobody else asks."""
        hold = self._hold
        if hold is None:
            return
        self._wait(None, lambda: hold.is_over)
        if hold.lost is not None:
            lost = hold.lost
            raise DoorError(str(lost), lost.kind, http_status=lost.http_status)

    def _is_new_proxy(self) -> bool:
        return self._proxy.look(self._clock())

    def _wait(
        self, seconds: float | None, is_enough: Callable[[], bool] = lambda: False
    ) -> None:
        """In slices: a signal handler sets ``stop``, and must find nothing locked."""
        end = None if seconds is None else self._clock() + seconds
        while not is_enough():
            if self._stop.is_set():
                raise DoorStopped("given up: we are told to stop")
            left = _SLICE_SECONDS if end is None else end - self._clock()
            if left <= 0:
                return
            self._sleep(min(left, _SLICE_SECONDS))


def _may_pass(error: DoorError) -> bool:
    """Whether the same request may have another answer soon."""
    if error.kind is not FailureClass.TRANSIENT:
        return False
    status = error.http_status
    return status is None or status // 100 in (2, 5) or status in _PASSING
