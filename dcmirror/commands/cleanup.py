"""``dcmirror cleanup``: deletes sources whose copies are proved, sweeps left-overs."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field

from dcmirror.adapters.catalogue_deletions import DeletionBook
from dcmirror.adapters.catalogue_pruned import PrunedBook
from dcmirror.adapters.locks import LOOK_SECONDS, acquire
from dcmirror.adapters.state_directory import StateDirectory, prepare, resolve
from dcmirror.adapters.whereabouts import look_for
from dcmirror.commands import cleanup_show as show
from dcmirror.commands.cleanup_plan import DryRunFact, Planning, Scope
from dcmirror.commands.cleanup_room import Pulse, Room, say
from dcmirror.commands.cleanup_sweep import sweep
from dcmirror.commands.engine_run import SIGNALLED
from dcmirror.commands.report import Form
from dcmirror.core.amounts import plural
from dcmirror.core.cleanup_plan import Census
from dcmirror.core.deletion import ENDS
from dcmirror.core.journal_cleanup import CleanupTally
from dcmirror.errors import ConfigError, DcmirrorError, DirectoryError, ExitStatus
from dcmirror.processes.cleanup_crew import Crew
from dcmirror.processes.cleanup_pruning import DirectoryPruner
from dcmirror.processes.cleanup_run import CleanupRun
from dcmirror.processes.cleanup_story import CleanupStory
from dcmirror.settings import Settings


@dataclass(frozen=True, slots=True)
class CleanupOptions:
    """What the command line says; ``confirm`` asks the user, if there is one."""

    settings: Settings
    dry_run: bool = False
    undo_list: bool = False
    local_only: bool = False
    prune_empty: bool = False
    yes: bool = False
    accept_gone: bool = False
    scope: Scope = field(default_factory=Scope)
    form: Form = Form.TABLE
    confirm: Callable[[str], bool] | None = None
    instance: str | None = None
    verbosity: int = 0


def cleanup(options: CleanupOptions) -> ExitStatus | int:
    """Delete what is proved and old enough, or say what would be.

    Raises:
        ConfigError: a setting of [cleanup] cannot be used.
        LockedError: another cleanup runs on this state directory.
        DoorError: the door is away, or refuses our credential.
        DirectoryError: the mirror or the state directory is not there.
        BooksError: the catalogue cannot be read or written.
    """
    if options.prune_empty and options.settings.cleanup.isolate == "never":
        raise ConfigError(
            '--prune-empty needs renames, and [cleanup] isolate = "never" forbids them'
        )
    where = resolve(options.settings, options.instance)
    if not options.local_only and look_for(where / "catalogue.db") is None:
        raise DirectoryError(
            f"no catalogue in {where}; has dcmirror watch run here under this "
            "--instance?"
        )
    state = prepare(where)
    if options.undo_list:
        return _undo_list(options, state)
    with acquire(state.lock("cleanup"), LOOK_SECONDS):
        return _Cleanup(options, state).run()


def _undo_list(options: CleanupOptions, state: StateDirectory) -> ExitStatus:
    book = DeletionBook(state.catalogue)
    try:
        rows = (row for row in book.deletions() if row.result in {*ENDS, None})
        unknown = show.undo_list(options.form, rows)
    finally:
        book.close()
    if unknown and options.verbosity >= 0:
        say(
            f"what became of {plural(unknown, 'source')} is not known: the next "
            "cleanup finds out, as far as it can"
        )
    return ExitStatus.DONE


class _Cleanup:
    """One call of the command, under its lock."""

    def __init__(self, options: CleanupOptions, state: StateDirectory) -> None:
        settings = options.settings
        self._options = options
        self._settings = settings
        self._state = state
        self._started = time.monotonic()
        self._room = Room(settings, state, options.instance, options.verbosity)

    def run(self) -> ExitStatus | int:
        """The whole of it."""
        options, tally = self._options, CleanupTally()
        sweep(
            self._settings,
            self._state,
            self._room.store(),
            tally,
            self._detail,
            is_dry=options.dry_run,
        )
        if options.local_only:
            return self._tell_sweep(tally)
        book = DeletionBook(self._state.catalogue)
        try:
            with self._room.signals():
                if options.dry_run:
                    return self._dry_run(book)
                return self._real(book, tally)
        finally:
            book.close()

    # -- dry run ------------------------------------------------------------------

    def _dry_run(self, book: DeletionBook) -> ExitStatus:
        planning = self._plan(book)
        brake = planning.brake(planning.census())
        sheet = show.plan_sheet(self._options.form)
        sheet.begin()
        census = Census(there=book.sources_there())
        for copy, cons in planning.judged(with_young=True):
            census.count(cons, copy.size)
            show.plan_row(
                sheet,
                copy,
                planning.pros,
                cons or ([brake] if brake else []),
                now=planning.now,
                mirror=self._settings.local.downloadfolder,
            )
        sheet.end(show.census_document(census, brake))
        say(show.census_line(census))
        if brake is not None:
            say(f"nothing would be deleted: {brake.text}")
        DryRunFact(book, self._settings, self._options.scope).remember()
        return ExitStatus.DONE

    # -- the real thing -----------------------------------------------------------

    def _real(self, book: DeletionBook, swept: CleanupTally) -> ExitStatus | int:
        story = self._room.story()
        try:
            with Crew(self._room.means()) as crew:
                run = self._make_run(book, crew, story)
                run.tally.parts, run.tally.segments = swept.parts, swept.segments
                try:
                    ended, troubles = self._work(book, run, crew)
                except DcmirrorError:
                    self._conclude(run, story, "ended early", [])
                    raise
                finally:
                    run.tally.requests = crew.requests
            return self._conclude(run, story, ended, troubles)
        finally:
            story.close()

    def _work(
        self, book: DeletionBook, run: CleanupRun, crew: Crew
    ) -> tuple[str, list[str]]:
        """What ended it early, "" for nothing, and what went wrong with directories."""
        with closing(PrunedBook(self._state.catalogue)) as pruned:
            pruner = self._make_pruner(pruned, crew)
            # Before the files: a directory with its name back shows what is in it.
            pruner.resolve()
            run.resolve()
            planning = self._plan(book)
            refusal = self._refusal(book, planning)
            ended = refusal or run.run(planning.copies(), planning.chooser())
            if run.was_late:
                run.resolve()
            if self._options.prune_empty and not refusal and not crew.is_futile:
                pruner.run(planning.policy.under)
                run.tally.directories = pruner.removed
        return ended, run.troubles + pruner.troubles

    def _refusal(self, book: DeletionBook, planning: Planning) -> str:
        """Why nothing may be deleted; "" if it may, or if there is nothing."""
        census = planning.census()
        if planning.failed.torn:
            say(f"failed.csv: {planning.failed.torn} lines are no whole rows")
        brake = planning.brake(census)
        if brake is not None:
            return f"nothing is deleted: {brake.text}"
        options = self._options
        fact = DryRunFact(book, self._settings, options.scope)
        is_allowed = options.yes or self._settings.cleanup.allowed or fact.is_known()
        if is_allowed or not census.chosen:
            return ""
        if options.confirm is None:
            return (
                "nothing is deleted: no dry run has shown what this configuration "
                "would delete; look at `dcmirror cleanup --dry-run`, or give --yes, "
                "or set [cleanup] allowed"
            )
        say(show.census_line(census))
        with self._room.interruptible():
            if not options.confirm("Delete them? There is no way back."):
                return "nothing is deleted: not confirmed"
        fact.remember()
        return ""

    def _conclude(
        self, run: CleanupRun, story: CleanupStory, ended: str, troubles: list[str]
    ) -> ExitStatus | int:
        seconds, tally = time.monotonic() - self._started, run.tally
        story.finished(tally, seconds, ended)
        is_well = not tally.kept and not ended and not troubles
        if self._options.form is Form.JSON:
            document = show.tally_document(tally, run.examples, ended, seconds)
            print(show.json_text(document))
        if not is_well or self._options.verbosity >= 0:
            for line in show.tally_lines(tally, run.examples, seconds):
                say(line)
        for text in [*troubles, ended]:
            if text:
                say(text)
        if self._room.signal is not None:
            return SIGNALLED + self._room.signal
        return ExitStatus.DONE if is_well else ExitStatus.SOURCES_REMAIN

    # -- parts --------------------------------------------------------------------

    def _plan(self, book: DeletionBook) -> Planning:
        room = self._room
        return Planning(
            self._settings,
            book,
            room.failed_csv,
            self._options.scope,
            time.time(),
            room.free_bytes,
        )

    def _make_run(
        self, book: DeletionBook, crew: Crew, story: CleanupStory
    ) -> CleanupRun:
        return CleanupRun(
            book,
            crew,
            story,
            self._room.stop,
            mirror=str(self._settings.local.downloadfolder),
            tag=self._state.tag,
            path_map=self._room.path_map,
            isolates=self._settings.cleanup.isolate != "never",
            believes_gone=self._options.accept_gone,
            on_batch=Pulse(self._options.verbosity),
        )

    def _make_pruner(self, book: PrunedBook, crew: Crew) -> DirectoryPruner:
        room = self._room
        return DirectoryPruner(
            book,
            crew.client,
            room.patience(),
            room.path_map.root,
            room.stop.soon,
            believes_gone=self._options.accept_gone,
        )

    def _tell_sweep(self, tally: CleanupTally) -> ExitStatus:
        if self._options.form is Form.JSON:
            print(show.json_text(show.sweep_document(tally)))
        elif self._options.verbosity >= 0:
            say(show.sweep_line(tally, is_dry=self._options.dry_run))
        return ExitStatus.DONE

    def _detail(self, text: str) -> None:
        if self._options.verbosity > 0 or self._options.dry_run:
            say(text)
