"""Amounts as a person reads them on a screen."""

from __future__ import annotations

import pytest

from dcmirror.core.amounts import (
    bytes_text,
    count_text,
    plural,
    share_text,
    short_span,
    span_text,
    speed_text,
)


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.00 kB"),
        (9994, "9.99 kB"),
        (9996, "10.0 kB"),
        (217_000_000, "217 MB"),
        (999_600_000, "1.00 GB"),
        (50 * 10**12, "50.0 TB"),
        (10**21, "1000 EB"),
    ],
)
def test_bytes_have_three_digits(amount: int, text: str) -> None:
    assert text == bytes_text(amount)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.44, "0.4 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (60, "1 min"),
        (250, "4 min 10 s"),
        (3600, "1 h"),
        (3661, "1 h 1 min"),
        (4 * 86400 + 3 * 3600 + 1800, "4 d 3 h"),
        (-90, "-1 min 30 s"),
    ],
)
def test_spans_have_their_two_largest_units(seconds: float, text: str) -> None:
    assert text == span_text(seconds)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""),
        (-1, "0s"),
        (59.4, "59s"),
        (59.6, "1m00"),
        (250, "4m10"),
        (3900, "1h05"),
        (12 * 86400 + 4 * 3600, "12d04"),
    ],
)
def test_short_spans_fit_a_narrow_column(seconds: float | None, text: str) -> None:
    assert text == short_span(seconds)


def test_a_share_is_not_whole_before_it_is() -> None:
    assert ["0 %", "99 %", "100 %", ""] == [
        share_text(0, 10),
        share_text(9999, 10000),
        share_text(10, 10),
        share_text(5, 0),
    ]


def test_words_follow_their_number() -> None:
    assert ["1 file", "0 files", "1,200 files"] == [
        plural(1, "file"),
        plural(0, "file"),
        plural(1200, "file"),
    ]
    assert "1,234,567" == count_text(1234567)
    assert "21.7 MB/s" == speed_text(21_700_000)
