"""Runs dcmirror's engine once over a list of files and prints what it took, as JSON.

A process of its own: the supervisor with its workers, its logger and its books; only
the feed is ours, a list instead of a topic.
"""

from __future__ import annotations

import json
import os
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.measuring import cpu_seconds, peak_bytes, resident_bytes
from bench.sources import FileSet
from dcmirror.adapters.failed_csv import FailedCsv
from dcmirror.adapters.state_directory import prepare
from dcmirror.core.jobs import Job, JobKind
from dcmirror.core.paths import PathMap
from dcmirror.errors import DcmirrorError
from dcmirror.processes.assembly import EngineRoom, assemble
from dcmirror.processes.settler import Settlement
from dcmirror.processes.supervisor import Supervisor
from dcmirror.settings import (
    DCache,
    Destination,
    Elasticsearch,
    Kafka,
    Local,
    Log,
    Settings,
    Source,
    State,
)

_FIRST_LOOK = 0.1
#: Jobs that come at once, as records do from Kafka.
_AT_ONCE = 200


@dataclass(frozen=True)
class Order:
    """What to copy, and how."""

    url: str
    name: str
    count: int
    size: int
    parallel: int
    credential: str
    capath: str
    destination: str
    state: str
    sync: str
    elasticsearch: str = ""

    @property
    def files(self) -> FileSet:
        return FileSet(self.name, self.count, self.size)


@dataclass
class Taken:
    """What it took, from the first hand-out on; children's start-up is not in it."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    resident_bytes: int = 0
    resident_bytes_early: int = 0
    peak_bytes: int = 0
    failed: int = 0


class ListFeed:
    """Offers a list of jobs as soon as all workers are there."""

    def __init__(self, order: Order) -> None:
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.room: EngineRoom | None = None
        self.taken = Taken()
        self._path_map = PathMap(order.url, "/", order.files.folder)
        self._order = order
        self._jobs = self._make_jobs()  # one by one: a list would count as ours
        self._left = self._open = order.count
        self._is_started = False
        self._began = self._last = self._cpu = 0.0

    def _make_jobs(self) -> Iterator[Job]:
        folder, size = self._order.files.folder, self._order.size
        for number, relative in enumerate(self._order.files.relatives()):
            yield Job(
                task=str(uuid.uuid4()),
                kind=JobKind.TRIGGER,
                path=f"{folder}/{relative}",
                relative=relative,
                url=self._path_map.url(f"{folder}/{relative}"),
                size=size,
                pnfsid=f"{number:036X}",
            )

    def _pids(self) -> list[int]:
        assert self.room is not None
        children = [child.process.pid for child in self.room.fleet.children()]
        return [os.getpid(), *(pid for pid in children if pid)]

    def take(self, now: float, wall: float) -> None:
        assert self.room is not None
        if not self._is_started:
            if not all(child.is_ready for child in self.room.fleet.workers()):
                return
            self._is_started = True
            self._cpu = cpu_seconds(self._pids())
            self._began = time.monotonic()
        for _ in range(min(_AT_ONCE, self._left)):
            if self.room.engine.is_full:
                return
            self._left -= 1
            self.room.engine.offer(next(self._jobs))

    def settled(self, settlements: list[Settlement]) -> None:
        self._open -= len(settlements)
        self.taken.failed += sum(one.kind != "mirrored" for one in settlements)
        done = self._order.count - self._open
        if not self.taken.resident_bytes_early and done >= _FIRST_LOOK * (
            self._order.count
        ):
            self.taken.resident_bytes_early = resident_bytes(self._pids())
        if self._open == 0:
            self.taken.seconds = self._last - self._began
            self.taken.cpu_seconds = cpu_seconds(self._pids()) - self._cpu
            self.taken.resident_bytes = resident_bytes(self._pids())
            self.taken.peak_bytes = peak_bytes(self._pids())

    def note_outcome(self) -> None:
        self._last = time.monotonic()

    def throttle(self, *, is_paused: bool) -> None: ...

    def tick(self, now: float) -> None: ...

    def next_due(self) -> float | None:
        assert self.room is not None
        has_more = self._left and self._is_started and not self.room.engine.is_full
        return 0.0 if has_more else None

    def trouble(self, now: float) -> DcmirrorError | None:
        return None

    @property
    def is_exhausted(self) -> bool:
        return self._open == 0

    def stop_intake(self) -> None:
        self._left = 0

    def close(self) -> None: ...


class NoHooks:
    """The credential is good and nobody looks at us."""

    def reload(self) -> None: ...

    def every_second(self, now: float, wall: float) -> None: ...


def settings_of(order: Order) -> Settings:
    return Settings(
        kafka=Kafka(topic="bench", servers=("127.0.0.1:1",), consumergroup="bench"),
        dcache=DCache(
            url=order.url,
            pool="/",
            folder=order.files.folder,
            maxdownloads=order.parallel,
        ),
        local=Local(
            downloadfolder=Path(order.destination),
            proxy=Path(order.credential),
            capath=Path(order.capath),
        ),
        source=Source(missing_digest="accept"),
        destination=Destination(sync=order.sync),
        state=State(directory=Path(order.state)),
        log=Log(file=Path(order.state) / "dcmirror.log"),
        elasticsearch=Elasticsearch(
            urls=(order.elasticsearch,) if order.elasticsearch else (),
            namespace="bench",
        ),
    )


def run(order: Order) -> Taken:
    feed = ListFeed(order)
    settings = settings_of(order)
    state = prepare(Path(order.state))
    room = assemble(
        settings,
        state,
        "bench",
        instance=None,
        downloads=order.parallel,
        verbosity=0,
        ledgers=None,
        failed_csv=FailedCsv(state.path / "failed.csv"),
        on_settled=feed.settled,
    )
    feed.room = room
    _watch_outcomes(room, feed)
    Supervisor(room.engine, room.fleet, feed, NoHooks(), drain_seconds=5.0).run()
    return feed.taken


def _watch_outcomes(room: EngineRoom, feed: ListFeed) -> None:
    """The clock stops at the last outcome, not at the settling that follows it."""
    take_result = room.engine.take_result

    def noted(*arguments: object) -> None:
        feed.note_outcome()
        take_result(*arguments)  # type: ignore[arg-type]

    room.engine.take_result = noted  # type: ignore[assignment,method-assign]


def main() -> None:
    order = Order(**json.loads(sys.argv[1]))
    print(json.dumps(asdict(run(order))))


if __name__ == "__main__":
    main()
