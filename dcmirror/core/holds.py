"""Holds: causes for which work waits instead of failing (G5).

A hold begins once, is probed, and ends; the two lines a person reads are written by the
caller from the ``Hold`` that ``begin`` and ``end`` return.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from dcmirror.core.failures import FailureClass


class HoldKind(StrEnum):
    """The closed set of causes."""

    DESTINATION = "destination"
    CREDENTIAL = "credential"
    DOOR = "door"
    POOL = "pool"
    BOOKS = "books"
    SOURCE = "source"


@dataclass(frozen=True, slots=True)
class Probing:
    """When a kind of hold is probed: first pause, growth, cap (seconds)."""

    first: float
    factor: float
    cap: float


PROBING = {
    HoldKind.DESTINATION: Probing(5.0, 1.5, 30.0),
    HoldKind.CREDENTIAL: Probing(30.0, 2.0, 60.0),
    HoldKind.DOOR: Probing(2.0, 2.0, 60.0),
    HoldKind.POOL: Probing(2.0, 2.0, 60.0),
    HoldKind.BOOKS: Probing(2.0, 1.5, 30.0),
    HoldKind.SOURCE: Probing(60.0, 1.0, 60.0),
}

#: Timeouts in a row, without an answer in between, that open a host's breaker.
TIMEOUTS_THAT_OPEN = 10
#: Different files that must fail alike before the source itself is suspected.
SOURCE_STREAK = 10
#: Classes that such a streak may have.
SOURCE_CLASSES = frozenset(
    {FailureClass.FORBIDDEN, FailureClass.GONE, FailureClass.REMOVED}
)
#: What an attempt needs, in the order in which it meets it.
_WAY = (
    HoldKind.BOOKS,
    HoldKind.DESTINATION,
    HoldKind.DOOR,
    HoldKind.CREDENTIAL,
    HoldKind.SOURCE,
    HoldKind.POOL,
)


@dataclass(frozen=True, slots=True)
class HoldKey:
    """What is held: a kind, and for a pool (or a door) its ``host:port``."""

    kind: HoldKind
    host: str = ""

    def __str__(self) -> str:
        return f"{self.kind.value} {self.host}".rstrip()

    def is_before(self, other: HoldKey) -> bool:
        """Whether an attempt that meets ``other`` has got past this one."""
        return _WAY.index(self.kind) < _WAY.index(other.kind)


@dataclass(slots=True)
class Hold:
    """One cause; times are monotonic seconds, ``probing`` is the task that tries."""

    key: HoldKey
    cause: str
    since: float
    probe_at: float
    pause: float
    probing: str | None = None
    alerted: bool = False

    def __repr__(self) -> str:
        return f"<Hold {self.key} since={self.since:.0f} cause={self.cause!r}>"


class HoldBook:
    """All holds that are on, and the breakers that lead to some of them.

    ``scale`` shortens every probe pause, for tests that run against real servers.
    """

    def __init__(self, door: str, *, scale: float = 1.0) -> None:
        self.door = door
        self.scale = scale
        self._holds: dict[HoldKey, Hold] = {}
        self._timeouts: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._holds)

    def __contains__(self, key: HoldKey) -> bool:
        return key in self._holds

    def get(self, key: HoldKey) -> Hold | None:
        """The hold, while it is on."""
        return self._holds.get(key)

    def all(self) -> list[Hold]:
        """Every hold that is on, the oldest first."""
        return list(self._holds.values())

    def key_for(self, failure_class: FailureClass, host: str | None) -> HoldKey | None:
        """The hold that a failure of this class asks for, or None."""
        if failure_class is FailureClass.DESTINATION:
            return HoldKey(HoldKind.DESTINATION)
        if failure_class is FailureClass.CREDENTIAL:
            return HoldKey(HoldKind.CREDENTIAL)
        if failure_class is FailureClass.HOST:
            if host is None or host == self.door:
                return HoldKey(HoldKind.DOOR, self.door)
            return HoldKey(HoldKind.POOL, host)
        return None

    def begin(self, key: HoldKey, cause: str, now: float) -> Hold | None:
        """Put a hold on; None if it is on already (its first cause is kept)."""
        if key in self._holds:
            return None
        pause = PROBING[key.kind].first * self.scale
        hold = Hold(key, cause, now, now + pause, pause)
        self._holds[key] = hold
        return hold

    def end(self, key: HoldKey) -> Hold | None:
        """Take a hold off; the hold if it was on."""
        if key.host:
            self._timeouts.pop(key.host, None)
        return self._holds.pop(key, None)

    def probed_by(self, task: str) -> Hold | None:
        """The hold that this job probes now."""
        holds = self._holds.values()
        return next((hold for hold in holds if hold.probing == task), None)

    def probe_failed(self, key: HoldKey, now: float) -> None:
        """The cause is still there: the next probe comes later, up to the cap."""
        hold = self._holds.get(key)
        if hold is None:
            return
        probing = PROBING[key.kind]
        hold.pause = min(hold.pause * probing.factor, probing.cap * self.scale)
        hold.probe_at = now + hold.pause
        hold.probing = None

    def probe_now(self, key: HoldKey, now: float) -> None:
        """Something changed that may end the hold: do not wait for the next probe."""
        hold = self._holds.get(key)
        if hold is not None:
            hold.probe_at = now

    def global_holds(self) -> list[Hold]:
        """The holds that stop all dispatch: every kind but a pool's."""
        return [h for h in self._holds.values() if h.key.kind is not HoldKind.POOL]

    def is_hidden(self, hold: Hold) -> bool:
        """Whether a probe would end at another hold before it says anything of this.

        A cause that waits for somebody to act, without a date, hides all others.
        """
        return any(
            other.probe_at == math.inf or other.key.is_before(hold.key)
            for other in self.global_holds()
            if other is not hold
        )

    def next_probe(self) -> float | None:
        """When the next probe is due, of holds that nobody probes now."""
        due = [h.probe_at for h in self._holds.values() if h.probing is None]
        return min(due, default=None)

    def timed_out(self, host: str) -> bool:
        """Count a timeout of ``host``; True when its breaker should open."""
        self._timeouts[host] = self._timeouts.get(host, 0) + 1
        return self._timeouts[host] >= TIMEOUTS_THAT_OPEN

    def answered(self, host: str) -> None:
        """``host`` answered something: its row of timeouts ends."""
        self._timeouts.pop(host, None)


@dataclass(frozen=True, slots=True)
class Provisional:
    """A failure that waits to learn whether the source itself is ill.

    ``ended_at`` is the attempt's own end (epoch), ``since`` when we heard (monotonic).
    """

    task: str
    relative: str
    failure_class: FailureClass
    ended_at: float
    since: float


class SourceSuspicion:
    """Ten different files fail alike and nothing succeeds: the source is suspected.

    Outcomes of ``SOURCE_CLASSES`` stay here, unsettled, until a success whose attempt
    began after the first of their class, or for ``patience`` seconds.
    """

    def __init__(self, patience: float = 600.0) -> None:
        self._patience = patience
        self._waiting: dict[str, Provisional] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, task: str) -> bool:
        return task in self._waiting

    def failed(self, entry: Provisional) -> list[str] | None:
        """Note a failure; the tasks of a full streak, which leave, or None."""
        self._waiting[entry.task] = entry
        alike = self._alike(entry.failure_class)
        if len({w.relative for w in alike}) < SOURCE_STREAK:
            return None
        return self._leave([w.task for w in alike])

    def succeeded(self, started_at: float) -> list[str]:
        """A success clears each class whose first failure ended before it began."""
        cleared: list[str] = []
        for failure_class in SOURCE_CLASSES:
            alike = self._alike(failure_class)
            if alike and min(w.ended_at for w in alike) <= started_at:
                cleared += self._leave([w.task for w in alike])
        return cleared

    def expired(self, now: float) -> list[str]:
        """The failures that waited long enough to be settled as they are."""
        return self._leave(
            [w.task for w in self._waiting.values() if now - w.since >= self._patience]
        )

    def everything(self) -> list[str]:
        """All that wait: nothing more will come that could clear them."""
        return self._leave(list(self._waiting))

    def forget(self, task: str) -> None:
        """The job is no longer ours."""
        self._waiting.pop(task, None)

    def _alike(self, failure_class: FailureClass) -> list[Provisional]:
        return [w for w in self._waiting.values() if w.failure_class is failure_class]

    def _leave(self, tasks: list[str]) -> list[str]:
        for task in tasks:
            del self._waiting[task]
        return tasks
