"""Each offset counts once, under its newest epoch; gaps are what nobody covers."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from dcmirror.core.audit_gaps import Cause, Known, Reconciled, cure, explain
from dcmirror.core.audit_spans import (
    common,
    gaps,
    is_consistent,
    joined,
    length,
    may_have_files,
    newest,
    range_text,
)
from dcmirror.core.ledger import Span

spans = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 60), st.integers(0, 12)), max_size=14
)
ranges = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 9)).map(lambda r: (r[0], sum(r))),
    max_size=8,
)


def made(drawn: list[tuple[int, int, int]]) -> list[Span]:
    """Spans by first offset; those of one epoch do not overlap, as in the books."""
    kept: list[Span] = []
    taken: set[tuple[int, int]] = set()
    for epoch, first, more in drawn:
        offsets = {(epoch, offset) for offset in range(first, first + more + 1)}
        if not offsets & taken:
            taken |= offsets
            counts = {"mirrored": more + 1}
            kept.append(Span("t", 0, epoch, first, first + more, counts))
    return sorted(kept, key=lambda span: span.first)


def offsets_of(found: list[tuple[int, int]]) -> list[int]:
    return [offset for first, last in found for offset in range(first, last + 1)]


@given(spans)
def test_each_offset_counts_once_and_under_its_newest_epoch(drawn) -> None:
    books = made(drawn)
    expected = {}
    for span in sorted(books, key=lambda span: span.epoch):
        for offset in range(span.first, span.last + 1):
            expected[offset] = span

    pieces = list(newest(books))

    found = [(o, p.span) for p in pieces for o in range(p.first, p.last + 1)]
    assert len(found) == len(dict(found))
    assert dict(found) == expected
    assert [p.first for p in pieces] == sorted(p.first for p in pieces)


@given(spans)
def test_a_piece_is_alone_only_if_it_is_whole_and_nobody_else_covers_it(drawn) -> None:
    books = made(drawn)

    for piece in newest(books):
        span = piece.span
        covers = [
            other
            for other in books
            if other.first <= span.last and other.last >= span.first
        ]
        assert piece.is_alone == (covers == [span])


@given(ranges, st.integers(0, 70), st.integers(0, 70))
def test_gaps_are_exactly_what_no_range_covers(drawn, first, until) -> None:
    covered = sorted(drawn)

    found = list(gaps(covered, first, until))

    held = set(offsets_of(covered))
    assert offsets_of(found) == [o for o in range(first, until) if o not in held]
    assert list(joined(found)) == found


@given(ranges)
def test_joined_ranges_hold_the_same_offsets_and_never_touch(drawn) -> None:
    whole = list(joined(sorted(drawn)))

    assert offsets_of(whole) == sorted(set(offsets_of(drawn)))
    assert all(b[0] > a[1] + 1 for a, b in pairwise(whole))


@given(
    st.tuples(st.integers(0, 60), st.integers(0, 20)).map(lambda r: (r[0], sum(r))),
    st.tuples(st.integers(0, 70), st.integers(0, 70)),
    st.none() | st.integers(0, 80),
    ranges,
    ranges,
    st.booleans(),
)
def test_every_offset_of_a_gap_has_one_cause(
    gap, ours, begin, lost, others, knows
) -> None:
    known = Known(
        ours=ours,
        begin=begin,
        lost=list(joined(sorted(lost))),
        others=list(joined(sorted(others))),
        knows_others=knows,
    )

    parts = list(explain(gap, known))

    assert offsets_of([p.gap for p in parts]) == list(range(gap[0], gap[1] + 1))
    for part in parts:
        for offset in range(part.gap[0], part.gap[1] + 1):
            assert part.cause is cause_of(offset, known)


def cause_of(offset: int, known: Known) -> Cause:
    """The same, offset by offset."""
    if offset in offsets_of(list(known.others)):
        return Cause.OTHERS
    if offset in offsets_of(list(known.lost)):
        return Cause.LOST
    if not known.knows_others and not known.ours[0] <= offset < known.ours[1]:
        return Cause.ELSEWHERE
    if known.begin is not None and offset < known.begin:
        return Cause.EXPIRED
    return Cause.UNREAD


def test_a_partition_that_went_to_another_instance_and_came_back() -> None:
    """0-9 and 20-29 are ours; who had 10-19 only its own books can say."""
    gap = (10, 19)
    alone = Known(ours=(20, 30), begin=0)
    named = Known(ours=(20, 30), begin=0, others=[(8, 15)], knows_others=True)

    assert [(p.gap, p.cause) for p in explain(gap, alone)] == [(gap, Cause.ELSEWHERE)]
    assert [(p.gap, p.cause) for p in explain(gap, named)] == [
        ((10, 15), Cause.OTHERS),
        ((16, 19), Cause.UNREAD),
    ]


def test_a_span_that_does_not_count_each_offset_once_is_inconsistent() -> None:
    assert is_consistent(Span("t", 0, 1, 5, 9, {"mirrored": 2, "not-ours": 3}))
    assert not is_consistent(Span("t", 0, 1, 5, 9, {"mirrored": 2, "not-ours": 2}))


def test_foreign_records_leave_no_files() -> None:
    counts = {"mirrored": 2, "failed": 1, "skipped:joined": 4, "not-ours": 90}
    assert may_have_files(Span("t", 0, 1, 0, 99, counts | {"garbage": 3})) == 7


def test_ranges_in_words_and_numbers() -> None:
    assert range_text((7, 7)) == "7"
    assert range_text((7, 19)) == "7-19"
    assert length([(0, 4), (7, 7)]) == 6
    assert common((5, 10), [(0, 6), (9, 20), (30, 40)]) == [(5, 6), (9, 10)]


def test_a_reconcile_has_cured_once_a_later_one_misses_nothing() -> None:
    first, second = Reconciled("1", "2", "1", 4), Reconciled("3", "4", "3", 1)
    third, fourth = Reconciled("5", "6", "5", 0), Reconciled("7", "8", "7", 0)

    assert cure([]) is None
    assert cure([third]) is None
    assert cure([second, first]) is None
    assert cure([third, first, second]) == second
    assert cure([first, second, third, fourth]) == third
    assert cure([third, Reconciled("7", "8", "7", 2)]) is None
