"""Amounts as the log shows them."""

from __future__ import annotations

import pytest

from dcmirror.core.wording import duration_text, report_text, size_text


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (216_600_000, "217 MB"),
        (999_900_000, "1 GB"),
        (4_200_000_000_000, "4 TB"),
    ],
)
def test_size_has_three_digits_at_most(size: int, expected: str) -> None:
    assert expected == size_text(size)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.0, "0ms"),
        (0.379387386, "379.387386ms"),
        (1.5, "1.5s"),
        (123.25, "2m3.25s"),
        (7384.0, "2h3m4s"),
    ],
)
def test_duration_is_spelled_as_in_the_ancestors_log(
    seconds: float, expected: str
) -> None:
    assert expected == duration_text(seconds)


def test_report_counts_megabits_of_a_million() -> None:
    text = report_text(1_000_000, 0.5)

    assert "1 MB copied in 500ms, 16.00 Mbps" == text


def test_report_of_nothing_in_no_time() -> None:
    assert "0 B copied in 0ms, 0.00 Mbps" == report_text(0, 0.0)
