"""Percentiles from buckets: as near to the true ones as they say."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from dcmirror.core.histogram import ACCURACY, LogHistogram

VALUES = st.lists(st.floats(1e-8, 1e17), min_size=1, max_size=300)


def histogram(values: list[float]) -> LogHistogram:
    found = LogHistogram()
    for value in values:
        found.add(value)
    return found


@given(VALUES, st.sampled_from([5, 50, 95, 99, 100]))
def test_a_percentile_is_within_the_accuracy_of_the_value_at_its_rank(
    values: list[float], percent: int
) -> None:
    rank = max(1, math.ceil(len(values) * percent / 100))
    true = sorted(values)[rank - 1]
    found = histogram(values).percentile(percent)

    assert found is not None
    assert abs(found - true) <= true * (ACCURACY + 1e-9)


@given(VALUES, VALUES)
def test_merging_is_the_same_as_counting_all_in_one(
    some: list[float], others: list[float]
) -> None:
    merged = histogram(some)
    merged.merge(histogram(others))

    assert histogram(some + others).percentiles() == merged.percentiles()


def test_a_value_that_is_not_positive_counts_as_zero() -> None:
    found = histogram([0.0, -3.0, 0.0, 8.0])

    assert (4, 0.0) == (found.count, found.percentile(75))


def test_without_values_there_is_no_percentile() -> None:
    assert (0, None) == (LogHistogram().count, LogHistogram().percentile(50))


def test_absurd_values_cost_no_memory() -> None:
    found = histogram([1e-300, 1e300, 1.0])

    assert found.__sizeof__() + found._counts.__sizeof__() < 40_000
