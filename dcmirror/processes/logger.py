"""Ships the journal: reads all writers' segments and keeps a checkpoint.

The logger process runs this.  It may lag, die or be killed without harm: whoever ships
next goes on at the checkpoint.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType

from dcmirror.adapters import checkpoints, locks, metrics_server, shipping_report
from dcmirror.adapters.checkpoints import Checkpoint
from dcmirror.adapters.journal_reader import Batch, JournalReader
from dcmirror.adapters.sinks import FileSink, NoSink, Sink
from dcmirror.errors import DcmirrorError, LockedError
from dcmirror.settings import Settings

_POLL_SECONDS = 0.5
_LOCK_SECONDS = 1.0
_CHECKPOINT_SECONDS = 1.0
_LONGEST_PAUSE = 60.0


@dataclass(frozen=True, slots=True)
class LoggerBoot:
    """What the logger needs to know.

    ``drain_seconds`` is how long TERM lets it ship; the pipes are not used, but an open
    one shows the supervisor that it lives.  ``status`` is what /metrics shows, None for
    loggers that have no endpoint.
    """

    settings: Settings
    journal_directory: Path
    checkpoint: Path
    export: Path | None
    name: str
    drain_seconds: float = 1.5
    inbox: Connection | None = None
    outbox: Connection | None = None
    status: Path | None = None


def logger_main(boot: LoggerBoot) -> None:
    """Ship until TERM; then what is there already, and return."""
    if boot.status is not None:
        metrics_server.serve(
            boot.settings.metrics,
            boot.status,
            shipping_report.path_beside(boot.checkpoint),
            lambda text: _say(boot.name, text),
        )
    sink: Sink = NoSink() if boot.export is None else FileSink(boot.export)
    Logger(boot, sink, _Stop(boot.drain_seconds)).run()


class _Stop:
    """TERM as a deadline, and a pause that TERM ends."""

    def __init__(self, drain_seconds: float) -> None:
        self._drain_seconds = drain_seconds
        self._deadline: float | None = None
        self._wake_r, wake_w = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake_w, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, self._on_term)
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    @property
    def is_asked(self) -> bool:
        return self._deadline is not None

    @property
    def is_due(self) -> bool:
        return self._deadline is not None and time.monotonic() >= self._deadline

    def pause(self, seconds: float) -> None:
        select.select([self._wake_r], [], [], seconds)
        with suppress(BlockingIOError):
            os.read(self._wake_r, 512)

    def _on_term(self, _number: int, _frame: FrameType | None) -> None:
        if self._deadline is None:
            self._deadline = time.monotonic() + self._drain_seconds


class Logger:
    """Reads, ships, remembers; in this order, so that nothing is skipped."""

    def __init__(self, boot: LoggerBoot, sink: Sink, stop: _Stop) -> None:
        self._path = boot.checkpoint
        self._lock_path = boot.checkpoint.with_name("shipper.lock")
        self._reader = JournalReader(boot.journal_directory)
        self._name = boot.name
        self._sink = sink
        self._stop = stop
        self._checkpoint = Checkpoint()
        self._is_saved = True
        self._saved_at = 0.0
        self._failures = 0
        self._complaint = ""

    def run(self) -> None:
        """Wait for our turn, then ship."""
        lock = self._wait_for_turn()
        if lock is None:
            return
        with lock:
            self._checkpoint = checkpoints.load(self._path)
            self._sink.resume(self._checkpoint.sink)
            while not self._stop.is_due:
                has_shipped = self._ship_guarded()
                if not has_shipped and self._stop.is_asked:
                    break
                if not has_shipped:
                    self._stop.pause(self._patience())
            self._save_guarded()
            self._sink.close()

    def _wait_for_turn(self) -> locks.Lock | None:
        """One logger ships at a time; the others stand by."""
        while True:
            try:
                return locks.acquire(self._lock_path)
            except LockedError:
                pass
            except DcmirrorError as exc:
                self._complain(exc)
            if self._stop.is_asked:
                return None
            self._stop.pause(_LOCK_SECONDS)

    def _ship_guarded(self) -> bool:
        """Ship a batch; whatever goes wrong is told once and tried again later."""
        try:
            has_shipped = self._ship()
        except Exception as exc:  # noqa: BLE001 - the logger loop: nothing ends it
            self._failures += 1
            self._complain(exc)
            return False
        self._failures, self._complaint = 0, ""
        return has_shipped

    def _ship(self) -> bool:
        batch = self._reader.read(self._checkpoint.writers)
        if batch.lines:
            self._sink.ship(batch.lines)
        self._advance(batch)
        if not batch.lines or time.monotonic() - self._saved_at > _CHECKPOINT_SECONDS:
            self._save()
        return bool(batch.lines)

    def _advance(self, batch: Batch) -> None:
        now = self._checkpoint
        if batch.positions != now.writers:
            self._is_saved = False
        now.writers = batch.positions
        now.shipped += len(batch.lines)
        now.spoiled += batch.spoiled
        now.missed += batch.missed

    def _save(self) -> None:
        if self._is_saved:
            return
        self._checkpoint.sink = self._sink.settle()
        checkpoints.save(self._path, self._checkpoint)
        self._is_saved = True
        self._saved_at = time.monotonic()

    def _save_guarded(self) -> None:
        try:
            self._save()
        except OSError as exc:
            self._complain(exc)

    def _patience(self) -> float:
        if not self._failures:
            return _POLL_SECONDS
        return float(min(2.0 ** min(self._failures - 1, 10), _LONGEST_PAUSE))

    def _complain(self, exc: Exception) -> None:
        text = f"{type(exc).__name__}: {exc}"
        if text == self._complaint:
            return
        self._complaint = text
        _say(self._name, text)


def _say(name: str, text: str) -> None:
    with suppress(OSError):
        os.write(sys.stderr.fileno(), f"dcmirror: {name}: {text}\n".encode())
