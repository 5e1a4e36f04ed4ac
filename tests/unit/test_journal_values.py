"""What goes first when space is short: never more while less is there."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcmirror.core.journal_table import ACTIONS, PROGRESS_STEPS, value_of
from dcmirror.core.journal_values import (
    VALUES,
    Lane,
    Piece,
    Value,
    fill,
    lane_of,
    least_admitted,
    removal_order,
)

VALUE = st.sampled_from(Value)
SHARE = st.floats(0, 1)
PIECES = st.lists(
    st.builds(
        Piece,
        name=st.uuids().map(str),
        size=st.integers(1, 100),
        lane=st.sampled_from(Lane),
        is_shipped=st.booleans(),
    ),
    max_size=12,
)


@given(SHARE, SHARE, VALUE)
def test_a_fuller_journal_admits_no_less_valuable_event(one, other, before):
    less, more = sorted((one, other))

    assert least_admitted(less, before) <= least_admitted(more, before)


@given(SHARE, VALUE)
def test_outcomes_are_always_admitted(filled, before):
    assert least_admitted(filled, before) <= Value.OUTCOME


@given(SHARE, VALUE)
def test_the_same_fill_gives_the_same_answer_again(filled, before):
    """Else a journal at a limit would refuse and admit in turns."""
    once = least_admitted(filled, before)

    assert least_admitted(filled, once) == once


@pytest.mark.parametrize(
    ("filled", "least"),
    [
        (0.0, Value.PROGRESS),
        (0.59, Value.PROGRESS),
        (0.6, Value.STARTED),
        (0.8, Value.DETAIL),
        (0.95, Value.OUTCOME),
        (1.0, Value.OUTCOME),
    ],
)
def test_a_journal_that_fills_refuses_one_kind_after_the_other(filled, least):
    assert least_admitted(filled) == least


def test_what_was_refused_comes_back_when_there_is_a_tenth_more_space():
    assert least_admitted(0.57, Value.STARTED) == Value.STARTED
    assert least_admitted(0.53, Value.STARTED) == Value.PROGRESS


@given(st.integers(0, 10**12), st.integers(1, 10**12), st.integers(-(10**12), 10**12))
def test_the_fill_is_a_share_and_a_disk_without_room_is_full(unshipped, most, room):
    filled = fill(unshipped, most, room)

    assert 0 <= filled <= 1
    if room <= 0:
        assert filled == 1
    assert filled <= fill(unshipped + 1, most, room)
    assert filled >= fill(unshipped, most, room + 1)


def test_an_empty_journal_on_a_large_disk_is_empty():
    assert fill(0, 100, 10**9) == 0
    assert fill(50, 100, 10**9) == 0.5
    assert fill(50, 10**9, 50) == 0.5


@given(PIECES, st.sampled_from(Lane), st.booleans())
def test_nothing_of_value_goes_before_what_has_less(pieces, lane, keeps_story):
    order = list(removal_order(pieces, lane, keeps_story=keeps_story))
    ranks = [
        0 if piece.is_shipped else 1 if piece.lane is Lane.STEPS else 2
        for piece in order
    ]

    assert ranks == sorted(ranks)
    assert len({piece.name for piece in order}) == len(order)
    for rank in range(3):
        places = [
            pieces.index(p) for p, r in zip(order, ranks, strict=True) if r == rank
        ]
        assert places == sorted(places)  # the oldest first


@given(PIECES, st.sampled_from(Lane), st.booleans())
def test_outcomes_go_for_outcomes_only(pieces, lane, keeps_story):
    order = set(removal_order(pieces, lane, keeps_story=keeps_story))
    kept = set(pieces) - order

    assert not any(piece.is_shipped or piece.lane is Lane.STEPS for piece in kept)
    if lane is Lane.STEPS or keeps_story:
        assert not any(p.lane is Lane.STORY and not p.is_shipped for p in order)


@given(PIECES)
def test_where_nothing_waits_to_be_written_only_what_is_shipped_goes(pieces):
    order = list(removal_order(pieces, None, keeps_story=False))

    assert order == [piece for piece in pieces if piece.is_shipped]


def test_every_event_has_its_value():
    expected = {
        Value.STARTED: {"upload-seen", "transfer-step"},
        Value.OUTCOME: {
            "event-skipped",
            "event-rejected",
            "transfer-finished",
            "journal-dropped",
            "watch-started",
            "watch-stopped",
            "reconcile-finished",
            "audit-finished",
            "cleanup-finished",
            "source-deleted",
            "source-kept",
        },
    }
    for value, names in expected.items():
        assert {n for n, a in ACTIONS.items() if a.value is value} == names
    assert {value_of("transfer-step", step) for step in PROGRESS_STEPS} == {
        Value.PROGRESS
    }
    assert value_of("transfer-step", "copy_init") == Value.STARTED
    assert value_of("of-another-version") == Value.OUTCOME
    assert VALUES.keys() == set(Value)


def test_steps_have_a_lane_of_their_own():
    assert {value for value in Value if lane_of(value) is Lane.STEPS} == {
        Value.PROGRESS,
        Value.STARTED,
    }
