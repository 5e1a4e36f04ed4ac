"""An engine, its clock, and short words for what happens to it."""

from __future__ import annotations

import random
from typing import Any, cast

from dcmirror.core.dispatch import Dispatcher
from dcmirror.core.entries import State
from dcmirror.core.failures import Failure, FailureClass
from dcmirror.core.holds import HoldBook
from dcmirror.core.jobs import (
    AttemptResult,
    CopyRecord,
    Job,
    JobKind,
    Origin,
    ResultKind,
)
from dcmirror.core.retry import RetryPolicy
from dcmirror.processes.engine import Engine, EnginePlan
from dcmirror.processes.settler import Settlement

DOOR = "door:443"
WORKER = 1


class StubStory:
    """Remembers which methods were called; outcome lines are None."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def __getattr__(self, name: str) -> Any:
        def tell(*args: Any, **more: Any) -> Any:
            self.told.append(name)
            return (None, f"row of {args[0].path}") if name == "failed" else None

        return tell


class ListSettler:
    """Keeps what is settled."""

    def __init__(self) -> None:
        self.settled: list[Settlement] = []
        self.acknowledged: dict[int, int] = {}
        self.fresh: dict[str, CopyRecord] = {}

    def add(self, settlement: Settlement) -> None:
        self.settled.append(settlement)
        if settlement.copy is not None:
            self.fresh[settlement.copy.relative] = settlement.copy

    @property
    def kinds(self) -> dict[str, str]:
        """How each task was settled."""
        return {s.task: s.kind for s in self.settled}


class History:
    """An engine, its clock, and short words for what happens to it."""

    def __init__(self, **plan: Any) -> None:
        self.now = 1000.0
        limits: dict[str, Any] = {
            "policy": RetryPolicy(1.0, 2, 600.0, 86400.0),
            "net_seconds": 30.0,
            "max_jobs": 100,
            "max_waiting": 100,
            "min_free": 0,
        } | plan
        self.story, self.settler = StubStory(), ListSettler()
        self.known: dict[str, CopyRecord] = {}
        self.engine = Engine(
            EnginePlan(**limits),
            Dispatcher(),
            HoldBook(DOOR),
            cast(Any, self.settler),
            cast(Any, self.story),
            lambda names: {n: self.known[n] for n in names if n in self.known},
            random.Random(1),
        )
        self.engine.dispatcher.seat(WORKER, streams=16)

    def offer(self, *tasks: str, **over: Any) -> None:
        """A job for each task."""
        for task in tasks:
            fields: dict[str, Any] = {
                "size": 10,
                "event_time": self.now,
                "accepted_at": self.now,
                "origin": Origin("billing", 0, len(self.engine.dispatcher.entries)),
            } | over
            job = Job(
                task, JobKind.TRIGGER, f"/d/{task}", task, f"https://x/{task}", **fields
            )
            self.engine.offer(job)

    def hand_out(self) -> list[str]:
        """The tasks that go to the worker now."""
        chosen = self.engine.hand_out(self.now)
        return [job.task for jobs in chosen.values() for job in jobs]

    def end(self, task: str, kind: ResultKind, **over: Any) -> None:
        """An attempt ends now, having begun a second ago."""
        copy = None
        if kind in (ResultKind.MIRRORED, ResultKind.ADOPTED):
            copy = CopyRecord(task, f"/d/{task}", "P", 10, 1, True, 5, self.now)
        fields: dict[str, Any] = {
            "started_at": self.now - 1,
            "ended_at": self.now,
            "copy": copy,
            "requests": 2,
            "door_host": DOOR,
        } | over
        result = AttemptResult(task, kind, **fields)
        self.engine.take_result(WORKER, result, self.now, self.now)

    def fail(
        self, task: str, failure_class: FailureClass, host: str = DOOR, **over: Any
    ) -> None:
        """An attempt fails now."""
        failure = Failure(failure_class, "why", host=host, **over)
        self.end(task, ResultKind.FAILED, failure=failure)

    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.now += seconds
        self.engine.tick(self.now, self.now)

    def state(self, task: str) -> State:
        """Where a job is."""
        return self.engine.dispatcher.entries[task].state
