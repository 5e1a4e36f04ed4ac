"""Final failures that wait to learn whether the source itself is ill.

The engine asks it before it settles a class that a wrong ``pool``, lost rights or a
door without its namespace would give to every file.
"""

from __future__ import annotations

from collections.abc import Callable

from dcmirror.core.dispatch import Dispatcher
from dcmirror.core.entries import Entry
from dcmirror.core.failures import Failure, FailureClass
from dcmirror.core.holds import Provisional, SourceSuspicion
from dcmirror.core.jobs import AttemptResult
from dcmirror.processes.hold_desk import HoldDesk

Settle = Callable[[Entry, FailureClass, Failure, AttemptResult], None]


class SourceWatch:
    """The provisional failures of one engine."""

    def __init__(
        self, dispatcher: Dispatcher, hold_desk: HoldDesk, settle: Settle
    ) -> None:
        self._dispatcher = dispatcher
        self._hold_desk = hold_desk
        self._settle = settle
        self._suspicion = SourceSuspicion()
        self._verdicts: dict[str, tuple[FailureClass, Failure, AttemptResult]] = {}

    def suspect(
        self,
        entry: Entry,
        failure_class: FailureClass,
        failure: Failure,
        result: AttemptResult,
        now: float,
    ) -> None:
        """Keep a failure unsettled; with the tenth of its kind the source is held."""
        task = entry.job.task
        self._verdicts[task] = (failure_class, failure, result)
        self._dispatcher.suspend(entry)
        streak = self._suspicion.failed(
            Provisional(task, entry.job.relative, failure_class, result.ended_at, now)
        )
        if streak is not None:
            self._hold(streak, failure, now)

    def answered(self, started_at: float) -> None:
        """An attempt that began then succeeded: what failed before is settled."""
        self._settle_all(self._suspicion.succeeded(started_at))

    def settle_due(self, now: float) -> None:
        """Settle the failures that waited long enough."""
        self._settle_all(self._suspicion.expired(now))

    def settle_everything(self) -> None:
        """Nothing more will come that could clear them."""
        self._settle_all(self._suspicion.everything())

    def forget(self, task: str) -> None:
        """The job is settled, or no longer ours."""
        self._suspicion.forget(task)
        self._verdicts.pop(task, None)

    def _hold(self, streak: list[str], failure: Failure, now: float) -> None:
        """The ten go back to the queue, and end as they end the next time."""
        cause = (
            f"{len(streak)} different files in a row: {failure.message}; "
            "is the pool/url pair right, is the namespace there?"
        )
        self._hold_desk.begin(self._hold_desk.source_key, cause, now)
        for task in streak:
            self._verdicts.pop(task, None)
            entry = self._dispatcher.entries[task]
            entry.past_source_hold = True
            self._dispatcher.ready_again(entry, since=now)

    def _settle_all(self, tasks: list[str]) -> None:
        for task in tasks:
            failure_class, failure, result = self._verdicts.pop(task)
            entry = self._dispatcher.entries[task]
            self._settle(entry, failure_class, failure, result)
