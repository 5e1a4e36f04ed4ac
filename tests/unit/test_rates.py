"""Sums over the last minutes, and speeds, from totals that only grow."""

from __future__ import annotations

from dcmirror.core.rates import Drift, Rates, Speeds


def rates_of(*totals: tuple[float, int]) -> Rates:
    rates = Rates(["files"])
    for at, total in totals:
        rates.observe(at, {"files": total})
    return rates


def test_nothing_observed_is_nothing_done() -> None:
    assert {"files": 0, "seconds": 0.0} == Rates(["files"]).over(60)


def test_a_window_counts_what_grew_in_it() -> None:
    rates = rates_of(*((float(second), 2 * second) for second in range(1000)))

    assert 120 <= rates.over(60)["files"] <= 132
    assert 600 <= rates.over(300)["files"] <= 612
    assert 1800 <= rates.over(900)["files"] <= 1812


def test_a_young_process_says_how_much_time_its_sums_cover() -> None:
    rates = rates_of((100.0, 0), (107.0, 14))

    assert {"files": 14, "seconds": 7.0} == rates.over(900)


def test_a_window_covers_at_least_its_time_and_little_more() -> None:
    rates = rates_of(*((float(second), second) for second in range(2000)))

    for window in (60, 300, 900):
        assert window <= rates.over(window)["seconds"] < window + 5


def test_what_is_kept_is_bounded() -> None:
    rates = rates_of(*((second / 10, second) for second in range(100_000)))

    assert len(rates._points) <= 900 / 5 + 2


def test_a_total_that_is_not_given_counts_as_none() -> None:
    rates = Rates(["files", "failed"])
    rates.observe(1.0, {"files": 1})
    rates.observe(2.0, {"files": 3})

    assert {"files": 2, "failed": 0, "seconds": 1.0} == rates.over(60)


def test_what_rises_and_falls_is_added_up() -> None:
    drift = Drift()
    for levels in ({0: 10, 1: 5}, {0: 14, 1: 4}, {0: 20, 1: 0}):
        drift.observe(levels)

    assert 10 - 5 == drift.total


def test_a_level_that_comes_or_goes_neither_rises_nor_falls() -> None:
    drift = Drift()
    for levels in ({}, {0: 50_000}, {0: 49_000, 1: 10_000}, {1: 9_000}, {}, {1: 9_900}):
        drift.observe(levels)

    assert -1000 - 1000 == drift.total


def test_a_speed_is_that_of_the_last_seconds() -> None:
    speeds = Speeds()
    for second in range(20):
        told = speeds.observe(float(second), {"a": 100 * second})
    for second in range(20, 26):
        told = speeds.observe(float(second), {"a": 2000})

    assert {"a": 0.0} == told


def test_a_transfer_that_has_just_begun_has_no_speed_yet() -> None:
    speeds = Speeds()

    assert {"a": 0.0} == speeds.observe(1.0, {"a": 5})
    assert {"a": 10.0} == speeds.observe(2.0, {"a": 15})


def test_another_attempt_begins_at_nothing() -> None:
    speeds = Speeds()
    speeds.observe(1.0, {"a": 1000})
    speeds.observe(2.0, {"a": 2000})

    assert {"a": 0.0} == speeds.observe(3.0, {"a": 10})


def test_an_ended_transfer_is_forgotten() -> None:
    speeds = Speeds()
    speeds.observe(1.0, {"a": 1, "b": 1})
    speeds.observe(2.0, {"b": 2})

    assert ["b"] == list(speeds._points)
