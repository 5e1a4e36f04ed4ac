"""Many events through the real logger, in a process of its own.

``python -m bench.shipping STATE URL`` is that process.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.measuring import cpu_seconds, peak_bytes
from dcmirror.adapters import checkpoints, shipping_report
from dcmirror.adapters.journal import Journal
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
from dcmirror.core.journal_values import Value
from dcmirror.processes.logger import LoggerBoot, logger_main
from dcmirror.settings import DCache, Elasticsearch, Kafka, Local, Settings
from helpers import wait_until

TESTS = Path(__file__).resolve().parents[1]
NAMESPACE = "bench"

_STEPS = ("copy_init", "copy_start", "copy_over", "copy_report")
_SIZE = 10 * 1024
_AT_ONCE = 256
_PHASES = ("queued", "connect", "tls", "door", "pool_queue", "data", "checksum")


@dataclass(frozen=True)
class Shipped:
    """What it took to ship."""

    events: int
    size: int
    seconds: float
    cpu_seconds: float
    peak_bytes: int

    @property
    def per_second(self) -> float:
        return self.events / self.seconds

    @property
    def microseconds(self) -> float:
        """CPU of the logger, for one event."""
        return self.cpu_seconds / self.events * 1e6


def ship(url: str, work: Path, files: int) -> Shipped:
    """Time the logger over the events of so many files, its start not counted."""
    state, fresh = work / f"shipping-{uuid.uuid4().hex[:8]}", work / "journal-new"
    (state / "journal").mkdir(parents=True)
    count = write_journal(fresh, files)
    segments = sorted(fresh.glob("*.ndjson"))
    segments = [path for path in segments if not path.is_symlink()]
    size = sum(path.stat().st_size for path in segments)
    checkpoint = state / "checkpoint.json"
    with _logger(state, url) as pid:
        wait_until(lambda: _is_idle(state), 60, what="the logger is there")
        cpu = cpu_seconds([pid])
        began = time.monotonic()
        for path in segments:
            path.rename(state / "journal" / path.name)
        wait_until(lambda: checkpoints.load(checkpoint).shipped >= count, 600)
        seconds = time.monotonic() - began
        cpu = cpu_seconds([pid]) - cpu
        return Shipped(count, size, seconds, cpu, peak_bytes([pid]))


def _is_idle(state: Path) -> bool:
    report = shipping_report.read(state / shipping_report.FILE_NAME)
    return report is not None and report.state == "idle"


@contextmanager
def _logger(state: Path, url: str) -> Iterator[int]:
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.shipping", str(state), url],
        cwd=TESTS,
        stdin=subprocess.DEVNULL,
    )
    try:
        yield process.pid
    finally:
        process.terminate()
        process.wait()


def write_journal(directory: Path, files: int) -> int:
    """What a run over so many small files writes; returns the number of lines."""
    directory.mkdir(exist_ok=True)
    journal = Journal(directory, 1 << 40, 8 << 20)
    events = JournalEvents(
        Writer(os.uname().nodename, os.getpid(), "dcmirror watch", "1", "bench")
    )
    lines: list[str] = []
    values: list[Value] = []
    count = 0
    for number in range(files):
        told = list(_story(events, number))
        lines += [line for line, _ in told]
        values += [value for _, value in told]
        if len(lines) >= _AT_ONCE or number == files - 1:
            count += len(lines)
            journal.append(lines, values)
            lines, values = [], []
    journal.close()
    assert not journal.dropped
    return count


def _story(events: JournalEvents, number: int) -> Iterator[tuple[str, Value]]:
    """One file's: seen, its steps, its outcome."""
    job, now = _job(number), time.time()
    yield render(events.upload_seen(now, job)), Value.STARTED
    for name in _STEPS:
        step = Step(job.task, name, now, f"{job.path}: {name}")
        yield events.step_line(step), Value.STARTED
    result = _result(job, now)
    document = events.transfer_finished(now, job, result, event_id=f"bench-{number}")
    yield render(document), Value.OUTCOME


def _job(number: int) -> Job:
    relative = f"run{number // 1000:03d}/file-{number:06d}.fits"
    return Job(
        task=str(uuid.uuid4()),
        kind=JobKind.TRIGGER,
        path=f"/pnfs/example.org/data/exp/raw/{relative}",
        relative=relative,
        url=f"https://door.example.org:2880/exp/raw/{relative}",
        size=_SIZE,
        pnfsid=f"{number:036X}",
        event_time=time.time() - 2.0,
        accepted_at=time.time() - 1.0,
        origin=Origin("billing", number % 3, number // 3, 1),
        door="WebDAV-s1",
        pool=f"pool_{number % 20}",
        storage_class="exp:raw@osm",
    )


def _result(job: Job, now: float) -> AttemptResult:
    copy = CopyRecord(
        relative=job.relative,
        path=job.path,
        pnfsid=job.pnfsid,
        size=_SIZE,
        adler32=0xDEADBEEF,
        verified=True,
        mtime_ns=1,
        copied_at=now,
    )
    return AttemptResult(
        job.task,
        ResultKind.MIRRORED,
        started_at=now - 0.02,
        ended_at=now,
        copy=copy,
        bytes_received=_SIZE,
        requests=2,
        connections=1,
        door_host="door.example.org:2880",
        pool_host="pool7.example.org:22101",
        http_status=200,
        phases=dict.fromkeys(_PHASES, 1.25),
    )


def main() -> None:
    state, url = Path(sys.argv[1]), sys.argv[2]
    settings = Settings(
        kafka=Kafka(topic="bench", servers=("127.0.0.1:1",), consumergroup="bench"),
        dcache=DCache(url="https://127.0.0.1:1", pool="/", folder="/bench"),
        local=Local(downloadfolder=state / "mirror"),
        elasticsearch=Elasticsearch(urls=(url,), namespace=NAMESPACE),
    )
    logger_main(
        LoggerBoot(
            settings=settings,
            journal_directory=state / "journal",
            checkpoint=state / "checkpoint.json",
            export=None,
            name="logger",
        )
    )


if __name__ == "__main__":
    main()
