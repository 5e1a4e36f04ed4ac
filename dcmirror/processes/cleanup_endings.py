"""Between a plan and the books: rows still to be judged, and results as they are kept.

Cleanup's run uses it, in its main thread.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from dcmirror.adapters.catalogue_deletions import Ending, Intent
from dcmirror.core.deletion import ENDS, Keep, Kept, Result
from dcmirror.core.jobs import CopyRecord
from dcmirror.tasks.delete_words import Outcome

#: How long a request without an answer may still be carried out.
LATE_SECONDS = 86400.0
VANISHED = Keep(Kept.GONE, "the door does not show it any more")


class Rest:
    """Rows that are still to be judged; one may be given back."""

    def __init__(self, copies: Iterable[CopyRecord]) -> None:
        self._copies = iter(copies)
        self._back: CopyRecord | None = None

    def __iter__(self) -> Iterator[CopyRecord]:
        return self

    def __next__(self) -> CopyRecord:
        copy, self._back = self._back, None
        return next(self._copies) if copy is None else copy

    def give_back(self, copy: CopyRecord) -> None:
        """It comes again."""
        self._back = copy


def outside(intent: Intent) -> Keep:
    """Why an intent of another configuration stays open."""
    name = f"; it may be named {intent.isolated} still" if intent.isolated else ""
    return Keep(
        Kept.OUTSIDE,
        f"an earlier deletion of it has no result{name}; run cleanup once with the "
        "[dcache] pool and folder of that time",
    )


def doubted(outcome: Outcome) -> Outcome:
    """One that was gone just before it was deleted is judged with all of the run."""
    if outcome.result is not Result.GONE:
        return outcome
    return replace(outcome, result=Result.NOT_DELETED, keep=VANISHED)


def ending_of(intent: Intent, outcome: Outcome, now: float) -> Ending | None:
    """The result to write; None: it stays open, or what it has stays true."""
    if outcome.result is None:
        return None
    is_back = intent.result in ENDS and outcome.result not in ENDS
    if (
        intent.ended_at is not None
        and outcome.result is not Result.DELETED
        and not is_back
    ):
        return None
    error = None if outcome.keep is None else f"{outcome.keep.why}: {outcome.keep.text}"
    until = max(now, intent.intended_at) + LATE_SECONDS if outcome.is_late else None
    return Ending(intent.number, outcome.result, error, until)
