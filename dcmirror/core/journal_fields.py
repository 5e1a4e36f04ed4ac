"""Fields of journal events, made from jobs, results and failures.

They come in the groups that the nested document has, which is what makes them cheap.
"""

from __future__ import annotations

import functools
from math import isfinite
from typing import Any
from urllib.parse import urlsplit

from dcmirror.core.events import StorageEvent
from dcmirror.core.failures import Failure, FailureClass
from dcmirror.core.jobs import AttemptResult, Job, Origin, ResultKind
from dcmirror.core.journal_document import Groups, nanoseconds, time_text
from dcmirror.core.journal_table import FIELDS

_PHASE = "dcmirror.transfer.phases."
_PHASES = frozenset(
    name.removeprefix(_PHASE) for name in FIELDS if name.startswith(_PHASE)
)


def merged(*parts: Groups) -> Groups:
    """All groups; where two have a field, the later one's counts."""
    whole: Groups = {}
    for part in parts:
        for group, fields in part.items():
            known = whole.get(group)
            whole[group] = fields if known is None else known | fields
    return whole


def job_fields(job: Job) -> Groups:
    """Which file it is, and where it came from."""
    return {
        "dcmirror.transfer": {
            "id": job.task,
            "kind": job.kind.value,
            "relative": job.relative,
            "attempt": job.attempt,
        },
        "file": _file(job.path, job.size),
        "dcmirror.dcache": {
            "pnfsid": job.pnfsid,
            "storage_class": job.storage_class,
            "door": job.door,
            "pool": job.pool,
        },
        "url": _url(job.url),
        **origin_fields(job.origin),
    }


def _file(path: str | None, size: int | None) -> dict[str, Any]:
    if path is None:
        return {"size": size}
    directory, _, name = path.rpartition("/")
    return {"path": path, "directory": directory or "/", "name": name, "size": size}


def _url(url: str) -> dict[str, Any]:
    """The URL's parts, without user, password, query and fragment."""
    scheme, _, rest = url.partition("://")
    place, _, path = rest.partition("/")
    door = _door(scheme, place)
    if door is None:
        return {}
    path = "/" + path.partition("?")[0].partition("#")[0]
    return {**door, "full": door["full"] + path, "path": path}


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
        "full": f"{scheme}://{named}",
        "scheme": scheme,
        "domain": host,
        "port": port,
    }


def origin_fields(origin: Origin | None) -> Groups:
    """The record that it came from."""
    if origin is None:
        return {}
    return {
        "dcmirror.kafka": {
            "topic": origin.topic,
            "partition": origin.partition,
            "offset": origin.offset,
        }
    }


def record_fields(
    origin: Origin | None, task: str | None, event: StorageEvent | None
) -> Groups:
    """A record that became no job, as far as it could be read."""
    fields = origin_fields(origin)
    fields["dcmirror.transfer"] = {"id": task}
    if event is not None:
        fields["file"] = _file(event.path, event.file_size)
        fields["dcmirror.dcache"] = {
            "pnfsid": event.pnfsid,
            "storage_class": event.storage_info,
            "event_type": event.msg_type,
            "session": event.session,
        }
    return fields


def failure_fields(failure: Failure, failure_class: FailureClass | None) -> Groups:
    """What went wrong, and on whose side.

    Args:
        failure_class: what it became in the end: not-there-yet ends as gone.
    """
    blamed = failure_class or failure.failure_class
    fields: Groups = {
        "event": {"outcome": "failure"},
        "error": {
            "type": blamed.value,
            "message": failure.message,
            "code": None if failure.curl_code is None else str(failure.curl_code),
        },
        "dcmirror.transfer": {"error_scope": blamed.scope},
    }
    if failure.http_status is not None:
        fields["http.response"] = {"status_code": failure.http_status}
    if failure.host is not None:
        fields["source"] = {"address": failure.host}
    expected, computed = failure.adler32_expected, failure.adler32_computed
    if expected is not None or computed is not None:
        fields["dcmirror.checksum"] = _checksum(expected, computed)
    return fields


def _checksum(expected: int | None, computed: int | None) -> dict[str, Any]:
    known = expected is not None and computed is not None
    return {
        "algorithm": "adler32",
        "expected": None if expected is None else f"{expected:08x}",
        "actual": None if computed is None else f"{computed:08x}",
        "match": expected == computed if known else None,
    }


def copy_fields(job: Job, result: AttemptResult | None, at: float) -> Groups:
    """What a good outcome adds: the proved checksum, and how old the event is."""
    fields: Groups = {"event": {"outcome": "success"}}
    copy = result.copy if result else None
    if copy is not None:
        fields["file"] = {"size": copy.size}
        if copy.adler32 is not None:
            proved = copy.adler32 if copy.verified else None
            fields["dcmirror.checksum"] = _checksum(proved, copy.adler32)
    if job.event_time is not None:
        age = _milliseconds(at - job.event_time)
        fields["dcmirror.kafka"] = {"event_age_ms": age}
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


def attempt_fields(result: AttemptResult | None, host: str) -> Groups:
    """How one attempt went."""
    if result is None:
        return {}
    began, ended = result.started_at, result.ended_at
    phases = result.phases
    return {
        "event": {
            "start": time_text(began),
            "end": time_text(ended),
            "duration": nanoseconds(max(ended - began, 0.0)),
            "reason": result.reason,
        },
        "source": {"address": result.pool_host or result.door_host},
        "destination": {"address": host},
        "http.response": {"status_code": result.http_status},
        "dcmirror.transfer": {
            "bytes": result.bytes_received,
            "throughput_bps": _bits_per_second(result),
            "queue_ms": _number(phases.get("queued")),
            "requests": result.requests,
            "connections": result.connections,
            "state": result.kind.value,
        },
        # A phase without a field is no reason to lose the event.
        "dcmirror.transfer.phases": {
            phase: _number(milliseconds)
            for phase, milliseconds in phases.items()
            if phase in _PHASES
        },
    }


def _number(milliseconds: float | None) -> float | None:
    if milliseconds is None or not isfinite(milliseconds):
        return None
    return round(milliseconds, 3)


def _bits_per_second(result: AttemptResult) -> int | None:
    """While data came, where that is known; nothing for a file without data."""
    milliseconds = result.phases.get("data") or 0.0
    seconds = milliseconds / 1000 or result.ended_at - result.started_at
    if result.bytes_received <= 0 or not seconds > 0:
        return None
    return round(result.bytes_received * 8 / seconds)


def _milliseconds(seconds: float) -> int:
    return round(max(seconds, 0.0) * 1000)
