"""The catalogue on a real file: durable batches, merged spans, several processes."""

from __future__ import annotations

import random
import resource
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from threading import Thread

import pytest

from dcmirror.adapters import catalogue_spans
from dcmirror.adapters.catalogue import (
    Catalogue,
    OutboxLine,
    Position,
    SettleBatch,
)
from dcmirror.adapters.catalogue_audit import AuditReader
from dcmirror.core.jobs import CopyRecord
from dcmirror.core.ledger import Span
from dcmirror.errors import BooksError


def copy(relative="a/b.dat", **over):
    values = {
        "relative": relative,
        "path": f"/pnfs/x/{relative}",
        "pnfsid": "0000AB",
        "size": 7,
        "adler32": 0xFFFFFFFF,
        "verified": True,
        "mtime_ns": 1_700_000_000_123_456_789,
        "copied_at": 1_700_000_001.5,
        "event_time": 1_700_000_000.25,
        "topic": "billing",
        "partition": 2,
        "offset": 41,
    }
    return CopyRecord(**(values | over))


def span(first, last, epoch=1, **counts):
    return Span(
        "billing", 0, epoch, first, last, counts or {"mirrored": last - first + 1}
    )


@pytest.fixture
def catalogue(tmp_path):
    with_path = Catalogue(tmp_path / "catalogue.db")
    yield with_path
    with_path.close()


@pytest.fixture
def reader(catalogue, tmp_path):
    """What was written, as audits read it."""
    with AuditReader(tmp_path / "catalogue.db", page=10) as made:
        yield made


def spans_of(reader):
    return list(reader.spans("billing", 0))


def ranges(reader):
    return sorted((s.epoch, s.first, s.last) for s in spans_of(reader))


def test_a_settled_copy_is_found_again_as_it_was(catalogue):
    catalogue.settle(SettleBatch(copies=(copy(), copy("c", adler32=None, pnfsid=None))))

    assert catalogue.lookup(["a/b.dat", "c", "missing"]) == {
        "a/b.dat": copy(),
        "c": copy("c", adler32=None, pnfsid=None),
    }


def test_many_names_are_looked_up_at_once(catalogue):
    copies = tuple(copy(f"d/{n}") for n in range(1700))
    catalogue.settle(SettleBatch(copies=copies))

    assert len(catalogue.lookup(c.relative for c in copies)) == 1700


def test_a_row_says_what_is_in_the_mirror_now(catalogue):
    catalogue.settle(SettleBatch(copies=(copy(),)))
    later = copy(pnfsid="0000CD", size=9, event_time=1.0)
    catalogue.settle(SettleBatch(copies=(later,)))

    assert catalogue.lookup(["a/b.dat"]) == {"a/b.dat": later}
    assert catalogue.knows_pnfsid("0000CD")
    assert not catalogue.knows_pnfsid("0000AB")


def test_a_name_that_is_not_utf8_does_not_block_the_books(catalogue):
    catalogue.settle(
        SettleBatch(copies=(copy("bad\ud800", pnfsid="\udcff"), copy("ok")))
    )

    assert set(catalogue.lookup(["ok"])) == {"ok"}
    assert len(catalogue.lookup(["bad\ud800"])) == 1
    assert catalogue.knows_pnfsid("\udcff")


def test_paging_returns_every_copy_once(catalogue, reader):
    names = [f"{n:03}" for n in range(25)]
    catalogue.settle(SettleBatch(copies=tuple(copy(name) for name in names)))

    assert [row.relative for rows in reader.rows() for row in rows] == names
    assert reader.count() == 25


def test_touching_spans_of_one_epoch_become_one_row(catalogue, reader):
    catalogue.settle(SettleBatch(spans=(span(0, 4), span(10, 12, failed=3))))
    catalogue.settle(SettleBatch(spans=(span(5, 9, **{"not-ours": 5}),)))

    assert spans_of(reader) == [
        Span("billing", 0, 1, 0, 12, {"mirrored": 5, "failed": 3, "not-ours": 5})
    ]


def test_spans_of_another_epoch_stay_apart(catalogue, reader):
    catalogue.settle(SettleBatch(spans=(span(0, 4), span(5, 9, epoch=2))))

    assert ranges(reader) == [(1, 0, 4), (2, 5, 9)]


def test_the_same_batch_again_counts_nothing_twice(catalogue, reader):
    batch = SettleBatch(spans=(span(0, 4), span(7, 9)))
    catalogue.settle(batch)
    catalogue.settle(SettleBatch(spans=(span(5, 6),)))
    catalogue.settle(batch)

    assert spans_of(reader) == [span(0, 9)]


@pytest.mark.parametrize("seed", range(5))
def test_rows_stay_few_whatever_the_order_of_settling(catalogue, seed, reader):
    offsets = list(range(300))
    random.Random(seed).shuffle(offsets)
    for start in range(0, 300, 30):
        batch = sorted(offsets[start : start + 30])
        catalogue.settle(SettleBatch(spans=tuple(span(n, n) for n in batch)))
        settled = set(offsets[: start + 30])
        runs = sum(1 for n in settled if n - 1 not in settled)
        assert runs == len(ranges(reader))

    assert spans_of(reader) == [span(0, 299)]


def settle_with_gap(catalogue):
    """Offsets 0-5 and 10-20 settled in epoch 1; 6 may be committed, 4 was."""
    assert catalogue.assign("billing", 0, 1, None, 0) == []
    catalogue.settle(
        SettleBatch(
            spans=(span(0, 5), span(10, 20)),
            positions={("billing", 0): Position(1, 6, 4)},
        )
    )


@pytest.mark.parametrize(
    ("committed", "expected"),
    [
        (6, [(10, 20)]),
        (5, [(5, 5), (10, 20)]),
        (4, [(4, 5), (10, 20)]),
        (3, []),
        (7, []),
        (None, []),
    ],
)
def test_spans_are_honoured_only_at_an_offset_we_may_have_committed(
    catalogue, committed, expected
):
    settle_with_gap(catalogue)

    assert expected == catalogue.assign("billing", 0, 2, committed, committed or 0)


def test_an_assignment_never_puts_committable_below_what_is_settled(catalogue, reader):
    settle_with_gap(catalogue)
    catalogue.assign("billing", 0, 2, 4, 4)

    assert Position(2, 6, 4, 1) == reader.position("billing", 0)


def test_after_a_reset_the_old_history_is_never_honoured_again(catalogue):
    settle_with_gap(catalogue)
    assert catalogue.assign("billing", 0, 2, 0, 0) == []
    catalogue.settle(
        SettleBatch(
            spans=(span(0, 1, epoch=2), span(3, 3, epoch=2)),
            positions={("billing", 0): Position(2, 2, 0)},
        )
    )

    assert catalogue.assign("billing", 0, 3, 2, 2) == [(3, 3)]


def test_spans_of_several_runs_are_honoured_together(catalogue):
    settle_with_gap(catalogue)
    catalogue.assign("billing", 0, 2, 6, 6)
    catalogue.settle(
        SettleBatch(
            spans=(span(6, 7, epoch=2), span(21, 22, epoch=2)),
            positions={("billing", 0): Position(2, 8, 6)},
        )
    )

    assert catalogue.assign("billing", 0, 3, 8, 8) == [(10, 22)]


def test_the_last_epoch_is_known_to_the_next_run(catalogue, tmp_path):
    assert catalogue.last_epoch() == 0
    catalogue.assign("billing", 0, 7, None, 0)
    catalogue.settle(SettleBatch(spans=(span(0, 0, epoch=9),)))
    second_run = Catalogue(tmp_path / "catalogue.db")

    assert second_run.last_epoch() == 9
    second_run.close()


def test_outcome_lines_stay_until_a_later_transaction_drops_them(catalogue):
    one, two = OutboxLine("1", '{"a":1}'), OutboxLine("2", '{"a":2}')
    catalogue.settle(SettleBatch(outbox=(one, two)))
    assert catalogue.outbox() == [one, two]

    three = OutboxLine("3", '{"a":3}')
    catalogue.settle(SettleBatch(outbox=(three,), delivered=("1", "2")))

    assert catalogue.outbox() == [three]


def test_facts_are_remembered(catalogue, tmp_path):
    assert catalogue.fact("transfer-seen:billing") is None
    catalogue.remember("transfer-seen:billing", "yes")
    catalogue.remember("transfer-seen:billing", "no")
    again = Catalogue(tmp_path / "catalogue.db")

    assert again.fact("transfer-seen:billing") == "no"
    again.close()


def test_a_newer_schema_is_refused_with_its_version(tmp_path):
    path = tmp_path / "catalogue.db"
    Catalogue(path).close()
    database = sqlite3.connect(path)
    database.execute("PRAGMA user_version = 99")
    database.close()

    with pytest.raises(BooksError, match="version 99 is newer"):
        Catalogue(path)


def test_a_file_that_is_no_database_is_named(tmp_path):
    path = tmp_path / "catalogue.db"
    path.write_text("not a database, but long enough to be looked at " * 30)

    with pytest.raises(BooksError, match=r"catalogue\.db"):
        Catalogue(path)


def test_a_batch_is_taken_wholly_or_not_at_all(catalogue, reader):
    broken = replace(copy("z"), size=None)
    with pytest.raises(BooksError):
        catalogue.settle(SettleBatch(copies=(copy("y"), broken), spans=(span(0, 3),)))

    assert catalogue.lookup(["y", "z"]) == {}
    assert ranges(reader) == []
    catalogue.settle(SettleBatch(copies=(copy("y"),)))
    assert set(catalogue.lookup(["y"])) == {"y"}


def test_a_failure_is_an_outcome_too(catalogue):
    catalogue.settle(SettleBatch(failed=("0000EF",)))
    catalogue.settle(SettleBatch(failed=("0000EF",)))

    assert catalogue.knows_pnfsid("0000EF")
    assert not catalogue.knows_pnfsid("0000EE")


def test_a_full_disk_is_a_books_error_and_passes(catalogue, tmp_path, reader):
    path = tmp_path / "catalogue.db"
    batch = SettleBatch(copies=tuple(copy(f"d/{n}") for n in range(2000)))
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 8192, hard))
    try:
        with pytest.raises(BooksError, match=r"catalogue\.db"):
            catalogue.settle(batch)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert reader.count() == 0

    catalogue.settle(batch)
    assert reader.count() == 2000


_KILLED = """
import os, signal, sys
from pathlib import Path
from dcmirror.adapters.catalogue import Catalogue, SettleBatch
from dcmirror.core.ledger import Span
catalogue = Catalogue(Path(sys.argv[1]))
n = 0
while True:
    catalogue.settle(SettleBatch(spans=(Span("billing", 0, 1, n, n, {"mirrored": 1}),)))
    print(n, flush=True)
    n += 1
"""


def test_what_was_settled_survives_a_kill(tmp_path):
    path = tmp_path / "catalogue.db"
    writer = subprocess.Popen(
        [sys.executable, "-c", _KILLED, str(path)], stdout=subprocess.PIPE
    )
    told = [int(writer.stdout.readline()) for _ in range(50)]
    writer.kill()
    told += [int(line) for line in writer.communicate()[0].split()]

    Catalogue(path).close()
    with AuditReader(path) as reader:
        (only,) = spans_of(reader)
    assert only.last - told[-1] in (0, 1)
    assert only.counts == {"mirrored": only.last + 1}


def test_no_question_reads_a_whole_table(catalogue, tmp_path):
    catalogue.settle(SettleBatch(copies=(copy(),), spans=(span(0, 4), span(9, 9))))
    database = sqlite3.connect(tmp_path / "catalogue.db", isolation_level=None)
    asked: list[str] = []
    database.set_trace_callback(asked.append)
    catalogue_spans.merge(database, [span(5, 8)])
    catalogue_spans.ranges_above(database, "billing", 0, 3, 1)
    database.set_trace_callback(None)
    asked += [
        "SELECT * FROM copies WHERE relative IN ('a', 'b')",
        "SELECT 1 FROM copies WHERE pnfsid = 'a'",
        "SELECT 1 FROM deletions WHERE pnfsid = 'a'",
        "DELETE FROM outbox WHERE event_id = 'a'",
        "DELETE FROM damaged WHERE relative = 'a'",
    ]
    plans = {
        sql: [row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {sql}")]
        for sql in asked
    }
    database.close()

    assert len(plans) >= 8
    scans = {s: p for s, p in plans.items() if any("SCAN" in step for step in p)}
    assert {s: p for s, p in scans.items() if p != ["SCAN CONSTANT ROW"]} == {}


def test_a_busy_database_is_a_books_error_and_passes(tmp_path):
    path = tmp_path / "catalogue.db"
    catalogue = Catalogue(path, busy_seconds=0.05)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(BooksError, match="locked"):
        catalogue.settle(SettleBatch(copies=(copy(),)))
    other.execute("ROLLBACK")
    other.close()

    catalogue.settle(SettleBatch(copies=(copy(),)))
    assert set(catalogue.lookup(["a/b.dat"])) == {"a/b.dat"}
    catalogue.close()


_WRITER = """
import sys
from pathlib import Path
from dcmirror.adapters.catalogue import Catalogue, SettleBatch
from dcmirror.core.jobs import CopyRecord
from dcmirror.core.ledger import Span
name = sys.argv[2]
catalogue = Catalogue(Path(sys.argv[1]))
for n in range(25):
    record = CopyRecord(f"{name}/{n}", "/p", None, 1, None, False, 0, 0.0)
    spans = (Span("t", int(name), 1, n, n, {"mirrored": 1}),)
    catalogue.settle(SettleBatch(copies=(record,), spans=spans))
"""


def test_several_processes_create_and_write_one_catalogue(tmp_path):
    path = tmp_path / "catalogue.db"
    writers = [
        subprocess.Popen([sys.executable, "-c", _WRITER, str(path), str(n)])
        for n in range(3)
    ]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]

    with AuditReader(path) as reader:
        assert reader.count() == 75
        (only,) = reader.spans("t", 1)
    assert (only.first, only.last, only.counts) == (0, 24, {"mirrored": 25})


VERSION_1 = Path(__file__).parent.parent / "data" / "catalogue-version-1.sql"


def test_a_file_of_version_1_is_brought_to_this_one_and_loses_nothing(tmp_path):
    path = tmp_path / "catalogue.db"
    with closing(sqlite3.connect(path)) as database:
        database.executescript(VERSION_1.read_text())

    catalogue = Catalogue(path)
    catalogue.scrubbed(["raw/f1"], 5.0)

    assert catalogue.lookup(["raw/f1"])["raw/f1"].pnfsid == "0000A1"
    catalogue.close()
    with AuditReader(path) as reader:
        assert reader.count() == 2
        assert spans_of(reader) == [
            Span("billing", 0, 1, 0, 9, {"mirrored": 2, "not-ours": 8})
        ]
        position = reader.position("billing", 0)
    assert position == Position(1, 10, 8, 1)
    assert position is not None
    assert position.began is None
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (3,)
        assert database.execute("SELECT * FROM scrubs").fetchall() == [("raw/f1", 5.0)]


def test_two_who_open_a_file_of_version_1_at_once_both_find_it_whole(tmp_path):
    path = tmp_path / "catalogue.db"
    with closing(sqlite3.connect(path)) as database:
        database.executescript(VERSION_1.read_text())
    names = ["raw/f1", "raw/f2"]
    found: list[int] = []
    threads = [
        Thread(target=lambda: found.append(len(Catalogue(path).lookup(names))))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == [2] * 8


def test_where_a_history_began_is_kept_until_the_next_one_begins(catalogue, reader):
    catalogue.assign("billing", 0, 1, None, 40)
    catalogue.settle(
        SettleBatch(
            spans=(span(40, 49),), positions={("billing", 0): Position(1, 50, 50)}
        )
    )
    catalogue.assign("billing", 0, 2, 50, 50)
    assert reader.position("billing", 0).began == 40

    catalogue.assign("billing", 0, 3, 90, 90)

    assert reader.position("billing", 0).began == 90
