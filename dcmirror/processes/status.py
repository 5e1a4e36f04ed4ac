"""status.json: what the daemon does now, readable while the daemon is stuck.

The supervisor's loop writes it once a second, by rename, so that no reader sees half.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from dcmirror import __version__
from dcmirror.core.entries import State
from dcmirror.core.escapes import shown
from dcmirror.core.rates import WINDOWS, Drift, Rates, Speeds
from dcmirror.core.verdict import Limits
from dcmirror.core.verdict_rules import jam
from dcmirror.errors import DcmirrorError
from dcmirror.processes import status_parts as parts
from dcmirror.processes.assembly import EngineRoom
from dcmirror.settings import Settings

_COUNTED = (
    *("files", "bytes", "failed", "retries", "skipped"),
    *("restarts", "dropped", "lag"),
)
#: How often the log says that transfers wait for their first byte (seconds).
_JAM_SECONDS = 600.0
_LIMITS = Limits()


class StatusBoard:
    """One command's status: what is said once, and what only two looks can tell."""

    def __init__(
        self,
        path: Path,
        command: str,
        settings: Settings,
        instance: str,
        room: EngineRoom,
        wall: float,
    ) -> None:
        self._path = path
        self._engine = room.engine
        self._fleet = room.fleet
        self._journal = room.journal
        self._log = room.log
        self._head = {
            "version": __version__,
            "command": command,
            "instance": instance,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "started": wall,
            "source": shown(f"{settings.dcache.url} below {settings.dcache.folder}"),
            "destination": shown(os.fspath(settings.local.downloadfolder)),
            "topic": settings.kafka.topic,
            "group": settings.kafka.consumergroup,
        }
        self._rates = Rates(_COUNTED)
        self._lag = Drift()
        self._speeds = Speeds()
        self._last: dict[str, Any] = {}
        self._mirrored = self._failed = 0
        self._mirrored_at: float | None = None
        self._failed_at: float | None = None
        self._jam_told_at = float("-inf")

    def show(self, now: float, wall: float, **more: Any) -> None:
        """Write what is true now; ``more`` is what the command itself knows."""
        self._last = self.snapshot(now, wall, **more)
        write_status(self._path, self._last)
        self._tell_jam(now)

    def _tell_jam(self, now: float) -> None:
        """The log says it too, once in a while."""
        text = jam(self._last, _LIMITS)
        if text is not None and now - self._jam_told_at >= _JAM_SECONDS:
            self._jam_told_at = now
            self._engine.story.note(text, level="warning")

    @contextmanager
    def until_the_end(self) -> Iterator[None]:
        """Says at the end that it ended on purpose, or for which error."""
        error: str | None = "it ended unexpectedly"
        try:
            yield
            error = None
        except DcmirrorError as exc:
            error = shown(str(exc))
            raise
        finally:
            self._last["ended"] = {"at": time.time(), "error": error}
            write_status(self._path, self._last)

    def snapshot(self, now: float, wall: float, **more: Any) -> dict[str, Any]:
        """Plain values; times in seconds, sizes in bytes, speeds in bytes a second."""
        self._look(now, wall, more)
        engine, dispatcher = self._engine, self._engine.dispatcher
        entries = dispatcher.out()
        return {
            **self._head,
            "at": wall,
            "stopping": engine.is_stopping,
            "jobs": {state.value: dispatcher.count(state) for state in State},
            "queue_age": parts.ready_for(dispatcher.next_ready(), now, wall),
            "transfers": parts.transfers(engine, entries, self._speeds, now, wall),
            "transfers_total": len(entries),
            "retries_due": parts.retries(dispatcher, now),
            "next_due": parts.until(dispatcher.next_due(), now),
            "holds": parts.holds(engine, now, wall),
            "workers": parts.workers(self._fleet, entries, engine.progress, now),
            "missing": parts.missing(self._fleet, now),
            "worker_restarts": self._fleet.restarts,
            "free_bytes": engine.space.free_bytes,
            "reserved_bytes": engine.space.reserved_bytes(),
            "min_free": engine.space.min_free,
            "unsettled": engine.settler.backlog,
            "journal": parts.journal(self._journal),
            "journal_dropped": self._journal.dropped,
            "log_lost": self._log.lost,
            "rates": {str(each): self._rates.over(each) for each in WINDOWS},
            "mirrored_at": self._mirrored_at,
            "failed_at": self._failed_at,
            **parts.totals(engine.tally),
            **more,
        }

    def _look(self, now: float, wall: float, more: dict[str, Any]) -> None:
        tally = self._engine.tally
        # What partitions bring that are assigned to us is no growth.
        self._lag.observe(more.get("lag", {}))
        counted = {
            "files": tally.mirrored,
            "bytes": tally.bytes_mirrored,
            "failed": tally.failed,
            "retries": tally.retries,
            "skipped": sum(tally.skipped.values()),
            "restarts": self._fleet.restarts,
            "dropped": self._journal.dropped,
            "lag": self._lag.total,
        }
        self._rates.observe(now, counted)
        if tally.mirrored > self._mirrored:
            self._mirrored, self._mirrored_at = tally.mirrored, wall
        if tally.failed > self._failed:
            self._failed, self._failed_at = tally.failed, wall


def write_status(path: Path, status: dict[str, Any]) -> None:
    """Replace the file.

    On a full disk the old one is touched, so that a reader does not take us for stuck.
    """
    temporary = path.with_name(path.name + ".new")
    try:
        temporary.write_text(json.dumps(status, separators=(",", ":")) + "\n")
        os.replace(temporary, path)
    except OSError:
        with suppress(OSError):
            os.utime(path)
