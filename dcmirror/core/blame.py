"""Whether an error is a line's own or the server's.

The logger process asks it, about what Elasticsearch answers.  Pure; the rule is one: it
is the line's own only while others are taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from dcmirror.core.bulk import Fate, Refusal, Verdict

Key = tuple[str, int]  # segment and number
_Line = TypeVar("_Line", bound=tuple[str, int, bytes])

# A server's error that sticks to some lines while others are taken is theirs.
_MOST_FAULTS = 12


class Blame:
    """Remembers which lines were refused, and what was taken meanwhile.

    ``begin`` is told what the answers to one round took; then each of them is sorted.
    """

    def __init__(self) -> None:
        self._before: dict[Key, int] = {}
        self._refused: dict[Key, int] = {}
        self._has_taken = False
        self._taken = 0
        self._alone: dict[Key, int] = {}

    def __repr__(self) -> str:
        return f"<Blame refused={len(self._refused)} alone={len(self._alone)}>"

    @property
    def most_refusals(self) -> int:
        """How often the line was refused that was refused most often; or 0."""
        return max(self._refused.values(), default=0)

    def begin(self, taken: int) -> None:
        """Requests that went out together were answered, and took so many lines."""
        self._taken += taken
        self._before, self._refused = self._refused, {}
        self._has_taken = taken > 0 or (self._has_taken and bool(self._before))

    def sort(
        self, lines: Sequence[_Line], verdict: Verdict
    ) -> tuple[list[Refusal], list[Refusal]]:
        """What an answer refused: that which is a line's own, and what to try again.

        A document that is refused as such is given up at once, one that a server's
        error sticks to after many times, and neither while nothing else is taken: a
        pipeline that is missing refuses every document.
        """
        dead, again = [], []
        for fate, most in ((Fate.DEAD, 1), (Fate.FAULT, _MOST_FAULTS)):
            for why in verdict.of(fate):
                key = lines[why.index][:2]
                count = self._before.get(key, 0) + 1
                if count >= most and self._has_taken:
                    dead.append(why)
                else:
                    self._refused[key] = count
                    again.append(why)
        return dead, again

    def is_to_blame(self, line: _Line) -> bool:
        """Whether a line whose request was refused, with nothing else in it, is why.

        Not before something was taken that was sent later: else a gateway that spoils
        every request would end every line.
        """
        key = line[:2]
        if self._taken > self._alone.setdefault(key, self._taken):
            del self._alone[key]
            return True
        return False

    def last(self, lines: Sequence[_Line]) -> tuple[Sequence[_Line], list[_Line]]:
        """What is sent now, and what waits for it: those that were refused alone."""
        if not self._alone:
            return lines, []
        refused = [line for line in lines if line[:2] in self._alone]
        self._alone = {line[:2]: self._alone[line[:2]] for line in refused}
        others = [line for line in lines if line[:2] not in self._alone]
        return (others, refused) if others else (refused, [])
