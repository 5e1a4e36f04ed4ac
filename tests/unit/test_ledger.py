"""The ledger: what may be committed, and what the books say of each offset."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcmirror.core.ledger import Ledgers, PartitionLedger, Span


def ledger(start: int = 0, honoured: list[tuple[int, int]] | None = None):
    return PartitionLedger("billing", 3, 7, start, honoured or [])


def test_nothing_received_leaves_the_start_committable():
    assert ledger(42).committable == 42


def test_offset_is_not_committed_while_an_earlier_one_is_in_flight():
    books = ledger()
    books.receive(0)
    books.receive(1)

    books.settle(1, "mirrored")

    assert books.committable == 0
    assert books.settled_above_gap == 1


def test_settling_the_gap_releases_everything_above_it():
    books = ledger()
    for offset in range(3):
        books.receive(offset)
    books.settle(2, "mirrored")
    books.settle(1, "failed")

    books.settle(0, "mirrored")

    assert books.committable == 3
    assert books.settled_above_gap == 0


def test_gaps_that_the_broker_left_hold_nothing_up():
    books = ledger()
    books.receive(0)
    books.receive(9)

    books.settle(0, "mirrored")

    assert books.committable == 9


def test_offset_received_again_in_the_same_epoch_is_no_new_work():
    books = ledger()
    assert books.receive(0)

    assert not books.receive(0)
    books.settle(0, "mirrored")

    assert not books.receive(0)
    assert books.take_spans() == [Span("billing", 3, 7, 0, 0, {"mirrored": 1})]


def test_honoured_span_skips_and_is_not_told_twice():
    books = ledger(10, [(12, 13)])
    received = [books.receive(offset) for offset in range(10, 15)]

    books.settle(14, "mirrored")

    assert received == [True, True, False, False, True]
    assert books.committable == 10
    assert books.settled_above_gap == 3
    assert books.take_spans() == [Span("billing", 3, 7, 14, 14, {"mirrored": 1})]


def test_honoured_span_at_the_start_moves_the_committable_offset():
    books = ledger(10, [(10, 11)])
    books.receive(10)
    books.receive_settled(11, "not-ours")

    assert books.committable == 12
    assert books.take_spans() == []


def test_spans_are_coalesced_with_counts_per_kind():
    books = ledger()
    for offset in range(6):
        if offset in (2, 4):
            books.receive(offset)
        else:
            books.receive_settled(offset, "not-ours")
    books.settle(2, "mirrored")

    first = books.take_spans()
    books.settle(4, "failed")

    assert first == [
        Span("billing", 3, 7, 0, 3, {"not-ours": 3, "mirrored": 1}),
        Span("billing", 3, 7, 5, 5, {"not-ours": 1}),
    ]
    assert books.take_spans() == [Span("billing", 3, 7, 4, 4, {"failed": 1})]
    assert books.take_spans() == []


def test_settling_what_is_not_in_work_is_refused():
    books = ledger()
    books.receive(0)
    books.settle(0, "mirrored")

    with pytest.raises(KeyError):
        books.settle(0, "mirrored")


def test_a_slow_offset_does_not_make_the_ledger_grow():
    books = ledger()
    books.receive(0)
    for offset in range(1, 5000):
        books.receive(offset)
        books.settle(offset, "mirrored")

    assert books.settled_above_gap == 4999
    assert len(books._open) < 100
    books.settle(0, "mirrored")
    assert (books.committable, books.settled_above_gap) == (5000, 0)


def test_offsets_that_retention_took_hold_nothing_up():
    books = ledger()
    books.receive(0)
    books.skip_to(90)
    assert books.committable == 0

    books.settle(0, "mirrored")

    assert books.committable == 90
    assert books.take_spans() == [Span("billing", 3, 7, 0, 0, {"mirrored": 1})]
    books.skip_to(50)
    assert books.committable == 90


def test_repr_tells_an_operator_where_the_partition_stands():
    books = ledger(5)
    books.receive(5)
    books.receive(6)
    books.settle(6, "mirrored")

    assert repr(books) == (
        "<Ledger billing[3] epoch=7 received=2 next=7 committable=5 pending=1>"
    )


def test_result_of_an_earlier_epoch_finds_no_ledger():
    books = Ledgers("billing")
    books.assign(0, 1, 0).receive(0)
    books.revoke(0)
    books.assign(0, 2, 0)

    assert books.get(0, 1) is None
    assert books.committables() == {(0, 2): 0}


def test_spans_of_a_revoked_partition_still_come_out():
    books = Ledgers("billing")
    books.assign(0, 1, 0).receive_settled(0, "not-ours")
    books.revoke(0)

    assert books.take_spans() == [Span("billing", 0, 1, 0, 0, {"not-ours": 1})]
    assert books.take_spans() == []


def test_lost_offsets_are_skipped_on_their_partition_only():
    books = Ledgers("billing")
    books.assign(0, 1, 0)
    books.assign(1, 2, 0)

    assert books.skip_to(1, 2, 50)
    assert not books.skip_to(7, 2, 50)
    assert not books.skip_to(0, 3, 50)

    assert books.committables() == {(0, 1): 0, (1, 2): 50}


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["work", "settled", "settle", "take"]),
        st.integers(min_value=0, max_value=3),
    ),
    max_size=200,
)
RANGES = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 5)).map(
        lambda pair: (pair[0], pair[0] + pair[1])
    ),
    max_size=4,
)


@given(steps=STEPS, honoured=RANGES, start=st.integers(0, 5))
def test_committable_is_always_the_lowest_unsettled_offset(steps, honoured, start):
    """Against a plain model: sets of offsets, looked through each time."""
    books = ledger(start, _disjoint(honoured))
    covered = {o for first, last in honoured for o in range(first, last + 1)}
    pending: list[int] = []
    settled: dict[int, str] = {}
    received: list[int] = []
    spans: list[Span] = []
    following, committable = start, start
    for step, number in steps:
        if step in ("work", "settled"):
            offset = following + number
            following = offset + 1
            received.append(offset)
            fresh = (
                books.receive(offset)
                if step == "work"
                else books.receive_settled(offset, "not-ours")
            )
            assert fresh == (offset not in covered)
            if fresh and step == "work":
                pending.append(offset)
            elif fresh:
                settled[offset] = "not-ours"
        elif step == "settle" and pending:
            offset = pending.pop(number % len(pending))
            books.settle(offset, "mirrored")
            settled[offset] = "mirrored"
        elif step == "take":
            spans += books.take_spans()

        lowest = min(pending, default=following)
        above = [o for o in received if o > lowest and o not in pending]
        assert books.committable == lowest
        assert books.committable >= committable
        assert books.pending_count == len(pending)
        assert books.settled_above_gap == len(above)
        committable = books.committable

    spans += books.take_spans()
    told = [o for span in spans for o in range(span.first, span.last + 1)]
    assert sorted(told) == sorted(settled)
    kinds = ("mirrored", "not-ours")
    assert {k: sum(s.counts.get(k, 0) for s in spans) for k in kinds} == {
        k: list(settled.values()).count(k) for k in kinds
    }


def _disjoint(ranges):
    """The catalogue gives merged ranges: sorted and without overlap."""
    merged: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return merged
