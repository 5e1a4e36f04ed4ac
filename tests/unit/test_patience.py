"""How a command waits for the door."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dcmirror.core.door_errors import DoorError, DoorStopped
from dcmirror.core.failures import FailureClass
from dcmirror.processes.patience import LADDER, Patience
from dcmirror.testing.clock import FakeClock
from helpers import wait_until

CREDENTIAL = DoorError("401 at the door", FailureClass.CREDENTIAL, http_status=401)
HOST = DoorError("nobody at the door", FailureClass.HOST)
BUSY = DoorError("503 at the door", FailureClass.TRANSIENT, http_status=503)
FORBIDDEN = DoorError("403 at the door", FailureClass.FORBIDDEN, http_status=403)


class Door:
    """Fails with these errors, one after the other, and then works."""

    def __init__(self, *errors: DoorError) -> None:
        self.errors = list(errors)
        self.calls = 0

    def __call__(self, answer: str = "good") -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return answer


class Waiting:
    """A patience whose time costs nothing, and what it said."""

    def __init__(self, *, proxy: Path | None = None, most_seconds: float = 600) -> None:
        self.clock = FakeClock(0.0)
        self.stop = threading.Event()
        self.said: list[str] = []
        self.patience = Patience(
            self.said.append,
            self.stop,
            proxy=proxy,
            most_seconds=most_seconds,
            clock=self.clock,
            sleep=self.clock.sleep,
        )


def test_what_works_is_called_once_and_nothing_is_said() -> None:
    waiting, door = Waiting(), Door()

    assert waiting.patience.call(door, "answer") == "answer"
    assert (door.calls, waiting.clock.now, waiting.said) == (1, 0.0, [])


def test_what_may_pass_is_tried_up_a_short_ladder() -> None:
    waiting, door = Waiting(), Door(BUSY, BUSY)

    assert waiting.patience.call(door) == "good"
    assert waiting.clock.now == pytest.approx(LADDER[0] + LADDER[1])


def test_what_does_not_pass_is_raised_at_the_end_of_the_ladder() -> None:
    waiting, door = Waiting(), Door(*[BUSY] * 99)

    with pytest.raises(DoorError, match="503"):
        waiting.patience.call(door)
    assert door.calls == len(LADDER) + 1


@pytest.mark.parametrize("asked", [20.0, 1e9])
def test_retry_after_is_honoured_within_reason(asked: float) -> None:
    error = DoorError("429", FailureClass.TRANSIENT, http_status=429, retry_after=asked)
    waiting = Waiting()
    waiting.patience.call(Door(error))

    assert waiting.clock.now == pytest.approx(min(asked, 120.0))


@pytest.mark.parametrize(
    "error",
    [
        FORBIDDEN,
        DoorError("404", FailureClass.NOT_THERE, http_status=404),
        DoorError("302", FailureClass.REDIRECT, http_status=302),
        DoorError("405", FailureClass.TRANSIENT, http_status=405),
        DoorError("no directory", FailureClass.REMOVED),
    ],
)
def test_what_will_not_change_is_raised_at_once(error: DoorError) -> None:
    waiting, door = Waiting(), Door(error)

    with pytest.raises(DoorError):
        waiting.patience.call(door)
    assert (door.calls, waiting.clock.now) == (1, 0.0)


@pytest.mark.parametrize(("error", "first"), [(CREDENTIAL, 30.0), (HOST, 2.0)])
def test_a_hold_is_told_once_and_probed_later_and_later(
    error: DoorError, first: float
) -> None:
    waiting, door = Waiting(), Door(error, error, error)

    assert waiting.patience.call(door) == "good"
    expected = first + min(2 * first, 60) + min(4 * first, 60)
    assert waiting.clock.now == pytest.approx(expected)
    assert len(waiting.said) == 2
    assert waiting.said[0].startswith(f"held: {error}")
    assert waiting.said[1].startswith("goes on after")


def test_a_proxy_that_will_not_do_is_told_at_once_at_the_start() -> None:
    expired = DoorError("certificate expired", FailureClass.CREDENTIAL)
    waiting, door = Waiting(), Door(expired)

    with pytest.raises(DoorError) as raised:
        waiting.patience.call(door)
    assert (raised.value, waiting.said) == (expired, [])


def test_a_proxy_that_expires_meanwhile_is_waited_for() -> None:
    expired = DoorError("certificate expired", FailureClass.CREDENTIAL)
    waiting, door = Waiting(), Door()
    waiting.patience.call(door)

    assert waiting.patience.call(Door(expired)) == "good"
    assert waiting.said[0].startswith("held: certificate expired")


def test_a_hold_that_lasts_too_long_raises_its_cause() -> None:
    waiting, door = Waiting(most_seconds=100), Door(*[CREDENTIAL] * 99)

    with pytest.raises(DoorError, match="401"):
        waiting.patience.call(door)
    assert waiting.clock.now == pytest.approx(100)
    assert len(waiting.said) == 1


def test_a_later_call_may_be_held_again() -> None:
    waiting = Waiting(most_seconds=10)
    with pytest.raises(DoorError):
        waiting.patience.call(Door(*[HOST] * 99))

    assert waiting.patience.call(Door(HOST)) == "good"
    assert [line[:4] for line in waiting.said] == ["held", "held", "goes"]


def test_a_held_door_that_answers_with_something_else_is_held_no_more() -> None:
    waiting, door = Waiting(), Door(HOST, FORBIDDEN)

    with pytest.raises(DoorError, match="403"):
        waiting.patience.call(door)
    assert [line[:4] for line in waiting.said] == ["held", "goes"]


def test_a_new_proxy_is_tried_at_once(tmp_path: Path) -> None:
    proxy = tmp_path / "x509up"
    proxy.write_text("old")
    waiting, door = Waiting(proxy=proxy), Door(CREDENTIAL)
    waiting.clock.at(3.0, lambda: proxy.write_text("a new one") and None)

    assert waiting.patience.call(door) == "good"
    assert 3.0 <= waiting.clock.now < 4.0


@pytest.mark.parametrize("error", [CREDENTIAL, HOST, BUSY])
def test_a_stop_ends_every_wait(error: DoorError) -> None:
    waiting, door = Waiting(), Door(*[error] * 99)
    waiting.clock.at(0.5, waiting.stop.set)

    with pytest.raises(DoorStopped):
        waiting.patience.call(door)
    assert waiting.clock.now < 1.0
    assert not any(line.startswith("goes") for line in waiting.said)


def test_a_bug_ends_a_hold_too() -> None:
    waiting = Waiting()
    answers: list[Exception] = [HOST, KeyError("oops")]

    def call() -> str:
        raise answers.pop(0)

    with pytest.raises(KeyError):
        waiting.patience.call(call)
    assert waiting.patience.call(Door()) == "good"


class Shared:
    """A patience that threads share, in real time made short."""

    def __init__(self, most_seconds: float = 60.0) -> None:
        self.said: list[str] = []
        self.results: list[object] = []
        self.is_up = threading.Event()
        self.asking: set[str] = set()
        self.most_at_once = 0
        self.calls = 0
        self.patience = Patience(
            self.said.append, threading.Event(), most_seconds=most_seconds, scale=0.01
        )

    def ask(self) -> str:
        """The door; remembers how many asked at the same time once it was held."""
        self.calls += 1
        if self.is_up.is_set():
            return "good"
        if self.said:
            name = threading.current_thread().name
            self.asking.add(name)
            self.most_at_once = max(self.most_at_once, len(self.asking))
            time.sleep(0.01)
            self.asking.discard(name)
        raise CREDENTIAL

    def run(self, call: Callable[[], object]) -> None:
        try:
            self.results.append(call())
        except DoorError as error:
            self.results.append(error)

    def start(self, count: int) -> list[threading.Thread]:
        threads = [
            threading.Thread(
                target=self.run, args=[lambda: self.patience.call(self.ask)]
            )
            for _ in range(count)
        ]
        for thread in threads:
            thread.start()
        return threads


def test_of_many_threads_one_speaks_and_one_probes() -> None:
    shared = Shared()
    shared.run(lambda: None)
    threads = shared.start(1)
    wait_until(lambda: shared.said, what="the hold has begun")
    threads += shared.start(7)
    wait_until(lambda: shared.calls >= 3, what="it was probed")
    shared.is_up.set()
    for thread in threads:
        thread.join(20)

    assert shared.results == [None, *["good"] * 8]
    assert shared.most_at_once == 1
    assert [line[:4] for line in shared.said] == ["held", "goes"]


def test_a_hold_that_is_lost_is_lost_for_all_threads() -> None:
    shared = Shared(most_seconds=2.0)
    threads = shared.start(1)
    wait_until(lambda: shared.said, what="the hold has begun")
    threads += shared.start(3)
    for thread in threads:
        thread.join(20)

    assert [str(result) for result in shared.results] == [str(CREDENTIAL)] * 4
    assert len(shared.said) == 1
