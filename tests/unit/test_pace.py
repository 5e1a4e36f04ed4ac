"""How fast requests may follow each other."""

from __future__ import annotations

import threading
import time

from hypothesis import given
from hypothesis import strategies as st

from dcmirror.adapters.pace import Pace
from dcmirror.testing.clock import FakeClock


def test_the_first_request_does_not_wait() -> None:
    clock = FakeClock()

    assert Pace(10, clock, clock.sleep).wait()
    assert clock.slept == []


def test_requests_come_at_equal_distances() -> None:
    clock = FakeClock(0.0)
    pace = Pace(10, clock, clock.sleep)
    moments = []
    for _ in range(31):
        assert pace.wait()
        moments.append(clock.now)

    assert [round(moment, 6) for moment in moments] == [n / 10 for n in range(31)]


@given(st.lists(st.floats(0, 5), min_size=1, max_size=60))
def test_no_second_has_more_than_its_share(pauses: list[float]) -> None:
    """A pause saves nothing up: there is never a burst."""
    clock = FakeClock(0.0)
    pace = Pace(5, clock, clock.sleep)
    moments = []
    for pause in pauses:
        clock.advance(pause)
        pace.wait()
        moments.append(clock.now)

    for first, fifth in zip(moments, moments[5:], strict=False):
        assert fifth - first >= 1 - 1e-6


def test_a_stop_ends_every_wait() -> None:
    clock = FakeClock()
    pace = Pace(0.001, clock, clock.sleep)
    pace.wait()
    clock.at(clock.now + 3, pace.stop)

    assert not pace.wait()
    assert not pace.wait()
    assert 3 <= sum(clock.slept) < 3.5


def test_one_client_may_give_up_without_the_others() -> None:
    clock = FakeClock()
    pace = Pace(1, clock, clock.sleep)
    pace.wait()

    assert not pace.wait(lambda: True)
    assert not pace.is_stopped
    assert pace.wait()


def test_an_event_of_the_command_stops_it_too() -> None:
    stop = threading.Event()
    pace = Pace(1, stop=stop)
    stop.set()

    assert pace.is_stopped
    assert not pace.wait()


def test_a_door_that_asks_for_peace_gets_it_from_all() -> None:
    clock = FakeClock(0.0)
    pace = Pace(100, clock, clock.sleep)
    pace.wait()
    pace.defer(7.0)
    pace.wait()

    assert 7.0 <= clock.now < 7.01


def test_no_door_can_ask_for_a_year() -> None:
    clock = FakeClock(0.0)
    pace = Pace(100, clock, clock.sleep)
    pace.defer(1e9)
    pace.wait()

    assert clock.now <= 61


def test_threads_share_one_pace() -> None:
    pace = Pace(200)
    began = time.monotonic()
    threads = [
        threading.Thread(target=lambda: [pace.wait() for _ in range(10)])
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert time.monotonic() - began > 39 / 200 - 0.001
