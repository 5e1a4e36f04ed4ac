"""Fields of journal events, made from jobs, results and failures."""

from __future__ import annotations

import functools
from math import isfinite
from typing import Any
from urllib.parse import urlsplit

from dcmirror.core.events import StorageEvent
from dcmirror.core.failures import Failure, FailureClass
from dcmirror.core.jobs import AttemptResult, Job, Origin, ResultKind
from dcmirror.core.journal_document import nanoseconds, time_text
from dcmirror.core.journal_table import FIELDS

_PHASE = "dcmirror.transfer.phases."
_PHASES = {
    name.removeprefix(_PHASE): name for name in FIELDS if name.startswith(_PHASE)
} | {"queued": "dcmirror.transfer.queue_ms"}


def job_fields(job: Job) -> dict[str, Any]:
    """Which file it is, and where it came from."""
    path = job.path
    directory, _, name = path.rpartition("/")
    return {
        "dcmirror.transfer.id": job.task,
        "dcmirror.transfer.kind": job.kind.value,
        "dcmirror.transfer.relative": job.relative,
        "dcmirror.transfer.attempt": job.attempt,
        "file.path": path,
        "file.directory": directory or None,
        "file.name": name,
        "file.size": job.size,
        "dcmirror.dcache.pnfsid": job.pnfsid,
        "dcmirror.dcache.storage_class": job.storage_class,
        "dcmirror.dcache.door": job.door,
        "dcmirror.dcache.pool": job.pool,
        **_url(job.url),
        **origin_fields(job.origin),
    }


def _url(url: str) -> dict[str, Any]:
    """The URL's parts, without user, password, query and fragment."""
    scheme, _, rest = url.partition("://")
    place, _, path = rest.partition("/")
    door = _door(scheme, place)
    if door is None:
        return {}
    path = "/" + path.partition("?")[0].partition("#")[0]
    return {**door, "url.full": door["url.full"] + path, "url.path": path}


@functools.lru_cache(maxsize=64)
def _door(scheme: str, place: str) -> dict[str, Any] | None:
    """What every URL of one door has in common; the same few doors come for ever."""
    try:
        parts = urlsplit(f"{scheme}://{place}")
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return None
    if not host:
        return None
    named = f"[{host}]" if ":" in host else host
    named = named if port is None else f"{named}:{port}"
    return {
        "url.full": f"{scheme}://{named}",
        "url.scheme": scheme,
        "url.domain": host,
        "url.port": port,
    }


def origin_fields(origin: Origin | None) -> dict[str, Any]:
    """The record that it came from."""
    if origin is None:
        return {}
    return {
        "dcmirror.kafka.topic": origin.topic,
        "dcmirror.kafka.partition": origin.partition,
        "dcmirror.kafka.offset": origin.offset,
    }


def record_fields(
    origin: Origin | None, task: str | None, event: StorageEvent | None
) -> dict[str, Any]:
    """A record that became no job, as far as it could be read."""
    fields = origin_fields(origin) | {"dcmirror.transfer.id": task}
    if event is None:
        return fields
    directory, _, name = (event.billing_path or "").rpartition("/")
    return fields | {
        "file.path": event.billing_path,
        "file.directory": directory or None,
        "file.name": name or None,
        "file.size": event.file_size,
        "dcmirror.dcache.pnfsid": event.pnfsid,
        "dcmirror.dcache.storage_class": event.storage_info,
        "dcmirror.dcache.event_type": event.msg_type,
        "dcmirror.dcache.session": event.session,
    }


def failure_fields(failure: Failure) -> dict[str, Any]:
    """What went wrong, and on whose side."""
    expected, computed = failure.adler32_expected, failure.adler32_computed
    fields: dict[str, Any] = classified_fields(failure.failure_class) | {
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


def classified_fields(failure_class: FailureClass) -> dict[str, Any]:
    """The class, and the side that it blames."""
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


def copy_fields(job: Job, result: AttemptResult | None, at: float) -> dict[str, Any]:
    """What a good outcome adds: the proved checksum, and how old the event is."""
    fields: dict[str, Any] = {}
    copy = result.copy if result else None
    if copy is not None:
        fields["file.size"] = copy.size
        if copy.adler32 is not None:
            proved = copy.adler32 if copy.verified else None
            fields |= _checksum(proved, copy.adler32)
    if job.event_time is not None:
        fields["dcmirror.kafka.event_age_ms"] = _milliseconds(at - job.event_time)
    return fields


def outcome_state(
    result: AttemptResult | None, failure: Failure | None, reason: str | None
) -> str:
    """What became of the job, in one word."""
    if failure is not None:
        return ResultKind.FAILED.value
    if result is not None:
        return result.kind.value
    return "skipped" if reason else ResultKind.MIRRORED.value


def total_milliseconds(job: Job, at: float) -> int | None:
    """From its acceptance on, where that is known."""
    return _milliseconds(at - job.accepted_at) if job.accepted_at else None


def attempt_fields(result: AttemptResult | None, host: str) -> dict[str, Any]:
    """How one attempt went."""
    if result is None:
        return {}
    began, ended = result.started_at, result.ended_at
    phases = result.phases
    fields = {
        "event.start": time_text(began),
        "event.end": time_text(ended),
        "event.duration": nanoseconds(max(ended - began, 0.0)),
        "event.reason": result.reason,
        "source.address": result.pool_host or result.door_host,
        "destination.address": host,
        "http.response.status_code": result.http_status,
        "dcmirror.transfer.bytes": result.bytes_received,
        "dcmirror.transfer.throughput_bps": _bits_per_second(result),
        "dcmirror.transfer.requests": result.requests,
        "dcmirror.transfer.connections": result.connections,
        "dcmirror.transfer.state": result.kind.value,
    }
    for phase, milliseconds in phases.items():
        name = _PHASES.get(phase)
        # A phase without a field, or without a number, is no reason to lose the event.
        if name is not None and isfinite(milliseconds):
            fields[name] = round(milliseconds, 3)
    return fields


def _bits_per_second(result: AttemptResult) -> int | None:
    """While data came, where that is known; nothing for a file without data."""
    milliseconds = result.phases.get("data") or 0.0
    seconds = milliseconds / 1000 or result.ended_at - result.started_at
    if result.bytes_received <= 0 or not seconds > 0:
        return None
    return round(result.bytes_received * 8 / seconds)


def _milliseconds(seconds: float) -> int:
    return round(max(seconds, 0.0) * 1000)
