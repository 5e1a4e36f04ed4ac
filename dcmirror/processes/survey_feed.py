"""Brings what a survey finds to the engine: one thread compares, the loop copies.

The jobs wait in a short queue: when it is full the comparison waits, and with it the
listing, so that memory stays flat however much is missing.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator

from dcmirror.adapters.findings import FindingStore
from dcmirror.core.jobs import Job
from dcmirror.processes.listing_feed import JobsFeed, always
from dcmirror.processes.outstanding import Outstanding
from dcmirror.processes.settler import Settlement

#: Jobs between the thread that compares and the engine.
_QUEUED = 1000
#: Jobs that the engine has at a time: few, so that it can yield soon.
_AHEAD = 500
_LOOK_SECONDS = 0.2


class JobQueue:
    """Jobs from one thread to the loop; an iterator that never waits."""

    def __init__(self, stop: threading.Event) -> None:
        self.wake: Callable[[], None] = lambda: None
        self._queue: queue.Queue[Job] = queue.Queue(_QUEUED)
        self._stop = stop
        self._is_over = False
        self._error: BaseException | None = None

    def put(self, job: Job) -> None:
        """Hand a job over; waits while there are many, unless told to stop."""
        while not self._stop.is_set():
            try:
                self._queue.put(job, timeout=_LOOK_SECONDS)
                break
            except queue.Full:
                continue
        self.wake()

    def end(self, error: BaseException | None = None) -> None:
        """No more will come; ``error`` is what ended them."""
        self._error = error
        self._is_over = True
        self.wake()

    def __iter__(self) -> Iterator[Job | None]:
        return self

    def __next__(self) -> Job | None:
        is_over = self._is_over  # looked at first: what was put before is in the queue
        try:
            return self._queue.get_nowait()
        except queue.Empty:
            pass
        if not is_over:
            return None
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        raise StopIteration


class SurveyFeed(JobsFeed):
    """The feed of ``reconcile``: runs ``survey`` in a thread of its own.

    Args:
        survey: compares everything and puts jobs into ``jobs``.
        outstanding: the jobs under way, by directory.
    """

    def __init__(
        self,
        survey: Callable[[], None],
        jobs: JobQueue,
        outstanding: Outstanding,
        store: FindingStore,
        stop: threading.Event,
        *,
        may_offer: Callable[[], bool] = always,
    ) -> None:
        super().__init__(jobs, ahead=_AHEAD, may_offer=may_offer, on_settled=self._note)
        jobs.wake = self.wake
        self._survey = survey
        self._queue = jobs
        self._outstanding = outstanding
        self._store = store
        self._stop = stop
        self.is_closed = False
        self.was_stopped = False
        self._thread: threading.Thread | None = None

    def take(self, now: float, wall: float) -> None:
        """Begin with the first call; then offer what was found."""
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._run, name="survey", daemon=True
            )
            self._thread.start()
        super().take(now, wall)

    def _run(self) -> None:
        try:
            self._survey()
        except BaseException as exc:  # noqa: BLE001 - the loop gets it
            self._queue.end(exc)
        else:
            self._queue.end()

    def _note(self, settlements: list[Settlement]) -> None:
        """First what became of each, then that its directory has one job less."""
        tasks = self._outstanding.tasks_of(each.task for each in settlements)
        outcomes = [
            (tasks[each.task].path, outcome_of(each))
            for each in settlements
            if each.task in tasks
        ]
        if outcomes:
            self._store.conclude(outcomes)
            self._outstanding.settle(tasks)

    def stop_intake(self) -> None:
        """The next run goes on where this one is left."""
        super().stop_intake()
        self.was_stopped = True
        self._stop.set()

    def close(self) -> None:
        """The thread ends within a second or two."""
        if self._thread is not None:
            self._thread.join(timeout=5.0)
        self.is_closed = True


def outcome_of(settlement: Settlement) -> str:
    """One word for the report."""
    if settlement.kind != "mirrored":
        return settlement.kind.removeprefix("skipped:")
    return "adopted" if settlement.is_adopted else "copied"
