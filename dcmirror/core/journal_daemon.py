"""Journal events of the daemon: holds, children, Kafka, its own beginning and end.

The supervisor's story calls it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dcmirror.core.journal_document import Event, EventMaker, nanoseconds, time_text

_DROPPED = "dcmirror.spool.dropped_by_kind."


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonState:
    """What a health sample says besides jobs and lag; what is not known is None."""

    held: int | None = None
    oldest_age_s: float | None = None
    restarts: int | None = None
    holds: tuple[str, ...] = ()
    free_bytes: int | None = None
    reserved_bytes: int | None = None
    min_free_bytes: int | None = None
    spool_bytes: int | None = None
    behind_bytes: int | None = None
    spool_age_s: float | None = None
    shipping: str | None = None
    dead_letters: int | None = None
    dropped: Mapping[str, int] = field(default_factory=dict)


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
            "event.start": time_text(at - seconds),
            "event.duration": nanoseconds(seconds),
        }
        message = f"hold {kind} {host}".rstrip() + f" ended after {seconds:.0f} s"
        return self.make("hold-ended", at, message, fields)

    def child_started(self, at: float, name: str, pid: int) -> Event:
        """A child runs."""
        fields = {"dcmirror.worker.id": name, "dcmirror.worker.pid": pid}
        return self.make("child-started", at, f"{name} started", fields)

    def child_silent(self, at: float, name: str, seconds: float) -> Event:
        """A child has not beaten for a while."""
        fields = {
            "dcmirror.worker.id": name,
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

    def journal_dropped(
        self, at: float, kinds: Mapping[str, int], reason: str | None
    ) -> Event:
        """Lines were lost since the last such event, so many of each kind."""
        lines = sum(kinds.values())
        fields = {"dcmirror.spool.dropped": lines, "event.reason": reason}
        listed = ", ".join(f"{number} {kind}" for kind, number in kinds.items())
        message = f"{lines} journal lines lost: {listed}"
        return self.make("journal-dropped", at, message, fields | _dropped(kinds))

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
        state: DaemonState | None = None,
    ) -> Event:
        """A sample; one more per partition where lags are known.

        Only the sample that is no partition's has ``state``.
        """
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
        }
        message = f"{busy} of {total} transfers run, {ready} ready, {waiting} waiting"
        fields |= _counts(counts) | _state(state)
        return self.make("health", at, message, fields)

    def host_use(
        self,
        at: float,
        host: str,
        role: str,
        requests: int,
        connections: int,
        received: int,
    ) -> Event:
        """What one door or pool feels of us."""
        fields = {
            "source.address": host,
            "dcmirror.host.role": role,
            "dcmirror.host.requests": requests,
            "dcmirror.host.connections": connections,
            "dcmirror.host.bytes": received,
        }
        message = f"{role} {host}: {requests} requests, {connections} connections"
        return self.make("host-use", at, message, fields)


def _counts(counts: Mapping[str, int]) -> dict[str, Any]:
    return {f"dcmirror.counts.{name}": number for name, number in counts.items()}


def _dropped(kinds: Mapping[str, int]) -> dict[str, Any]:
    return {f"{_DROPPED}{kind}": number for kind, number in kinds.items()}


def _state(state: DaemonState | None) -> dict[str, Any]:
    if state is None:
        return {}
    return {
        "dcmirror.jobs.held": state.held,
        "dcmirror.jobs.oldest_age_s": _whole(state.oldest_age_s),
        "dcmirror.worker.restarts": state.restarts,
        "dcmirror.hold.active": list(state.holds) or None,
        "dcmirror.destination.free_bytes": state.free_bytes,
        "dcmirror.destination.reserved_bytes": state.reserved_bytes,
        "dcmirror.destination.min_free_bytes": state.min_free_bytes,
        "dcmirror.spool.bytes": state.spool_bytes,
        "dcmirror.spool.behind_bytes": state.behind_bytes,
        "dcmirror.spool.oldest_age_s": _whole(state.spool_age_s),
        "dcmirror.spool.state": state.shipping,
        "dcmirror.spool.dead_letters": state.dead_letters,
        "dcmirror.spool.dropped": sum(state.dropped.values()),
    } | _dropped(state.dropped)


def _whole(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds)
