"""What journal events are worth, and what that decides when space is short.

Pure: the journal of each command's supervisor asks it.  The rule is one: nothing of
value goes while something of less value stays or is still written.  What is shipped
is worth the same whatever it tells: of that, the oldest goes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum, IntEnum


class Value(IntEnum):
    """What an event is worth; the least valuable are dropped first."""

    PROGRESS = 0
    STARTED = 1
    DETAIL = 2
    OUTCOME = 3

    @property
    def kind(self) -> str:
        """Its name in counts."""
        return _KINDS[self]


_KINDS = {value: value.name.lower() for value in Value}

#: What belongs to each, for people.
VALUES = {
    Value.PROGRESS: "how far a running transfer is",
    Value.STARTED: "that something began, or reached a step",
    Value.DETAIL: "retries, holds, children, health",
    Value.OUTCOME: "what became of a record or a job, and what was lost",
}


class Lane(Enum):
    """Each writer has two rows of segments, so that steps can go without outcomes."""

    STORY = ""
    STEPS = "steps"


def lane_of(value: Value) -> Lane:
    """Where events of a value are written."""
    return Lane.STEPS if value <= Value.STARTED else Lane.STORY


# How full the journal may be, as a share of what it could hold unshipped, for a value
# to be written still.  What is refused comes back a tenth lower, so that the two states
# do not take turns.
_LIMITS = {Value.PROGRESS: 0.6, Value.STARTED: 0.8, Value.DETAIL: 0.95}
_RELIEF = 0.9


def fill(unshipped: int, max_bytes: int, room: float) -> float:
    """How full it is, 1.0 for full.

    Args:
        room: bytes that may still be written on the disk, what can be had by removing
            shipped segments included; negative below the floor of free space.
    """
    budget = min(max_bytes, unshipped + max(room, 0))
    return min(unshipped / budget, 1.0) if budget > 0 else 1.0


def least_admitted(filled: float, before: Value = Value.PROGRESS) -> Value:
    """The least value that is written; outcomes always are, where it is possible.

    Args:
        before: what the answer was last time.
    """
    for value, limit in _LIMITS.items():
        if filled < (limit * _RELIEF if value < before else limit):
            return value
    return Value.OUTCOME


@dataclass(frozen=True, slots=True)
class Piece:
    """One segment, as far as its removal goes; both lanes are listed oldest first."""

    name: str
    size: int
    lane: Lane
    is_shipped: bool


def removal_order(
    pieces: Iterable[Piece], lane: Lane | None, *, keeps_story: bool
) -> Iterator[Piece]:
    """What may go to make room for a line of ``lane``, first what goes first.

    Args:
        lane: None where nothing waits to be written: only what is shipped may go.
        keeps_story: never give up a part of the story that is not shipped.
    """
    pieces = list(pieces)
    yield from (piece for piece in pieces if piece.is_shipped)
    if lane is None:
        return
    for victim in (Lane.STEPS, Lane.STORY):
        if victim is Lane.STORY and (keeps_story or lane is Lane.STEPS):
            return
        yield from (p for p in pieces if not p.is_shipped and p.lane is victim)
