"""Journal events of records and transfers.

The supervisor's story calls it.
"""

from __future__ import annotations

from dcmirror.core.failures import Failure, FailureClass
from dcmirror.core.jobs import AttemptResult, Job, Origin, Step
from dcmirror.core.journal_document import Event, EventMaker
from dcmirror.core.journal_fields import (
    attempt_fields,
    classified_fields,
    copy_fields,
    failure_fields,
    job_fields,
    outcome_state,
    record_fields,
)


class TransferEvents(EventMaker):
    """What becomes of records and jobs."""

    def upload_seen(self, at: float, job: Job) -> Event:
        """A record became a job."""
        return self.make("upload-seen", at, f"upload {job.path}", job_fields(job))

    def event_skipped(
        self,
        at: float,
        origin: Origin | None,
        reason: str,
        *,
        task: str | None = None,
        path: str | None = None,
        pnfsid: str | None = None,
        event_type: str | None = None,
        session: str | None = None,
        event_id: str | None = None,
    ) -> Event:
        """A record of ours that needs no copy."""
        fields = record_fields(origin, reason, task, path, pnfsid, event_type, session)
        fields |= {"event.outcome": "success"}
        message = f"skipped ({reason}) {path or ''}".rstrip()
        return self.make("event-skipped", at, message, fields, event_id)

    def event_rejected(
        self,
        at: float,
        origin: Origin | None,
        reason: str,
        *,
        task: str | None = None,
        path: str | None = None,
        pnfsid: str | None = None,
        event_type: str | None = None,
        session: str | None = None,
        excerpt: str | None = None,
        event_id: str | None = None,
    ) -> Event:
        """A record that is garbage, or whose path is unsafe."""
        fields = record_fields(origin, reason, task, path, pnfsid, event_type, session)
        fields |= {"event.outcome": "failure", "dcmirror.kafka.excerpt": excerpt}
        return self.make("event-rejected", at, f"rejected: {reason}", fields, event_id)

    def transfer_step(self, step: Step) -> Event:
        """A line of a transfer's story."""
        fields = {
            "dcmirror.transfer.id": step.task,
            "dcmirror.transfer.step": step.name,
        }
        return self.make("transfer-step", step.at, step.text, fields)

    def transfer_retry(
        self,
        at: float,
        job: Job,
        failure: Failure,
        *,
        delay: float,
        attempts_max: int | None = None,
        result: AttemptResult | None = None,
    ) -> Event:
        """An attempt failed; the next one is due after ``delay`` seconds."""
        fields = (
            job_fields(job)
            | attempt_fields(result, self.host)
            | failure_fields(failure)
        )
        fields |= {
            "event.outcome": "failure",
            "dcmirror.transfer.retry_in_ms": round(delay * 1000),
            "dcmirror.transfer.attempts_max": attempts_max,
        }
        message = f"attempt {job.attempt} failed, next in {delay:.1f} s: {job.path}"
        return self.make("transfer-retry", at, message, fields)

    def transfer_parked(
        self,
        at: float,
        job: Job,
        reason: str,
        *,
        failure: Failure | None = None,
        result: AttemptResult | None = None,
    ) -> Event:
        """An attempt came back uncharged: a hold, a stop, somebody else's part."""
        fields = job_fields(job) | attempt_fields(result, self.host)
        fields |= failure_fields(failure) if failure else {}
        fields |= {"event.reason": reason}
        return self.make("transfer-parked", at, f"{reason}: {job.path}", fields)

    def transfer_finished(
        self,
        at: float,
        job: Job,
        result: AttemptResult | None,
        *,
        failure: Failure | None = None,
        failure_class: FailureClass | None = None,
        reason: str | None = None,
        attempts_max: int | None = None,
        event_id: str | None = None,
    ) -> Event:
        """The job's one outcome: failed with a failure, skipped, or mirrored."""
        fields = job_fields(job) | attempt_fields(result, self.host)
        fields |= (
            copy_fields(job, result, at) if failure is None else failure_fields(failure)
        )
        if failure_class is not None:  # what it became: not-there-yet ends as gone
            fields |= classified_fields(failure_class)
        state = outcome_state(result, failure, reason)
        fields |= {
            "event.outcome": "success" if failure is None else "failure",
            "event.reason": reason or (result.reason if result else None),
            "dcmirror.transfer.state": state,
            "dcmirror.transfer.attempts_max": attempts_max,
        }
        level = "error" if failure is not None else None
        message = f"{state} {job.path}"
        return self.make("transfer-finished", at, message, fields, event_id, level)
