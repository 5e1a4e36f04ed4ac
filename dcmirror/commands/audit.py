"""``dcmirror audit``: proves that books, copies and source agree, and mends copies."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from dcmirror.adapters.catalogue import Catalogue
from dcmirror.adapters.catalogue_audit import AuditReader
from dcmirror.adapters.catalogue_scratch import Scratch
from dcmirror.adapters.daemon_sight import see
from dcmirror.adapters.mirror_store import MirrorStore
from dcmirror.adapters.read_pace import ReadPace
from dcmirror.adapters.state_directory import resolve
from dcmirror.commands.audit_copies import CopyAudit, Looker, Remembered, Scrub
from dcmirror.commands.audit_journal import (
    JournalAudit,
    Story,
    read_failed,
    read_journal,
)
from dcmirror.commands.audit_report import AuditReport, Form, found_text
from dcmirror.commands.audit_spans import SpanAudit, SpanTotals, open_others
from dcmirror.core.amounts import bytes_text, count_text
from dcmirror.core.audit_choice import Oldest, Sample
from dcmirror.core.audit_copies import AuditRow
from dcmirror.core.audit_findings import AuditKind, Finding
from dcmirror.core.failed_rows import NotOursError
from dcmirror.core.paths import PathMap
from dcmirror.errors import BooksError, DirectoryError, ExitStatus
from dcmirror.settings import Settings

#: Commands that write copies while an audit runs.
_WRITERS = ("watch", "replay", "reconcile", "audit")


@dataclass(frozen=True, slots=True)
class AuditOptions:
    """What the command line says; ``rate`` in bytes per second, ``share`` from 0 to 1.

    ``states`` are state directories of other instances of the same consumer group.
    """

    settings: Settings
    now: float
    states: tuple[Path, ...] = ()
    deep: bool = False
    share: float | None = None
    oldest: int | None = None
    rate: int | None = None
    asks_kafka: bool = True
    source: bool = False
    repair: bool = False
    form: Form = Form.LINES
    instance: str | None = None
    verbosity: int = 0


def form_of(*, as_json: bool, as_csv: bool) -> Form:
    """The form that the flags ask for."""
    return Form.JSON if as_json else Form.CSV if as_csv else Form.LINES


def audit(options: AuditOptions) -> ExitStatus | int:
    """Compare everything with everything; tell what contradicts.

    Raises:
        DirectoryError: no state directory, or no mirror, to audit.
        BooksError: the catalogue cannot be read.
    """
    state = _state_of(options)
    with ExitStack() as stack:
        scratch = stack.enter_context(Scratch())
        catalogue = stack.enter_context(AuditReader(state / "catalogue.db"))
        report = AuditReport(scratch, options.form, -options.verbosity)
        run = _Run(options, state, catalogue, scratch, report)
        run.check_mirror()
        report.begin()
        totals = run.books_and_copies(open_others(options.states, stack))
        if options.deep:
            run.deep()
        report.end(_document(report, totals), _lines(report, totals))
        return report.tally.status()


def _state_of(options: AuditOptions) -> Path:
    state = resolve(options.settings, options.instance)
    for each in (state, *options.states):
        if not (each / "catalogue.db").exists():
            raise DirectoryError(
                f"{each}: no catalogue there; has dcmirror watch run here under this "
                "--instance?"
            )
    return state


class _Run:
    """One audit, part after part."""

    def __init__(
        self,
        options: AuditOptions,
        state: Path,
        catalogue: AuditReader,
        scratch: Scratch,
        report: AuditReport,
    ) -> None:
        settings = options.settings
        self._options = options
        self._settings = settings
        self._state = state
        self._catalogue = catalogue
        self._scratch = scratch
        self._report = report
        self._store = MirrorStore(
            settings.local.downloadfolder,
            directory_mode=int(settings.local.permissions, 8),
            shared=settings.destination.shared,
            tag="00000000",  # makes no parts
        )
        self._looker = Looker(self._store, settings.destination.missing == "leave")

    def check_mirror(self) -> None:
        """An empty directory is a mirror that is not mounted."""
        root = self._settings.local.downloadfolder
        try:
            is_empty = next(root.iterdir(), None) is None
        except OSError as exc:
            raise DirectoryError(f"mirror {root}: {exc.strerror}") from exc
        leaves = self._settings.destination.missing == "leave"
        if is_empty and not leaves and self._catalogue.count():
            raise DirectoryError(
                f"mirror {root} is empty, and the catalogue has copies: is its file "
                "system mounted?"
            )

    def books_and_copies(self, others: list[AuditReader]) -> SpanTotals:
        """Everything but reading files and asking the door."""
        began = time.time()
        story = read_journal(self._state / "journal", self._scratch)
        self._read_failed()
        journal = JournalAudit(
            self._catalogue,
            self._scratch,
            self._report,
            story,
            self._state / "journal",
            began,
        )
        copies = CopyAudit(self._catalogue, self._looker, self._scratch, self._report)
        for page in self._catalogue.rows():
            self._scratch.add_origins(_origins(page))
            journal.look_at_rows(page)
            copies.look_at(page)
        totals = self._spans(others, story)
        journal.compare(is_running=self._is_running())
        copies.conclude(is_running=self._is_running)
        return totals

    def _spans(self, others: list[AuditReader], story: Story) -> SpanTotals:
        kafka = self._settings.kafka
        spans = SpanAudit(self._catalogue, others, self._scratch, self._report, story)
        spans.judge(kafka if self._options.asks_kafka else None, kafka.topic)
        return spans.totals

    def _read_failed(self) -> None:
        settings, dcache = self._settings, self._settings.dcache
        path = settings.local.failedtasksfile or self._state / "failed.csv"
        path_map = PathMap(dcache.url, dcache.pool, dcache.folder)
        try:
            read_failed(path, path_map, self._report, self._scratch)
        except (NotOursError, BooksError) as exc:
            self._report.take(
                Finding(kind=AuditKind.TORN_ROW, place=str(path), detail=str(exc))
            )

    def deep(self) -> None:
        """Read what is chosen."""
        rate = self._options.rate or self._settings.audit.bytes_per_second
        remember = Remembered(self._writable(), self._report)
        scrub = Scrub(
            self._catalogue, self._looker, self._report, ReadPace(rate), remember
        )
        for row in self._chosen():
            scrub.read(row)
        remember.flush(is_last=True)

    def _writable(self) -> Catalogue | None:
        try:
            return Catalogue(self._state / "catalogue.db")
        except BooksError as exc:
            text = f"what is read will not be remembered for --oldest: {exc}"
            self._report.note("not-remembered", text)
            return None

    def _chosen(self) -> Iterator[AuditRow]:
        """The rows that --sample and --oldest choose, of all."""
        wanted = self._sample()
        number = self._options.oldest
        if number is None:
            for page in self._catalogue.rows():
                yield from filter(wanted, page)
            return
        oldest = Oldest(number)
        for page in self._catalogue.rows():
            oldest.add(filter(wanted, page))
        names = oldest.chosen()
        for at in range(0, len(names), 500):
            rows = self._catalogue.rows_of(names[at : at + 500])
            yield from (rows[name] for name in names[at : at + 500] if name in rows)

    def _sample(self) -> Callable[[AuditRow], bool]:
        if self._options.share is None:
            return lambda row: True
        sample = Sample.at(self._options.share, self._options.now)
        return lambda row: sample.has(row.relative)

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


def _document(report: AuditReport, totals: SpanTotals) -> dict[str, object]:
    areas = {str(area): number for area, number in report.tally.areas().items()}
    return {
        "contradictions": areas,
        "kinds": {str(kind): n for kind, n in report.tally.found.items()},
        "judged": dict(report.tally.judged),
        "offsets": {
            "partitions": totals.partitions,
            "settled": totals.offsets,
            "overlapped": totals.overlapped,
            "kinds": dict(totals.kinds),
        },
        "status": int(report.tally.status()),
    }


def _lines(report: AuditReport, totals: SpanTotals) -> list[str]:
    judged = report.tally.judged
    kinds = totals.kinds
    skipped = sum(n for kind, n in kinds.items() if kind.startswith("skipped:"))
    lines = [
        f"offsets: {count_text(totals.offsets)} settled on {totals.partitions} "
        f"partitions: {count_text(kinds['mirrored'])} mirrored, "
        f"{count_text(kinds['failed'])} failed, {count_text(skipped)} skipped, "
        f"{count_text(kinds['not-ours'] + kinds['garbage'])} not ours",
        f"copies: {count_text(judged['copies'])} looked at, "
        f"{bytes_text(judged['bytes'])}; {count_text(judged['failed_rows'])} rows in "
        "failed.csv",
    ]
    if judged["read"]:
        lines.append(
            f"read: {count_text(judged['read'])} copies, "
            f"{bytes_text(judged['bytes_read'])}"
        )
    return [*lines, found_text(report.tally)]
