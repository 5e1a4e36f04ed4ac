"""Builds the journal's events: what happened, as nested ECS documents.

The supervisor calls it; ``journal_table`` says what there may be in an event.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from dcmirror.core.failures import Failure, FailureClass
from dcmirror.core.jobs import AttemptResult, Job, Origin, ResultKind, Step
from dcmirror.core.journal_table import ACTIONS, FIELDS

__all__ = ["ACTIONS", "FIELDS", "JournalEvents", "Writer", "render"]

ECS_VERSION = "8.17.0"

# A keyword longer than this is no use to anybody and no field of one event is.
_TEXT_CHARACTERS = 8192

Event = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Writer:
    """Who writes: the same in every event of a process."""

    host: str
    pid: int
    process: str
    version: str
    instance: str


def render(event: Event) -> str:
    """An event as one line of JSON, ASCII only: no name in it commands a terminal."""
    return json.dumps(event, separators=(",", ":"), allow_nan=False)


class JournalEvents:
    """The builders.  ``at`` is in seconds since the epoch."""

    def __init__(self, writer: Writer) -> None:
        self._always = {
            "ecs.version": ECS_VERSION,
            "data_stream.type": "logs",
            "data_stream.namespace": "default",
            "host.name": writer.host,
            "process.pid": writer.pid,
            "process.name": writer.process,
            "service.name": "dcmirror",
            "service.version": writer.version,
            "service.node.name": writer.instance,
        }
        self._host = writer.host

    # Transfers

    def upload_seen(self, at: float, job: Job) -> Event:
        """A record became a job."""
        return self._event("upload-seen", at, f"upload {job.path}", _job(job))

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
        fields = _record(origin, reason, task, path, pnfsid, event_type, session)
        fields |= {"event.outcome": "success"}
        message = f"skipped ({reason}) {path or ''}".rstrip()
        return self._event("event-skipped", at, message, fields, event_id)

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
        fields = _record(origin, reason, task, path, pnfsid, event_type, session)
        fields |= {"event.outcome": "failure", "dcmirror.kafka.excerpt": excerpt}
        return self._event(
            "event-rejected", at, f"rejected: {reason}", fields, event_id
        )

    def transfer_started(self, at: float, job: Job) -> Event:
        """A job went to a worker."""
        message = f"attempt {job.attempt} of {job.path}"
        return self._event("transfer-started", at, message, _job(job))

    def transfer_step(self, step: Step) -> Event:
        """A line of a transfer's story."""
        fields = {
            "dcmirror.transfer.id": step.task,
            "dcmirror.transfer.step": step.name,
        }
        return self._event("transfer-step", step.at, step.text, fields)

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
        fields = _job(job) | self._attempt(job, result) | _failure(failure)
        fields |= {
            "event.outcome": "failure",
            "dcmirror.transfer.retry_in_ms": round(delay * 1000),
            "dcmirror.transfer.attempts_max": attempts_max,
        }
        message = f"attempt {job.attempt} failed, next in {delay:.1f} s: {job.path}"
        return self._event("transfer-retry", at, message, fields)

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
        fields = _job(job) | self._attempt(job, result)
        fields |= _failure(failure) if failure else {}
        fields |= {"event.reason": reason}
        return self._event("transfer-parked", at, f"{reason}: {job.path}", fields)

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
        fields = _job(job) | self._attempt(job, result)
        fields |= _copy(job, result, at) if failure is None else _failure(failure)
        if failure_class is not None:  # what it became: not-there-yet ends as gone
            fields |= _classified(failure_class)
        state = _state(result, failure, reason)
        fields |= {
            "event.outcome": "success" if failure is None else "failure",
            "event.reason": reason or (result.reason if result else None),
            "dcmirror.transfer.state": state,
            "dcmirror.transfer.attempts_max": attempts_max,
        }
        level = "error" if failure is not None else None
        message = f"{state} {job.path}"
        return self._event("transfer-finished", at, message, fields, event_id, level)

    # The daemon

    def hold_began(self, at: float, kind: str, host: str, cause: str) -> Event:
        """Work of a kind waits."""
        fields = {
            "dcmirror.hold.kind": kind,
            "dcmirror.hold.host": host or None,
            "event.reason": cause,
        }
        message = f"hold {kind} {host}".rstrip() + f": {cause}"
        return self._event("hold-began", at, message, fields)

    def hold_ended(
        self, at: float, kind: str, host: str, cause: str, seconds: float
    ) -> Event:
        """It goes on."""
        fields = {
            "dcmirror.hold.kind": kind,
            "dcmirror.hold.host": host or None,
            "event.reason": cause,
            "event.duration": _nanoseconds(seconds),
        }
        message = f"hold {kind} {host}".rstrip() + f" ended after {seconds:.0f} s"
        return self._event("hold-ended", at, message, fields)

    def child_started(self, at: float, name: str, pid: int) -> Event:
        """A child runs."""
        fields = {"dcmirror.worker.id": name, "dcmirror.worker.pid": pid}
        return self._event("child-started", at, f"{name} started", fields)

    def child_silent(
        self, at: float, name: str, seconds: float, jobs: Iterable[str] = ()
    ) -> Event:
        """A child has not beaten for a while."""
        fields = {
            "dcmirror.worker.id": name,
            "dcmirror.worker.jobs": list(jobs) or None,
            "event.duration": _nanoseconds(seconds),
        }
        message = f"{name} silent for {seconds:.0f} s"
        return self._event("child-silent", at, message, fields)

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
        return self._event("child-died", at, f"{name} died: {why}", fields)

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
        return self._event("rebalance", at, f"{reason}: {topic} [{shown}]", fields)

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
        return self._event("offsets-lost", at, message, fields)

    def intake_trouble(self, at: float, text: str) -> Event:
        """Kafka is away; an empty text: it is back."""
        if not text:
            return self._event("intake-recovered", at, "Kafka answers again", {})
        return self._event("intake-trouble", at, text, {"event.reason": text})

    def watch_started(self, at: float, message: str) -> Event:
        """The first event of a run."""
        return self._event("watch-started", at, message, {})

    def watch_stopping(self, at: float, reason: str, running: int) -> Event:
        """A drain began."""
        fields = {"event.reason": reason, "dcmirror.worker.busy": running}
        message = f"stopping ({reason}), {running} running"
        return self._event("watch-stopping", at, message, fields)

    def watch_stopped(self, at: float, reason: str, counts: Mapping[str, int]) -> Event:
        """The last event of a run; ``counts``: mirrored, skipped, failed, retried."""
        fields = {"event.reason": reason} | _counts(counts)
        return self._event("watch-stopped", at, f"stopped ({reason})", fields)

    def configuration_changed(self, at: float, reason: str) -> Event:
        """What HUP, or a new credential, changed."""
        fields = {"event.reason": reason}
        return self._event("configuration-changed", at, reason, fields)

    def journal_dropped(self, at: float, lines: int, reason: str = "") -> Event:
        """Lines were lost since the last such event."""
        fields = {"dcmirror.spool.dropped": lines, "event.reason": reason or None}
        return self._event("journal-dropped", at, f"{lines} journal lines lost", fields)

    def note(self, at: float, text: str, level: str = "info") -> Event:
        """Anything else."""
        return self._event("note", at, text, {}, None, level)

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
            "dcmirror.spool.bytes": spool_bytes,
            "dcmirror.spool.oldest_age_s": None
            if spool_age is None
            else int(spool_age),
            "dcmirror.spool.dropped": dropped,
        }
        message = f"{busy} of {total} transfers run, {ready} ready, {waiting} waiting"
        return self._event("health", at, message, fields | _counts(counts))

    def _attempt(self, job: Job, result: AttemptResult | None) -> dict[str, Any]:
        if result is None:
            return {}
        seconds = max(result.ended_at - result.started_at, 0.0)
        phases = result.phases
        fields: dict[str, Any] = {
            f"dcmirror.transfer.phases.{name}": round(milliseconds, 3)
            for name, milliseconds in phases.items()
            if name != "queued"
        }
        return fields | {
            "event.start": _time(result.started_at),
            "event.end": _time(result.ended_at),
            "event.duration": _nanoseconds(seconds),
            "event.reason": result.reason,
            "source.address": result.pool_host or result.door_host,
            "destination.address": self._host,
            "http.response.status_code": result.http_status,
            "dcmirror.transfer.bytes": result.bytes_received,
            "dcmirror.transfer.throughput_bps": _bits_per_second(result),
            "dcmirror.transfer.queue_ms": phases.get("queued"),
            "dcmirror.transfer.requests": result.requests,
            "dcmirror.transfer.connections": result.connections,
            "dcmirror.transfer.state": result.kind.value,
        }

    def _event(
        self,
        action: str,
        at: float,
        message: str,
        fields: Mapping[str, Any],
        event_id: str | None = None,
        level: str | None = None,
    ) -> Event:
        """The nested document; refuses what the table does not know."""
        entry = ACTIONS[action]
        unknown = fields.keys() - entry.fields
        if unknown:
            raise ValueError(f"{action} has no field {', '.join(sorted(unknown))}")
        flat = {
            "@timestamp": _time(at),
            "log.level": level or entry.level,
            "message": message,
            "event.kind": entry.kind,
            "event.category": [entry.category],
            "event.type": [entry.type],
            "event.action": action,
            "event.id": event_id,
            "data_stream.dataset": entry.dataset,
            **self._always,
            **fields,
        }
        return _nested(flat)


def _nested(flat: Mapping[str, Any]) -> Event:
    document: Event = {}
    for name, value in flat.items():
        if value is None:
            continue
        *parents, leaf = name.split(".")
        place = document
        for parent in parents:
            place = place.setdefault(parent, {})
        place[leaf] = _clean(value)
    return document


def _clean(value: Any) -> Any:
    """Text that any JSON reader takes: no lone surrogates, no endless line."""
    if not isinstance(value, str):
        return value
    if len(value) > _TEXT_CHARACTERS:
        value = value[:_TEXT_CHARACTERS] + "..."
    if value.isascii():
        return value
    return value.encode("utf-8", "backslashreplace").decode("utf-8")


def _job(job: Job) -> dict[str, Any]:
    return {
        "dcmirror.transfer.id": job.task,
        "dcmirror.transfer.kind": job.kind.value,
        "dcmirror.transfer.relative": job.relative,
        "dcmirror.transfer.attempt": job.attempt,
        "file.path": job.path,
        "file.name": job.path.rpartition("/")[2],
        "file.size": job.size,
        "dcmirror.dcache.pnfsid": job.pnfsid,
        "dcmirror.dcache.storage_class": job.storage_class,
        "dcmirror.dcache.door": job.door,
        "dcmirror.dcache.pool": job.pool,
        **_url(job.url),
        **_origin(job.origin),
    }


def _url(url: str) -> dict[str, Any]:
    """The URL's parts, without user, password, query and fragment."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return {}
    place = f"[{host}]" if ":" in host else host
    place = place if port is None else f"{place}:{port}"
    return {
        "url.full": urlunsplit((parts.scheme, place, parts.path, "", "")),
        "url.scheme": parts.scheme,
        "url.domain": host,
        "url.port": port,
        "url.path": parts.path,
    }


def _origin(origin: Origin | None) -> dict[str, Any]:
    if origin is None:
        return {}
    return {
        "dcmirror.kafka.topic": origin.topic,
        "dcmirror.kafka.partition": origin.partition,
        "dcmirror.kafka.offset": origin.offset,
    }


def _record(
    origin: Origin | None,
    reason: str,
    task: str | None,
    path: str | None,
    pnfsid: str | None,
    event_type: str | None,
    session: str | None,
) -> dict[str, Any]:
    return {
        "event.reason": reason,
        "dcmirror.transfer.id": task,
        "file.path": path,
        "file.name": path.rpartition("/")[2] if path else None,
        "dcmirror.dcache.pnfsid": pnfsid,
        "dcmirror.dcache.event_type": event_type,
        "dcmirror.dcache.session": session,
        **_origin(origin),
    }


def _failure(failure: Failure) -> dict[str, Any]:
    expected, computed = failure.adler32_expected, failure.adler32_computed
    fields: dict[str, Any] = _classified(failure.failure_class) | {
        "error.message": failure.message,
        "error.code": None if failure.curl_code is None else str(failure.curl_code),
    }
    if failure.http_status is not None:
        fields["http.response.status_code"] = failure.http_status
    if failure.host is not None:
        fields["source.address"] = failure.host
    if expected is None and computed is None:
        return fields
    return fields | _checksum(expected, computed)


def _classified(failure_class: FailureClass) -> dict[str, Any]:
    return {
        "error.type": failure_class.value,
        "dcmirror.transfer.error_scope": failure_class.scope,
    }


def _checksum(expected: int | None, computed: int | None) -> dict[str, Any]:
    known = expected is not None and computed is not None
    return {
        "dcmirror.checksum.algorithm": "adler32",
        "dcmirror.checksum.expected": None if expected is None else f"{expected:08x}",
        "dcmirror.checksum.actual": None if computed is None else f"{computed:08x}",
        "dcmirror.checksum.match": expected == computed if known else None,
    }


def _copy(job: Job, result: AttemptResult | None, at: float) -> dict[str, Any]:
    """What a good outcome adds: the proved checksum, and how old the event is."""
    fields: dict[str, Any] = {}
    copy = result.copy if result else None
    if copy is not None:
        fields["file.size"] = copy.size
        if copy.adler32 is not None:
            proved = copy.adler32 if copy.verified else None
            fields |= _checksum(proved, copy.adler32)
    if job.event_time is not None:
        age = max(at - job.event_time, 0.0)
        fields["dcmirror.kafka.event_age_ms"] = round(age * 1000)
    return fields


def _state(
    result: AttemptResult | None, failure: Failure | None, reason: str | None
) -> str:
    if failure is not None:
        return ResultKind.FAILED.value
    if result is not None:
        return result.kind.value
    return "skipped" if reason else ResultKind.MIRRORED.value


def _counts(counts: Mapping[str, int]) -> dict[str, Any]:
    return {f"dcmirror.counts.{name}": number for name, number in counts.items()}


def _bits_per_second(result: AttemptResult) -> int | None:
    """While data came, where that is known; nothing for a file without data."""
    milliseconds = result.phases.get("data") or 0.0
    seconds = milliseconds / 1000 or result.ended_at - result.started_at
    if result.bytes_received <= 0 or seconds <= 0:
        return None
    return round(result.bytes_received * 8 / seconds)


def _nanoseconds(seconds: float) -> int:
    return round(seconds * 1e9)


def _time(seconds: float) -> str:
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
