"""Tells what happens, once to the journal and once to the human log.

The supervisor's loop and engine call it.  Outcome lines are returned, since they become
durable with the outcome (the outbox); everything else goes to the journal at ``flush``.
"""

from __future__ import annotations

import functools
import itertools
import os
import socket
import time
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dcmirror import __version__
from dcmirror.adapters.catalogue import OutboxLine
from dcmirror.adapters.human_log import HumanLog
from dcmirror.adapters.journal import Journal
from dcmirror.core.dispatch import State
from dcmirror.core.events import StorageEvent
from dcmirror.core.failed_rows import FailedRow
from dcmirror.core.failures import Failure, FailureClass
from dcmirror.core.holds import Hold
from dcmirror.core.jobs import AttemptResult, Job, Origin, Step
from dcmirror.core.journal_events import Event, JournalEvents, Writer, render
from dcmirror.core.retry import Retry
from dcmirror.settings import Settings

if TYPE_CHECKING:
    from dcmirror.processes.engine import Engine, Tally


class Story:
    """One teller per supervisor; it owns no fact, only how each is told."""

    def __init__(
        self,
        journal: Journal,
        log: HumanLog,
        command: str,
        *,
        mirror: Path,
        instance: str,
    ) -> None:
        self._journal = journal
        self._log = log
        self._mirror = mirror
        self._command = command
        self._lines: list[str] = []
        self._trouble = False
        self._is_losing = False
        self._told_drops = 0
        self._id_space = uuid.uuid4().hex[:20]
        self._numbers = itertools.count()
        self._events = JournalEvents(
            Writer(
                socket.gethostname(),
                os.getpid(),
                f"dcmirror {command}",
                __version__,
                instance,
            )
        )

    def flush(self) -> None:
        """Bring what was told to the journal; what it cannot take it counts.

        Raises:
            BooksError: a required journal cannot be written; nothing is forgotten.
        """
        self._tell_drops()
        if self._lines:
            self._journal.append(self._lines)
            self._lines = []
        self._journal.tick(time.monotonic())

    def flush_log(self) -> None:
        """Write what the human log was told in this pass of the loop."""
        self._log.flush()

    def close(self) -> None:
        """The end: journal and log are durable as far as they can be."""
        self._journal.close()
        self._log.flush()

    @property
    def journal_dropped(self) -> int:
        """Lines that the journal could not take, or keep, so far."""
        return self._journal.dropped

    def _tell_drops(self) -> None:
        """Once, when it can be written again."""
        journal = self._journal
        if journal.trouble is not None and not self._is_losing:
            self._is_losing = True
            text = f"{journal.trouble}; events are lost until it can be written"
            self._log.line("NOTE", text, level="error")
        dropped = journal.dropped - self._told_drops
        if dropped and journal.trouble is None:
            self._is_losing = False
            self._told_drops = journal.dropped
            self._tell(self._events.journal_dropped(time.time(), dropped))
            text = f"{dropped} journal lines were lost"
            self._log.line("NOTE", text, level="warning")

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
            self._tell(self._events.transfer_step(step))
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
            time.time(), job, failure, delay=decision.delay, result=result
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
            path=event.billing_path,
            pnfsid=event.pnfsid,
            event_type=event.msg_type,
            session=event.session,
            event_id=event_id,
        )
        text = f"{event.billing_path}: {reason} {detail}".rstrip()
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

    # -- records and Kafka --------------------------------------------------------

    def garbage(self, origin: Origin, reason: str, excerpt: str) -> None:
        """A record is no dCache event."""
        event = self._events.event_rejected(
            time.time(), origin, reason, excerpt=excerpt
        )
        self._tell(event)
        where = f"{origin.topic}[{origin.partition}]@{origin.offset}"
        self._log.line("REJECTED", f"{where}: {reason}", level="warning")

    def assigned(self, topic: str, partition: int, epoch: int, start: int) -> None:
        """A partition is ours."""
        event = self._events.rebalance(time.time(), topic, [partition], "assigned")
        self._tell(event)
        text = f"partition {partition} is ours from offset {start} on (epoch {epoch})"
        self._log.line("KAFKA", text)

    def revoked(self, topic: str, partitions: Sequence[int], *, lost: bool) -> None:
        """Partitions went to somebody else."""
        reason = "lost" if lost else "revoked"
        self._tell(self._events.rebalance(time.time(), topic, partitions, reason))
        listed = ", ".join(map(str, partitions))
        self._log.line("KAFKA", f"partitions {listed} {reason}")

    def offsets_lost(self, topic: str, partition: int, wanted: int, first: int) -> None:
        """Records were gone before they could be read."""
        event = self._events.offsets_lost(time.time(), topic, partition, wanted, first)
        self._tell(event)
        text = (
            f"offsets-lost: partition {partition} has no records from {wanted} to "
            f"{first} any more; run reconcile"
        )
        self._log.line("KAFKA", text, level="error")

    def intake_trouble(self, text: str) -> None:
        """Kafka is away, or back."""
        if text or self._trouble:
            self._tell(self._events.intake_trouble(time.time(), text))
            level = "warning" if text else "info"
            self._log.line("KAFKA", text or "Kafka answers again", level=level)
        self._trouble = bool(text)

    # -- the daemon ---------------------------------------------------------------

    def hold_began(self, hold: Hold) -> None:
        """Work waits for a cause."""
        event = self._events.hold_began(
            time.time(), hold.key.kind.value, hold.key.host, hold.cause
        )
        self._tell(event)
        text = f"{hold.key}: {hold.cause}; work waits, nothing is charged"
        self._log.line("HOLD", text, level="warning")

    def hold_ended(self, hold: Hold, now: float) -> None:
        """The cause is gone."""
        seconds = now - hold.since
        event = self._events.hold_ended(
            time.time(), hold.key.kind.value, hold.key.host, hold.cause, seconds
        )
        self._tell(event)
        self._log.line("HOLD_OVER", f"{hold.key}: over after {seconds:.0f} s")

    def child_started(self, name: str, pid: int) -> None:
        """A child process runs."""
        self._tell(self._events.child_started(time.time(), name, pid))
        self._log.line("CHILD", f"{name} started, pid {pid}", level="debug")

    def child_died(self, name: str, why: str, jobs: Sequence[Job]) -> None:
        """A child is gone, with what it had in hand."""
        tasks = [job.task for job in jobs]
        self._tell(self._events.child_died(time.time(), name, why, tasks))
        had = f"; had {' '.join(tasks)}" if tasks else ""
        self._log.line("CHILD", f"{name} died: {why}{had}", level="warning")

    def child_is_silent(self, name: str, seconds: float) -> None:
        """A child lives but does not beat: it is ended."""
        self._tell(self._events.child_silent(time.time(), name, seconds))
        text = f"{name} has been silent for {seconds:.0f} s; ending it"
        self._log.line("CHILD", text, level="warning")

    def started(self, settings: Settings) -> None:
        """The first line of a run."""
        dcache, kafka = settings.dcache, settings.kafka
        text = (
            f"dcmirror {__version__} {self._command}: {kafka.topic} at "
            f"{', '.join(kafka.servers)} as {kafka.consumergroup}; "
            f"{dcache.url} below {dcache.folder} to {self._mirror}"
        )
        self._tell(self._events.watch_started(time.time(), text))
        self._log.line("START", text)

    def draining(self, running: int, seconds: float) -> None:
        """The end began."""
        self._tell(self._events.watch_stopping(time.time(), "drain", running))
        text = f"stopping: {running} transfers have {seconds:.0f} s to finish"
        self._log.line("STOP", text)

    def stopped(self, tally: Tally) -> None:
        """The last line of a run."""
        counts = tally.counts()
        self._tell(self._events.watch_stopped(time.time(), "drained", counts))
        named = ", ".join(f"{number} {name}" for name, number in counts.items())
        self._log.line("STOP", f"stopped: {named}")

    def health(
        self, engine: Engine, streams: int, lag: dict[int, int], topic: str
    ) -> None:
        """A sample for the dashboards, one more for each partition's lag."""
        dispatcher, tally = engine.dispatcher, engine.tally
        sample = functools.partial(
            self._events.health,
            time.time(),
            busy=dispatcher.count(State.OUT),
            total=streams,
            ready=dispatcher.count(State.READY),
            waiting=dispatcher.count(State.WAITING),
            counts=tally.counts(),
            dropped=self._journal.dropped,
        )
        self._tell(sample())
        for partition, behind in lag.items():
            self._tell(sample(topic=topic, partition=partition, lag=behind))

    def note(self, text: str, *, level: str = "info") -> None:
        """Anything else an operator should read."""
        self._tell(self._events.note(time.time(), text, level))
        self._log.line("NOTE", text, level=level)

    def _tell(self, event: Event) -> None:
        self._lines.append(render(event))

    def _new_id(self) -> str:
        """Unique over all runs: random for the process, counted within it."""
        return f"{self._id_space}{next(self._numbers):012x}"
