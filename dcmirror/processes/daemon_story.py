"""What is told of records, Kafka, holds, children and the daemon itself."""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence
from dataclasses import replace

from dcmirror import __version__
from dcmirror.core.dispatch import Dispatcher
from dcmirror.core.entries import State
from dcmirror.core.holds import Hold
from dcmirror.core.jobs import Job, Origin
from dcmirror.core.journal_daemon import DaemonState
from dcmirror.core.tally import Tally
from dcmirror.processes.teller import Teller
from dcmirror.settings import Settings


class DaemonStory(Teller):
    """Everything that is not one job's story."""

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
        self,
        dispatcher: Dispatcher,
        tally: Tally,
        streams: int,
        lag: dict[int, int],
        topic: str,
        *,
        holds: int | None = None,
        credential_left: float | None = None,
        state: DaemonState | None = None,
    ) -> None:
        """A sample for the dashboards; one more for each partition's lag, each host."""
        sample = functools.partial(
            self._events.health,
            time.time(),
            busy=dispatcher.count(State.OUT),
            total=streams,
            ready=dispatcher.count(State.READY),
            waiting=dispatcher.count(State.WAITING),
            counts=tally.counts() | {"bytes": tally.bytes_mirrored},
            holds=holds,
            credential_left=credential_left,
        )
        lag_total = sum(lag.values()) if lag else None
        whole = self._with_spool(state or DaemonState())
        self._tell(sample(lag_total=lag_total, state=whole))
        for partition, behind in lag.items():
            self._tell(sample(topic=topic, partition=partition, lag=behind))
        for use in tally.hosts.plain():
            self._tell(self._events.host_use(time.time(), *use.values()))

    def _with_spool(self, state: DaemonState) -> DaemonState:
        """How the journal is, and how far its shipping."""
        journal, report = self._journal, self._read_shipping()
        state = replace(
            state, spool_bytes=journal.size(), dropped=dict(journal.dropped_by_kind)
        )
        if report is None:
            return state
        return replace(
            state,
            behind_bytes=report.behind_bytes,
            spool_age_s=report.oldest_age_s or 0.0,
            shipping=report.state,
            dead_letters=report.dead_letters,
        )

    def reconfigured(self, text: str) -> None:
        """HUP was taken, or a credential is another one."""
        self._tell(self._events.configuration_changed(time.time(), text))
        self._log.line("NOTE", text)

    def note(self, text: str, *, level: str = "info") -> None:
        """Anything else an operator should read."""
        self._tell(self._events.note(time.time(), text, level))
        self._log.line("NOTE", text, level=level)
