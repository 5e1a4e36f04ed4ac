"""How jobs end: each is counted, told and handed to the settler, once.

The engine and the reception of records call it.
"""

from __future__ import annotations

from dcmirror.core.events import StorageEvent
from dcmirror.core.failures import Failure, FailureClass
from dcmirror.core.jobs import (
    AttemptResult,
    CopyRecord,
    Job,
    JobKind,
    Origin,
    ResultKind,
)
from dcmirror.core.tally import Cover, Tally
from dcmirror.processes.settler import Settlement, Settler
from dcmirror.processes.story import Story


class Endings:
    """The only way from a job, or a record that is none, to a settlement."""

    def __init__(self, tally: Tally, story: Story, settler: Settler) -> None:
        self._tally = tally
        self._story = story
        self._settler = settler

    def mirrored(self, job: Job, result: AttemptResult) -> None:
        """A good copy is there; one that the catalogue knew already is a skip."""
        copy = result.copy
        is_old = result.kind is ResultKind.ADOPTED and _same(job.known, copy)
        if is_old:
            kind = "skipped:already-mirrored"
            self._tally.take_skip("already-mirrored")
        else:
            kind = "mirrored"
            if copy is not None:
                self._tally.take_copy(result, copy)
        line = self._story.mirrored(job, result, is_old=is_old)
        settlement = Settlement(
            job.task,
            kind,
            job.origin,
            None if is_old else copy,
            line=line,
            is_adopted=result.kind is ResultKind.ADOPTED,
        )
        self._settler.add(settlement)

    def skipped(self, job: Job, reason: str) -> None:
        """The job needs no attempt, or no other one."""
        self._tally.take_skip(reason)
        line = self._story.skipped(job, reason)
        self._settler.add(
            Settlement(job.task, f"skipped:{reason}", job.origin, line=line)
        )

    def covered(self, job: Job, reason: Cover) -> None:
        """Its record needs no outcome of its own, and so no line.

        The books call it skipped, since each offset must have an outcome.
        """
        self._tally.take_cover(reason)
        self._settler.add(Settlement(job.task, f"skipped:{reason.value}", job.origin))

    def event_skipped(
        self, task: str, origin: Origin, event: StorageEvent, reason: str, detail: str
    ) -> None:
        """A record below the folder is no work."""
        self._tally.take_skip(reason)
        line = self._story.skipped_event(task, origin, event, reason, detail)
        self._settler.add(Settlement(task, f"skipped:{reason}", origin, line=line))

    def failed(
        self,
        job: Job,
        failure_class: FailureClass,
        failure: Failure,
        result: AttemptResult | None,
        wall: float,
    ) -> None:
        """The job is given up: a row of failed.csv."""
        self._tally.failed += 1
        counts = self._tally.failures
        counts[failure_class.value] = counts.get(failure_class.value, 0) + 1
        line, row = self._story.failed(job, failure_class, failure, result, wall)
        self._settler.add(
            Settlement(job.task, "failed", job.origin, row=row, line=line)
        )

    def event_refused(
        self,
        task: str,
        origin: Origin,
        event: StorageEvent,
        failure: Failure,
        wall: float,
    ) -> None:
        """An upload can have no safe destination: a row of failed.csv."""
        job = Job(
            task=task,
            kind=JobKind.TRIGGER,
            path=event.path or "",
            relative="",
            url="",
            size=event.file_size,
            pnfsid=event.pnfsid,
            event_time=event.event_time,
            accepted_at=wall,
            origin=origin,
        )
        self.failed(job, failure.failure_class, failure, None, wall)


def _same(known: CopyRecord | None, copy: CopyRecord | None) -> bool:
    """Whether the catalogue has this very copy already."""
    return (
        known is not None
        and copy is not None
        and (known.pnfsid, known.size, known.adler32, known.mtime_ns, known.verified)
        == (copy.pnfsid, copy.size, copy.adler32, copy.mtime_ns, copy.verified)
    )
