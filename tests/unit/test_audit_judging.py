"""What looks, bytes and the door's answers say about a row of the catalogue."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from dcmirror.cli_help import AUDIT_KINDS
from dcmirror.core.audit_choice import Oldest, Sample
from dcmirror.core.audit_copies import (
    AuditRow,
    Seen,
    Standing,
    judge_bytes,
    judge_look,
)
from dcmirror.core.audit_findings import (
    REMEDIES,
    REPAIRABLE,
    Area,
    AuditKind,
    Finding,
    Tally,
)
from dcmirror.core.audit_source import Answer, judge_source
from dcmirror.core.listing import Entry
from dcmirror.core.marks import Mark
from dcmirror.errors import ExitStatus

ROW = AuditRow(
    relative="run/a.dat",
    path="/pnfs/exp/run/a.dat",
    pnfsid="0000A1",
    size=100,
    adler32=0xABC,
    verified=1,
    mtime_ns=5_000,
    copied_at=1000.0,
    topic="billing",
    partition=0,
    offset=7,
    source_deleted_at=None,
    gone_at=None,
    scrubbed_at=None,
)
MARK = Mark("0000A1", 0xABC, True, 100, 5_000, 900.0)
THERE = Seen(True, 100, 5_000, MARK)


def kind(found: Finding | object) -> AuditKind:
    assert isinstance(found, Finding)
    return found.kind


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (Seen(False), AuditKind.MISSING),
        (Seen(True, 99, 5_000), AuditKind.SIZE),
        (Seen(True, 100, 6_000), AuditKind.CHANGED),
        (Seen(True, odd="a symbolic link"), AuditKind.UNSAFE),
        (Seen(True, odd="Input/output error", is_broken=True), AuditKind.UNREADABLE),
    ],
)
def test_a_look_tells_what_is_wrong(seen, expected) -> None:
    assert expected is kind(judge_look(ROW, seen, leaves=False))


def test_a_file_as_the_row_says_is_good_with_or_without_a_mark() -> None:
    assert judge_look(ROW, THERE, leaves=False) is Standing.GOOD
    assert judge_look(ROW, replace(THERE, mark=None), leaves=False) is Standing.GOOD


def test_a_removed_copy_is_no_contradiction_where_it_may_be_removed() -> None:
    assert judge_look(ROW, Seen(False), leaves=True) is Standing.LEFT


def test_another_file_with_a_mark_of_its_own_is_newer_not_damaged() -> None:
    newer = Seen(True, 200, 9_000, replace(MARK, size=200, mtime_ns=9_000))

    assert judge_look(ROW, newer, leaves=False) is Standing.NEWER


@pytest.mark.parametrize("seen", [Seen(False), Seen(True, 99, 5_000)])
def test_a_copy_whose_source_we_deleted_is_lost_and_nobody_tries_to_fetch_it(
    seen,
) -> None:
    found = judge_look(ROW._replace(source_deleted_at=2.0), seen, leaves=False)

    assert kind(found) is AuditKind.LOST_COPY
    assert AuditKind.LOST_COPY not in REPAIRABLE


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ("deleted", AuditKind.LOST_COPY),
        (None, AuditKind.LOST_COPY),
        ("already-gone", AuditKind.MISSING),
        ("deleted-or-replaced", AuditKind.LOST_COPY),
    ],
)
def test_only_a_copy_whose_source_we_deleted_is_called_lost(result, expected) -> None:
    row = ROW._replace(source_deleted_at=2000.0, source_result=result)

    assert kind(judge_look(row, Seen(False), leaves=False)) is expected
    noted = judge_look(row._replace(gone_at=3000.0), Seen(False), leaves=False)
    is_lost = expected is AuditKind.LOST_COPY
    assert (kind(noted) is expected) if is_lost else (noted is Standing.GONE)


def test_bytes_are_compared_with_the_row_and_with_the_mark() -> None:
    other = replace(MARK, adler32=0xDEF)

    assert judge_bytes(ROW, MARK, 0xABC) is None
    assert judge_bytes(ROW, None, 0xABC) is None
    assert kind(judge_bytes(ROW, MARK, 0xBAD)) is AuditKind.CHECKSUM
    assert kind(judge_bytes(ROW, other, 0xABC)) is AuditKind.MARK
    assert judge_bytes(ROW._replace(adler32=None), MARK, 0xABC) is None
    assert kind(judge_bytes(ROW._replace(adler32=None), MARK, 1)) is AuditKind.MARK


def test_a_mark_that_agrees_with_the_bytes_is_told() -> None:
    found = judge_bytes(ROW, replace(MARK, adler32=0xBAD), 0xBAD)

    assert isinstance(found, Finding)
    assert "the mark agrees" in found.detail


SOURCE = Entry(ROW.path, False, 100, 900.0, "0000A1", 0xABC)


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (None, AuditKind.GONE),
        (replace(SOURCE, is_directory=True, size=None), AuditKind.GONE),
        (replace(SOURCE, pnfsid="0000B2"), AuditKind.REPLACED),
        (replace(SOURCE, size=101), AuditKind.SOURCE_SIZE),
        (replace(SOURCE, adler32=1), AuditKind.SOURCE_CHECKSUM),
    ],
)
def test_the_door_tells_what_differs(entry, expected) -> None:
    assert expected is kind(judge_source(ROW, entry, fresh_since=5_000.0))


@pytest.mark.parametrize(
    ("row", "entry", "expected"),
    [
        (ROW, SOURCE, Answer.SAME),
        (ROW, replace(SOURCE, adler32=None, pnfsid=None), Answer.SAME),
        (ROW._replace(source_deleted_at=5.0), None, Answer.DELETED),
        (ROW, replace(SOURCE, size=None), Answer.ARRIVING),
        (ROW, replace(SOURCE, pnfsid="B", modified=6000.0), Answer.ARRIVING),
    ],
)
def test_what_the_door_may_say_without_contradiction(row, entry, expected) -> None:
    assert expected is judge_source(row, entry, fresh_since=5_000.0)


def test_samples_of_successive_days_take_every_file_once() -> None:
    names = [f"run{n % 7}/file-{n}.dat" for n in range(5000)]
    days = [Sample(0.05, day) for day in range(20_000, 20_020)]

    turns = {name: sum(day.has(name) for day in days) for name in names}

    assert set(turns.values()) == {1}
    first = [name for name in names if days[0].has(name)]
    assert 180 < len(first) < 320
    assert first == [name for name in names if Sample(0.05, 20_000).has(name)]


def test_a_whole_sample_takes_everything_each_day() -> None:
    assert all(Sample(1.0, day).has(f"f{day}") for day in range(300))


def test_a_day_begins_at_midnight_utc() -> None:
    assert Sample.at(0.1, 86400.0 * 3 - 0.5).day == 2
    assert Sample.at(0.1, 86400.0 * 3).day == 3


def test_the_oldest_are_those_proved_longest_ago_by_copying_or_by_reading() -> None:
    oldest = Oldest(3)
    rows = [ROW._replace(relative=f"f{n}", copied_at=100.0 + n) for n in range(9)]
    rows[0] = rows[0]._replace(scrubbed_at=500.0)
    oldest.add(rows[:5])
    oldest.add(rows[5:])

    assert oldest.chosen() == ["f1", "f2", "f3"]


def test_of_equally_old_ones_the_same_are_chosen_whatever_their_order() -> None:
    rows = [ROW._replace(relative=f"f{n}") for n in range(9)]
    one, other = Oldest(4), Oldest(4)
    one.add(rows)
    other.add(reversed(rows))

    chosen = one.chosen()
    assert chosen == other.chosen()
    assert len(chosen) == 4


def test_every_kind_has_a_remedy_and_an_area() -> None:
    assert set(REMEDIES) == set(AuditKind) == set(AUDIT_KINDS)
    areas = {kind: Finding(kind=kind, detail="").area for kind in AuditKind}
    assert {k for k, a in areas.items() if a is Area.COPIES} == {
        AuditKind(word)
        for word in (
            *("missing", "size", "changed", "checksum", "mark"),
            *("unsafe", "unreadable", "lost-copy"),
        )
    }
    assert {k for k, a in areas.items() if a is Area.SOURCE} == {
        AuditKind(word)
        for word in ("gone", "replaced", "source-size", "source-checksum")
    }


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        ([], ExitStatus.DONE),
        ([AuditKind.GONE], ExitStatus.SOURCE_DIFFERS),
        ([AuditKind.GONE, AuditKind.MISSING], ExitStatus.COPIES_DIFFER),
        ([AuditKind.GONE, AuditKind.GAP, AuditKind.SIZE], ExitStatus.BOOKS_DIFFER),
    ],
)
def test_the_lowest_status_of_what_was_found_counts(kinds, expected) -> None:
    tally = Tally()
    tally.found.update(kinds)

    assert expected is tally.status()


def test_what_was_repaired_counts_no_more() -> None:
    tally = Tally()
    tally.found.update([AuditKind.MISSING, AuditKind.MISSING, AuditKind.REPLACED])
    tally.repaired.update([AuditKind.MISSING, AuditKind.MISSING])

    assert tally.status() is ExitStatus.SOURCE_DIFFERS
    assert tally.areas()[Area.COPIES] == 2


def test_a_name_of_the_source_never_forges_a_line() -> None:
    evil = "/pnfs/a\nmissing: /pnfs/b\x1b[2J"
    found = Finding(kind=AuditKind.SIZE, detail="9 bytes\r", path=evil, relative=evil)

    assert found.line().isprintable()
    assert found.csv_line().count("\n") == 1
    document = json.dumps(found.document())
    assert document.isprintable()
    assert json.loads(document)["path"] == evil  # replay --from-audit needs it
