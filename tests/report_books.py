"""Makes the books of weeks of mirroring: what ``dcmirror report`` reads.

    python tests/report_books.py DIRECTORY [FILES]

leaves a state directory and a configuration there.
"""

from __future__ import annotations

import math
import random
import sqlite3
import sys
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from dcmirror.adapters.catalogue import Catalogue
from dcmirror.adapters.failed_csv import FailedCsv
from dcmirror.adapters.segments import seal, segment_name
from dcmirror.core.events import parse_event
from dcmirror.core.failed_rows import FailedRow
from dcmirror.core.failures import Failure, FailureClass
from dcmirror.core.jobs import (
    AttemptResult,
    CopyRecord,
    Job,
    JobKind,
    Origin,
    ResultKind,
    Step,
)
from dcmirror.core.journal_events import JournalEvents, Writer, render
from helpers import make_event

ROOT = "/pnfs/example.org/data/exp/raw"
BEGAN = 1_790_892_000.0  # 2026-10-02, a Friday
DAY = 86400.0
DOORS = ("webdav-door1", "webdav-door2", "xrootd-door1")
RUNS = ("y1-wfd", "y1-ddf", "y2-wfd", "calib", "flats", "y2-ddf", "sim-agn", "test")
WEIGHTS = (34, 17, 22, 8, 5, 9, 4, 1)
CLASSES = (
    (FailureClass.TRANSIENT, 40),
    (FailureClass.CHECKSUM, 14),
    (FailureClass.GONE, 22),
    (FailureClass.FORBIDDEN, 8),
    (FailureClass.SIZE, 5),
    (FailureClass.REMOVED, 4),
    (FailureClass.UNSAFE_PATH, 1),
)
SKIPS = (("already-mirrored", 30), ("excluded", 55), ("failed", 9), ("superseded", 6))

CONFIG = """\
[kafka]
topic = "billing"
servers = ["127.0.0.1:9092"]
consumergroup = "imsim-prod"
[dcache]
url = "https://door.example.org:2880/data"
pool = "/pnfs/example.org/data"
folder = "/exp/raw"
[local]
downloadfolder = "{mirror}"
[state]
directory = "{state}"
"""


@dataclass
class Books:
    """Where they are, and what a report must say of them."""

    config: Path
    state: Path
    files: int = 0
    bytes: int = 0
    copies: int = 0
    copied_bytes: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    retries: int = 0
    skips: Counter[str] = field(default_factory=Counter)
    lines: int = 0


@dataclass(frozen=True)
class Plan:
    """How much there is, and how it is spread."""

    files: int = 400_000
    days: float = 49.0
    seed: int = 1
    steps: bool = True
    names: tuple[str, ...] = RUNS
    fail: float = 0.008
    retry: float = 0.03
    skip: float = 0.06
    replay: float = 0.8


def make_books(home: Path, plan: Plan) -> Books:
    """Write catalogue, journal and failed.csv below ``home``."""
    state = home / "state"
    (state / "journal").mkdir(parents=True)
    config = home / "dcmirror.toml"
    config.write_text(CONFIG.format(mirror=home / "mirror", state=state))
    books = Books(config, state)
    Catalogue(state / "catalogue.db").close()
    writer = _SegmentWriter(state / "journal", books)
    history = _History(plan, books, writer)
    with closing(sqlite3.connect(state / "catalogue.db")) as database:
        database.execute("PRAGMA synchronous = OFF")
        database.executemany(
            "INSERT OR REPLACE INTO copies (relative, path, pnfsid, size, adler32, "
            'verified, mtime_ns, copied_at, event_time, topic, "partition", "offset", '
            "source_deleted_at) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)",
            history.rows(),
        )
        database.executemany(
            "INSERT INTO deletions (relative, path, pnfsid, size, adler32, "
            "intended_at, ended_at, result, error) VALUES (?,?,?,?,?,?,?,?,?)",
            history.deletions,
        )
        database.commit()
    writer.close()
    if history.left:
        FailedCsv(state / "failed.csv").append(history.left)
    return books


class _SegmentWriter:
    def __init__(self, directory: Path, books: Books) -> None:
        self._directory = directory
        self._books = books
        self._number = 0
        self._lines: list[bytes] = []
        self._size = 0

    def add(self, line: str) -> None:
        sealed = seal(line)
        self._books.lines += 1
        self._lines.append(sealed)
        self._size += len(sealed)
        if self._size > 8 * 1024 * 1024:
            self.close()

    def close(self) -> None:
        if not self._lines:
            return
        self._number += 1
        name = segment_name("20261002T000000Z-00000000000000aa", self._number)
        (self._directory / name).write_bytes(b"".join(self._lines))
        self._lines, self._size = [], 0


class _History:
    """Draws what happens to each file, in order of time."""

    def __init__(self, plan: Plan, books: Books, writer: _SegmentWriter) -> None:
        self.plan = plan
        self.books = books
        self.writer = writer
        self.rng = random.Random(plan.seed)
        self.left: list[FailedRow] = []
        self.deletions: list[tuple[object, ...]] = []
        self.events = JournalEvents(
            Writer("dtn1.example.org", 4242, "dcmirror watch", "1.0", "imsim-prod")
        )

    def rows(self) -> Iterator[tuple[object, ...]]:
        for number, at in enumerate(self._moments()):
            job = self._job(number, at)
            self._maybe_skip(job, at)
            copied = self._story(job, at)
            if copied is not None:
                yield copied
        self._hold()

    def _moments(self) -> list[float]:
        """Working days are busier, nights quieter, and one day was a bad one."""
        rng, found = self.rng, []
        while len(found) < self.plan.files:
            day = rng.uniform(0, self.plan.days)
            weekday = (int(day) + 4) % 7
            weight = 0.35 if weekday >= 5 else 1.0
            weight *= 0.55 + 0.45 * math.sin(2 * math.pi * (day % 1 - 0.3))
            weight *= 0.1 if 24 <= day < 25.2 else 2.0 if 25.2 <= day < 26 else 1.0
            if rng.random() < weight / 2:
                found.append(BEGAN + day * DAY)
        return sorted(found)

    def _job(self, number: int, at: float) -> Job:
        rng = self.rng
        name = rng.choices(self.plan.names, (WEIGHTS * 9)[: len(self.plan.names)])[0]
        relative = f"{name}/visit{number // 189:06d}/R{number % 21:02d}_{number}.fits"
        return Job(
            task=str(uuid.UUID(int=rng.getrandbits(128))),
            kind=JobKind.TRIGGER,
            path=f"{ROOT}/{relative}",
            relative=relative,
            url=f"https://door.example.org:2880/data/exp/raw/{relative}",
            size=int(rng.lognormvariate(18.2, 0.8)),
            pnfsid=f"0000{number:032X}",
            event_time=at,
            accepted_at=at + 0.2,
            origin=Origin("billing", number % 6, number // 6),
            door=rng.choice(DOORS),
            pool=f"pool_{number % 12}",
        )

    def _story(self, job: Job, at: float) -> tuple[object, ...] | None:
        rng, day = self.rng, (at - BEGAN) / DAY
        bad = 8.0 if 24 <= day < 25.2 else 1.0
        now = at + rng.lognormvariate(0.3, 0.7) * (60 if 25.2 <= day < 26 else 1)
        self._tell(self.events.upload_seen(at + 0.2, job))
        while rng.random() < self.plan.retry * bad:
            self.books.retries += 1
            self._tell(
                self.events.transfer_retry(
                    now, job, self._failure(), delay=9.0, result=self._result(job, now)
                )
            )
            now += rng.uniform(3, 40)
        if rng.random() < self.plan.fail * bad:
            self._fail(job, now)
            if rng.random() > self.plan.replay:
                return None
            now += rng.uniform(0.1, 2) * DAY
        return self._copy(job, now)

    def _failure(self) -> Failure:
        names, weights = zip(*CLASSES, strict=True)
        chosen = self.rng.choices(names, weights)[0]
        return Failure(chosen, f"made up: {chosen}", host="pool.example.org:20001")

    def _fail(self, job: Job, now: float) -> None:
        failure = self._failure()
        name = failure.failure_class
        self.books.failures[name.value] += 1
        result = self._result(job, now, kind=ResultKind.FAILED)
        self._tell(
            self.events.transfer_finished(
                now, job, result, failure=failure, failure_class=name, event_id=_id(job)
            )
        )
        if self.rng.random() < 0.05:
            row = FailedRow(
                time=now,
                task=job.task,
                path=job.path,
                url=job.url,
                failure_class=name.value,
                error=failure.message,
                size=job.size,
                pnfsid=job.pnfsid,
            )
            self.left.append(row)

    def _copy(self, job: Job, now: float) -> tuple[object, ...]:
        assert job.size is not None
        result = self._result(job, now)
        for name in ("copy_init", "copy_start", "copy_over", "copy_report"):
            if self.plan.steps:
                text = f"{job.url} to /data/mirror/{job.relative}"
                step = Step(job.task, name, result.started_at, text)
                self._tell(self.events.transfer_step(step))
        done = result.ended_at
        self._tell(
            self.events.transfer_finished(done, job, result, event_id=_id(job, "ok"))
        )
        books = self.books
        books.files += 1
        books.bytes += job.size
        books.copies += 1
        books.copied_bytes += job.size
        deleted = done + 9 * DAY if "flats" in job.relative else None
        if deleted is not None:
            what = (job.relative, job.path, job.pnfsid, job.size, 1)
            self.deletions.append((*what, deleted, deleted, "deleted", None))
        where = (job.origin.topic, job.origin.partition, job.origin.offset)
        row = (job.relative, job.path, job.pnfsid, job.size, 1, 1, 1, done)
        return (*row, job.event_time, *where, deleted)

    def _result(
        self, job: Job, now: float, kind: ResultKind = ResultKind.MIRRORED
    ) -> AttemptResult:
        rng = self.rng
        assert job.size is not None
        seconds = job.size * 8 / min(rng.lognormvariate(20.4, 0.8), 9.4e9)
        phases = {
            "queued": rng.expovariate(1 / 40),
            "connect": rng.lognormvariate(0.2, 0.4),
            "tls": rng.lognormvariate(2.0, 0.4),
            "door": rng.lognormvariate(3.0, 0.6),
            "pool_queue": rng.lognormvariate(4.0, 1.2),
            "data": seconds * 1000,
            "checksum": seconds * 30,
            "publish": rng.lognormvariate(2.5, 0.7),
        }
        ended = now + sum(phases.values()) / 1000
        record = CopyRecord(
            job.relative, job.path, job.pnfsid, job.size, 1, True, 1, ended
        )
        is_good = kind is ResultKind.MIRRORED
        return AttemptResult(
            task=job.task,
            kind=kind,
            started_at=now,
            ended_at=ended,
            copy=record if is_good else None,
            bytes_received=job.size if is_good else 0,
            requests=2,
            connections=1,
            pool_host="pool.example.org:20001",
            http_status=200,
            phases=phases,
        )

    def _maybe_skip(self, job: Job, at: float) -> None:
        if self.rng.random() >= self.plan.skip:
            return
        names, weights = zip(*SKIPS, strict=True)
        reason = self.rng.choices(names, weights)[0]
        self.books.skips[reason] += 1
        record = parse_event(make_event(billingPath=job.path, pnfsid=job.pnfsid))
        self._tell(
            self.events.event_skipped(
                at, job.origin, reason, event=record, event_id=_id(job, "skip")
            )
        )

    def _hold(self) -> None:
        if self.plan.days > 26:
            at = BEGAN + 25.2 * DAY
            self._tell(
                self.events.hold_ended(at, "destination", "", "disk full", 1.2 * DAY)
            )

    def _tell(self, event: dict[str, object]) -> None:
        self.writer.add(render(event))


def _id(job: Job, kind: str = "") -> str:
    return f"{job.task}{kind}"


if __name__ == "__main__":
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 400_000
    print(make_books(Path(sys.argv[1]), Plan(files=count)))
