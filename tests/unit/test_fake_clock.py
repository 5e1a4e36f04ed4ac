"""The fake clock's own rules."""

from __future__ import annotations

import pytest

from dcmirror.testing.clock import FakeClock


def test_time_passes_only_when_advanced() -> None:
    clock = FakeClock(100.0)
    clock.advance(2.5)

    assert clock() == 102.5


def test_sleep_returns_at_once_and_is_remembered() -> None:
    clock = FakeClock(100.0)
    clock.sleep(30)

    assert (clock(), clock.slept) == (130.0, [30])


def test_actions_run_in_the_order_of_their_times_each_at_its_own() -> None:
    clock = FakeClock(0.0)
    seen: list[tuple[str, float]] = []
    clock.at(2, lambda: seen.append(("late", clock())))
    clock.at(1, lambda: seen.append(("early", clock())))
    clock.at(9, lambda: seen.append(("never", clock())))
    clock.advance(5)

    assert seen == [("early", 1), ("late", 2)]
    assert clock() == 5


def test_time_does_not_run_backwards_unless_it_is_set() -> None:
    clock = FakeClock(50.0)
    with pytest.raises(ValueError, match="backwards"):
        clock.advance(-1)
    clock.set(10.0)

    assert clock() == 10.0
