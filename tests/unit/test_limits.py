"""How long a request may take."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dcmirror.core.limits import Limits, Watch, data_seconds

LIMITS = Limits(
    connect_seconds=30,
    first_byte_seconds=400,
    stall_bytes_per_second=1000,
    stall_seconds=60,
)
MIB = 1024 * 1024


def watch(**over: float) -> Watch:
    one = Watch(LIMITS)
    one.begin()
    for name, value in over.items():
        setattr(one, name, value)
    return one


def test_waiting_for_the_first_byte_is_no_stall() -> None:
    one = watch()

    assert all(one.complaint(now, 0, True) is None for now in range(400))
    assert "no first byte within 400 s" == one.complaint(400, 0, True)


def test_time_to_connect_is_not_counted_as_waiting() -> None:
    one = watch()
    for now in range(1000):
        assert one.complaint(now, 0, False) is None
    assert one.complaint(1000, 0, True) is None
    assert one.complaint(1399, 0, True) is None
    assert one.complaint(1400, 0, True) is not None


def test_standing_still_after_the_first_byte_is_a_stall() -> None:
    one = watch()
    heard = [one.complaint(now, 500, True) for now in range(70)]

    assert None is heard[59]
    assert "stalled after 500 bytes: 0 bytes in the last 60 s" == heard[60]


def test_bursts_above_the_rate_on_average_are_fine() -> None:
    one = watch()
    for now in range(600):
        received = 1 + now // 50 * 100_000

        assert one.complaint(now, received, True) is None


def test_trickle_below_the_rate_is_a_stall_even_in_big_records() -> None:
    one = watch()
    # 16 KiB each 20 s: 819 B/s
    heard = [one.complaint(now, 1 + now // 20 * 16384, True) for now in range(130)]

    assert any(heard)


def test_cap_counts_from_the_first_byte() -> None:
    one = watch(data_seconds=10)
    assert one.complaint(0, 0, True) is None
    assert one.complaint(300, 1, True) is None
    assert one.complaint(310, 10**9, True) is None

    assert "time limit" in (one.complaint(311, 2 * 10**9, True) or "")


def test_pause_of_the_loop_is_nobodys_stall() -> None:
    one = watch()
    one.complaint(0, 500, True)
    one.restart(200)

    assert one.complaint(200, 500, True) is None
    assert one.complaint(261, 500, True) is not None


def a_request_that_waits(one: Watch) -> None:
    assert one.complaint(0, 0, True) is None


def a_request_with_data(one: Watch) -> None:
    assert one.complaint(0, 5, True) is None
    assert one.complaint(59, 5, True) is None


def a_request_with_limits(one: Watch) -> None:
    one.data_seconds = 1
    one.most_bytes = 10


@pytest.mark.parametrize(
    "use_up", [a_request_that_waits, a_request_with_data, a_request_with_limits]
)
def test_next_request_starts_afresh(use_up: Callable[[Watch], None]) -> None:
    """It has all of its time to connect, for its first byte, and for its data."""
    one = watch()
    use_up(one)
    one.begin()

    assert one.most_bytes is None
    assert one.complaint(1000, 0, False) is None
    assert one.complaint(1001, 0, True) is None
    assert one.complaint(1001 + 399, 0, True) is None
    assert "no first byte" in (one.complaint(1001 + 401, 0, True) or "")
    assert one.complaint(1403, 10**4, True) is None
    assert one.complaint(1403 + 59, 10**6, True) is None


def test_cap_grows_with_the_file() -> None:
    assert data_seconds(None, 10 * MIB) is None
    assert 620.0 == data_seconds(600, 10 * MIB)
    assert 600.0 == data_seconds(600, None)
    assert 2.0 == data_seconds(-5, MIB)


def test_tick_is_fine_enough_for_the_limits() -> None:
    assert 1.0 == LIMITS.tick_seconds
    assert 0.1 == Limits(1, 0.4, 1, 8).tick_seconds
