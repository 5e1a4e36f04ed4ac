"""Counts: by host, in histograms, and of what came of files."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from dcmirror.core.jobs import AttemptResult, CopyRecord, ResultKind
from dcmirror.core.tally import OTHERS, Histogram, HostCounts, Tally


def result_of(kind: ResultKind, **over: Any) -> tuple[AttemptResult, CopyRecord]:
    event_time = over.pop("event_time", 90.0)
    copy = CopyRecord("a", "/d/a", "P", 10, 1, True, 5, 108.0, event_time=event_time)
    times = {"started_at": 100.0, "ended_at": 107.5} | over
    return AttemptResult("t", kind, copy=copy, **times), copy


def test_hosts_add_up_by_host_and_role() -> None:
    counts = HostCounts()

    counts.count([("door:1", "door", 1, 1, 0), ("pool:2", "pool", 1, 1, 500)])
    counts.count([("door:1", "door", 2, 0, 0), ("door:1", "pool", 1, 0, 7)])

    assert [
        ("door:1", "door", 3, 1, 0),
        ("pool:2", "pool", 1, 1, 500),
        ("door:1", "pool", 1, 0, 7),
    ] == [tuple(each.values()) for each in counts.plain()]


def test_hosts_are_bounded_and_late_comers_are_counted_together() -> None:
    counts = HostCounts(most=3)

    for number in range(50):
        counts.count([(f"pool{number}:1", "pool", 2, 1, 10)])
    counts.count([("pool0:1", "pool", 1, 0, 0)])

    shown = {each["host"]: each["requests"] for each in counts.plain()}
    assert {"pool0:1": 3, "pool1:1": 2, "pool2:1": 2, OTHERS: 94} == shown


@given(
    st.lists(
        st.tuples(
            st.sampled_from("abcdef"),
            st.sampled_from(["door", "pool"]),
            *[st.integers(0, 1000)] * 3,
        )
    )
)
def test_no_request_is_lost_and_no_counter_ever_falls(uses: list[Any]) -> None:
    counts = HostCounts(most=4)
    before: dict[Any, int] = {}

    for use in uses:
        counts.count([use])
        now = {(e["host"], e["role"]): e["requests"] for e in counts.plain()}
        assert before.keys() <= now.keys()
        assert all(now[key] >= value for key, value in before.items())
        before = now

    assert sum(use[2] for use in uses) == sum(before.values())


def test_histogram_counts_a_bound_as_below_itself_and_keeps_what_is_above_all() -> None:
    histogram = Histogram((1.0, 10.0))

    for value in (0.0, 1.0, 1.5, 10.0, 10.5, 1e9):
        histogram.observe(value)

    assert [2, 2, 2] == histogram.plain()["counts"]
    assert 1e9 + 23 == histogram.plain()["sum"]


def test_fetched_copy_counts_its_size_its_duration_and_its_delay() -> None:
    tally = Tally()

    tally.take_copy(*result_of(ResultKind.MIRRORED, bytes_received=30))

    assert (1, 0, 10) == (tally.mirrored, tally.adopted, tally.bytes_mirrored)
    assert (7.5, 17.5) == (tally.durations.sum, tally.delays.sum)


def test_adopted_copy_counts_no_bytes_and_no_time() -> None:
    tally = Tally()

    tally.take_copy(*result_of(ResultKind.ADOPTED))

    assert (1, 1, 0) == (tally.mirrored, tally.adopted, tally.bytes_mirrored)
    assert 0 == sum(tally.durations.counts) + sum(tally.delays.counts)


def test_clock_of_dcache_that_is_ahead_makes_no_negative_delay() -> None:
    tally = Tally()

    tally.take_copy(*result_of(ResultKind.MIRRORED, event_time=200.0))
    tally.take_copy(*result_of(ResultKind.MIRRORED, event_time=None))

    assert (1, 0.0) == (sum(tally.delays.counts), tally.delays.sum)
    assert 2 == sum(tally.durations.counts)
