"""A scrub reads no more per second than it may, whatever the sizes of files."""

from __future__ import annotations

from dcmirror.adapters.read_pace import ReadPace


class Clock:
    """Moves when somebody sleeps, or when told."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept += seconds


def test_many_small_pieces_take_as_long_as_one_large_one() -> None:
    small, large = Clock(), Clock()
    pace = ReadPace(1000, small, small.sleep)
    for _ in range(500):
        pace.spend(10)
    ReadPace(1000, large, large.sleep).spend(5000)

    assert round(small.slept, 6) == round(large.slept, 6) == 5.0


def test_time_that_reading_itself_took_counts() -> None:
    clock = Clock()
    pace = ReadPace(1000, clock, clock.sleep)
    clock.now += 0.4
    pace.spend(1000)

    assert round(clock.slept, 6) == 0.6


def test_a_long_pause_is_not_made_up_for() -> None:
    clock = Clock()
    pace = ReadPace(1000, clock, clock.sleep)
    clock.now += 3600
    pace.spend(10_000)

    assert clock.slept >= 9.5


def test_without_a_limit_nobody_waits() -> None:
    clock = Clock()
    ReadPace(None, clock, clock.sleep).spend(10**12)

    assert clock.slept == 0.0
