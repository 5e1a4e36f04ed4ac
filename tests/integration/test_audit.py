"""Every kind of contradiction in books on disk is found, alone, and named."""

from __future__ import annotations

import errno
import io
import json
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from audit_books import ROOT, TOPIC, Books
from dcmirror import config
from dcmirror.adapters.catalogue import Catalogue, OutboxLine, Position, SettleBatch
from dcmirror.adapters.catalogue_audit import AuditReader
from dcmirror.adapters.catalogue_scratch import Scratch
from dcmirror.adapters.door_client import DoorClient, DoorOptions
from dcmirror.adapters.failed_csv import FailedCsv
from dcmirror.adapters.journal_scan import JournalScan
from dcmirror.adapters.locks import acquire
from dcmirror.adapters.mirror_store import MirrorStore
from dcmirror.adapters.pace import Pace
from dcmirror.commands.audit import AuditOptions, audit
from dcmirror.commands.audit_report import AuditReport, Form
from dcmirror.commands.audit_source import DoorLooks, SourceAudit
from dcmirror.core.audit_findings import AuditKind
from dcmirror.core.findings import Summary
from dcmirror.core.jobs import CopyRecord, JobKind
from dcmirror.core.journal_document import render
from dcmirror.core.ledger import Span
from dcmirror.core.paths import PathMap
from dcmirror.core.report_figures import Sources
from dcmirror.errors import DirectoryError, LockedError
from dcmirror.processes.patience import Patience


@pytest.fixture
def books(tmp_path: Path) -> Books:
    """Books without a contradiction."""
    return Books(tmp_path).make()


class Audited:
    """What an audit said."""

    def __init__(self, status: int, document: dict[str, Any]) -> None:
        self.status = status
        self.document = document

    @property
    def found(self) -> list[tuple[str, str]]:
        """Kind, and file or place, of each contradiction."""
        return sorted(
            (each["kind"], each["relative"] or each["place"])
            for each in self.document["findings"]
        )

    @property
    def notes(self) -> dict[str, str]:
        """Notes by kind."""
        return {each["kind"]: each["text"] for each in self.document["notes"]}


@pytest.fixture
def run(books: Books, capsys: pytest.CaptureFixture[str]) -> Callable[..., Audited]:
    """Audits the books, without Kafka."""

    def audited(**over: Any) -> Audited:
        options = AuditOptions(
            settings=config.load(books.config, {}),
            now=over.pop("now", time.time()),
            asks_kafka=False,
            form=Form.JSON,
            **over,
        )
        status = audit(options)
        return Audited(int(status), json.loads(capsys.readouterr().out))

    return audited


def edit(books: Books, sql: str, *values: object) -> None:
    """As somebody with an SQLite shell would."""
    with closing(sqlite3.connect(books.state / "catalogue.db")) as database:
        assert database.execute(sql, values).rowcount > 0
        database.commit()


def test_books_that_agree_have_no_contradiction(books, run) -> None:
    audited = run(deep=True)

    assert (audited.status, audited.found) == (0, [])
    assert audited.document["judged"]["copies"] == 12
    assert audited.document["judged"]["read"] == 12
    assert audited.document["offsets"]["settled"] == 14
    assert audited.document["offsets"]["kinds"] == {"failed": 2, "mirrored": 12}
    assert "kafka-not-asked" in audited.notes


def test_a_missing_a_cut_a_touched_and_a_damaged_copy(books, run) -> None:
    gone, cut, touched, damaged = books.names[:4]
    (books.mirror / gone).unlink()
    os.truncate(books.mirror / cut, 5)
    os.utime(books.mirror / touched)
    spoil(books.mirror / damaged)
    expected = [("changed", touched), ("missing", gone), ("size", cut)]

    assert run().found == expected
    deep = run(deep=True)
    assert deep.found == sorted([*expected, ("checksum", damaged)])
    assert deep.status == 23


def spoil(path: Path) -> None:
    """Another byte; size, time and mark stay."""
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[3] ^= 1
    with path.open("r+b") as file:
        file.write(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_symlink_or_directory_in_the_place_of_a_copy_is_never_followed(
    books, run, tmp_path
) -> None:
    linked, folder, below = books.names[0], books.names[1], books.names[2]
    outside = tmp_path / "outside"
    outside.mkdir()
    (books.mirror / linked).rename(outside / "kept.dat")
    (books.mirror / linked).symlink_to(outside / "kept.dat")
    (books.mirror / folder).unlink()
    (books.mirror / folder).mkdir()
    place = (books.mirror / below).parent
    place.rename(outside / "moved")
    place.symlink_to(outside / "moved")

    found = run(deep=True).found

    below_link = [name for name in books.names if name.startswith(f"{place.name}/")]
    assert found == sorted(("unsafe", n) for n in {linked, folder, *below_link})


def test_where_copies_may_be_removed_they_are_counted(books, run) -> None:
    (books.mirror / books.names[0]).unlink()
    text = books.config.read_text() + '[destination]\nmissing = "leave"\n'
    books.config.write_text(text)

    audited = run(deep=True)

    assert (audited.status, audited.found) == (0, [])
    assert audited.document["judged"]["left"] == 1


def test_a_copy_whose_source_was_deleted_cannot_be_fetched(books, run) -> None:
    (books.mirror / books.names[0]).unlink()
    edit(
        books,
        "UPDATE copies SET source_deleted_at = 5 WHERE relative = ?",
        *books.names[:1],
    )

    assert run().found == [("lost-copy", books.names[0])]


def test_a_newer_proved_file_is_no_damage(books, run) -> None:
    """Another instance published it, or a watch that was killed before it settled."""
    other = Books(books.home / "other", files=1).make()
    source = other.mirror / other.names[0]
    os.utime(source)
    job = replace(other.jobs[0], relative=other.names[0])
    other.began += 500
    other.make_file(job)
    os.rename(source, books.mirror / books.names[0])

    audited = run(deep=True)

    assert audited.found == []
    assert audited.document["judged"]["newer"] == 1


def test_a_mark_that_says_another_checksum(books, run) -> None:
    edit(books, "UPDATE copies SET adler32 = NULL WHERE relative = ?", books.names[0])
    spoil(books.mirror / books.names[0])

    assert run(deep=True).found == [("mark", books.names[0])]


def test_an_unmounted_mirror_is_one_error_and_not_a_thousand(books, run) -> None:
    books.mirror.rename(books.home / "elsewhere")
    with pytest.raises(DirectoryError, match="mirror"):
        run()
    books.mirror.mkdir()
    with pytest.raises(DirectoryError, match="mounted"):
        run()


def test_a_deleted_span_whose_rows_are_there_is_a_gap(books, run) -> None:
    edit(books, "DELETE FROM spans")

    audited = run()

    assert audited.found == [("gap", "billing[0]")]
    assert audited.status == 22
    assert "0-13" in audited.document["findings"][0]["detail"]


def test_a_span_that_miscounts(books, run) -> None:
    edit(books, "UPDATE spans SET counts = ?", '{"mirrored": 11, "failed": 2}')
    assert run().found == [("counts", "billing[0]")]

    edit(books, "UPDATE spans SET counts = ?", '{"not-ours": 14}')
    assert run().found == [("counts", "billing[0]")]


def test_spans_that_overlap(books, run) -> None:
    edit(
        books,
        "INSERT INTO spans VALUES ('billing', 0, 1, 5, 6, ?)",
        '{"mirrored": 2}',
    )
    audited = run()

    assert audited.found == [("overlap", "billing[0]")]


def test_offsets_read_again_after_a_reset_count_once(books, run) -> None:
    catalogue = Catalogue(books.state / "catalogue.db")
    catalogue.assign(TOPIC, 0, 2, 4, 4)  # 4: we never had committed it
    catalogue.settle(
        SettleBatch(
            spans=(Span(TOPIC, 0, 2, 4, 13, {"skipped:already-mirrored": 10}),),
            positions={(TOPIC, 0): Position(2, 14, 14)},
        )
    )
    catalogue.close()

    audited = run()

    assert audited.found == []
    assert audited.document["offsets"]["settled"] == 14
    assert audited.document["offsets"]["overlapped"] == 14
    assert audited.document["offsets"]["kinds"] == {}


def test_a_new_history_does_not_lean_on_the_spans_of_an_old_one(books, run) -> None:
    """After a reset to 4 everything from there on has to be settled anew."""
    catalogue = Catalogue(books.state / "catalogue.db")
    catalogue.assign(TOPIC, 0, 2, 4, 4)
    catalogue.settle(
        SettleBatch(
            spans=(Span(TOPIC, 0, 2, 4, 5, {"skipped:already-mirrored": 2}),),
            positions={(TOPIC, 0): Position(2, 14, 14)},
        )
    )
    catalogue.close()

    audited = run()

    assert audited.found == [("gap", "billing[0]")]
    assert "6-13" in audited.document["findings"][0]["detail"]


def test_what_another_instance_settled_is_named_when_its_books_are(books, run) -> None:
    catalogue = Catalogue(books.state / "catalogue.db")
    catalogue.assign(TOPIC, 0, 2, 20, 20)
    span = Span(TOPIC, 0, 2, 20, 24, {"not-ours": 5})
    catalogue.settle(
        SettleBatch(spans=(span,), positions={(TOPIC, 0): Position(2, 25, 25)})
    )
    catalogue.close()
    assert "14-19" in run().notes["elsewhere"]
    other = books.home / "other-state"
    other.mkdir()
    catalogue = Catalogue(other / "catalogue.db")
    catalogue.assign(TOPIC, 0, 1, 14, 14)
    catalogue.settle(
        SettleBatch(
            spans=(Span(TOPIC, 0, 1, 14, 19, {"mirrored": 6}),),
            positions={(TOPIC, 0): Position(1, 20, 20)},
        )
    )
    catalogue.close()

    audited = run(states=(other,))

    assert audited.found == []
    assert "14-19" in audited.notes["other-instance"]
    assert "elsewhere" not in audited.notes
    assert "elsewhere" in run(states=(books.state,)).notes


def test_a_row_that_somebody_deleted_from_the_catalogue(books, run) -> None:
    edit(books, "DELETE FROM copies WHERE relative = ?", books.names[5])

    assert run().found == [("no-row", books.names[5])]


def test_a_row_of_which_the_journal_does_not_tell(books, run) -> None:
    copy = books.make_file(replace(books.jobs[0], relative="extra/new.dat"))
    catalogue = Catalogue(books.state / "catalogue.db")
    catalogue.settle(SettleBatch(copies=(copy,)))

    assert run().found == [("no-event", "extra/new.dat")]

    line = books.mirrored_line(replace(books.jobs[0], relative="extra/new.dat"), copy)
    catalogue.settle(SettleBatch(outbox=(OutboxLine("watch-77", line),)))
    catalogue.close()
    waiting = run()
    assert waiting.found == []
    assert "next start" in waiting.notes["outbox"]


def test_rows_older_than_the_journal_are_not_judged_by_it(books, run) -> None:
    for segment in books.journal.glob("*.ndjson"):
        segment.unlink()

    audited = run()

    assert audited.found == []
    assert "journal-empty" in audited.notes


def test_a_row_taken_out_of_failed_csv_by_hand(books, run) -> None:
    rows = FailedCsv(books.state / "failed.csv")
    rows.rewrite(drop=[books.rows[0].key])

    audited = run()

    assert audited.found == [("no-failed-row", books.jobs[12].relative)]
    assert audited.status == 22


def test_a_garbled_line_of_failed_csv(books, run) -> None:
    path = books.state / "failed.csv"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines[:1], "garbled\n", *lines[2:]]))

    assert run().found == [
        ("no-failed-row", books.jobs[12].relative),
        ("torn-row", str(path)),
    ]


def test_a_file_that_is_not_failed_csv(books, run) -> None:
    path = books.state / "failed.csv"
    path.write_text("something else\n")

    assert ("torn-row", str(path)) in run().found


def test_a_row_put_into_failed_csv_by_hand(books, run) -> None:
    ours = replace(books.rows[0], task="made-up", path=f"{ROOT}/lost/b", offset=None)
    others = replace(ours, task="theirs", path=f"{ROOT}/lost/c", offset=700)
    FailedCsv(books.state / "failed.csv").append([ours, others])

    audited = run()

    assert audited.found == [("unknown-row", "lost/b")]
    assert "1 row" in audited.notes["foreign-rows"]


def test_a_failure_of_a_replay_of_another_file_is_no_contradiction(books, run) -> None:
    job = replace(books.jobs[12], kind=JobKind.REPLAY)
    later = replace(books.rows[0], time=books.began + 7000)
    books.add_segment([books.failed_line(job, later)])
    assert run().notes.get("replayed-elsewhere") is None
    FailedCsv(books.state / "failed.csv").rewrite(drop=[books.rows[0].key])

    audited = run()

    assert audited.found == []
    assert "1 failure" in audited.notes["replayed-elsewhere"]


def test_a_failure_that_a_replay_cured_is_no_contradiction(books, run) -> None:
    job = books.jobs[12]
    copy = replace(books.make_file(job), copied_at=books.began + 5000)
    catalogue = Catalogue(books.state / "catalogue.db")
    catalogue.settle(SettleBatch(copies=(copy,)))
    catalogue.close()
    books.add_segment([books.mirrored_line(job, copy)])

    before = run()
    FailedCsv(books.state / "failed.csv").rewrite(drop=[books.rows[0].key])
    after = run()

    assert (before.found, after.found) == ([], [])
    assert "next replay" in before.notes["outranked"]
    assert "outranked" not in after.notes


def test_lost_offsets_are_told_until_a_reconcile_has_run(books, run) -> None:
    catalogue = Catalogue(books.state / "catalogue.db")
    span = Span(TOPIC, 0, 1, 30, 39, {"not-ours": 10})
    catalogue.settle(
        SettleBatch(spans=(span,), positions={(TOPIC, 0): Position(1, 40, 40)})
    )
    catalogue.close()
    assert "14-29" in run().notes["unread"]
    lost = books._events.offsets_lost(books.began + 900, TOPIC, 0, 14, 30)
    books.add_segment([json.dumps(lost, separators=(",", ":"))])
    assert run().found == [("offsets-lost", "billing[0]")]

    began = books.began + 950
    books.add_segment(
        [
            reconciled(books, began, is_whole=False),
            reconciled(books, began, unlisted=1),
            reconciled(books, began, is_dry=True, remaining={"missing": 1}),
            reconciled(books, began - 150),
            reconciled(books, began, reason="the limit is reached"),
        ]
    )
    assert run().found == [("offsets-lost", "billing[0]")]

    books.add_segment([reconciled(books, began)])
    assert run().found == [("offsets-lost", "billing[0]")]
    books.add_segment([reconciled(books, began + 60, found={"missing": 1})])
    assert run().found == [("offsets-lost", "billing[0]")]
    books.add_segment([reconciled(books, began + 120, is_dry=True)])

    cured = run()
    assert cured.found == []
    assert "14-29" in cured.notes["reconciled"]


def reconciled(books: Books, started: float, reason: str = "", **over: Any) -> str:
    """The line of a reconcile of everything that was equal in the end."""
    known = {"is_complete": True, "is_dry": False, "is_whole": True}
    summary = Summary(
        **{**known, "started": started, "settled_before": started, **over}
    )
    return render(books._events.reconcile_finished(started + 40, summary, reason))


def scrubs(books: Books) -> list[str]:
    """The copies that were read and found good."""
    with closing(sqlite3.connect(books.state / "catalogue.db")) as database:
        rows = database.execute("SELECT relative FROM scrubs ORDER BY 1")
        return [name for (name,) in rows]


def test_the_oldest_first_and_then_the_next(books, run) -> None:
    run(deep=True, oldest=5)
    assert scrubs(books) == sorted(books.names[:5])
    run(deep=True, oldest=5)
    assert scrubs(books) == sorted(books.names[:10])
    run(deep=True, oldest=5)
    assert scrubs(books) == sorted(books.names)


@pytest.mark.parametrize("missing", ["leave", "recopy"])
def test_copies_that_are_not_there_take_no_turn_from_those_that_are(
    books, run, missing
) -> None:
    """They are never read, and so would be the oldest for ever."""
    text = books.config.read_text() + f'[destination]\nmissing = "{missing}"\n'
    books.config.write_text(text)
    for name in books.names[:6]:
        (books.mirror / name).unlink()

    read = [run(deep=True, oldest=5).document["judged"]["read"] for _ in range(2)]

    assert read == [5, 5]
    assert scrubs(books) == sorted(books.names[6:])


def test_the_door_is_asked_for_the_next_sources_and_for_no_deleted_one(
    books, run, make, pki
) -> None:
    fake, _ = make(root="/pnfs/example.org/data")
    text = books.config.read_text().replace("https://127.0.0.1:9/data", fake.door_url)
    local = f'[local]\nproxy = "{pki.proxy}"\ncapath = "{pki.capath}"\n'
    books.config.write_text(text.replace("[local]\n", local))
    names = sorted(books.names)
    for name in names[1:5]:
        edit(books, "UPDATE copies SET source_deleted_at = 5 WHERE relative = ?", name)

    asked = [run(source=True, oldest=3).found for _ in range(3)]

    there = [names[0], *names[5:]]
    turns = [there[:3], there[3:6], sorted([*there[6:], there[0]])]
    assert asked == [[("gone", name) for name in turn] for turn in turns]


def test_successive_samples_read_everything(books, run) -> None:
    read = [
        run(deep=True, share=0.25, now=86400.0 * day).document["judged"].get("read", 0)
        for day in range(4)
    ]

    assert sum(read) == 12


def test_a_damaged_copy_is_not_remembered_as_good(books, run) -> None:
    spoil(books.mirror / books.names[0])
    run(deep=True)

    with closing(sqlite3.connect(books.state / "catalogue.db")) as database:
        rows = database.execute("SELECT relative FROM scrubs").fetchall()
    assert {name for (name,) in rows} == set(books.names[1:])


def test_a_file_that_is_replaced_while_it_is_read_is_no_damage(
    books, run, monkeypatch
) -> None:
    name = books.names[0]
    replaced = threading.Event()
    steps = MirrorStore.digest_steps

    def digest(self: MirrorStore, relative: str, *args: Any, **over: Any) -> Any:
        for value in steps(self, relative, *args, **over):
            if relative == name and not replaced.is_set():
                replaced.set()
                replace_file(books, name)
            yield value

    monkeypatch.setattr(MirrorStore, "digest_steps", digest)

    audited = run(deep=True)

    assert replaced.is_set()
    assert audited.found == []


def test_a_file_that_is_replaced_faster_than_the_books_follow_is_no_damage(
    books, run, monkeypatch
) -> None:
    name = books.names[0]
    publish(books, name)  # newer than its row
    look = MirrorStore.look
    looked: list[str] = []

    def looks(self: MirrorStore, relative: str) -> Any:
        found = look(self, relative)
        looked.append(relative)
        if relative == name and looked.count(name) == 2:  # the first of the reading
            publish(books, name)
        return found

    monkeypatch.setattr(MirrorStore, "look", looks)

    assert run(deep=True).found == []
    assert looked.count(name) >= 2


def publish(books: Books, name: str) -> CopyRecord:
    """Other bytes under that name; the catalogue does not know yet."""
    books.began += 100
    books.edition += 1
    path = books.mirror / name
    path.rename(path.with_name("old"))
    path.with_name("old").unlink()
    return books.make_file(next(job for job in books.jobs if job.relative == name))


def replace_file(books: Books, name: str) -> CopyRecord:
    """As a watch does: rename, then settle."""
    copy = publish(books, name)
    catalogue = Catalogue(books.state / "catalogue.db")
    catalogue.settle(SettleBatch(copies=(copy,)))
    catalogue.close()
    return copy


def test_a_file_that_cannot_be_read_is_named(books, run, monkeypatch) -> None:
    name = books.names[0]
    steps = MirrorStore.digest_steps

    def digest(self: MirrorStore, relative: str, *args: Any, **over: Any) -> Any:
        if relative == name:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        yield from steps(self, relative, *args, **over)

    monkeypatch.setattr(MirrorStore, "digest_steps", digest)

    assert run(deep=True).found == [("unreadable", name)]


def test_a_catalogue_that_is_busy_delays_what_is_remembered_and_nothing_else(
    books, run, monkeypatch
) -> None:
    monkeypatch.setattr("dcmirror.adapters.catalogue._BUSY_SECONDS", 0.2)
    Catalogue(books.state / "catalogue.db").close()
    with closing(sqlite3.connect(books.state / "catalogue.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        audited = run(deep=True)

    assert (audited.status, audited.found) == (0, [])
    assert "not-remembered" in audited.notes


def test_books_of_schema_version_1_are_audited_without_being_changed(
    books, run
) -> None:
    edit_schema_back(books)

    audited = run()

    assert (audited.status, audited.found) == (0, [])
    with closing(sqlite3.connect(books.state / "catalogue.db")) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (1,)


def edit_schema_back(books: Books) -> None:
    with closing(sqlite3.connect(books.state / "catalogue.db")) as database:
        database.execute("DROP TABLE scrubs")
        database.execute("ALTER TABLE positions DROP COLUMN began")
        database.execute("PRAGMA user_version = 1")
        database.commit()


def test_the_journal_tells_that_an_audit_was_made(books, run) -> None:
    (books.mirror / books.names[0]).unlink()
    run()

    lines = b"".join(p.read_bytes() for p in books.journal.glob("*-0*.ndjson"))
    told = [json.loads(line) for line in lines.splitlines() if b"audit-fin" in line]
    assert len(told) == 1
    assert told[0]["dcmirror"]["audit"]["copies_differ"] == 1
    assert told[0]["event"]["outcome"] == "failure"
    assert run().found == [("missing", books.names[0])]


def test_csv_lists_files_and_says_the_rest_elsewhere(books, capsys) -> None:
    (books.mirror / books.names[0]).unlink()
    edit(books, "DELETE FROM spans")
    options = AuditOptions(
        settings=config.load(books.config, {}),
        now=time.time(),
        asks_kafka=False,
        form=Form.CSV,
    )

    assert audit(options) == 22
    said = capsys.readouterr()
    header, row = said.out.splitlines()
    assert header.startswith("kind,path,relative,size,pnfsid,adler32,modified,detail")
    assert row.startswith(f"missing,{ROOT}/{books.names[0]},{books.names[0]},")
    assert "gap: billing[0]" in said.err


def test_quiet_says_nothing_where_all_is_well_and_all_where_not(books, capsys) -> None:
    options = AuditOptions(
        settings=config.load(books.config, {}),
        now=time.time(),
        asks_kafka=False,
        verbosity=-1,
    )
    assert audit(options) == 0
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "")

    (books.mirror / books.names[0]).unlink()
    assert audit(options) == 23
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"missing: {ROOT}/{books.names[0]}: the copy is gone;")


def test_what_was_written_behind_the_first_reading_is_read_and_no_line_twice(
    books,
) -> None:
    segment = next(books.journal.glob("*.ndjson"))
    whole = segment.read_bytes()
    lines = whole.splitlines(keepends=True)
    segment.write_bytes(b"".join(lines[:6]) + lines[6][:20])
    sources = Sources()
    first = JournalScan(books.journal, ["transfer-finished"], sources)
    seen = [event["file"]["path"] for event in first.documents()]
    segment.write_bytes(whole)

    rest = JournalScan(
        books.journal, ["transfer-finished"], sources, behind=first.reached
    )
    seen += [event["file"]["path"] for event in rest.documents()]

    assert seen == [job.path for job in books.jobs]
    assert sources.spoiled == 0


def test_a_source_that_cleanup_is_deleting_or_has_deleted_is_not_missed(
    books, make, pki
) -> None:
    """Between an intent and its result the source may be gone already."""
    fake, _ = make(root="/pnfs/example.org/data")
    deleted, in_hand, gone = books.names[:3]
    edit(books, "UPDATE copies SET source_deleted_at = 5 WHERE relative = ?", deleted)
    edit(
        books,
        "INSERT INTO deletions (relative, path, intended_at) VALUES (?, ?, 5)",
        in_hand,
        f"{ROOT}/{in_hand}",
    )
    report = AuditReport(Scratch(), Form.CSV, out=io.StringIO(), err=io.StringIO())
    path_map = PathMap(fake.door_url, "/pnfs/example.org/data", "/exp/raw")
    options = DoorOptions(pki.proxy, pki.capath, path_map)
    with (
        AuditReader(books.state / "catalogue.db") as catalogue,
        DoorLooks(
            lambda: DoorClient(options, Pace(500.0)),
            Patience(report.say, threading.Event()),
            parallel=2,
        ) as looks,
    ):
        rows = catalogue.rows_of([deleted, in_hand, gone]).values()
        SourceAudit(catalogue, report, looks, 0.0).ask(rows, lambda _: None)

    assert dict(report.tally.found) == {AuditKind.GONE: 1}
    assert report.tally.judged["source_deleted"] == 2
    assert looks.requests == 2


def test_memory_does_not_grow_with_the_number_of_copies(tmp_path) -> None:
    few, many = (peak_kib(tmp_path / str(number), number) for number in (500, 80_000))

    assert many - few < 16 * 1024


def peak_kib(home: Path, number: int) -> int:
    """What an audit of so many copies, which may be missing, needs of memory."""
    home.mkdir()
    books = Books(home, files=1).make()
    text = books.config.read_text() + '[destination]\nmissing = "leave"\n'
    books.config.write_text(text)
    with closing(sqlite3.connect(books.state / "catalogue.db")) as database:
        database.executemany(
            "INSERT INTO copies (relative, path, pnfsid, size, adler32, verified, "
            'mtime_ns, copied_at, topic, "partition", "offset") '
            "VALUES (?1, ?1, ?2, 9, 1, 1, 1, 5, 'billing', 0, ?3)",
            ((f"d{n % 99}/{n}", f"{n:036X}", 100 + n) for n in range(number)),
        )
        database.commit()
    command = [sys.executable, "-c", PEAK, str(books.config)]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(ended.stdout.splitlines()[-1])


PEAK = """
import resource, sys
from dcmirror import cli
assert cli.run(["audit", "-c", sys.argv[1], "--no-kafka", "-q"]) == 0
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_one_repairs_at_a_time_and_who_only_reads_does_not_mind(books, run) -> None:
    with acquire(books.state / "audit.lock"):
        assert run().status == 0
        with pytest.raises(LockedError, match=f"pid {os.getpid()} "):
            run(repair=True)
