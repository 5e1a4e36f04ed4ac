"""Journal events of records and transfers.

The supervisor's story calls it.
"""

from __future__ import annotations

import functools

from dcmirror.core.escapes import without_secrets
from dcmirror.core.events import StorageEvent
from dcmirror.core.failures import Failure, FailureClass
from dcmirror.core.jobs import AttemptResult, Job, Origin, Step
from dcmirror.core.journal_document import (
    Event,
    EventMaker,
    render,
    text_json,
    time_text,
)
from dcmirror.core.journal_fields import (
    attempt_fields,
    classified_fields,
    copy_fields,
    failure_fields,
    job_fields,
    origin_fields,
    outcome_state,
    record_fields,
    total_milliseconds,
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
        event: StorageEvent | None = None,
        event_id: str | None = None,
    ) -> Event:
        """A record of ours that needs no copy."""
        fields = record_fields(origin, task, event)
        fields |= {"event.reason": reason, "event.outcome": "success"}
        path = event.billing_path if event else None
        message = f"skipped ({reason}) {path or ''}".rstrip()
        return self.make("event-skipped", at, message, fields, event_id)

    def event_rejected(
        self,
        at: float,
        origin: Origin | None,
        reason: str,
        *,
        excerpt: str | None = None,
        event_id: str | None = None,
    ) -> Event:
        """A record that is garbage."""
        fields = origin_fields(origin) | {
            "event.reason": reason,
            "event.outcome": "failure",
            "dcmirror.kafka.excerpt": excerpt,
        }
        return self.make("event-rejected", at, f"rejected: {reason}", fields, event_id)

    def transfer_step(self, step: Step) -> Event:
        """A line of a transfer's story."""
        fields = {
            "dcmirror.transfer.id": step.task,
            "dcmirror.transfer.step": step.name,
        }
        return self.make("transfer-step", step.at, step.text, fields)

    def step_line(self, step: Step) -> str:
        """The same, rendered: four for each small file, so it has a way of its own."""
        head, log, tail = self._step_template
        task, name = text_json(step.task), text_json(step.name)
        text = text_json(without_secrets(step.text))
        return (
            f"{head}{time_text(step.at)}{log}{text}{tail}"
            f'"dcmirror":{{"transfer":{{"id":{task},"step":{name}}}}}}}'
        )

    @functools.cached_property
    def _step_template(self) -> tuple[str, str, str]:
        """What ``transfer_step`` renders around the time and the message."""
        empty = self.make("transfer-step", 0.0, "", {})
        whole = render(empty)
        head, rest = whole.split(time_text(0.0))
        log, tail = rest.split('"message":""')
        return head, f'{log}"message":', tail[:-1] + ","

    def transfer_retry(
        self,
        at: float,
        job: Job,
        failure: Failure,
        *,
        delay: float,
        charged: bool = True,
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
            "dcmirror.transfer.charged": charged,
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
            "dcmirror.transfer.total_ms": total_milliseconds(job, at),
        }
        level = "error" if failure is not None else None
        message = f"{state} {job.path}"
        return self.make("transfer-finished", at, message, fields, event_id, level)
