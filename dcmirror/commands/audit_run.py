"""The parts of one audit, in their order: books, copies, bytes, sources."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from dcmirror.adapters.catalogue import Catalogue
from dcmirror.adapters.catalogue_audit import AuditReader
from dcmirror.adapters.catalogue_scratch import Scratch
from dcmirror.adapters.daemon_sight import see
from dcmirror.adapters.door_client import DoorClient, door_options
from dcmirror.adapters.mirror_store import store_of
from dcmirror.adapters.pace import Pace
from dcmirror.adapters.read_pace import ReadPace
from dcmirror.adapters.state_directory import failures_path
from dcmirror.commands.audit_copies import CopyAudit, Looker, Remembered, Scrub
from dcmirror.commands.audit_counts import SpanTotals
from dcmirror.commands.audit_journal import JournalAudit
from dcmirror.commands.audit_options import AuditOptions
from dcmirror.commands.audit_progress import Progress
from dcmirror.commands.audit_reading import Story, read_failed, read_journal
from dcmirror.commands.audit_report import AuditReport
from dcmirror.commands.audit_source import DoorLooks, SourceAudit
from dcmirror.commands.audit_spans import SpanAudit
from dcmirror.commands.audit_turns import Turns
from dcmirror.core.amounts import plural
from dcmirror.core.audit_choice import Oldest, Sample
from dcmirror.core.audit_copies import AuditRow
from dcmirror.core.audit_findings import AuditKind, Finding
from dcmirror.core.door_errors import DoorError
from dcmirror.core.failed_rows import NotOursError
from dcmirror.core.paths import path_map_of
from dcmirror.errors import BooksError, DirectoryError
from dcmirror.processes.patience import Patience

#: Commands that write copies while an audit runs.
_WRITERS = ("watch", "replay", "reconcile", "audit")
_NAMES_AT_ONCE = 500


class AuditRun:
    """One audit, part after part."""

    def __init__(
        self,
        options: AuditOptions,
        state: Path,
        catalogue: AuditReader,
        scratch: Scratch,
        report: AuditReport,
        progress: Progress,
    ) -> None:
        settings, dcache = options.settings, options.settings.dcache
        self._options = options
        self._settings = settings
        self._state = state
        self._catalogue = catalogue
        self._scratch = scratch
        self._report = report
        self._progress = progress
        self._path_map = path_map_of(dcache)
        self._is_wanted = self._sample()
        self._oldest = None if options.oldest is None else Oldest(options.oldest)
        store = store_of(settings, "00000000")  # an audit makes no parts
        self.looker = Looker(store, settings.destination.missing == "leave")

    def check_mirror(self) -> None:
        """Raise DirectoryError for a mirror that is not there, or not mounted."""
        root = self._settings.local.downloadfolder
        try:
            is_empty = next(root.iterdir(), None) is None
        except OSError as exc:
            raise DirectoryError(f"mirror {root}: {exc.strerror}") from exc
        if is_empty and not self.looker.leaves and self._catalogue.count():
            raise DirectoryError(
                f"mirror {root} is empty, and the catalogue has copies: is its file "
                "system mounted?"
            )

    def books_and_copies(self, others: list[AuditReader]) -> SpanTotals:
        """Everything but reading files and asking the door."""
        began = time.time()
        journal_path = self._state / "journal"
        self._progress.begin("journal")
        story = read_journal(journal_path, self._scratch)
        self._read_failed()
        journal = JournalAudit(
            self._catalogue, self._scratch, self._report, story, journal_path, began
        )
        copies = CopyAudit(self._catalogue, self.looker, self._scratch, self._report)
        self._progress.begin("copies", self._catalogue.count())
        for page in self._catalogue.rows():
            self._scratch.add_origins(_origins(page))
            journal.look_at_rows(page)
            readable = copies.look_at(page)
            if self._oldest is not None:
                self._oldest.add(filter(self._is_wanted, readable))
            self._progress.step(len(page))
        totals = self._spans(others, story)
        journal.compare(is_running=self._is_running())
        copies.conclude(is_running=self._is_running)
        return totals

    def _spans(self, others: list[AuditReader], story: Story) -> SpanTotals:
        self._progress.begin("offsets")
        kafka = self._settings.kafka
        spans = SpanAudit(self._catalogue, others, self._scratch, self._report, story)
        spans.judge(kafka if self._options.asks_kafka else None, kafka.topic)
        return spans.totals

    def _read_failed(self) -> None:
        path = failures_path(self._settings, self._state)
        try:
            read_failed(path, self._path_map, self._report, self._scratch)
        except (NotOursError, BooksError) as exc:
            self._report.take(
                Finding(kind=AuditKind.TORN_ROW, place=str(path), detail=str(exc))
            )

    # -- bytes --------------------------------------------------------------------

    def deep(self) -> None:
        """Read what is chosen, and remember what was good."""
        rate = self._options.rate or self._settings.audit.bytes_per_second
        remember = Remembered(self._writable(), self._report)
        scrub = Scrub(
            self._catalogue, self.looker, self._report, ReadPace(rate), remember
        )
        self._progress.begin("bytes", self._expected())
        try:
            for row in self._to_read():
                scrub.read(row)
                self._progress.step()
        finally:
            remember.flush(is_last=True)

    def _writable(self) -> Catalogue | None:
        try:
            return Catalogue(self._state / "catalogue.db")
        except BooksError as exc:
            text = f"what is read will not be remembered for --oldest: {exc}"
            self._report.note("not-remembered", text)
            return None

    def _expected(self) -> int:
        """About how many copies will be chosen."""
        number = round(self._catalogue.count() * (self._options.share or 1.0))
        oldest = self._options.oldest
        return number if oldest is None else min(number, oldest)

    def _to_read(self) -> Iterator[AuditRow]:
        """The rows that --sample and --oldest choose."""
        if self._oldest is None:
            for page in self._catalogue.rows():
                yield from filter(self._is_wanted, page)
            return
        names = self._oldest.chosen()
        for at in range(0, len(names), _NAMES_AT_ONCE):
            chunk = names[at : at + _NAMES_AT_ONCE]
            rows = self._catalogue.rows_of(chunk)
            yield from (rows[name] for name in chunk if name in rows)

    def _sample(self) -> Callable[[AuditRow], bool]:
        if self._options.share is None:
            return lambda row: True
        sample = Sample.at(self._options.share, self._options.now)
        return lambda row: sample.has(row.relative)

    # -- the door -----------------------------------------------------------------

    def sources(self) -> None:
        """Ask the door for what is chosen.

        Raises:
            DoorError: it cannot be asked, or does not know us.
        """
        self._progress.begin("sources", self._expected())
        most = self._options.oldest
        turns = Turns(self._catalogue)

        def asked(row: AuditRow) -> None:
            turns.last = row.relative
            self._progress.step()

        with self._door() as looks:
            grace = self._settings.source.grace_seconds
            audit = SourceAudit(self._catalogue, self._report, looks, grace)
            try:
                audit.ask(filter(self._is_wanted, turns.rows()), asked, most)
            finally:
                if most is not None:
                    self._keep(turns)

    def _keep(self, turns: Turns) -> None:
        try:
            with closing(Catalogue(self._state / "catalogue.db")) as catalogue:
                turns.keep(catalogue)
        except BooksError as exc:
            text = f"the next --oldest asks for the same sources: {exc}"
            self._report.note("not-remembered", text)

    def note_gone(self) -> None:
        """Of the missing copies, note those that the source has no more either.

        Nothing can mend these, and the next audit does not tell of them.

        Raises:
            DoorError: the door cannot be asked, or does not show the folder.
        """
        missing = self._scratch.repairs_only(AuditKind.MISSING.value)
        rows = self._catalogue.rows_of(missing).values()
        if not rows:
            return
        with self._door() as looks:
            root = looks.look(self._path_map.under(None))
            if root is None or isinstance(root, DoorError):
                return  # a door that lost its namespace proves nothing
            found = [row for row, answer in looks.all(rows) if answer is None]
        catalogue = Catalogue(self._state / "catalogue.db")
        catalogue.gone(((row.relative, row.copied_at) for row in found), time.time())
        catalogue.close()
        self._scratch.drop_repairs(row.relative for row in found)
        self._report.tally.repaired[AuditKind.MISSING] += len(found)
        for row in found:
            self._report.say(f"gone on both sides, told no more: {row.path}")

    @contextmanager
    def _door(self) -> Iterator[DoorLooks]:
        settings = self._settings
        options = door_options(settings)
        stop = threading.Event()
        pace = Pace(settings.reconcile.requests_per_second, stop=stop)
        with DoorLooks(
            lambda: DoorClient(options, pace),
            Patience(self._report.say, stop, proxy=options.proxy),
            settings.reconcile.parallel,
        ) as looks:
            try:
                yield looks
            finally:
                stop.set()
            text = f"{plural(looks.requests, 'request')} to the door"
            self._report.note("requests", text, looks.requests)

    def _is_running(self) -> bool:
        return any(see(self._state, each).is_running for each in _WRITERS)


def _origins(rows: list[AuditRow]) -> Iterator[tuple[str, int, int]]:
    for row in rows:
        if (
            row.topic is not None
            and row.partition is not None
            and row.offset is not None
        ):
            yield row.topic, row.partition, row.offset
