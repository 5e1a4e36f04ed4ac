"""``dcmirror report``: what happened, from catalogue, journal and failed.csv."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from itertools import islice
from pathlib import Path
from stat import S_ISDIR

from dcmirror import __version__
from dcmirror.adapters.catalogue_reading import CatalogueReader
from dcmirror.adapters.failed_csv_scan import scan
from dcmirror.adapters.journal_scan import JournalScan
from dcmirror.adapters.state_directory import failures_path, instance_name, resolve
from dcmirror.adapters.whereabouts import look_for
from dcmirror.adapters.whole_file import write_whole
from dcmirror.commands.report_screen import show
from dcmirror.core.failed_rows import FailedRow, NotOursError
from dcmirror.core.journal_values import Lane
from dcmirror.core.paths import PathMap, path_map_of
from dcmirror.core.report import ACTIONS, Query, Report
from dcmirror.core.report_document import as_csv, as_json
from dcmirror.core.report_groups import Zone, utc
from dcmirror.core.report_page import page
from dcmirror.core.report_tables import By, Heading
from dcmirror.errors import BooksError, DirectoryError, ExitStatus
from dcmirror.settings import Settings

_ROWS_PER_LOOK = 500


class Form(StrEnum):
    """What goes to standard output."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


@dataclass(frozen=True, slots=True)
class ReportOptions:
    """What the command line says; ``meanings`` are the words for failure classes."""

    settings: Settings
    now: float
    since: float | None = None
    until: float | None = None
    under: str | None = None
    by: By = By.DAY
    depth: int = 1
    top: int = 20
    utc: bool = False
    form: Form = Form.TABLE
    html: Path | None = None
    meanings: Mapping[str, str] = field(default_factory=dict)
    instance: str | None = None
    verbosity: int = 0


def form_of(*, as_json: bool, as_csv: bool) -> Form:
    """The form that the flags ask for."""
    return Form.JSON if as_json else Form.CSV if as_csv else Form.TABLE


def report(options: ReportOptions) -> ExitStatus:
    """Gather, then show.

    Raises:
        DirectoryError: there is no state directory to report from.
        BooksError: the catalogue or failed.csv cannot be read.
    """
    state = resolve(options.settings, options.instance)
    found = look_for(state)
    if found is None or not S_ISDIR(found.st_mode):
        raise DirectoryError(
            f"state directory {state}: no such directory; has dcmirror watch run here "
            "under this --instance?"
        )
    gathered = gather(options, state)
    heading = Heading(
        instance=instance_name(options.settings, options.instance),
        host=socket.gethostname(),
        version=__version__,
        made_at=options.now,
        by=options.by,
        top=options.top,
        meanings=options.meanings,
    )
    if options.html is not None:
        _write_page(options, page(gathered, heading))
    if options.form is Form.JSON:
        print(as_json(gathered, heading))
    elif options.form is Form.CSV:
        print(as_csv(gathered, heading), end="")
    elif options.html is None:
        show(gathered, heading, sys.stdout)
    return ExitStatus.DONE


def _write_page(options: ReportOptions, text: str) -> None:
    assert options.html is not None
    write_whole(options.html, text)
    if options.verbosity >= 0:
        print(f"dcmirror: wrote {options.html}", file=sys.stderr)


def gather(options: ReportOptions, state: Path) -> Report:
    """Read everything once."""
    settings, dcache = options.settings, options.settings.dcache
    path_map = path_map_of(dcache)
    until = options.now if options.until is None else options.until
    query = Query(options.since, until, options.under, options.depth)
    zone: Zone = utc if options.utc else local
    gathered = Report(query, zone, path_map.relative)
    with CatalogueReader(state / "catalogue.db") as catalogue:
        for row in catalogue.copies():
            gathered.take_copy(*row)
        _take_deletions(gathered, catalogue)
        failed_csv = failures_path(settings, state)
        _take_rows(gathered, catalogue, failed_csv, path_map)
    # Steps tell nothing that is counted here, and go before what does.
    journal = JournalScan(
        state / "journal", ACTIONS, gathered.sources, options.since, Lane.STORY
    )
    for event in journal.documents():
        gathered.take_event(event)
    return gathered


def local(moment: float) -> datetime:
    """A time in this machine's zone, with the offset that it has then."""
    return datetime.fromtimestamp(moment).astimezone()


def _take_deletions(gathered: Report, catalogue: CatalogueReader) -> None:
    for path, size, intended_at, ended_at, error in catalogue.deletions():
        at = intended_at if ended_at is None else ended_at
        ended = ended_at is not None
        gathered.take_deletion(path, size, at, ended=ended, error=error)


def _take_rows(
    gathered: Report, catalogue: CatalogueReader, path: Path, path_map: PathMap
) -> None:
    """What remains; rows whose file is in the mirror meanwhile are counted apart."""
    remaining = gathered.remaining
    remaining.path = str(path)
    try:
        chosen = (row for row in scan(path) if gathered.take_row(row) and row)
        while rows := list(islice(chosen, _ROWS_PER_LOOK)):
            remaining.outranked += sum(_outranked(rows, catalogue, path_map))
    except (NotOursError, BooksError) as error:
        remaining.trouble = str(error)


def _outranked(
    rows: list[FailedRow], catalogue: CatalogueReader, path_map: PathMap
) -> Iterator[bool]:
    named = [(path_map.relative(row.path), row.pnfsid) for row in rows]
    relatives = {relative for relative, _ in named if relative}
    copies = catalogue.pnfsids(relatives) if relatives else {}
    for relative, pnfsid in named:
        yield relative in copies and pnfsid is not None and copies[relative] == pnfsid
