"""How long a request may take."""

from __future__ import annotations

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


def test_next_request_starts_afresh() -> None:
    one = watch(data_seconds=1)
    one.complaint(0, 5, True)
    one.begin()

    assert one.complaint(1000, 0, True) is None


def test_cap_grows_with_the_file() -> None:
    assert data_seconds(None, 10 * MIB) is None
    assert 620.0 == data_seconds(600, 10 * MIB)
    assert 600.0 == data_seconds(600, None)
    assert 2.0 == data_seconds(-5, MIB)


def test_tick_is_fine_enough_for_the_limits() -> None:
    assert 1.0 == LIMITS.tick_seconds
    assert 0.1 == Limits(1, 0.4, 1, 8).tick_seconds
