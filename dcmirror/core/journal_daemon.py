"""Journal events of the daemon: holds, children, Kafka, its own beginning and end.

The supervisor's story calls it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from dcmirror.core.journal_document import Event, EventMaker, nanoseconds


class DaemonEvents(EventMaker):
    """How the daemon is."""

    def hold_began(self, at: float, kind: str, host: str, cause: str) -> Event:
        """Work of a kind waits."""
        fields = {
            "dcmirror.hold.kind": kind,
            "dcmirror.hold.host": host or None,
            "event.reason": cause,
        }
        message = f"hold {kind} {host}".rstrip() + f": {cause}"
        return self.make("hold-began", at, message, fields)

    def hold_ended(
        self, at: float, kind: str, host: str, cause: str, seconds: float
    ) -> Event:
        """It goes on."""
        fields = {
            "dcmirror.hold.kind": kind,
            "dcmirror.hold.host": host or None,
            "event.reason": cause,
            "event.duration": nanoseconds(seconds),
        }
        message = f"hold {kind} {host}".rstrip() + f" ended after {seconds:.0f} s"
        return self.make("hold-ended", at, message, fields)

    def child_started(self, at: float, name: str, pid: int) -> Event:
        """A child runs."""
        fields = {"dcmirror.worker.id": name, "dcmirror.worker.pid": pid}
        return self.make("child-started", at, f"{name} started", fields)

    def child_silent(
        self, at: float, name: str, seconds: float, jobs: Iterable[str] = ()
    ) -> Event:
        """A child has not beaten for a while."""
        fields = {
            "dcmirror.worker.id": name,
            "dcmirror.worker.jobs": list(jobs) or None,
            "event.duration": nanoseconds(seconds),
        }
        message = f"{name} silent for {seconds:.0f} s"
        return self.make("child-silent", at, message, fields)

    def child_died(
        self,
        at: float,
        name: str,
        why: str,
        jobs: Iterable[str] = (),
        pid: int | None = None,
    ) -> Event:
        """A child is gone; its jobs go back."""
        fields = {
            "dcmirror.worker.id": name,
            "dcmirror.worker.pid": pid,
            "dcmirror.worker.jobs": list(jobs) or None,
            "event.reason": why,
        }
        return self.make("child-died", at, f"{name} died: {why}", fields)

    def rebalance(
        self, at: float, topic: str, partitions: Iterable[int], reason: str
    ) -> Event:
        """Partitions were assigned, revoked or lost."""
        numbers = sorted(partitions)
        fields = {
            "dcmirror.kafka.topic": topic,
            "dcmirror.kafka.partitions": numbers,
            "event.reason": reason,
        }
        shown = ", ".join(map(str, numbers))
        return self.make("rebalance", at, f"{reason}: {topic} [{shown}]", fields)

    def offsets_lost(
        self, at: float, topic: str, partition: int, wanted: int, first: int
    ) -> Event:
        """Records are gone before they were read."""
        fields = {
            "dcmirror.kafka.topic": topic,
            "dcmirror.kafka.partition": partition,
            "dcmirror.kafka.lost_from": wanted,
            "dcmirror.kafka.lost_to": first,
        }
        gone = f"offsets {wanted} to {first} are gone"
        message = f"{topic} [{partition}]: {gone}; run reconcile"
        return self.make("offsets-lost", at, message, fields)

    def intake_trouble(self, at: float, text: str) -> Event:
        """Kafka is away; an empty text: it is back."""
        if not text:
            return self.make("intake-recovered", at, "Kafka answers again", {})
        return self.make("intake-trouble", at, text, {"event.reason": text})

    def watch_started(self, at: float, message: str) -> Event:
        """The first event of a run."""
        return self.make("watch-started", at, message, {})

    def watch_stopping(self, at: float, reason: str, running: int) -> Event:
        """A drain began."""
        fields = {"event.reason": reason, "dcmirror.worker.busy": running}
        message = f"stopping ({reason}), {running} running"
        return self.make("watch-stopping", at, message, fields)

    def watch_stopped(self, at: float, reason: str, counts: Mapping[str, int]) -> Event:
        """The last event of a run; ``counts``: mirrored, skipped, failed, retried."""
        fields = {"event.reason": reason} | _counts(counts)
        return self.make("watch-stopped", at, f"stopped ({reason})", fields)

    def configuration_changed(self, at: float, reason: str) -> Event:
        """What HUP, or a new credential, changed."""
        fields = {"event.reason": reason}
        return self.make("configuration-changed", at, reason, fields)

    def journal_dropped(self, at: float, lines: int, reason: str = "") -> Event:
        """Lines were lost since the last such event."""
        fields = {"dcmirror.spool.dropped": lines, "event.reason": reason or None}
        return self.make("journal-dropped", at, f"{lines} journal lines lost", fields)

    def note(self, at: float, text: str, level: str = "info") -> Event:
        """Anything else."""
        return self.make("note", at, text, {}, None, level)

    def health(
        self,
        at: float,
        *,
        busy: int,
        total: int,
        ready: int,
        waiting: int,
        counts: Mapping[str, int],
        topic: str | None = None,
        partition: int | None = None,
        lag: int | None = None,
        lag_total: int | None = None,
        holds: int | None = None,
        credential_left: float | None = None,
        spool_bytes: int | None = None,
        spool_age: float | None = None,
        dropped: int = 0,
    ) -> Event:
        """A sample; one more per partition where lags are known."""
        fields = {
            "dcmirror.worker.busy": busy,
            "dcmirror.worker.total": total,
            "dcmirror.jobs.ready": ready,
            "dcmirror.jobs.waiting": waiting,
            "dcmirror.kafka.topic": topic,
            "dcmirror.kafka.partition": partition,
            "dcmirror.kafka.lag": lag,
            "dcmirror.kafka.lag_total": lag_total,
            "dcmirror.hold.open": holds,
            "dcmirror.credential.left_s": None
            if credential_left is None
            else int(credential_left),
            "dcmirror.spool.bytes": spool_bytes,
            "dcmirror.spool.oldest_age_s": None
            if spool_age is None
            else int(spool_age),
            "dcmirror.spool.dropped": dropped,
        }
        message = f"{busy} of {total} transfers run, {ready} ready, {waiting} waiting"
        return self.make("health", at, message, fields | _counts(counts))


def _counts(counts: Mapping[str, int]) -> dict[str, Any]:
    return {f"dcmirror.counts.{name}": number for name, number in counts.items()}
