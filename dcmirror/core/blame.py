"""Whether an error is a line's own or the server's.

The logger process asks it, about what Elasticsearch answers.  Pure; the rule is one: it
is the line's own only while others of its data stream are taken.  What another stream
takes proves nothing: a pipeline that is missing is one stream's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from dcmirror.core.bulk import Fate, Refusal, Verdict

Stream = bytes | None
Key = tuple[Stream, str, int]  # data stream, segment and number
_Line = TypeVar("_Line", bound=tuple[str, int, bytes])

# A server's error that sticks to some lines while others are taken is theirs.
_MOST_FAULTS = 12


class Blame:
    """Remembers which lines were refused, and what was taken meanwhile.

    ``begin`` is told the answers to one round; then each of them is sorted.

    Args:
        stream_of: the data stream of a line's body.
    """

    def __init__(self, stream_of: Callable[[bytes], Stream]) -> None:
        self._stream_of = stream_of
        self._before: dict[Key, int] = {}
        self._refused: dict[Key, int] = {}
        self._have_taken: set[Stream] = set()
        self._taken: Counter[Stream] = Counter()
        self._alone: dict[Key, int] = {}

    def __repr__(self) -> str:
        return f"<Blame refused={len(self._refused)} alone={len(self._alone)}>"

    @property
    def most_refusals(self) -> int:
        """How often the line was refused that was refused most often; or 0."""
        return max(self._refused.values(), default=0)

    def begin(self, answers: Iterable[tuple[Sequence[_Line], Verdict]]) -> None:
        """Requests that went out together were answered."""
        taken: Counter[Stream] = Counter()
        for lines, verdict in answers:
            taken.update(self._taken_of(lines, verdict))
        self._taken += taken
        self._before, self._refused = self._refused, {}
        self._have_taken &= {stream for stream, *_ in self._before}
        self._have_taken |= taken.keys()

    def sort(
        self, lines: Sequence[_Line], verdict: Verdict
    ) -> tuple[list[Refusal], list[Refusal]]:
        """What an answer refused: that which is a line's own, and what to try again.

        A document that is refused as such is given up at once, one that a server's
        error sticks to after many times, and neither while nothing else of its stream
        is taken: a pipeline that is missing refuses every document.
        """
        dead, again = [], []
        for fate, most in ((Fate.DEAD, 1), (Fate.FAULT, _MOST_FAULTS)):
            for why in verdict.of(fate):
                key = self._key(lines[why.index])
                count = self._before.get(key, 0) + 1
                if count >= most and key[0] in self._have_taken:
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
        key = self._key(line)
        taken = self._taken[key[0]]
        if taken > self._alone.setdefault(key, taken):
            del self._alone[key]
            return True
        return False

    def last(self, lines: Sequence[_Line]) -> tuple[Sequence[_Line], list[_Line]]:
        """What is sent now, and what waits for it: those that were refused alone."""
        if not self._alone:
            return lines, []
        refused = [line for line in lines if self._key(line) in self._alone]
        keys = [self._key(line) for line in refused]
        self._alone = {key: self._alone[key] for key in keys}
        others = [line for line in lines if self._key(line) not in self._alone]
        return (others, refused) if others else (refused, [])

    def _key(self, line: _Line) -> Key:
        return self._stream_of(line[2]), line[0], line[1]

    def _taken_of(self, lines: Sequence[_Line], verdict: Verdict) -> Iterable[Stream]:
        """The data streams of what an answer took, one for each line."""
        refused = {why.index for some in verdict.refused.values() for why in some}
        return (
            self._stream_of(line[2])
            for place, line in enumerate(lines)
            if place not in refused
        )
