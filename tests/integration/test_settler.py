"""Outcomes become durable in one order, and a failure in between loses none."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dcmirror.adapters import segment_writer
from dcmirror.adapters.catalogue import Catalogue, OutboxLine, SettleBatch
from dcmirror.adapters.catalogue_audit import AuditReader
from dcmirror.adapters.failed_csv import FailedCsv, FailedRow
from dcmirror.adapters.journal import Journal
from dcmirror.core.jobs import CopyRecord, Origin
from dcmirror.core.ledger import Ledgers, Span
from dcmirror.errors import BooksError
from dcmirror.processes import settler
from dcmirror.processes.settler import Settlement, Settler


class Books:
    """The real books in a directory, and a settler over them."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.catalogue = Catalogue(home / "catalogue.db", busy_seconds=0.1)
        self.failed_csv = FailedCsv(home / "failed.csv", lock_seconds=0.1)
        self.journal_home = home / "journal"
        self.journal = Journal(self.journal_home, 1 << 24, 1 << 20)
        self.ledgers = Ledgers("billing")
        self.ledger = self.ledgers.assign(0, 1, 0)
        self.settled: list[str] = []
        self.settler = Settler(
            self.catalogue,
            self.failed_csv,
            self.journal,
            self.ledgers,
            on_settled=lambda some: self.settled.extend(s.task for s in some),
        )

    def close(self) -> None:
        """Let go of the files."""
        self.catalogue.close()
        self.journal.close()

    def spans(self) -> list[Span]:
        """What is settled, as an audit reads it."""
        with AuditReader(self.home / "catalogue.db") as reader:
            return list(reader.spans("billing", 0))

    def journalled(self) -> list[str]:
        """event.id of every journal line, oldest first."""
        self.journal.close()
        lines = [
            line
            for segment in sorted(self.journal_home.glob("*-*-*.ndjson"))
            for line in segment.read_text().splitlines()
        ]
        return [json.loads(line)["event"]["id"] for line in lines]


@pytest.fixture
def books(tmp_path: Path) -> Iterator[Books]:
    """Empty books; partition 0 is ours from offset 0 on."""
    made = Books(tmp_path)
    yield made
    made.close()


def mirrored(offset: int) -> Settlement:
    """A good copy of the record at ``offset``."""
    name = f"f{offset}"
    copy = CopyRecord(name, f"/d/{name}", f"P{offset}", 1, 1, True, 1, 1.0)
    return Settlement(
        name, "mirrored", Origin("billing", 0, offset, 1), copy, None, line(name)
    )


def failed(offset: int) -> Settlement:
    """A failure of the record at ``offset``."""
    name = f"f{offset}"
    row = FailedRow(
        time=1.0,
        task=name,
        path=f"/d/{name}",
        url="https://x/",
        failure_class="gone",
        error="404",
    )
    return Settlement(
        name, "failed", Origin("billing", 0, offset, 1), None, row, line(name)
    )


def line(name: str) -> OutboxLine:
    """An outcome line."""
    return OutboxLine(f"id-{name}", json.dumps({"event": {"id": f"id-{name}"}}))


def break_once(monkeypatch: pytest.MonkeyPatch, where: Any, name: str) -> None:
    """The next call of a method fails as a full disk would; later ones work."""
    real: Callable[..., Any] = getattr(where, name)

    def failing(*args: Any, **more: Any) -> Any:
        monkeypatch.setattr(where, name, real)
        raise BooksError(f"{name}: no space left on device")

    monkeypatch.setattr(where, name, failing)


def test_nothing_is_committable_before_it_is_in_the_books(books: Books) -> None:
    for offset in range(2):
        books.ledger.receive(offset)
    books.settler.add(mirrored(0))
    assert books.settler.committables == {}
    books.settler.flush()

    assert books.settler.committables == {(0, 1): 1}
    assert list(books.catalogue.lookup(["f0"])) == ["f0"]


def test_a_copy_is_fresh_until_the_catalogue_tells_of_it(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    books.ledger.receive(0)
    settlement = mirrored(0)
    break_once(monkeypatch, books.catalogue, "settle")
    books.settler.add(settlement)
    with pytest.raises(BooksError):
        books.settler.flush()
    assert books.settler.fresh == {"f0": settlement.copy}

    books.settler.flush()

    assert books.settler.fresh == {}
    assert books.catalogue.lookup(["f0"]) == {"f0": settlement.copy}


def test_an_offset_above_a_gap_is_in_the_spans_and_not_committable(
    books: Books,
) -> None:
    for offset in range(3):
        books.ledger.receive(offset)
    books.settler.add(mirrored(2))
    books.settler.flush()

    assert books.settler.committables == {(0, 1): 0}
    spans = books.spans()
    assert [(span.first, span.last) for span in spans] == [(2, 2)]


@pytest.mark.parametrize(
    ("book", "method"),
    [("catalogue", "settle"), ("failed_csv", "append"), ("journal", "append")],
)
def test_a_book_that_fails_once_loses_and_doubles_nothing(
    books: Books, monkeypatch: pytest.MonkeyPatch, book: str, method: str
) -> None:
    for offset in range(2):
        books.ledger.receive(offset)
    break_once(monkeypatch, getattr(books, book), method)
    books.settler.add(mirrored(0))
    books.settler.add(failed(1))
    with pytest.raises(BooksError, match="no space"):
        books.settler.flush()
    assert books.settler.committables == {}
    assert books.settler.backlog == 2
    books.settler.flush()

    assert books.settler.committables == {(0, 1): 2}
    rows, torn = books.failed_csv.read()
    assert ([row.task for row in rows], torn) == (["f1"], 0)
    assert books.settled == ["f0", "f1"]
    spans = books.spans()
    assert [(s.first, s.last, s.counts) for s in spans] == [
        (0, 1, {"mirrored": 1, "failed": 1})
    ]
    assert books.journalled() == ["id-f0", "id-f1"]


def test_an_outcome_of_an_earlier_epoch_moves_no_offset(books: Books) -> None:
    books.ledger.receive(0)
    books.ledgers.revoke(0)
    books.ledgers.assign(0, 2, 0).receive(0)
    books.settler.add(mirrored(0))
    books.settler.flush()

    assert books.settler.committables == {(0, 2): 0}
    assert list(books.catalogue.lookup(["f0"])) == ["f0"]


def test_an_outcome_line_that_a_kill_kept_from_the_journal_is_written_at_the_next_start(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the catalogue's transaction and the journal's write."""
    books.ledger.receive(0)
    break_once(monkeypatch, books.journal, "append")
    books.settler.add(mirrored(0))
    with pytest.raises(BooksError):
        books.settler.flush()
    next_run = Settler(books.catalogue, None, books.journal, None)
    assert next_run.write_outbox_of_last_run() == 1
    next_run.flush()

    assert books.journalled() == ["id-f0"]
    assert books.catalogue.outbox() == []


def fill_disk(monkeypatch: pytest.MonkeyPatch, journal: Journal) -> None:
    """From now on no line fits, as on a full disk; ``monkeypatch.undo`` ends it."""

    def append(lines: Any, values: Any = None) -> list[int]:
        return list(range(len(lines)))

    monkeypatch.setattr(journal, "append", append)


def test_outcomes_wait_for_a_full_journal_and_hold_nothing_up(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    for offset in range(3):
        books.ledger.receive(offset)
    fill_disk(monkeypatch, books.journal)
    books.settler.add(mirrored(0))
    books.settler.flush()
    assert books.settler.committables == {(0, 1): 1}
    books.settler.add(mirrored(1))
    books.settler.flush()
    monkeypatch.undo()
    books.settler.add(mirrored(2))
    books.settler.flush()
    books.settler.flush()

    assert books.journalled() == ["id-f0", "id-f1", "id-f2"]
    assert books.catalogue.outbox() == []
    assert books.journal.dropped == 0


def test_outcomes_that_waited_survive_a_kill(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are in the outbox for as long as the journal has not got them."""
    books.ledger.receive(0)
    books.ledger.receive(1)
    books.settler.add(mirrored(0))
    books.settler.flush()
    fill_disk(monkeypatch, books.journal)
    books.settler.add(mirrored(1))
    books.settler.flush()
    books.settler.flush()
    assert [item.event_id for item in books.catalogue.outbox()] == ["id-f1"]
    monkeypatch.undo()
    next_run = Settler(books.catalogue, None, books.journal, None)
    assert next_run.write_outbox_of_last_run() == 1
    next_run.flush()

    assert books.journalled() == ["id-f0", "id-f1"]
    assert books.catalogue.outbox() == []


def test_only_so_many_outcomes_wait_and_the_oldest_are_given_up(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settler, "_MOST_UNWRITTEN", 2)
    fill_disk(monkeypatch, books.journal)
    for offset in range(5):
        books.ledger.receive(offset)
        books.settler.add(mirrored(offset))
        books.settler.flush()
    books.settler.flush()

    assert books.journal.dropped_by_kind == {"outcome": 3}
    kept = [item.event_id for item in books.catalogue.outbox()]
    assert kept == ["id-f3", "id-f4"]


def test_a_required_journal_that_is_full_commits_nothing_and_doubles_nothing(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    for offset in range(2):
        books.ledger.receive(offset)
    books.journal.required = True
    fill_disk(monkeypatch, books.journal)
    books.settler.add(mirrored(0))
    with pytest.raises(BooksError):
        books.settler.flush()
    assert books.settler.committables == {}
    monkeypatch.undo()
    books.settler.add(mirrored(1))
    books.settler.flush()

    assert books.settler.committables == {(0, 1): 2}
    assert books.journalled() == ["id-f0", "id-f1"]


def test_outcome_lines_of_another_command_are_left_to_it(books: Books) -> None:
    """A replay that starts beside watch must not write what watch is about to."""
    outbox = (
        OutboxLine("watch-1", json.dumps({"event": {"id": "watch-1"}})),
        OutboxLine("replay-1", json.dumps({"event": {"id": "replay-1"}})),
    )
    books.catalogue.settle(SettleBatch(outbox=outbox))
    starting = Settler(books.catalogue, None, books.journal, None)
    assert starting.write_outbox_of_last_run("replay") == 1
    starting.flush()

    assert books.journalled() == ["replay-1"]
    assert [item.event_id for item in books.catalogue.outbox()] == ["watch-1"]


def test_an_outcome_line_is_not_written_twice_at_the_next_start(books: Books) -> None:
    books.ledger.receive(0)
    books.settler.add(mirrored(0))
    books.settler.flush()
    assert [item.event_id for item in books.catalogue.outbox()] == ["id-f0"]
    next_run = Settler(books.catalogue, None, books.journal, None)

    assert next_run.write_outbox_of_last_run() == 0
    assert books.journalled() == ["id-f0"]


def fail_syncs(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on nothing becomes durable; ``monkeypatch.undo`` ends it."""

    def fdatasync(fd: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(segment_writer.os, "fdatasync", fdatasync)


def test_an_outcome_line_that_could_not_be_synced_stays_in_the_outbox(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    for offset in range(2):
        books.ledger.receive(offset)
    books.settler.add(mirrored(0))
    books.settler.flush()
    fail_syncs(monkeypatch)
    books.settler.flush()
    books.settler.add(mirrored(1))
    books.settler.flush()
    assert books.settler.committables == {(0, 1): 2}
    assert [item.event_id for item in books.catalogue.outbox()] == ["id-f0", "id-f1"]
    next_run = Settler(books.catalogue, None, books.journal, None)
    assert next_run.write_outbox_of_last_run() == 0
    monkeypatch.undo()
    books.settler.flush()

    assert books.catalogue.outbox() == []
    assert books.journalled() == ["id-f0", "id-f1"]


def test_only_so_many_outcome_lines_wait_to_be_synced(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settler, "_MOST_UNWRITTEN", 2)
    fail_syncs(monkeypatch)
    for offset in range(5):
        books.ledger.receive(offset)
        books.settler.add(mirrored(offset))
        books.settler.flush()
    books.settler.flush()

    kept = [item.event_id for item in books.catalogue.outbox()]
    assert kept == ["id-f3", "id-f4"]
    assert books.journal.dropped == 0


def test_a_copy_that_was_only_adopted_is_not_known_to_be_whole(books: Books) -> None:
    books.catalogue.found_damaged(["f0", "f1"], 1.0)
    books.settler.add(replace(mirrored(0), is_adopted=True))
    books.settler.add(mirrored(1))
    books.settler.flush()

    path = books.journal_home.parent / "catalogue.db"
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT relative FROM damaged").fetchall() == [("f0",)]
