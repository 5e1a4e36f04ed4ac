"""How a name at the source and its copy differ: three witnesses, one verdict."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcmirror.core.differences import (
    COPIED,
    DifferenceKind,
    Equal,
    Known,
    Local,
    Rules,
    judge,
)
from dcmirror.core.jobs import CopyRecord
from dcmirror.core.listing import Entry
from dcmirror.core.marks import Mark

X, Y = "0000AA", "0000BB"
SIZE, SUM, WHEN = 1000, 0x1234, 5_000_000_000
RULES = Rules(fresh_since=2e9, fresh_until=3e9)
ABSENT = Local(exists=False)
K = DifferenceKind


def entry(**over: object) -> Entry:
    """A file at the source, written long ago."""
    plain = Entry("/data/a", False, SIZE, 1e9, X, SUM)
    return replace(plain, **over)  # type: ignore[arg-type]


def row(**over: object) -> CopyRecord:
    """Its row in the catalogue."""
    plain = CopyRecord("a", "/data/a", X, SIZE, SUM, True, WHEN, 1e9)
    return replace(plain, **over)  # type: ignore[arg-type]


def mark(**over: object) -> Mark:
    """Its mark."""
    return replace(Mark(X, SUM, True, SIZE, WHEN, None), **over)  # type: ignore[arg-type]


def local(**over: object) -> Local:
    """Its copy, without a mark."""
    return replace(Local(True, SIZE, WHEN), **over)  # type: ignore[arg-type]


MARKED = local(mark=mark())

VERDICTS = {
    "equal by its row": (entry(), local(), row(), Equal.EQUAL),
    "equal by mark and row": (entry(), MARKED, row(), Equal.EQUAL),
    "never copied": (entry(), ABSENT, None, K.MISSING),
    "removed here": (entry(), ABSENT, row(), K.MISSING),
    "no size there yet": (entry(size=None), local(), row(), K.INCOMPLETE),
    "no size there, none here": (entry(size=None), ABSENT, None, K.INCOMPLETE),
    "truncated here": (entry(), local(size=1), row(), K.SIZE),
    "grown there": (entry(size=2000), MARKED, row(), K.SIZE),
    "another file there": (entry(pnfsid=Y), MARKED, row(), K.REPLACED),
    "another, larger": (entry(pnfsid=Y, size=2000), local(), row(), K.REPLACED),
    "other bytes there": (entry(adler32=1), local(), row(), K.CHECKSUM),
    "other bytes, by the mark": (entry(adler32=1), MARKED, None, K.CHECKSUM),
    "an old mirror": (entry(), local(), None, K.UNADOPTED),
    "a mark, no row": (entry(), MARKED, None, K.UNADOPTED),
    "a mark, an older row": (entry(), MARKED, row(pnfsid=Y), K.UNADOPTED),
    "read, and right": (entry(), local(adler32=SUM), None, K.UNADOPTED),
    "read, and wrong": (entry(), local(adler32=9), None, K.CHECKSUM),
    "unverified": (entry(), local(), row(verified=False), K.UNADOPTED),
    "adopted by size": (
        entry(),
        local(),
        row(verified=False, adler32=None),
        K.UNADOPTED,
    ),
    "no digest to prove it by": (
        entry(adler32=None),
        local(),
        row(verified=False),
        Equal.EQUAL,
    ),
    "no pnfsid there": (entry(pnfsid=None), local(), row(), Equal.EQUAL),
    "no pnfsid here": (entry(), local(), row(pnfsid=None), Equal.EQUAL),
    "not a plain file": (entry(), local(odd="a symlink"), row(), K.UNREADABLE),
}


@pytest.mark.parametrize("case", VERDICTS)
def test_each_combination_of_witnesses_has_its_verdict(case: str) -> None:
    there, here, known, expected = VERDICTS[case]

    assert judge(there, here, Known(known), RULES).kind is expected


def test_a_copy_that_was_changed_is_to_be_read_before_it_is_judged() -> None:
    changed = local(mtime_ns=WHEN + 1)
    first = judge(entry(), changed, Known(row()), RULES)
    right = judge(entry(), replace(changed, adler32=SUM), Known(row()), RULES)
    wrong = judge(entry(), replace(changed, adler32=7), Known(row()), RULES)

    assert first.must_read
    assert (right.kind, right.must_read) == (K.UNADOPTED, False)
    assert (wrong.kind, wrong.must_read) == (K.CHECKSUM, False)


def test_nothing_is_read_where_the_source_has_no_digest_or_nobody_knew_the_file() -> (
    None
):
    changed = local(mtime_ns=WHEN + 1)

    assert not judge(entry(adler32=None), changed, Known(row()), RULES).must_read
    assert not judge(entry(), changed, Known(), RULES).must_read


def test_what_was_written_a_moment_ago_is_left_to_its_event() -> None:
    young = entry(modified=2e9 + 1)

    assert judge(young, ABSENT, Known(), RULES).kind is Equal.RECENT
    assert judge(young, local(), Known(row()), RULES).kind is Equal.EQUAL
    assert judge(entry(modified=None), ABSENT, Known(), RULES).kind is K.MISSING


def test_a_time_far_in_the_future_was_set_by_somebody_and_protects_nothing() -> None:
    assert judge(entry(modified=3e9 + 1), ABSENT, Known(), RULES).kind is K.MISSING


def test_a_row_of_failed_csv_explains_a_difference_of_the_same_file_only() -> None:
    of_it = Known(None, "gone", X)
    of_any = Known(None, "gone", None)
    of_another = Known(None, "gone", Y)

    assert judge(entry(), ABSENT, of_it, RULES).kind is K.KNOWN_FAILURE
    assert judge(entry(), ABSENT, of_any, RULES).kind is K.KNOWN_FAILURE
    assert judge(entry(), ABSENT, of_another, RULES).kind is K.MISSING
    assert judge(entry(), local(), replace(of_it, row=row()), RULES).kind is Equal.EQUAL


def test_a_copy_that_was_moved_away_is_not_missed_where_that_is_configured() -> None:
    rules = replace(RULES, leaves_missing=True)

    assert judge(entry(), ABSENT, Known(row()), rules).kind is Equal.LEFT
    assert judge(entry(pnfsid=Y), ABSENT, Known(row()), rules).kind is K.MISSING
    assert judge(entry(), ABSENT, Known(), rules).kind is K.MISSING


def test_who_trusts_the_size_does_not_ask_for_proof() -> None:
    rules = replace(RULES, trusts_size=True)
    unverified = Known(row(verified=False, adler32=None))

    assert judge(entry(), local(), unverified, rules).kind is Equal.EQUAL
    assert judge(entry(adler32=1), local(), Known(row()), rules).kind is K.CHECKSUM


sizes = st.sampled_from((None, 0, SIZE, 2000))
ids = st.sampled_from((None, X, Y))
sums = st.sampled_from((None, 1, SUM))
entries = st.builds(
    Entry, st.just("/d/a"), st.just(False), sizes, st.just(1e9), ids, sums
)
marks = st.builds(
    Mark, ids, sums, st.booleans(), st.just(SIZE), st.just(WHEN), st.none()
)
locals_ = st.one_of(
    st.just(ABSENT),
    st.builds(
        Local,
        st.just(True),
        st.sampled_from((0, SIZE, 2000)),
        st.sampled_from((WHEN, WHEN + 1)),
        st.none() | marks,
        sums,
    ),
)
rows = st.none() | st.builds(
    CopyRecord,
    st.just("a"),
    st.just("/d/a"),
    ids,
    st.sampled_from((0, SIZE)),
    sums,
    st.booleans(),
    st.just(WHEN),
    st.just(1e9),
)
rules = st.builds(Rules, st.just(2e9), st.just(3e9), st.booleans(), st.booleans())


@given(entries, locals_, rows, rules)
def test_equal_is_never_said_of_other_sizes_ids_or_checksums(
    there: Entry, here: Local, known: CopyRecord | None, how: Rules
) -> None:
    if judge(there, here, Known(known), how).kind is not Equal.EQUAL:
        return

    assert here.exists
    assert here.size == there.size
    assert known is not None
    assert None in (known.pnfsid, there.pnfsid) or known.pnfsid == there.pnfsid
    assert None in (known.adler32, there.adler32) or known.adler32 == there.adler32


@given(entries, locals_, rows, rules)
def test_a_verdict_is_stable_once_the_file_was_read(
    there: Entry, here: Local, known: CopyRecord | None, how: Rules
) -> None:
    first = judge(there, here, Known(known), how)
    again = judge(there, replace(here, adler32=SUM), Known(known), how)

    assert not again.must_read
    assert not first.must_read or first.difference in COPIED


@given(entries, locals_, rows)
def test_what_is_not_there_yet_is_never_copied(
    there: Entry, here: Local, known: CopyRecord | None
) -> None:
    found = judge(replace(there, size=None), here, Known(known), RULES)

    assert found.difference not in COPIED
