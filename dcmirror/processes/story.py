"""Tells what happens, once to the journal and once to the human log.

The supervisor's loop and engine call it.  Outcome lines are returned, since they become
durable with the outcome (the outbox); everything else goes to the journal at ``flush``.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from dcmirror.adapters.catalogue import OutboxLine
from dcmirror.core.events import StorageEvent
from dcmirror.core.failed_rows import FailedRow
from dcmirror.core.failures import Failure, FailureClass
from dcmirror.core.jobs import AttemptResult, Job, Origin, Step
from dcmirror.core.journal_events import render
from dcmirror.core.journal_table import PROGRESS_STEPS
from dcmirror.core.journal_values import Value
from dcmirror.core.retry import Retry
from dcmirror.processes.daemon_story import DaemonStory


class Story(DaemonStory):
    """One teller per supervisor; it owns no fact, only how each is told."""

    # -- jobs ---------------------------------------------------------------------

    def upload(self, job: Job) -> None:
        """A job was taken in."""
        self._tell(self._events.upload_seen(time.time(), job))
        if job.origin is not None:
            text = f"New file on partition {job.origin.partition} : {job.path}"
        else:
            text = f"New file : {job.path}"
        self._log.line("UPLOAD", text, job.task)

    def steps(self, steps: Iterable[Step]) -> None:
        """Lines of running transfers."""
        for step in steps:
            is_progress = step.name in PROGRESS_STEPS
            value = Value.PROGRESS if is_progress else Value.STARTED
            self._tell_line(self._events.step_line(step), value)
            self._log.line(step.name.upper(), step.text, step.task)

    def running(self, tasks: Sequence[str]) -> None:
        """The ancestor's list of what runs."""
        listed = " ".join(tasks)
        self._log.line("CURRENTLY_RUNNING", f"{len(tasks)} running tasks: [{listed}]")

    def retry(
        self, job: Job, failure: Failure, decision: Retry, result: AttemptResult
    ) -> None:
        """An attempt failed and will be repeated."""
        event = self._events.transfer_retry(
            time.time(),
            job,
            failure,
            delay=decision.delay,
            charged=decision.charged,
            result=result,
        )
        self._tell(event)
        text = (
            f"{job.path}: {failure.failure_class.value}: {failure.message}; "
            f"again in {decision.delay:.1f} s (attempt {job.attempt}"
            f"{'' if decision.charged else ', not charged'})"
        )
        self._log.line("COPY_RETRY", text, job.task, level="warning")

    def disowned(self, job: Job, result: AttemptResult) -> None:
        """An attempt ended after its partition had gone to another instance."""
        reason = "its partition belongs to another instance now"
        event = self._events.transfer_parked(
            time.time(), job, reason, failure=result.failure, result=result
        )
        self._tell(event)
        self._log.line("COPY_LEFT", f"{job.path}: {reason}", job.task)

    # -- outcomes -----------------------------------------------------------------

    def mirrored(self, job: Job, result: AttemptResult, *, is_old: bool) -> OutboxLine:
        """A good copy is there; ``is_old``: the books knew it already."""
        if not result.bytes_received and result.kind.value == "adopted":
            text = f"{job.path}: already mirrored"
            self._log.line("COPY_SKIP", text, job.task)
        return self._outcome(job, result, reason="already-mirrored" if is_old else None)

    def skipped(self, job: Job, reason: str) -> OutboxLine:
        """A job is settled without a copy of its own."""
        self._log.line("COPY_SKIP", f"{job.path}: {reason}", job.task)
        return self._outcome(job, None, reason=reason)

    def skipped_event(
        self, task: str, origin: Origin, event: StorageEvent, reason: str, detail: str
    ) -> OutboxLine:
        """A record below the folder needs no copy."""
        event_id = self._new_id()
        document = self._events.event_skipped(
            time.time(),
            origin,
            reason,
            task=task,
            event=event,
            event_id=event_id,
        )
        text = f"{event.path}: {reason} {detail}".rstrip()
        self._log.line("SKIP", text, task, level="debug")
        return OutboxLine(event_id, render(document))

    def failed(
        self,
        job: Job,
        failure_class: FailureClass,
        failure: Failure,
        result: AttemptResult | None,
        wall: float,
    ) -> tuple[OutboxLine, FailedRow]:
        """A job is given up: its line and its row of failed.csv."""
        text = f"{job.path}: {failure_class.value}: {failure.message}"
        self._log.line("COPY_FAILED", text, job.task, level="error")
        event_id = self._new_id()
        document = self._events.transfer_finished(
            time.time(),
            job,
            result,
            failure=failure,
            failure_class=failure_class,
            event_id=event_id,
        )
        line = OutboxLine(event_id, render(document))
        return line, self._row(job, failure_class, failure, wall)

    def _row(
        self, job: Job, failure_class: FailureClass, failure: Failure, wall: float
    ) -> FailedRow:
        origin = job.origin
        return FailedRow(
            time=wall,
            task=job.task,
            path=job.path,
            url=job.url,
            destination=str(self._mirror / job.relative) if job.relative else "",
            failure_class=failure_class.value,
            error=failure.message,
            http_status=failure.http_status,
            curl_code=failure.curl_code,
            attempts=job.attempt,
            size=job.size,
            received=failure.received,
            adler32_expected=failure.adler32_expected,
            adler32_computed=failure.adler32_computed,
            pnfsid=job.pnfsid,
            door=job.door,
            pool=job.pool,
            topic=origin.topic if origin else None,
            partition=origin.partition if origin else None,
            offset=origin.offset if origin else None,
            event_time=job.event_time,
        )

    def _outcome(
        self, job: Job, result: AttemptResult | None, *, reason: str | None
    ) -> OutboxLine:
        event_id = self._new_id()
        document = self._events.transfer_finished(
            time.time(), job, result, reason=reason, event_id=event_id
        )
        return OutboxLine(event_id, render(document))
