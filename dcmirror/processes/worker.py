"""A worker: several copies at once over one selector; owns only what is in hand.

The worker process runs this.  Killing it at any time loses nothing: the supervisor
knows what it had, and parts carry a lock that dies with the process.
"""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from dcmirror.adapters.curl_transfer import Transfers
from dcmirror.adapters.linux import raise_descriptor_limit
from dcmirror.adapters.mirror_store import store_of
from dcmirror.adapters.requests import TransferOptions
from dcmirror.adapters.room import Room
from dcmirror.core import wire
from dcmirror.core.jobs import Job
from dcmirror.core.limits import Limits
from dcmirror.core.messages import (
    CredentialChanged,
    DestinationState,
    Drain,
    ProbeDestination,
    ProbeSource,
    Ready,
    RunJobs,
)
from dcmirror.processes.publisher import Publisher
from dcmirror.processes.worker_attempts import Attempts
from dcmirror.processes.worker_reports import Reports
from dcmirror.settings import Settings
from dcmirror.tasks.attempt import CopyTools, tools_of
from dcmirror.tasks.copy import CopyAttempt
from dcmirror.tasks.probe import SourceProbe

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


class Worker:
    """The loop: it waits in one place, for messages, sockets, syncs and times."""

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
        self.store = store_of(settings, boot.tag)
        self.room = Room(self.store, clock)
        self.reports = Reports(boot.outbox, self.room, clock, wall)
        self.tools: CopyTools = tools_of(
            settings, self.store, self.room, clock, wall, self.reports.steps.append
        )
        options = _transfer_options(boot)
        self.tick_seconds = options.limits.tick_seconds
        self.tick_at = 0.0
        self.epoll = select.epoll()
        self.transfers = Transfers(self.epoll, options, clock)
        self.publisher = Publisher(self.store, sync=settings.destination.sync)
        self.has_thread = settings.destination.sync != "none"
        self.attempts = Attempts(
            self.transfers, boot.streams, self.publisher, self.reports.ended, clock
        )
        self.waiting: deque[tuple[Job, float]] = deque()
        self.drain_until: float | None = None
        self.is_hung_up = False
        self.terminated = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    @property
    def is_orphan(self) -> bool:
        """Whether the supervisor is gone: nobody will hear of anything any more."""
        return self.is_hung_up or self.reports.is_cut_off

    # The loop

    def run(self) -> None:
        """Work until drained, or until the supervisor is gone."""
        for fd in (self.inbox.fileno(), self.publisher.fd, self.terminated):
            self.epoll.register(fd, select.EPOLLIN)
        if self.has_thread:
            self.publisher.start()
        self.outbox.send_bytes(wire.encode(Ready(os.getpid(), *self.room.space())))
        while not self.is_orphan and (self.drain_until is None or self.attempts.runs):
            events = self.epoll.poll(self._timeout(self.clock()))
            began = self.clock()
            for fd, mask in events:
                self._on_event(fd, mask)
            self._go_on(began)
        if self.is_orphan:
            self.attempts.park_all(even_publishing=False)
        else:
            self._report(self.clock())

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
        self.attempts.go_on(began)
        self.attempts.hand_over(may_gather=bool(self.waiting))
        self._start_jobs()
        self._tick(began)
        now = self.clock()
        if self.reports.is_due(now, may_gather=bool(self.waiting)):
            self._report(now)

    def _report(self, now: float) -> None:
        self.reports.report(
            now,
            self.attempts.runs,
            publishing=self.publisher.publishing,
            leaving=self.drain_until is not None,
        )

    def _on_event(self, fd: int, mask: int) -> None:
        if self.transfers.owns(fd):
            self.transfers.on_event(fd, mask)
        elif fd == self.inbox.fileno():
            self._on_inbox()
        elif fd == self.publisher.fd:
            self.attempts.take_published()
        elif fd == self.terminated:
            os.eventfd_read(self.terminated)
            self._drain(self.settings.pipeline.drain_seconds)

    def _timeout(self, now: float) -> float:
        due = min(self.tick_at, self.reports.due, self.attempts.due)
        transfers_due = self.transfers.due
        if transfers_due is not None:
            due = min(due, transfers_due)
        return max(0.0, due - now)

    def _tick(self, began: float) -> None:
        now = self.clock()
        if self.has_thread and not self.publisher.is_alive():
            raise RuntimeError("the publisher thread has died")
        if now - began > 2 * self.tick_seconds:
            self.transfers.forgive_pause(now)
            self.tick_at = now + self.tick_seconds
        elif now >= self.tick_at:
            self.transfers.check_limits(now)
            self._give_back_old(now)
            self.tick_at = now + self.tick_seconds
        if self.drain_until is not None and now >= self.drain_until:
            is_over = now - self.drain_until > _PUBLISH_GRACE_SECONDS
            self.attempts.park_all(even_publishing=is_over)

    # Messages

    def _on_inbox(self) -> None:
        try:
            message = wire.decode(self.inbox.recv_bytes())
        except (EOFError, OSError):
            self.is_hung_up = True
            return
        self._on_message(message)

    def _on_message(self, message: wire.Message) -> None:
        if isinstance(message, RunJobs):
            self.room.min_free = message.min_free
            self._accept(message.jobs)
        elif isinstance(message, Drain):
            self._drain(message.seconds)
        elif isinstance(message, ProbeDestination):
            self.reports.send(self._probe())
        elif isinstance(message, ProbeSource):
            self.attempts.begin(SourceProbe(self.settings.dcache))
        elif isinstance(message, CredentialChanged):
            self.transfers.forget_credential()

    def _drain(self, seconds: float) -> None:
        until = self.clock() + seconds
        self.drain_until = min(until, self.drain_until or until)
        while self.waiting:
            self._give_back(self.waiting.popleft()[0])

    def _probe(self) -> DestinationState:
        reason = self.room.probe()
        return DestinationState(reason is None, reason or "", self.room.space()[0])

    # Jobs that have not begun

    def _accept(self, jobs: tuple[Job, ...]) -> None:
        now = self.clock()
        if self.drain_until is not None:
            for job in jobs:
                self._give_back(job)
            return
        self.waiting.extend((job, now) for job in jobs)

    def _start_jobs(self) -> None:
        while self.waiting and self.attempts.has_room:
            job, since = self.waiting.popleft()
            queued = self.clock() - since
            if job.attempt == 1 and job.accepted_at:
                queued = max(queued, self.wall() - job.accepted_at)
            self.attempts.begin(CopyAttempt(job, self.tools, queued * 1000))

    def _give_back_old(self, now: float) -> None:
        """What waits here for too long may find another worker idle."""
        while self.waiting and now - self.waiting[0][1] > _LONGEST_QUEUED:
            self._give_back(self.waiting.popleft()[0])

    def _give_back(self, job: Job) -> None:
        self.reports.ended(CopyAttempt(job, self.tools, 0.0).park())


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
    raise_descriptor_limit()
    worker = Worker(boot)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda *_: os.eventfd_write(worker.terminated, 1))
    worker.run()
    if not worker.is_orphan:
        worker.close()
