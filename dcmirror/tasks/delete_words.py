"""What a deletion asks of a door, and what comes of it, in values and words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ParamSpec, Protocol, TypeVar
from urllib.parse import quote

from dcmirror.core.deletion import Keep, Kept, Result
from dcmirror.core.listing import Entry

_P = ParamSpec("_P")
_T = TypeVar("_T")

_FORBIDDEN, _LOCKED = 403, 423


class Answer(Protocol):
    """What the door said."""

    @property
    def status(self) -> int:
        """The HTTP status."""

    @property
    def reason(self) -> str:
        """The words beside it."""

    @property
    def retry_after(self) -> float | None:
        """In how many seconds to ask again, where it said so."""


class Door(Protocol):
    """What a deletion asks of a door; without an answer each raises DoorError."""

    def look(self, path: str) -> Entry | None:
        """What is there now, None for nothing."""

    def move(self, source: str, target: str) -> Answer:
        """Rename; what has the target's name already stays."""

    def delete(self, path: str) -> Answer:
        """Delete a file."""

    def has_directory(self, path: str) -> bool:
        """Whether there is a directory of that name now."""


class Patient(Protocol):
    """Takes a step, again and again while that may help; raises DoorError at last."""

    def call(
        self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs
    ) -> _T: ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one source.

    ``result`` None: nobody knows; the intent stays open and the next run looks again.
    ``keep`` says why it was not deleted.  ``is_late``: an answer never came, so that
    the door may still carry the request out.  ``window``: seconds from the last look
    until the DELETE was answered; where it was not ``apart`` anybody could have
    replaced the source then.
    """

    result: Result | None
    keep: Keep | None = None
    is_late: bool = False
    window: float | None = None
    apart: bool = False


def is_plain(path: str) -> bool:
    """Whether a URL holds the path as it is.

    XRootD (5.5) takes the target of a rename as it stands in the header, escapes and
    all, and makes the directories that it names.  Who shows pnfsids is dCache, which
    reads it right.
    """
    return quote(path, safe="/", errors="replace") == path


def kept_by(keep: Keep) -> Outcome:
    """A source that is where it was; or another one is."""
    is_other = keep.why in (Kept.REPLACED, Kept.DIRECTORY)
    return Outcome(Result.REPLACED if is_other else Result.NOT_DELETED, keep)


def left_apart(isolated: str, kept: Outcome, why: str) -> Outcome:
    """It could not get its name back."""
    before = f"{kept.keep.text}; " if kept.keep else ""
    text = f"{before}it is left as {isolated}: {why}"
    return Outcome(None, Keep(Kept.LEFT_APART, text))


def away(path: str, isolated: str | None) -> Outcome:
    """It is not there, nor is its directory: which may have been renamed, with it."""
    text = f"its directory {path.rpartition('/')[0]} is not there"
    why = Kept.GONE
    if isolated is not None:
        why = Kept.LEFT_APART
        text += f", and may have it still, as {isolated.rpartition('/')[2]}"
    text += "; give the directory its name back, or say --accept-gone if it was removed"
    return Outcome(None, Keep(why, text))


def refusal(method: str, answer: Answer) -> Keep:
    """What a door's no means for one source."""
    why = {_FORBIDDEN: Kept.FORBIDDEN, _LOCKED: Kept.LOCKED}.get(answer.status)
    return Keep(why or Kept.DOOR, f"the door answered {said(answer)} to {method}")


def said(answer: Answer) -> str:
    """``403 Forbidden``."""
    return f"{answer.status} {answer.reason}".rstrip()
