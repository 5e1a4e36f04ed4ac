"""Whoever fills gaps gives way to a watch that has its hands full."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dcmirror.core.sight import Sight
from dcmirror.processes.priority import WatchFirst, is_busy


def sight(ready: int = 0, running: int = 0, **over: Any) -> Sight:
    status = {"pid": 7, "at": 1.0, "jobs": {"ready": ready}, "transfers_total": running}
    plain: dict[str, Any] = {"pid": 7, "silence": 0.5, "status": status}
    return Sight("watch", 1.0, **({"is_running": True} | plain | over))


@pytest.mark.parametrize(
    ("seen", "busy"),
    [
        (sight(), False),
        (sight(ready=1), True),
        (sight(running=9), False),
        (sight(running=10), True),
        (sight(ready=1, is_running=False), False),
        (sight(ready=1, is_running=None), False),
        (sight(ready=1, silence=60.0), False),
        (sight(ready=1, silence=None), False),
        (sight(ready=1, pid=8), False),
        (sight(status={}), False),
        (
            sight(status={"pid": 7, "at": 1.0, "jobs": "?", "transfers_total": "x"}),
            False,
        ),
    ],
)
def test_it_is_busy_while_it_runs_turns_and_has_work(seen: Sight, busy: bool) -> None:
    assert is_busy(seen, 10) is busy


def test_it_looks_once_a_second_only() -> None:
    looks: list[str] = []
    now = [0.0]

    def look(state: Path, command: str) -> Sight:
        looks.append(command)
        return sight(ready=len(looks) % 2)

    first = WatchFirst(Path("/state"), 10, look=look, clock=lambda: now[0])

    assert [first(), first(), first()] == [False, False, False]
    now[0] = 1.0
    assert first()
    assert looks == ["watch", "watch"]
