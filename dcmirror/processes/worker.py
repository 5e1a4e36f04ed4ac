"""A worker: several copies at once over one selector; owns only what is in hand.

The worker process runs this.  Killing it at any time loses nothing: the supervisor
knows what it had, and parts carry a lock that dies with the process.
"""

from __future__ import annotations

import heapq
import itertools
import os
import select
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from dcmirror.adapters.curl_transfer import (
    Request,
    Stream,
    TransferOptions,
    Transfers,
)
from dcmirror.adapters.mirror_store import MirrorStore
from dcmirror.core import wire
from dcmirror.core.jobs import AttemptResult, Job, Progress, Step
from dcmirror.core.limits import Limits
from dcmirror.core.messages import (
    CredentialChanged,
    DestinationState,
    Drain,
    FromWorker,
    ProbeDestination,
    ProbeSource,
    Ready,
    Report,
    RunJobs,
    SourceState,
)
from dcmirror.core.wording import size_text
from dcmirror.processes.publisher import FinishedPart, Publisher
from dcmirror.settings import Settings
from dcmirror.tasks.copy import (
    Action,
    CopyAttempt,
    CopyTools,
    Publish,
    Reply,
    tools_of,
)
from dcmirror.tasks.probe import SourceProbe

_BEAT_SECONDS = 1.0
#: Results, and parts to publish, gather that long while there is more to do; idle, they
#: leave at once.
_GATHER_SECONDS = 0.02
_GATHER_RESULTS = 32
_GATHER_PARTS = 16
#: Attempts beyond the streams: waiting for a digest or for the publisher.
_MAX_OFF_STREAM = 64
_COPY_RUN_SECONDS = 10.0
#: A small job that was sent ahead does not wait longer behind slow ones.
_LONGEST_QUEUED = 5.0
_PUBLISH_GRACE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class WorkerBoot:
    """What a worker is started with; picklable only while it is being spawned."""

    settings: Settings
    name: str
    streams: int
    tag: str
    proxy: Path | None
    capath: Path | None
    inbox: Connection
    outbox: Connection


@dataclass(slots=True, eq=False)
class _Run:
    """One attempt in hand, or a probe that is driven like one."""

    attempt: CopyAttempt | SourceProbe
    steps: Generator[Action, Any, AttemptResult | SourceState]
    stream: Stream | None
    told_at: float
    is_publishing: bool = False


@dataclass(slots=True)
class _News:
    """What the next report will say."""

    results: list[AttemptResult] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    since: float = 0.0


class Worker:
    """The loop and what it drives."""

    def __init__(
        self,
        boot: WorkerBoot,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        settings = boot.settings
        self.settings = settings
        self.clock = clock
        self.wall = wall
        self.inbox = boot.inbox
        self.outbox = boot.outbox
        self.store = MirrorStore(
            settings.local.downloadfolder,
            directory_mode=int(settings.local.permissions, 8),
            shared=settings.destination.shared,
            tag=boot.tag,
        )
        self.news = _News()
        self.tools: CopyTools = tools_of(
            settings, self.store, clock, wall, self.news.steps.append
        )
        self.drain_seconds = settings.pipeline.drain_seconds
        options = _transfer_options(boot)
        self.tick_seconds = options.limits.tick_seconds
        self.epoll = select.epoll()
        self.transfers = Transfers(self.epoll, options, clock)
        self.free = self.transfers.make_streams(boot.streams)
        self.most_runs = boot.streams + _MAX_OFF_STREAM
        self.publisher = Publisher(self.store, sync=settings.destination.sync)
        self.waiting: deque[tuple[Job, float]] = deque()
        self.runs: set[_Run] = set()
        self.by_stream: dict[Stream, _Run] = {}
        self.wanting: deque[tuple[_Run, Request]] = deque()
        self.ready: deque[_Run] = deque()
        self.finished: list[FinishedPart] = []
        self.finished_since = 0.0
        self.has_thread = settings.destination.sync != "none"
        self.sleeping: list[tuple[float, int, _Run]] = []
        self.numbers = itertools.count()
        self.drain_until: float | None = None
        self.is_orphan = False
        self.beat_at = 0.0
        self.tick_at = 0.0
        self.terminated = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    # The loop

    def run(self) -> None:
        """Work until drained, or until the supervisor is gone."""
        for fd in (self.inbox.fileno(), self.publisher.fd, self.terminated):
            self.epoll.register(fd, select.EPOLLIN)
        if self.has_thread:
            self.publisher.start()
        self.outbox.send_bytes(wire.encode(Ready(os.getpid(), *self._space())))
        while not self._is_done():
            events = self.epoll.poll(self._timeout(self.clock()))
            began = self.clock()
            for fd, mask in events:
                self._on_event(fd, mask)
            self._go_on(began)
        if self.is_orphan:
            self._abandon()
        else:
            self._report()

    def close(self) -> None:
        """Let go of everything that is open; the loop must have ended."""
        self.publisher.close(_PUBLISH_GRACE_SECONDS)
        self.transfers.close()
        self.epoll.close()
        os.close(self.terminated)
        self.inbox.close()
        self.outbox.close()

    def _go_on(self, began: float) -> None:
        """One pass over everything that may be due."""
        self.transfers.on_time(began)
        for stream, answer in self.transfers.take_finished():
            run = self.by_stream.get(stream)
            if run is not None:
                self._advance(run, answer)
        self._wake_sleepers(began)
        for _ in range(len(self.ready)):
            self._advance(self.ready.popleft(), None)
        self._hand_over_finished()
        self._start_jobs()
        self._tick(began)
        self._maybe_report()

    def _on_event(self, fd: int, mask: int) -> None:
        if self.transfers.owns(fd):
            self.transfers.on_event(fd, mask)
        elif fd == self.inbox.fileno():
            self._on_inbox()
        elif fd == self.publisher.fd:
            self._on_published()
        elif fd == self.terminated:
            os.eventfd_read(self.terminated)
            self._on_message(Drain(self.drain_seconds))

    def _timeout(self, now: float) -> float:
        if self.ready:
            return 0.0
        due = min(self.tick_at, self.beat_at)
        if self.transfers.due is not None:
            due = min(due, self.transfers.due)
        if self.sleeping:
            due = min(due, self.sleeping[0][0])
        if self.news.results:
            due = min(due, self.news.since + _GATHER_SECONDS)
        if self.finished:
            due = min(due, self.finished_since + _GATHER_SECONDS)
        return max(0.0, due - now)

    def _is_done(self) -> bool:
        return self.is_orphan or (self.drain_until is not None and not self.runs)

    # Messages

    def _on_inbox(self) -> None:
        try:
            message = wire.decode(self.inbox.recv_bytes())
        except (EOFError, OSError):
            self.is_orphan = True
            return
        self._on_message(message)

    def _on_message(self, message: wire.Message) -> None:
        if isinstance(message, RunJobs):
            self._accept(message.jobs)
        elif isinstance(message, Drain):
            self._drain(message.seconds)
        elif isinstance(message, ProbeDestination):
            self._send(self._probe())
        elif isinstance(message, ProbeSource):
            self._begin(SourceProbe(self.settings.dcache))
        elif isinstance(message, CredentialChanged):
            self.transfers.forget_credential()

    def _accept(self, jobs: tuple[Job, ...]) -> None:
        now = self.clock()
        if self.drain_until is not None:
            for job in jobs:
                self._finish(CopyAttempt(job, self.tools, 0.0).park())
            return
        self.waiting.extend((job, now) for job in jobs)

    def _drain(self, seconds: float) -> None:
        until = self.clock() + seconds
        self.drain_until = min(until, self.drain_until or until)
        while self.waiting:
            job, _ = self.waiting.popleft()
            self._finish(CopyAttempt(job, self.tools, 0.0).park())

    def _give_back(self, now: float) -> None:
        """What waits here for too long may find another worker idle."""
        while self.waiting and now - self.waiting[0][1] > _LONGEST_QUEUED:
            job, _ = self.waiting.popleft()
            self._finish(CopyAttempt(job, self.tools, 0.0).park())

    def _probe(self) -> DestinationState:
        try:
            self.store.probe_write()
            return DestinationState(True, "", self._space()[0])
        except OSError as exc:
            return DestinationState(False, exc.strerror or str(exc), self._space()[0])

    # Attempts

    def _start_jobs(self) -> None:
        while self.wanting and self.free:
            run, request = self.wanting.popleft()
            if run in self.runs:
                self._give_stream(run)
                self._request(run, request)
        while self.waiting and self.free and len(self.runs) < self.most_runs:
            job, since = self.waiting.popleft()
            self._start(job, since)

    def _start(self, job: Job, since: float) -> None:
        queued = self.clock() - since
        if job.attempt == 1 and job.accepted_at:
            queued = max(queued, self.wall() - job.accepted_at)
        self._begin(CopyAttempt(job, self.tools, queued * 1000))

    def _begin(self, attempt: CopyAttempt | SourceProbe) -> None:
        run = _Run(attempt, attempt.run(), None, self.clock())
        self.runs.add(run)
        if self.free:
            self._give_stream(run)
        self._advance(run, None)

    def _advance(self, run: _Run, reply: Reply) -> None:
        """Send an attempt what it waited for, and do what it wants next."""
        if run not in self.runs:  # parked meanwhile
            return
        try:
            self._do(run, run.steps.send(reply))
        except StopIteration as stop:
            self._end(run, stop.value)
        except Exception as exc:  # noqa: BLE001 - the job boundary (G6)
            run.steps.close()
            self._end(run, run.attempt.crash(exc))

    def _do(self, run: _Run, action: Action) -> None:
        if isinstance(action, Request):
            self._request(run, action)
        elif isinstance(action, Publish):
            self._take_stream(run)
            run.is_publishing = True
            part = FinishedPart(action.part, action.mark, action.mtime, run)
            if not self.finished:
                self.finished_since = self.clock()
            self.finished.append(part)
        elif action.seconds > 0:
            self._take_stream(run)
            due = self.clock() + action.seconds
            heapq.heappush(self.sleeping, (due, next(self.numbers), run))
        else:
            self.ready.append(run)

    def _request(self, run: _Run, request: Request) -> None:
        if run.stream is None:
            self.wanting.append((run, request))
        else:
            self.transfers.start(run.stream, request)

    def _give_stream(self, run: _Run) -> None:
        run.stream = self.free.pop()
        self.by_stream[run.stream] = run

    def _take_stream(self, run: _Run) -> None:
        if run.stream is not None:
            del self.by_stream[run.stream]
            self.free.append(run.stream)
            run.stream = None

    def _end(self, run: _Run, result: AttemptResult | SourceState) -> None:
        self._take_stream(run)
        self.runs.discard(run)
        if isinstance(result, SourceState):
            self._send(result)
        else:
            self._finish(result)

    def _finish(self, result: AttemptResult) -> None:
        if not self.news.results:
            self.news.since = self.clock()
        self.news.results.append(result)

    def _hand_over_finished(self) -> None:
        """Together: every group wakes the publisher, and costs at least one sync."""
        if not self.finished or self._may_gather():
            return
        finished, self.finished = self.finished, []
        self.publisher.submit(*finished)

    def _may_gather(self) -> bool:
        """Whether finished parts may wait for others."""
        return (
            bool(self.waiting)
            and len(self.finished) < _GATHER_PARTS
            and self.clock() < self.finished_since + _GATHER_SECONDS
        )

    def _on_published(self) -> None:
        for published in self.publisher.take_results():
            run = published.token
            if isinstance(run, _Run) and run in self.runs:
                run.is_publishing = False
                self._advance(run, published)

    def _wake_sleepers(self, now: float) -> None:
        while self.sleeping and self.sleeping[0][0] <= now:
            run = heapq.heappop(self.sleeping)[2]
            if run in self.runs:
                self._advance(run, None)

    def _park(self, run: _Run) -> None:
        """Give an attempt back: its request is dropped, its part removed."""
        dropped = self.transfers.drop(run.stream) if run.stream else None
        result = run.attempt.park(dropped)
        run.steps.close()
        self._end(run, result)

    def _abandon(self) -> None:
        """The supervisor is gone; nobody will hear of anything any more."""
        for run in list(self.runs):
            if not run.is_publishing:
                self._park(run)

    # Time and reports

    def _tick(self, began: float) -> None:
        now = self.clock()
        if self.has_thread and not self.publisher.is_alive():
            raise RuntimeError("the publisher thread has died")
        if now - began > 2 * self.tick_seconds:
            self.transfers.forgive_pause(now)
            self.tick_at = now + self.tick_seconds
        elif now >= self.tick_at:
            self.transfers.check_limits(now)
            self._give_back(now)
            self.tick_at = now + self.tick_seconds
        if self.drain_until is not None and now >= self.drain_until:
            self._park_all(now - self.drain_until > _PUBLISH_GRACE_SECONDS)

    def _park_all(self, including_published: bool) -> None:
        for run in list(self.runs):
            if including_published or not run.is_publishing:
                self._park(run)

    def _maybe_report(self) -> None:
        now = self.clock()
        results = self.news.results
        if results and (
            not self.waiting
            or len(results) >= _GATHER_RESULTS
            or now - self.news.since >= _GATHER_SECONDS
        ):
            self._report()
        elif now >= self.beat_at:
            self._tell_progress(now)
            self._report()

    def _report(self) -> None:
        news = self.news
        now = self.clock()
        is_beat = now >= self.beat_at
        free_bytes, total_bytes = self._space() if is_beat else (None, None)
        if is_beat:
            self.beat_at = now + _BEAT_SECONDS
        self._send(
            Report(
                results=tuple(news.results),
                steps=tuple(news.steps),
                progress=self._progress() if is_beat else (),
                free_bytes=free_bytes,
                total_bytes=total_bytes,
                publishing=self.publisher.publishing,
                leaving=self.drain_until is not None,
            )
        )
        news.results.clear()
        news.steps.clear()

    def _progress(self) -> tuple[Progress, ...]:
        return tuple(
            attempt.progress(run.stream.body.received if run.stream else 0)
            for run in self.runs
            if isinstance(attempt := run.attempt, CopyAttempt)
        )

    def _tell_progress(self, now: float) -> None:
        """The ancestor's COPY_RUN, for files that take longer than a beat."""
        for run in self.runs:
            attempt = run.attempt
            received = run.stream.body.received if run.stream else 0
            if not received or not isinstance(attempt, CopyAttempt):
                continue
            if now - run.told_at >= _BEAT_SECONDS:
                run.told_at = now + _COPY_RUN_SECONDS - _BEAT_SECONDS
                text = f"Copying data to {attempt.target}.part, {size_text(received)}"
                task = attempt.job.task
                self.news.steps.append(Step(task, "copy_run", self.wall(), text))

    def _space(self) -> tuple[int | None, int | None]:
        """Bytes that an unprivileged user may still write, and bytes there are."""
        try:
            room = os.statvfs(self.store.root)
        except OSError:
            return None, None
        return room.f_bavail * room.f_frsize, room.f_blocks * room.f_frsize

    def _send(self, message: FromWorker) -> None:
        try:
            self.outbox.send_bytes(wire.encode(message))
        except OSError:
            self.is_orphan = True


def _transfer_options(boot: WorkerBoot) -> TransferOptions:
    source = boot.settings.source
    limits = Limits(
        source.connect_seconds,
        source.first_byte_seconds,
        source.stall_bytes_per_second,
        source.stall_seconds,
    )
    return TransferOptions(
        boot.proxy, boot.capath, limits, source.keep_pool_connections
    )


def worker_main(boot: WorkerBoot) -> None:
    """The life of a worker process."""
    worker = Worker(boot)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda *_: os.eventfd_write(worker.terminated, 1))
    worker.run()
    if not worker.is_orphan:
        worker.close()
