"""Makes books that agree with each other, and the mirror they speak of.

    python tests/audit_books.py DIRECTORY [FILES]

leaves a configuration, a state directory and a mirror there.
"""

from __future__ import annotations

import json
import os
import sys
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from dcmirror.adapters.catalogue import Catalogue, Position, SettleBatch
from dcmirror.adapters.failed_csv import FailedCsv
from dcmirror.adapters.looks import set_attribute
from dcmirror.adapters.segments import seal, segment_name
from dcmirror.core import marks
from dcmirror.core.checksums import adler32
from dcmirror.core.failed_rows import FailedRow
from dcmirror.core.failures import Failure, FailureClass
from dcmirror.core.jobs import (
    AttemptResult,
    CopyRecord,
    Job,
    JobKind,
    Origin,
    ResultKind,
)
from dcmirror.core.journal_events import JournalEvents, Writer, render
from dcmirror.core.ledger import Span

TOPIC = "billing"
ROOT = "/pnfs/example.org/data/exp/raw"
CONFIG = """\
[kafka]
topic = "billing"
servers = ["127.0.0.1:9"]
consumergroup = "audited"
[dcache]
url = "https://127.0.0.1:9/data"
pool = "/pnfs/example.org/data"
folder = "/exp/raw"
[local]
downloadfolder = "{mirror}"
[state]
directory = "{state}"
"""


@dataclass
class Books:
    """The books of a watch that has stopped; one partition, offsets from 0 on.

    Every record is a file of ours, ``files`` good ones and then ``failures``.
    """

    home: Path
    files: int = 12
    failures: int = 2
    began: float = field(default_factory=lambda: time.time() - 86400)
    edition: int = 0

    def __post_init__(self) -> None:
        self.state = self.home / "state"
        self.mirror = self.home / "mirror"
        self.journal = self.state / "journal"
        self.config = self.home / "dcmirror.toml"
        self.journal.mkdir(parents=True)
        self.mirror.mkdir()
        self.config.write_text(CONFIG.format(mirror=self.mirror, state=self.state))
        self.names = [f"run{n % 5:02d}/file-{n}.dat" for n in range(self.files)]
        self.jobs = [self._job(n) for n in range(self.files + self.failures)]
        self.rows = [self._row(job) for job in self.jobs[self.files :]]
        self._events = JournalEvents(
            Writer("dtn1.example.org", 4242, "dcmirror watch", "1.0", "audited")
        )

    def make(self) -> Books:
        """Write everything."""
        copies = [self.make_file(job) for job in self.jobs[: self.files]]
        catalogue = Catalogue(self.state / "catalogue.db")
        catalogue.assign(TOPIC, 0, 1, None, 0)
        for at in range(0, len(copies), 500):
            catalogue.settle(SettleBatch(copies=tuple(copies[at : at + 500])))
        end = len(self.jobs)
        counts = Counter(mirrored=self.files, failed=self.failures)
        span = Span(TOPIC, 0, 1, 0, end - 1, dict(+counts))
        catalogue.settle(
            SettleBatch(
                spans=(span,),
                positions={(TOPIC, 0): Position(1, end, end)},
                failed=tuple(row.pnfsid or "" for row in self.rows),
            )
        )
        catalogue.close()
        FailedCsv(self.state / "failed.csv").append(self.rows)
        self.write_journal(copies)
        return self

    def make_file(self, job: Job) -> CopyRecord:
        """A copy in the mirror, with its mark; what the catalogue should say of it."""
        content = self.content(job.relative)
        path = self.mirror / job.relative
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        stamp = int(self.began) * 10**9 + 7
        checksum = adler32(content)
        os.utime(path, ns=(stamp, stamp))
        mark = marks.Mark(job.pnfsid, checksum, True, len(content), stamp, self.began)
        with path.open("rb") as file:
            set_attribute(file.fileno(), marks.encode(mark))
        origin = job.origin
        assert origin is not None
        return CopyRecord(
            relative=job.relative,
            path=job.path,
            pnfsid=job.pnfsid,
            size=len(content),
            adler32=checksum,
            verified=True,
            mtime_ns=stamp,
            copied_at=self.began + 60 + origin.offset / 1000,
            event_time=self.began,
            topic=origin.topic,
            partition=origin.partition,
            offset=origin.offset,
        )

    def content(self, relative: str) -> bytes:
        """What a file holds."""
        return (relative * 40 + "." * self.edition).encode()

    def write_journal(self, copies: list[CopyRecord]) -> None:
        """One segment with every outcome, in order."""
        lines = [render(self._events.note(self.began, "the journal begins here"))]
        lines += [
            self.mirrored_line(job, copy)
            for job, copy in zip(self.jobs, copies, strict=False)
        ]
        lines += [
            self.failed_line(job, row)
            for job, row in zip(self.jobs[self.files :], self.rows, strict=True)
        ]
        self.add_segment(lines)

    def mirrored_line(self, job: Job, copy: CopyRecord) -> str:
        """The outcome of a good copy."""
        at = copy.copied_at + 0.01
        result = AttemptResult(job.task, ResultKind.MIRRORED, at - 1, at, copy=copy)
        event = self._events.transfer_finished(
            at, job, result, event_id=f"watch-{job.task}"
        )
        return render(event)

    def failed_line(self, job: Job, row: FailedRow) -> str:
        """The outcome of a failure."""
        failure = Failure(FailureClass.GONE, row.error)
        event = self._events.transfer_finished(
            row.time, job, None, failure=failure, event_id=f"watch-{job.task}"
        )
        return render(event)

    def add_segment(self, lines: list[str]) -> None:
        """A segment of a writer of its own."""
        writer = f"20260101T000000Z-{uuid.uuid4().hex[:16]}"
        path = self.journal / segment_name(writer, 1)
        path.write_bytes(b"".join(map(seal, lines)))

    def _job(self, number: int) -> Job:
        name = self.names[number] if number < self.files else f"lost/file-{number}.dat"
        return Job(
            task=str(uuid.uuid4()),
            kind=JobKind.TRIGGER,
            path=f"{ROOT}/{name}",
            relative=name,
            url=f"https://127.0.0.1:9/data/exp/raw/{name}",
            pnfsid=f"0000{number:032X}",
            event_time=self.began,
            origin=Origin(TOPIC, 0, number, 1),
        )

    def _row(self, job: Job) -> FailedRow:
        assert job.origin is not None
        return FailedRow(
            time=self.began + 600,
            task=job.task,
            path=job.path,
            url=job.url,
            failure_class=FailureClass.GONE.value,
            error="404 for the whole grace period",
            pnfsid=job.pnfsid,
            topic=TOPIC,
            partition=0,
            offset=job.origin.offset,
        )


if __name__ == "__main__":
    home = Path(sys.argv[1])
    home.mkdir()
    made = Books(home, int(sys.argv[2]) if len(sys.argv) > 2 else 400_000).make()
    print(json.dumps({"config": str(made.config), "files": made.files}))
