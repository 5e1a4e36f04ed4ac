"""A status.json of a daemon that is well, to be changed by each test."""

from __future__ import annotations

from typing import Any

from dcmirror.core.sight import Sight

AT = 1_800_000_000.0
PID = 4211


def a_status(**over: Any) -> dict[str, Any]:
    """What a quiet daemon writes; keyword arguments replace members."""
    status: dict[str, Any] = {
        "version": "1.2.3",
        "command": "watch",
        "instance": "imsim",
        "host": "dtn03",
        "pid": PID,
        "started": AT - 90_000,
        "at": AT - 0.4,
        "source": "https://door.example.org:2880 below /lsst/user",
        "destination": "/sps/lsst",
        "topic": "billing",
        "group": "imsim",
        "stopping": False,
        "jobs": {"ready": 0, "waiting": 0, "held": 0, "out": 0, "provisional": 0},
        "queue_age": None,
        "transfers": [],
        "transfers_total": 0,
        "retries_due": [],
        "next_due": None,
        "holds": [],
        "workers": [a_worker(1), a_worker(2)],
        "missing": [],
        "worker_restarts": 0,
        "free_bytes": 10**12,
        "reserved_bytes": 0,
        "min_free": 10**10,
        "unsettled": 0,
        "journal": {"bytes": 10**6, "dropped": 0, "trouble": None},
        "log_lost": 0,
        "rates": {
            str(window): {**dict.fromkeys(COUNTED, 0), "seconds": float(window)}
            for window in (60, 300, 900)
        },
        "mirrored": 182_334,
        "bytes_mirrored": 4 * 10**12,
        "failed": 3,
        "retries": 17,
        "skipped": {"read": 12},
        "covered": {},
        "hosts": [],
        "lag": {"0": 0, "1": 0},
        "net": 0,
        "partitions": [a_partition(0), a_partition(1)],
        "partitions_total": 2,
        "kafka": {
            "trouble": None,
            "trouble_for": None,
            "paused": False,
            "silent_for": 0.1,
        },
        "credential": {"path": "/tmp/x509up", "not_after": AT + 43_200},
        "credential_seconds_left": 43_200.0,
    }
    return {**status, **over}


COUNTED = (
    *("files", "bytes", "failed", "retries", "skipped"),
    *("restarts", "dropped", "lag"),
)


def rates(window: int, **grown: int) -> dict[str, dict[str, float]]:
    """Rates that are all 0 but for one window."""
    every: dict[str, dict[str, float]] = a_status()["rates"]
    every[str(window)].update(grown)
    return every


def a_worker(number: int, **over: Any) -> dict[str, Any]:
    """A worker that beats."""
    return {
        "name": f"worker {number}",
        "number": number,
        "pid": 5000 + number,
        "ready": True,
        "streams": 5,
        "busy": 0,
        "jobs": 0,
        "for": 90_000.0,
        "beat_age": 0.3,
        "publishing": False,
        **over,
    }


def a_partition(number: int, **over: Any) -> dict[str, Any]:
    """A partition without lag."""
    return {
        "topic": "billing",
        "partition": number,
        "lag": 0,
        "committed": 1000,
        "pending": 0,
        "above_gap": 0,
        **over,
    }


def a_transfer(path: str = "/pnfs/example.org/data/a.dat", **over: Any) -> Any:
    """A transfer half done."""
    return {
        "task": "7c0e8ab1-94a3-5d0f-8a49-6dbf18ac9cfc",
        "path": path,
        "size": 2 * 10**9,
        "attempt": 1,
        "for": 12.0,
        "worker": 1,
        "phase": "data",
        "bytes": 9 * 10**8,
        "phase_for": 10.0,
        "bytes_per_second": 90 * 10**6,
        **over,
    }


def a_hold(kind: str = "door door.example.org:2880", **over: Any) -> dict[str, Any]:
    """A hold of a minute."""
    return {
        "kind": kind,
        "cause": "connection refused",
        "for": 60.0,
        "since": AT - 60,
        "probe_in": 21.0,
        "probing": False,
        "alerted": False,
        **over,
    }


def a_report(**over: Any) -> dict[str, Any]:
    """shipper.json of a shipper that has nothing to do."""
    return {
        "pid": 5003,
        "name": "logger",
        "at": AT - 0.5,
        "sink": "elasticsearch",
        "state": "idle",
        "reason": None,
        "since": AT - 600,
        "shipped": 123_456,
        "duplicates": 0,
        "dead_letters": 0,
        "dead_letters_lost": 0,
        "spoiled": 0,
        "missed": 0,
        "per_second": 0.0,
        "behind_bytes": 0,
        "oldest_age_s": None,
        **over,
    }


def a_sight(status: dict[str, Any] | None = None, **over: Any) -> Sight:
    """A look at a daemon that runs and has just written ``status``."""
    fields: dict[str, Any] = {
        "command": "watch",
        "at": AT,
        "is_running": True,
        "status": a_status() if status is None else status,
        "pid": PID,
        "process": "S",
        "silence": 0.4,
        "running_for": 90_001.0,
    }
    return Sight(**{**fields, **over})
