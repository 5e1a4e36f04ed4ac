"""Which workers are taken for stuck, by a clock that may jump."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from dcmirror.core.attention import LONGEST_TURN
from dcmirror.processes import fleet as fleets
from dcmirror.processes.child import Child
from dcmirror.processes.fleet import BOOT_SECONDS, Fleet, Post

BEGAN = 1000.0
SILENCE = 120.0


@pytest.fixture
def fleet(monkeypatch: pytest.MonkeyPatch) -> Fleet:
    """One worker that was spawned at BEGAN and says nothing."""

    def spawn(name: str, number: int, *_: Any) -> Child:
        nothing = cast(Any, None)
        return Child(name, number, nothing, nothing, nothing, BEGAN, BEGAN)

    monkeypatch.setattr(fleets, "spawn_child", spawn)
    nothing = cast(Any, None)
    post = Post("worker-1", nothing, nothing, streams=1)
    made = Fleet([post], Path("/nowhere"), longest_silence=SILENCE)
    made.spawn_missing(BEGAN)
    return made


def worker(fleet: Fleet) -> Child:
    (child,) = fleet.workers()
    return child


def watch(fleet: Fleet, now: float, seconds: float, turn: float = 1.0) -> float:
    """Turns of the loop in which nobody is overdue."""
    end = now + seconds
    while now < end:
        now += turn
        assert fleet.overdue(now) == []
    return now


@pytest.mark.parametrize(
    ("is_ready", "limit"), [(True, SILENCE), (False, BOOT_SECONDS)]
)
def test_a_silent_worker_is_overdue(fleet: Fleet, is_ready: bool, limit: float) -> None:
    worker(fleet).is_ready = is_ready

    now = watch(fleet, BEGAN, limit)

    assert fleet.overdue(now + 1.0) == [worker(fleet)]


@pytest.mark.parametrize(
    ("is_ready", "limit"), [(True, SILENCE), (False, BOOT_SECONDS)]
)
def test_time_in_which_we_were_frozen_too_is_not_held_against_it(
    fleet: Fleet, is_ready: bool, limit: float
) -> None:
    worker(fleet).is_ready = is_ready
    now = watch(fleet, BEGAN, 10.0)
    now += 5000.0
    assert fleet.overdue(now) == []

    now = watch(fleet, now, limit - 10.0 - LONGEST_TURN)

    assert fleet.overdue(now + 1.0) == [worker(fleet)]


def test_slow_turns_do_not_hide_a_worker_that_hangs(fleet: Fleet) -> None:
    worker(fleet).is_ready = True

    turns = range(int(SILENCE / LONGEST_TURN) + 3)
    assert any(fleet.overdue(BEGAN + 20.0 * turn) for turn in turns)


def test_leave_for_a_long_sync_outlasts_a_freeze(fleet: Fleet) -> None:
    child = worker(fleet)
    child.is_ready = True
    child.last_beat = BEGAN + 3600.0

    watch(fleet, BEGAN, 10.0)

    assert fleet.overdue(BEGAN + 3000.0) == []
    assert child.last_beat == BEGAN + 3600.0
