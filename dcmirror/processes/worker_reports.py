"""What the supervisor hears from a worker: results soon, progress each second.

A worker runs this.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from multiprocessing.connection import Connection

from dcmirror.adapters.room import Room
from dcmirror.core import wire
from dcmirror.core.jobs import AttemptResult, Progress, Step
from dcmirror.core.messages import FromWorker, Report, SourceState
from dcmirror.core.wording import size_text
from dcmirror.processes.worker_attempts import Run
from dcmirror.tasks.copy import CopyAttempt

_BEAT_SECONDS = 1.0
#: Results gather that long while there is more to do; idle, they leave at once.
_GATHER_SECONDS = 0.02
_GATHER_RESULTS = 32
_COPY_RUN_SECONDS = 10.0


class Reports:
    """Gathers what the next report will say, and sends it.

    ``steps`` are for anybody to add to.  ``is_cut_off``: nobody listens any more.
    """

    def __init__(
        self,
        outbox: Connection,
        room: Room,
        clock: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self.steps: list[Step] = []
        self.is_cut_off = False
        self._outbox = outbox
        self._room = room
        self._clock = clock
        self._wall = wall
        self._results: list[AttemptResult] = []
        self._results_since = 0.0
        self._beat_at = 0.0

    @property
    def due(self) -> float:
        """When a report is to be sent, on the monotonic clock."""
        if not self._results:
            return self._beat_at
        return min(self._beat_at, self._results_since + _GATHER_SECONDS)

    def ended(self, result: AttemptResult | SourceState) -> None:
        """What became of an attempt goes into the next report, of a probe at once."""
        if isinstance(result, SourceState):
            self.send(result)
            return
        if not self._results:
            self._results_since = self._clock()
        self._results.append(result)

    def is_due(self, now: float, *, may_gather: bool) -> bool:
        """Whether to report now."""
        if now >= self._beat_at:
            return True
        return bool(self._results) and (
            not may_gather
            or len(self._results) >= _GATHER_RESULTS
            or now - self._results_since >= _GATHER_SECONDS
        )

    def report(
        self, now: float, runs: Collection[Run], *, publishing: bool, leaving: bool
    ) -> None:
        """Send what has gathered; once a second with progress and space."""
        progress: tuple[Progress, ...] = ()
        free_bytes = total_bytes = None
        if now >= self._beat_at:
            self._beat_at = now + _BEAT_SECONDS
            self._tell_progress(now, runs)
            progress = _progress(runs)
            free_bytes, total_bytes = self._room.space()
        self.send(
            Report(
                results=tuple(self._results),
                steps=tuple(self.steps),
                progress=progress,
                free_bytes=free_bytes,
                total_bytes=total_bytes,
                publishing=publishing,
                leaving=leaving,
            )
        )
        self._results.clear()
        self.steps.clear()

    def send(self, message: FromWorker) -> None:
        """Say something at once."""
        try:
            self._outbox.send_bytes(wire.encode(message))
        except OSError:
            self.is_cut_off = True

    def _tell_progress(self, now: float, runs: Collection[Run]) -> None:
        """The ancestor's COPY_RUN, for files that take longer than a beat."""
        for run in runs:
            attempt, received = run.attempt, run.received
            if not received or not isinstance(attempt, CopyAttempt):
                continue
            if now - run.told_at >= _BEAT_SECONDS:
                run.told_at = now + _COPY_RUN_SECONDS - _BEAT_SECONDS
                text = f"Copying data to {attempt.target}.part, {size_text(received)}"
                task = attempt.job.task
                self.steps.append(Step(task, "copy_run", self._wall(), text))


def _progress(runs: Collection[Run]) -> tuple[Progress, ...]:
    return tuple(
        attempt.progress(run.received)
        for run in runs
        if isinstance(attempt := run.attempt, CopyAttempt)
    )
