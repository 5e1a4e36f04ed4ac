"""status.json: what the daemon does now, readable while the daemon is stuck.

The supervisor's loop writes it once a second, by rename, so that no reader sees half.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

from dcmirror import __version__
from dcmirror.core.entries import State
from dcmirror.core.escapes import shown
from dcmirror.processes.engine import Engine
from dcmirror.processes.fleet import Fleet


def snapshot(
    engine: Engine, fleet: Fleet, now: float, wall: float, **more: Any
) -> dict[str, Any]:
    """The state of an engine as plain values; times in seconds, sizes in bytes."""
    dispatcher, tally = engine.dispatcher, engine.tally
    return {
        "version": __version__,
        "pid": os.getpid(),
        "at": wall,
        "stopping": engine.is_stopping,
        "jobs": {state.value: dispatcher.count(state) for state in State},
        "transfers": [
            _transfer(engine, entry.job.task, now, wall) for entry in dispatcher.out()
        ],
        "holds": [
            {
                "kind": str(h.key),
                "cause": shown(h.cause),
                "for": round(now - h.since, 1),
            }
            for h in engine.holds.all()
        ],
        "workers": [
            {
                "name": c.name,
                "number": c.number,
                "pid": c.process.pid,
                "ready": c.is_ready,
            }
            for c in fleet.children()
        ],
        "worker_restarts": fleet.restarts,
        "free_bytes": engine.free_bytes,
        "unsettled": engine.settler.backlog,
        "journal_dropped": engine.story.journal_dropped,
        "mirrored": tally.mirrored,
        "bytes_mirrored": tally.bytes_mirrored,
        "failed": tally.failed,
        "failures": dict(tally.failures),
        "retries": tally.retries,
        "skipped": dict(tally.skipped),
        **more,
    }


def _transfer(engine: Engine, task: str, now: float, wall: float) -> dict[str, Any]:
    entry, progress = engine.dispatcher.entries[task], engine.progress.get(task)
    return {
        "task": task,
        "path": shown(entry.job.path),
        "size": entry.job.size,
        "attempt": entry.job.attempt,
        "for": round(now - entry.handed_out_at, 1),
        "worker": entry.worker,
        "phase": progress.phase if progress else "queued",
        "bytes": progress.bytes_received if progress else 0,
        "phase_for": round(wall - progress.phase_since, 1) if progress else None,
    }


def write_status(path: Path, status: dict[str, Any]) -> None:
    """Replace the file; a full disk is not the status's business to report."""
    temporary = path.with_name(path.name + ".new")
    with contextlib.suppress(OSError):
        temporary.write_text(json.dumps(status, separators=(",", ":")) + "\n")
        os.replace(temporary, path)
