"""The parts of status.json, each a bounded list of plain values.

The supervisor's loop makes them once a second: nothing here may take long, however
many jobs wait.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from dcmirror.adapters.journal import Journal
from dcmirror.core.dispatch import Dispatcher
from dcmirror.core.entries import Entry
from dcmirror.core.escapes import shown
from dcmirror.core.holds import HoldKey, HoldKind
from dcmirror.core.jobs import Progress
from dcmirror.core.rates import Speeds
from dcmirror.core.tally import Tally
from dcmirror.processes.engine import Engine
from dcmirror.processes.fleet import Fleet

#: How many of each status.json lists; the totals say how many there are.
MOST_TRANSFERS = 200
MOST_RETRIES = 20
MOST_HOLDS = 50


def transfers(
    engine: Engine, entries: list[Entry], speeds: Speeds, now: float, wall: float
) -> list[dict[str, Any]]:
    """What workers have, running ones first."""
    known = engine.progress
    received = {
        entry.job.task: progress.bytes_received
        for entry in entries
        if (progress := known.get(entry.job.task)) is not None
    }
    rates = speeds.observe(now, received)
    entries = sorted(entries, key=lambda entry: entry.job.task not in received)
    return [
        _transfer(entry, known.get(entry.job.task), rates, now, wall)
        for entry in entries[:MOST_TRANSFERS]
    ]


def _transfer(
    entry: Entry,
    progress: Progress | None,
    rates: dict[str, float],
    now: float,
    wall: float,
) -> dict[str, Any]:
    job = entry.job
    size = job.size
    if size is None and progress is not None:
        size = progress.size
    return {
        "task": job.task,
        "path": shown(job.path),
        "size": size,
        "attempt": job.attempt,
        "for": round(now - entry.handed_out_at, 1),
        "worker": entry.worker,
        "phase": progress.phase if progress else "queued",
        "bytes": progress.bytes_received if progress else 0,
        "phase_for": round(wall - progress.phase_since, 1) if progress else None,
        "bytes_per_second": round(rates.get(job.task, 0.0)),
    }


def retries(dispatcher: Dispatcher, now: float) -> list[dict[str, Any]]:
    """The jobs that wait for a due time, the next one first."""
    return [
        {
            "task": entry.job.task,
            "path": shown(entry.job.path),
            "class": entry.last_failure,
            "attempt": entry.job.attempt,
            "in": until(entry.due, now),
        }
        for entry in dispatcher.next_waiting(MOST_RETRIES)
    ]


def until(due: float | None, now: float) -> float | None:
    """Seconds until then."""
    return None if due is None else round(max(due - now, 0.0), 1)


def ready_for(entry: Entry | None, now: float, wall: float) -> float | None:
    """For how long a job has waited for nothing but its turn."""
    if entry is None:
        return None
    if entry.ready_since is None:
        seconds = wall - entry.job.accepted_at
    else:
        seconds = now - entry.ready_since
    return round(max(seconds, 0.0), 1)


def holds(engine: Engine, now: float, wall: float) -> list[dict[str, Any]]:
    """Causes for which work waits, the oldest first."""
    return [
        {
            "kind": str(hold.key),
            "cause": shown(hold.cause),
            "for": round(now - hold.since, 1),
            "since": round(wall - (now - hold.since), 3),
            "probe_in": _probe_in(hold.probe_at, hold.key, now),
            "probing": hold.probing is not None,
            "alerted": hold.alerted,
        }
        for hold in engine.holds.all()[:MOST_HOLDS]
    ]


def _probe_in(probe_at: float, key: HoldKey, now: float) -> float | None:
    """None: it ends by itself, when the proxy file is another one."""
    if key.kind is HoldKind.CREDENTIAL and probe_at == float("inf"):
        return None
    return until(probe_at, now)


def workers(
    fleet: Fleet, entries: list[Entry], progress: dict[str, Progress], now: float
) -> list[dict[str, Any]]:
    """Every child that lives; ``streams`` is 0 for the logger."""
    jobs = Counter(entry.worker for entry in entries)
    busy = Counter(
        entry.worker
        for entry in entries
        if entry.job.task in progress and progress[entry.job.task].phase != "queued"
    )
    return [
        {
            "name": child.name,
            "number": child.number,
            "pid": child.process.pid,
            "ready": child.is_ready,
            "streams": streams,
            "busy": busy[child.number],
            "jobs": jobs[child.number],
            "for": round(now - child.started_at, 1),
            "beat_age": round(max(now - child.last_beat, 0.0), 1),
            "publishing": child.last_beat > now,
        }
        for child, streams in fleet.seated()
    ]


def missing(fleet: Fleet, now: float) -> list[dict[str, Any]]:
    """Places that nobody fills just now, and how often in a row they were lost."""
    return [
        {"name": name, "deaths": deaths, "in": until(spawn_at, now)}
        for name, deaths, spawn_at in fleet.vacant()
        if spawn_at < float("inf")
    ]


def journal(writer: Journal) -> dict[str, Any]:
    """The journal as its writer sees it."""
    return {
        "bytes": writer.size(),
        "dropped": writer.dropped,
        "dropped_by_kind": dict(writer.dropped_by_kind),
        "trouble": shown(writer.trouble) if writer.trouble else None,
    }


def totals(tally: Tally) -> dict[str, Any]:
    """Counts since the start."""
    return {
        "mirrored": tally.mirrored,
        "adopted": tally.adopted,
        "bytes_mirrored": tally.bytes_mirrored,
        "failed": tally.failed,
        "failures": dict(tally.failures),
        "retries": tally.retries,
        "retried": dict(tally.retried),
        "skipped": dict(tally.skipped),
        "covered": dict(tally.covered),
        "hosts": tally.hosts.plain(),
        "histograms": {
            "transfer_duration": tally.durations.plain(),
            "event_delay": tally.delays.plain(),
        },
    }
