"""Ships the journal: a route for each sink, and a report of how they do.

The logger process runs this.  It may lag, die or be killed without harm: whoever ships
next goes on at the checkpoint.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import threading
import time
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path

from dcmirror.adapters import locks, metrics_server, shipping_report
from dcmirror.adapters.dead_letters import FILE_NAME as DEAD_LETTERS
from dcmirror.adapters.dead_letters import DeadLetters
from dcmirror.adapters.journal_reader import Backlog, JournalReader, backlog
from dcmirror.adapters.linux import keep_freed_memory
from dcmirror.adapters.segment_rows import SegmentRows
from dcmirror.adapters.shipping_report import ShippingReport
from dcmirror.adapters.sinks import FileSink, NoSink, Sink
from dcmirror.errors import DcmirrorError, LockedError
from dcmirror.processes.route import CheckpointBook, Route, Stop, say
from dcmirror.processes.signals import Signals
from dcmirror.settings import Settings

_LOCK_SECONDS = 1.0
_GC_THRESHOLD = 50_000
# What a batch takes and frees again, several times over.
_BATCH_MEMORY = 16 * 1024 * 1024
_REPORT_SECONDS = 1.0
_LONGEST_REPORT_SECONDS = 10.0


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
            lambda text: say(boot.name, text),
        )
    logger = Logger(boot, make_sinks(boot), _Signals(boot.drain_seconds))
    keep_freed_memory(_BATCH_MEMORY)
    # A batch is thousands of objects without a cycle: looking for one in them at the
    # usual rate is a tenth of what a line costs.
    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD)
    logger.run()


def make_sinks(boot: LoggerBoot) -> list[Sink]:
    """Where to ship to; nowhere is a sink too, so that segments can go."""
    sinks: list[Sink] = []
    if boot.settings.elasticsearch.urls:
        # Only who ships there pays for the client.
        from dcmirror.adapters.elastic_sink import ElasticSink

        letters = DeadLetters(boot.checkpoint.with_name(DEAD_LETTERS))
        sinks.append(ElasticSink(boot.settings.elasticsearch, letters))
    if boot.export is not None:
        sinks.append(FileSink(boot.export))
    return sinks or [NoSink()]


class _Signals:
    """TERM as a request with a deadline; what waits here is woken by it."""

    def __init__(self, drain_seconds: float) -> None:
        self.stop = Stop()
        self._drain_seconds = drain_seconds
        self._is_asked = False
        self._heard = Signals([signal.SIGTERM], self._on_term)
        self._heard.listen()
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def pause(self, seconds: float) -> None:
        """Wait so long, or until a signal; then pass the request on."""
        select.select([self._heard.fd], [], [], seconds)
        self._heard.clear()
        # Not in the handler: it would wait for a lock that its own thread holds.
        if self._is_asked:
            self.stop.ask(self._drain_seconds)

    def _on_term(self, _number: int) -> None:
        self._is_asked = True


class Logger:
    """Waits for its turn, then lets the routes ship and tells how they do."""

    def __init__(self, boot: LoggerBoot, sinks: list[Sink], signals: _Signals) -> None:
        self._boot = boot
        self._sinks = sinks
        self._signals = signals
        self._rows = SegmentRows(boot.journal_directory)
        self._lock_path = boot.checkpoint.with_name("shipper.lock")
        self._report_path = shipping_report.path_beside(boot.checkpoint)
        self._reported: ShippingReport | None = None
        self._complaint = ""

    def run(self) -> None:
        """Return when the routes have ended, or at the deadline without them."""
        lock = self._wait_for_turn()
        if lock is None:
            return
        with lock:
            routes = self._routes()
            threads = [
                threading.Thread(target=route.run, name=route.sink_name, daemon=True)
                for route in routes
            ]
            for thread in threads:
                thread.start()
            while any(thread.is_alive() for thread in threads):
                if self._signals.stop.is_due:
                    break
                self._report(routes)
                self._wait(threads)
            self._report(routes)

    def _wait_for_turn(self) -> locks.Lock | None:
        """One logger ships at a time; the others stand by."""
        while True:
            try:
                return locks.acquire(self._lock_path)
            except LockedError:
                pass
            except DcmirrorError as exc:
                self._complain(exc)
            if self._signals.stop.is_asked:
                return None
            self._signals.pause(_LOCK_SECONDS)

    def _routes(self) -> list[Route]:
        names = tuple(sink.name for sink in self._sinks)
        book = CheckpointBook(self._boot.checkpoint, names)
        directory, stop = self._boot.journal_directory, self._signals.stop
        return [
            Route(
                self._boot.name,
                JournalReader(directory, keeps_spoiled=sink is self._sinks[0]),
                sink,
                book,
                stop,
            )
            for sink in self._sinks
        ]

    def _wait(self, threads: list[threading.Thread]) -> None:
        if not self._signals.stop.is_asked:
            self._signals.pause(_REPORT_SECONDS)
            return
        for thread in threads:
            thread.join(0.05)

    def _report(self, routes: list[Route]) -> None:
        """Say how it goes, if something changed or it was not said for a while."""
        report = self._look(routes)
        if self._is_known(report):
            return
        try:
            shipping_report.write(self._report_path, report)
            self._reported = report
        except OSError as exc:
            self._complain(exc)

    def _is_known(self, report: ShippingReport) -> bool:
        last = self._reported
        if last is None or report.at - last.at >= _LONGEST_REPORT_SECONDS:
            return False
        return replace(report, at=last.at) == last

    def _look(self, routes: list[Route]) -> ShippingReport:
        """The first route's figures; of the others, what is wrong."""
        route, now = routes[0], time.time()
        checkpoint, state = route.checkpoint, route.state
        try:
            behind = backlog(self._rows.look(), checkpoint.writers)
        except OSError:  # the route met it too, and says so
            behind = Backlog(0, None)
        return ShippingReport(
            pid=os.getpid(),
            name=self._boot.name,
            at=now,
            sink=route.sink_name,
            state=state.name,
            reason=_reasons(routes),
            since=state.since,
            shipped=checkpoint.shipped,
            duplicates=checkpoint.duplicates,
            dead_letters=checkpoint.dead_letters,
            dead_letters_lost=checkpoint.dead_letters_lost,
            spoiled=checkpoint.spoiled,
            missed=checkpoint.missed,
            per_second=round(route.rate(time.monotonic()), 1),
            behind_bytes=behind.size,
            oldest_age_s=behind.oldest and round(max(now - behind.oldest, 0.0), 3),
        )

    def _complain(self, exc: Exception) -> None:
        text = f"{type(exc).__name__}: {exc}"
        if text == self._complaint:
            return
        self._complaint = text
        say(self._boot.name, text)


def _reasons(routes: list[Route]) -> str | None:
    first, *others = routes
    reasons = [first.state.reason] if first.state.reason else []
    reasons += [f"{o.sink_name}: {o.state.reason}" for o in others if o.state.reason]
    return "; ".join(reasons) or None
