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
    is_plain,
    render,
    time_text,
)
from dcmirror.core.journal_fields import (
    attempt_fields,
    copy_fields,
    failure_fields,
    job_fields,
    merged,
    origin_fields,
    outcome_state,
    record_fields,
    total_milliseconds,
)


class TransferEvents(EventMaker):
    """What becomes of records and jobs."""

    def upload_seen(self, at: float, job: Job) -> Event:
        """A record became a job."""
        return self.compose("upload-seen", at, f"upload {job.path}", job_fields(job))

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
        fields["event"] = {"reason": reason, "outcome": "success"}
        path = event.path if event else None
        message = f"skipped ({reason}) {path or ''}".rstrip()
        return self.compose("event-skipped", at, message, fields, event_id)

    def event_rejected(
        self,
        at: float,
        origin: Origin | None,
        reason: str,
        *,
        excerpt: str | None = None,
    ) -> Event:
        """A record that is garbage."""
        fields = merged(
            origin_fields(origin),
            {
                "event": {"reason": reason, "outcome": "failure"},
                "dcmirror.kafka": {"excerpt": excerpt},
            },
        )
        message = f"rejected: {reason}"
        return self.compose("event-rejected", at, message, fields)

    def transfer_step(self, step: Step) -> Event:
        """A line of a transfer's story."""
        fields = {
            "dcmirror.transfer.id": step.task,
            "dcmirror.transfer.step": step.name,
        }
        return self.make("transfer-step", step.at, step.text, fields)

    def step_line(self, step: Step) -> str:
        """The same, rendered: four for each small file, so it has a way of its own."""
        text = without_secrets(step.text)
        if not is_plain(step.task + step.name + text):
            return render(self.transfer_step(step))
        head, before_text, before_number, tail = self._step_template
        return (
            f"{head}{time_text(step.at)}{before_text}{text}"
            f"{before_number}{next(self._sequence)}{tail}"
            f'"transfer":{{"id":"{step.task}","step":"{step.name}"}}}}}}'
        )

    @functools.cached_property
    def _step_template(self) -> tuple[str, str, str, str]:
        """What ``transfer_step`` renders around time, message and sequence."""
        event = self.make("transfer-step", 0.0, "", {})
        number = f'"sequence":{event["event"]["sequence"]}'
        head, rest = render(event).split(time_text(0.0), 1)
        before_text, rest = rest.split('"message":""', 1)
        before_number, tail = rest.split(number, 1)
        open_tail = tail[: -len("}}")]  # of the document and of "dcmirror", its last
        return (
            head,
            f'{before_text}"message":"',
            f'"{before_number}"sequence":',
            f"{open_tail},",
        )

    def transfer_retry(
        self,
        at: float,
        job: Job,
        failure: Failure,
        *,
        delay: float,
        charged: bool = True,
        result: AttemptResult | None = None,
    ) -> Event:
        """An attempt failed; the next one is due after ``delay`` seconds."""
        retry = {"retry_in_ms": round(delay * 1000), "charged": charged}
        fields = merged(
            job_fields(job),
            attempt_fields(result, self.host),
            failure_fields(failure, None),
            {"dcmirror.transfer": retry},
        )
        message = f"attempt {job.attempt} failed, next in {delay:.1f} s: {job.path}"
        return self.compose("transfer-retry", at, message, fields)

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
        fields = merged(
            job_fields(job),
            attempt_fields(result, self.host),
            failure_fields(failure, None) if failure else {},
            {"event": {"reason": reason}},
        )
        return self.compose("transfer-parked", at, f"{reason}: {job.path}", fields)

    def transfer_finished(
        self,
        at: float,
        job: Job,
        result: AttemptResult | None,
        *,
        failure: Failure | None = None,
        failure_class: FailureClass | None = None,
        reason: str | None = None,
        event_id: str | None = None,
    ) -> Event:
        """The job's one outcome: failed with a failure, skipped, or mirrored."""
        state = outcome_state(result, failure, reason)
        fields = merged(
            job_fields(job),
            attempt_fields(result, self.host),
            copy_fields(job, result, at)
            if failure is None
            else failure_fields(failure, failure_class),
            {
                "event": {"reason": reason or (result.reason if result else None)},
                "dcmirror.transfer": {
                    "state": state,
                    "total_ms": total_milliseconds(job, at),
                },
            },
        )
        level = "error" if failure is not None else None
        message = f"{state} {job.path}"
        return self.compose("transfer-finished", at, message, fields, event_id, level)
