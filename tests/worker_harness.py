"""A worker to test with: in a thread of this process, or in its own."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from dcmirror.core import wire
from dcmirror.core.jobs import AttemptResult, CopyRecord, Job, JobKind, Step
from dcmirror.core.messages import Drain, Ready, Report, RunJobs
from dcmirror.processes.worker import Worker, WorkerBoot, worker_main
from dcmirror.settings import DCache, Destination, Kafka, Local, Settings, Source
from helpers import wait_until

ROOT = "/pnfs/example.org/data"


def make_settings(mirror: Path, door_url: str, **over: Any) -> Settings:
    """Settings of a copy; keyword arguments go to the table that knows them."""
    tables: dict[str, dict[str, Any]] = {"dcache": {}, "source": {}, "destination": {}}
    homes = {"dcache": DCache, "source": Source, "destination": Destination}
    for key, value in over.items():
        name = next(n for n, kind in homes.items() if key in kind.__dataclass_fields__)
        tables[name][key] = value
    return Settings(
        kafka=Kafka(topic="t", servers=("127.0.0.1:1",), consumergroup="g"),
        dcache=DCache(url=door_url, pool=ROOT, folder="/", **tables["dcache"]),
        local=Local(downloadfolder=mirror, permissions="2755"),
        source=Source(**tables["source"]),
        destination=Destination(**tables["destination"]),
    )


@dataclass
class Talk:
    """The supervisor's end of a worker's pipes."""

    to_worker: Connection
    from_worker: Connection
    results: dict[str, AttemptResult] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)
    others: list[wire.Message] = field(default_factory=list)

    def send(self, message: wire.Message) -> None:
        """Say something to the worker."""
        self.to_worker.send_bytes(wire.encode(message))

    def listen(self, seconds: float = 0.0) -> bool:
        """Take what has come; False if nothing did."""
        if not self.from_worker.poll(seconds):
            return False
        message = wire.decode(self.from_worker.recv_bytes())
        if isinstance(message, Report):
            self.reports.append(message)
            self.steps.extend(message.steps)
            self.results.update({result.task: result for result in message.results})
        else:
            self.others.append(message)
        return True

    def run(self, *jobs: Job, deadline: float = 20.0) -> list[AttemptResult]:
        """Hand the jobs out and wait for their results, in the order of the jobs."""
        for job in jobs:
            self.results.pop(job.task, None)
        self.send(RunJobs(jobs))
        return self.wait_for(*jobs, deadline=deadline)

    def wait_for(self, *jobs: Job, deadline: float = 20.0) -> list[AttemptResult]:
        def have_all() -> bool:
            self.listen(0.05)
            return all(job.task in self.results for job in jobs)

        wait_until(have_all, deadline, what="results of all jobs")
        return [self.results[job.task] for job in jobs]

    def run_one(self, job: Job, deadline: float = 20.0) -> AttemptResult:
        return self.run(job, deadline=deadline)[0]

    def texts(self, name: str) -> list[str]:
        return [step.text for step in self.steps if step.name == name]


def boot_for(
    settings: Settings,
    pipes: tuple[Connection, Connection],
    *,
    proxy: Path | None,
    capath: Path | None,
    streams: int,
) -> WorkerBoot:
    return WorkerBoot(
        settings=settings,
        name="worker 1",
        streams=streams,
        tag="0badcafe",
        proxy=proxy,
        capath=capath,
        inbox=pipes[0],
        outbox=pipes[1],
    )


@contextmanager
def worker_in_thread(
    settings: Settings,
    *,
    proxy: Path | None = None,
    capath: Path | None = None,
    streams: int = 2,
    digest_ladder: tuple[float, ...] = (0.0, 0.05, 0.1),
) -> Iterator[tuple[Talk, Worker]]:
    """A worker whose insides a test may look at and bend."""
    inbox, to_worker = multiprocessing.Pipe(duplex=False)
    from_worker, outbox = multiprocessing.Pipe(duplex=False)
    boot = boot_for(
        settings, (inbox, outbox), proxy=proxy, capath=capath, streams=streams
    )
    worker = Worker(boot)
    worker.tools = replace(worker.tools, digest_ladder=digest_ladder)
    failures: list[Exception] = []

    def live() -> None:
        try:
            worker.run()
        except Exception as exc:  # noqa: BLE001 - shown by the assertion below
            failures.append(exc)

    thread = threading.Thread(target=live)
    thread.start()
    talk = Talk(to_worker, from_worker)
    try:
        talk.listen(10.0)
        assert isinstance(talk.others.pop(), Ready)
        yield talk, worker
    finally:
        to_worker.close()
        thread.join(10.0)
        from_worker.close()
        worker.close()
    assert not thread.is_alive()
    assert failures == []


@contextmanager
def worker_process(
    settings: Settings,
    *,
    proxy: Path | None = None,
    capath: Path | None = None,
    streams: int = 2,
) -> Iterator[tuple[Talk, Any]]:
    """A worker as the supervisor starts it."""
    context = multiprocessing.get_context("spawn")
    inbox, to_worker = context.Pipe(duplex=False)
    from_worker, outbox = context.Pipe(duplex=False)
    boot = boot_for(
        settings, (inbox, outbox), proxy=proxy, capath=capath, streams=streams
    )
    process = context.Process(target=worker_main, args=(boot,))
    process.start()
    inbox.close()
    outbox.close()
    talk = Talk(to_worker, from_worker)
    try:
        talk.listen(20.0)
        assert isinstance(talk.others[0], Ready)
        yield talk, process
    finally:
        if process.is_alive():
            process.kill()
        process.join(10.0)
        process.close()
        to_worker.close()
        from_worker.close()


def drain(talk: Talk, process: Any, seconds: float = 1.0) -> int | None:
    """Ask a worker to finish; its exit status."""
    talk.send(Drain(seconds))

    def is_gone() -> bool:
        try:
            talk.listen(0.05)
        except EOFError:
            return True
        return False

    wait_until(is_gone, seconds + 15, what="the worker has left")
    process.join(5.0)
    return process.exitcode


def make_job(
    door_url: str,
    name: str,
    *,
    size: int | None = None,
    pnfsid: str | None = None,
    task: str | None = None,
    known: CopyRecord | None = None,
    event_time: float | None = 1_700_000_000.25,
) -> Job:
    """A job for ``name`` below the mirror, as the planner makes it."""
    return Job(
        task=task or f"task-{name}-{time.monotonic_ns()}",
        kind=JobKind.TRIGGER,
        path=f"{ROOT}/{name}",
        relative=name,
        url=f"{door_url}/{name}",
        size=size,
        pnfsid=pnfsid,
        event_time=event_time,
        accepted_at=time.time(),
        known=known,
    )
