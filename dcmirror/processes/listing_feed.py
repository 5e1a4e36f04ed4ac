"""The feed of commands that find jobs themselves: a listing, a report, an audit.

The supervisor's loop calls it.  The jobs may come from an iterator that is filled by
other threads: it yields None while it has nothing, and ``wake`` says that it has.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from dcmirror.core.entries import State
from dcmirror.core.jobs import Job
from dcmirror.errors import DcmirrorError
from dcmirror.processes.engine import Engine
from dcmirror.processes.settler import Settlement

#: Jobs that are offered before the loop looks at its children again.
_AT_ONCE = 200
#: When it may not offer, or nothing is there, it looks again so much later (seconds).
_LOOK_SECONDS = 1.0


def always() -> bool:
    """Nothing has priority over these jobs."""
    return True


class JobsFeed:
    """Offers jobs as long as the engine has room, and counts how they end.

    Args:
        jobs: what to do; None means "nothing yet", the end means "nothing more".
        ahead: most jobs that the engine may hold of it, so that it stops soon.
        may_offer: asked before each round; while it says no, nothing new is offered,
            and what was offered is not begun.
        on_settled: hears of outcomes that are durable.
    """

    def __init__(
        self,
        jobs: Iterable[Job | None],
        *,
        ahead: int = 1000,
        may_offer: Callable[[], bool] = always,
        on_settled: Callable[[list[Settlement]], None] | None = None,
    ) -> None:
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.engine: Engine | None = None
        self.error: DcmirrorError | None = None
        self.offered = 0
        self.outcomes: dict[str, int] = {}
        self.may_offer = may_offer
        self._jobs: Iterator[Job | None] = iter(jobs)
        self._ahead = ahead
        self._on_settled = on_settled
        self._tasks: set[str] = set()
        self._is_paused = False
        self._is_over = False
        self._look_at: float | None = 0.0

    def wake(self) -> None:
        """There is something to take; any thread may call it."""
        os.eventfd_write(self.fd, 1)

    # -- the loop's side ----------------------------------------------------------

    def take(self, now: float, wall: float) -> None:
        """Offer jobs as long as the engine has room."""
        self._clear()
        self._look_at = now + _LOOK_SECONDS
        assert self.engine is not None  # set before the loop begins
        self.engine.is_yielding = not self.may_offer()
        if not (self._is_over or self._is_paused or self.engine.is_yielding):
            self._offer_some(now, self.engine)
        if self._is_over:
            self._clear_suspects(self.engine)

    @staticmethod
    def _clear_suspects(engine: Engine) -> None:
        """Nothing more runs or will run that could show the source to be well."""
        suspects = engine.dispatcher.count(State.PROVISIONAL)
        if suspects and suspects == len(engine.dispatcher.entries):
            engine.source_watch.settle_everything()

    def _offer_some(self, now: float, engine: Engine) -> None:
        for _ in range(_AT_ONCE):
            if engine.is_full or len(self._tasks) >= self._ahead:
                return
            try:
                job = next(self._jobs, self)
            except DcmirrorError as exc:
                self.error = exc
                self._is_over = True
                return
            if job is self or not isinstance(job, Job):
                self._is_over = job is self
                return
            self._tasks.add(job.task)
            self.offered += 1
            engine.offer(job)
        self._look_at = now  # there may be more, after the children had their say

    def _clear(self) -> None:
        try:
            os.eventfd_read(self.fd)
        except BlockingIOError:
            return

    def settled(self, settlements: list[Settlement]) -> None:
        """These outcomes are durable."""
        for settlement in settlements:
            self._tasks.discard(settlement.task)
            kind = settlement.kind
            self.outcomes[kind] = self.outcomes.get(kind, 0) + 1
        if self._on_settled is not None:
            self._on_settled(settlements)
        self.wake()

    def throttle(self, *, is_paused: bool) -> None:
        """Offer no more jobs, or go on."""
        self._is_paused = is_paused
        self.wake()

    def tick(self, now: float) -> None:
        """It has no due times but the next look."""

    def next_due(self) -> float | None:
        """When it looks again whether it may offer."""
        return None if self.is_exhausted else self._look_at

    def trouble(self, now: float) -> DcmirrorError | None:
        """An error of ``jobs`` ends them; what was offered is finished first."""
        return None

    @property
    def is_exhausted(self) -> bool:
        """Every job was offered and settled."""
        return self._is_over and not self._tasks

    @property
    def is_yielding(self) -> bool:
        """Whether other work goes first now."""
        return self.engine is not None and self.engine.is_yielding

    @property
    def ended(self) -> int:
        """Jobs that came to an end."""
        return sum(self.outcomes.values())

    @property
    def failed(self) -> int:
        """Jobs that were given up."""
        return self.outcomes.get("failed", 0)

    def status(self, now: float) -> dict[str, Any]:
        """What status.json says of the jobs."""
        return {
            "work": {
                "offered": self.offered,
                "ended": self.ended,
                "failed": self.failed,
                "yielding": self.is_yielding,
            }
        }

    def stop_intake(self) -> None:
        """Jobs that were not offered are found again by the next run."""
        self._is_over = True

    def close(self) -> None:
        """There is nothing to commit."""
