"""A run of cleanup: sources are chosen, checked and deleted in batches.

The main thread alone chooses and writes the catalogue.  For each batch: check all of
them, make the intents of those that passed durable, delete, make the results durable.
So a kill leaves at most a batch of intents without results; the next run resolves them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from dcmirror.adapters.catalogue_deletions import DeletionBook, Intent, Wish
from dcmirror.core.amounts import plural
from dcmirror.core.cleanup_plan import Chooser, is_limit
from dcmirror.core.deletion import DAMAGED, HARMLESS, Keep, Kept, Result
from dcmirror.core.jobs import CopyRecord
from dcmirror.core.journal_cleanup import CleanupTally
from dcmirror.core.paths import PathMap, isolated_name
from dcmirror.processes.cleanup_crew import (
    MOST_FUTILE,
    Checked,
    Crew,
    StopSwitch,
    as_copied,
)
from dcmirror.processes.cleanup_endings import (
    VANISHED,
    Rest,
    doubted,
    ending_of,
    outside,
)
from dcmirror.processes.cleanup_story import CleanupStory
from dcmirror.tasks.delete_words import Outcome
from dcmirror.tasks.resolve import Begun

BATCH = 64
_EXAMPLES = 10
#: More sources than these that are gone, in one run: perhaps it is not the files.
_MOST_GONE = 10


class CleanupRun:
    """One run.

    Args:
        mirror: the directory that copies lie in, for the books.
        tag: of the state directory; two of them never choose the same names.
        path_map: where files are; the door must show its root.
        believes_gone: however many sources are gone, nobody asks whether they are away.
        on_batch: hears how far it is.

    ``troubles`` are lines for people.
    """

    def __init__(
        self,
        book: DeletionBook,
        crew: Crew,
        story: CleanupStory,
        stop: StopSwitch,
        *,
        mirror: str,
        tag: str,
        path_map: PathMap,
        isolates: bool,
        believes_gone: bool = False,
        on_batch: Callable[[CleanupTally], None] = lambda tally: None,
    ) -> None:
        self.tally = CleanupTally()
        self.examples: list[tuple[str, Keep]] = []
        self.troubles: list[str] = []
        self.was_late = False
        self._book = book
        self._crew = crew
        self._story = story
        self._stop = stop
        self._mirror = mirror
        self._tag = tag
        self._path_map = path_map
        self._told_outside: set[int] = set()
        self._isolates = isolates
        self._believes_gone = believes_gone
        self._on_batch = on_batch
        self._gone: list[CopyRecord] = []

    # -- what earlier runs left ---------------------------------------------------

    def resolve(self) -> None:
        """Find out what became of intents without results.

        Raises:
            DoorError: the door is away, or refuses our credential.
        """
        unfinished = list(self._below_folder(self._book.unfinished(time.time())))
        if not unfinished:
            return
        self.require_folder()
        rows = self._book.lookup({intent.relative for intent in unfinished})
        damaged, pruned = self._book.damaged(), self._book.removed_directories()

        def find_out(intent: Intent) -> Outcome | None:
            name, directory = intent.relative, intent.path.rpartition("/")[0]
            begun = Begun(
                as_copied(intent),
                intent.isolated,
                is_ended=intent.ended_at is not None,
                is_pruned=pruned.get(directory, -math.inf) >= intent.intended_at,
                is_gone=self._believes_gone,
            )
            return self._crew.resolve(
                begun, intent, rows.get(name), is_damaged=name in damaged
            )

        found = list(self._crew.each(find_out, unfinished))
        known = [
            (as_copied(intent), intent, outcome)
            for intent, outcome in zip(unfinished, found, strict=True)
            if outcome is not None
        ]
        self.tally.resolved += sum(o.result is not None for _, _, o in known)
        self._conclude(known)
        self._raise_if_lost()

    def _below_folder(self, intents: list[Intent]) -> Iterator[Intent]:
        """Those that the door may be asked about; the configuration may have changed.

        The others stay open, and are told until it is as it was.
        """
        for intent in intents:
            if self._path_map.relative(intent.path) == intent.relative:
                yield intent
            elif intent.ended_at is None and intent.number not in self._told_outside:
                self._told_outside.add(intent.number)
                self._kept(as_copied(intent), outside(intent))

    # -- the run ------------------------------------------------------------------

    def run(self, copies: Iterable[CopyRecord], chooser: Chooser) -> str:
        """Delete what may go, the oldest first; what ended it early, "" for nothing.

        Raises:
            DoorError: the door stayed away, or refused our credential, for too long.
            DirectoryError: the mirror is not there.
            BooksError: the catalogue cannot be written.
        """
        rest = Rest(copies)
        while not self._stop.soon.is_set():
            batch = self._next_batch(rest, chooser)
            if not batch:
                self._settle_gone()
                return ""
            known_gone = len(self._gone)
            deleted = self._work(batch)
            self._on_batch(self.tally)
            gone = {copy.relative for copy in self._gone[known_gone:]}
            for copy in batch:
                if copy.relative in gone:
                    chooser.budget.make_no_room(copy.size)
                elif copy.relative not in deleted:
                    chooser.budget.spend(copy.size, -1)
            self._raise_if_lost()
            if self._crew.is_futile:
                return (
                    f"the door answered for none of {MOST_FUTILE} sources in a row, or "
                    "renamed or deleted none; the rest is left to another run"
                )
        return "stopped"

    def require_folder(self) -> None:
        """A door that does not show the folder shows none of its files either.

        Raises:
            DoorError: it does not.
        """
        self._crew.ask(lambda client: client.free_bytes(self._path_map.root))

    def _next_batch(self, rest: Rest, chooser: Chooser) -> list[CopyRecord]:
        batch: list[CopyRecord] = []
        for copy in rest:
            reasons = chooser.judge(copy)
            if is_limit(reasons):
                rest.give_back(copy)  # some of this batch may be kept
                break
            if not reasons:
                batch.append(copy)
            if len(batch) >= BATCH:
                break
        return batch

    def _work(self, batch: Sequence[CopyRecord]) -> set[str]:
        """Check, intend, delete, conclude; what was deleted, by relative path."""
        checked: list[Checked] = []
        found = self._crew.each(self._crew.check, batch)
        for copy, item in zip(batch, found, strict=True):
            if isinstance(item, Keep):
                self._kept(copy, item)
            elif item is None:
                self._gone.append(copy)
            else:
                checked.append(item)
        return self._delete(checked)

    def _settle_gone(self) -> None:
        """Note what somebody else removed, once the whole run has seen how much it is.

        Cleanup never looks again at what is noted.  A directory that was renamed for
        an hour, or a part of the namespace that is away, looks like many files that
        are gone.
        """
        copies, self._gone = self._gone, []
        if not copies:
            return
        self.require_folder()
        if len(copies) > _MOST_GONE and not self._believes_gone:
            self._doubt(copies)
        else:
            wishes = [Wish(copy, None) for copy in copies]
            self._book.note(wishes, Result.GONE, time.time(), self._mirror)
            for copy in copies:
                self._ended(copy, Outcome(Result.GONE))
        self._story.flush()

    def _doubt(self, copies: list[CopyRecord]) -> None:
        others = plural(len(copies) - 1, "other")
        keep = Keep(Kept.GONE, f"the door does not show it, nor {others}")
        for copy in copies:
            self._kept(copy, keep)
        self.troubles.append(
            f"{plural(len(copies), 'source')} are not at the door, and not by us; if "
            "they were removed, and are not away for a while, say --accept-gone"
        )

    def _delete(self, checked: list[Checked]) -> set[str]:
        crew = self._crew
        if not checked or self._stop.soon.is_set() or crew.lost or crew.is_futile:
            return set()
        wishes = [Wish(item.copy, self._isolated(item.copy)) for item in checked]
        made = self._book.intend(wishes, time.time(), self._mirror)
        intents = {intent.relative: intent for intent in made}
        damaged = self._book.damaged() if len(made) < len(wishes) else set()
        jobs = []
        for item in checked:
            intent = intents.get(item.copy.relative)
            if item.copy.relative in damaged:
                self._kept(item.copy, DAMAGED)
            elif intent is None:
                self._kept(item.copy, Keep(Kept.ROW_CHANGED, "copied anew meanwhile"))
            else:
                jobs.append((item, intent))
        outcomes = self._crew.each(lambda job: self._crew.delete(*job), jobs)
        ended = [
            (item.copy, intent, doubted(outcome))
            for (item, intent), outcome in zip(jobs, outcomes, strict=True)
        ]
        self._conclude(ended)
        return {
            copy.relative
            for copy, _, outcome in ended
            if outcome.result is Result.DELETED
        }

    def _conclude(self, ended: list[tuple[CopyRecord, Intent, Outcome]]) -> None:
        """Make results durable, and tell them."""
        now = time.time()
        endings = [ending_of(intent, outcome, now) for _, intent, outcome in ended]
        self._book.conclude([each for each in endings if each is not None], now)
        for copy, _, outcome in ended:
            self.was_late = self.was_late or outcome.is_late
            self._ended(copy, outcome)
        self._story.flush()

    def _ended(self, copy: CopyRecord, outcome: Outcome) -> None:
        if outcome.keep is VANISHED:
            self._gone.append(copy)
            return
        if outcome.keep is not None:
            self._kept(copy, outcome.keep)
            return
        tally = self.tally
        if outcome.result is not Result.DELETED:
            tally.already_gone += 1
        else:
            tally.deleted += 1
            tally.deleted_bytes += copy.size
        if outcome.window is not None:
            tally.longest_window = max(tally.longest_window, outcome.window)
        self._story.deleted(
            copy, str(outcome.result), apart=outcome.apart, window=outcome.window
        )

    def _kept(self, copy: CopyRecord, keep: Keep) -> None:
        if keep.why not in HARMLESS:
            self.tally.kept[keep.why] += 1
            if len(self.examples) < _EXAMPLES:
                self.examples.append((copy.path, keep))
        self._story.kept(copy, keep)

    def _isolated(self, copy: CopyRecord) -> str | None:
        if not self._isolates:
            return None
        seed = f"{self._tag} {copy.path} {time.time_ns()}"
        return f"{copy.path.rpartition('/')[0]}/{isolated_name(seed)}"

    def _raise_if_lost(self) -> None:
        if self._crew.lost is not None:
            raise self._crew.lost
