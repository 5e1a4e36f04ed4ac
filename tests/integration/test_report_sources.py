"""What a report reads: while it is written, pruned, torn and spoiled."""

from __future__ import annotations

import os
import sqlite3
import tracemalloc
from contextlib import closing
from pathlib import Path

import pytest

from dcmirror import config
from dcmirror.adapters.catalogue import Catalogue, SettleBatch
from dcmirror.adapters.catalogue_reading import CatalogueReader
from dcmirror.adapters.failed_csv_scan import scan
from dcmirror.adapters.journal_scan import JournalScan
from dcmirror.adapters.segments import lane_writer, seal, segment_name
from dcmirror.commands.report import ReportOptions, gather
from dcmirror.core.failed_rows import HEADER, NotOursError
from dcmirror.core.jobs import CopyRecord
from dcmirror.core.journal_values import Lane
from dcmirror.core.report import ACTIONS, Report
from dcmirror.core.report_figures import Sources
from dcmirror.core.report_groups import Step
from dcmirror.errors import BooksError
from report_books import BEGAN, DAY, Books, Plan, make_books

OLD, NEW = "20260101T000000Z-00000000000000aa", "20260201T000000Z-00000000000000bb"


def line(action: str = "transfer-finished", day: int = 1) -> bytes:
    return seal(
        f'{{"@timestamp":"2026-01-{day:02d}T00:00:00.000Z",'
        f'"event":{{"action":"{action}"}},"message":"a \\"action\\":\\"note\\" b"}}'
    )


def write(directory: Path, writer: str, number: int, *lines: bytes) -> Path:
    path = directory / segment_name(writer, number)
    path.write_bytes(b"".join(lines))
    return path


def scanned(directory: Path, **options: float) -> tuple[int, Sources]:
    sources = Sources()
    journal = JournalScan(directory, ACTIONS, sources, **options)
    return sum(1 for _ in journal.documents()), sources


def gathered(books: Books, **over: object) -> Report:
    settings = config.load(books.config, {})
    options = ReportOptions(settings=settings, now=BEGAN + 90 * DAY, **over)  # type: ignore[arg-type]
    return gather(options, books.state)


@pytest.fixture(scope="module")
def books(tmp_path_factory: pytest.TempPathFactory) -> Books:
    return make_books(tmp_path_factory.mktemp("books"), Plan(files=1500, fail=0.05))


def test_only_wanted_whole_lines_are_given_and_all_are_counted(tmp_path: Path) -> None:
    spoiled = line().replace(b"2026-01", b"2027-01")
    torn = line()[:-9]
    write(tmp_path, OLD, 1, line(), line("note"), spoiled, b"rubbish\n", line(), torn)
    found, sources = scanned(tmp_path)

    assert (2, 2) == (found, sources.spoiled)


def test_a_whole_journal_reaches_to_its_first_line(tmp_path: Path) -> None:
    write(tmp_path, OLD, 1, line(day=3))
    write(tmp_path, NEW, 1, line(day=5))
    _, sources = scanned(tmp_path)

    assert 1_767_398_400 == sources.reaches_from


def test_a_journal_reaches_to_what_follows_its_last_hole(tmp_path: Path) -> None:
    write(tmp_path, OLD, 1, line(day=3))
    write(tmp_path, OLD, 3, line(day=9))
    _, sources = scanned(tmp_path)

    assert 1_767_916_800 == sources.reaches_from


def test_a_segment_that_goes_while_we_read_is_counted_and_makes_a_hole(
    tmp_path: Path,
) -> None:
    write(tmp_path, OLD, 1, line(day=3))
    second = write(tmp_path, OLD, 2, line(day=4))
    write(tmp_path, OLD, 3, line(day=5))
    sources = Sources()
    documents = JournalScan(tmp_path, ACTIONS, sources).documents()
    next(documents)
    second.unlink()

    assert 1 == len(list(documents))
    assert (1, 1_767_571_200) == (sources.missed, sources.reaches_from)


def test_a_segment_that_cannot_be_read_is_counted_and_makes_a_hole(
    tmp_path: Path,
) -> None:
    """The last one too: the journal is whole again when that was last written."""
    write(tmp_path, OLD, 1, line(day=3))
    unreadable = tmp_path / segment_name(OLD, 2)
    unreadable.mkdir()
    os.utime(unreadable, (1_768_000_000, 1_768_000_000))
    write(tmp_path, NEW, 1, line(day=5))
    found, sources = scanned(tmp_path)

    assert (2, 1) == (found, sources.missed)
    assert 1_768_000_000 == sources.reaches_from


def test_steps_that_made_room_make_no_figure_unknown(tmp_path: Path) -> None:
    """None of them is counted, and they are given up before anything that is."""
    books = make_books(tmp_path, Plan(files=20))
    before = gathered(books).sources
    steps = lane_writer(OLD, Lane.STEPS)
    late = line("transfer-step", day=28)
    write(books.state / "journal", steps, 2, late)

    assert before == gathered(books).sources


def test_segments_that_ended_before_the_period_are_not_read(tmp_path: Path) -> None:
    old = write(tmp_path, OLD, 1, line())
    os.utime(old, (1e9, 1e9))
    write(tmp_path, OLD, 2, line())

    assert 1 == scanned(tmp_path, since=1.7e9)[0]


def test_totals_are_the_catalogues_sums_to_the_byte(books: Books) -> None:
    since, until = BEGAN + 5 * DAY, BEGAN + 30 * DAY
    report = gathered(books, since=since, until=until)
    with closing(sqlite3.connect(books.state / "catalogue.db")) as database:
        expected = database.execute(
            "SELECT count(*), sum(size) FROM copies "
            "WHERE copied_at >= ? AND copied_at < ?",
            (since, until),
        ).fetchone()
    directories = report.directories.top(500)

    assert expected == (report.total().files, report.total().bytes)
    assert expected[1] == sum(figures.bytes for _, figures in directories)
    assert expected[1] == sum(
        f.bytes for _, f in report.times.grouped(Step.DAY).items()
    )


def test_the_journals_figures_are_what_happened(books: Books) -> None:
    report = gathered(books)
    total = report.total()

    assert (books.copies, books.copied_bytes) == (total.copies, total.copied_bytes)
    assert (books.failures, books.skips) == (total.failures, report.work.skips)
    assert (books.retries, books.lines) == (total.retries, report.sources.lines)
    assert (0, 0) == (report.sources.odd, report.sources.spoiled)
    assert report.is_covered


def test_percentiles_of_delay_are_within_one_percent(books: Books) -> None:
    with closing(sqlite3.connect(books.state / "catalogue.db")) as database:
        rows = database.execute("SELECT copied_at - event_time FROM copies")
        delays = sorted(delay for (delay,) in rows)
    found = gathered(books).total().delay.percentile(95)

    assert delays[-(-len(delays) * 95 // 100) - 1] == pytest.approx(found, rel=0.0101)


def test_memory_does_not_grow_with_the_number_of_files(tmp_path: Path) -> None:
    """Ten times the files over the same weeks: the groups are the same."""
    peaks = []
    for files in (1000, 10_000):
        plan = Plan(files=files, days=20, steps=False)
        books = make_books(tmp_path / str(files), plan)
        tracemalloc.start()
        gathered(books)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()

    assert peaks[1] < peaks[0] + 8_000_000


def test_pages_hold_no_transaction_and_see_what_is_written_meanwhile(
    tmp_path: Path,
) -> None:
    catalogue = Catalogue(tmp_path / "catalogue.db", busy_seconds=0.1)

    def settle(*names: str) -> None:
        copies = (CopyRecord(n, f"/p/{n}", n, 1, 1, True, 1, 1.0) for n in names)
        catalogue.settle(SettleBatch(copies=tuple(copies)))

    settle("a", "b", "c")
    with CatalogueReader(tmp_path / "catalogue.db", page=2) as reader:
        rows = reader.copies()
        first = next(rows)
        settle("d")

        assert ["b", "c", "d"] == [row[0] for row in rows]
    assert "a" == first[0]
    catalogue.close()


def test_reading_makes_and_changes_nothing(tmp_path: Path) -> None:
    with CatalogueReader(tmp_path / "catalogue.db") as reader:
        assert [] == list(reader.copies())
    assert [] == list(scan(tmp_path / "failed.csv"))
    assert [] == list(tmp_path.iterdir())


def test_a_file_that_is_no_catalogue_is_told(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.db"
    path.write_bytes(b"not a database " * 100)

    with pytest.raises(BooksError, match=r"catalogue\.db"):
        CatalogueReader(path)


def test_failed_rows_come_without_the_lock_and_a_torn_end_is_not_read(
    tmp_path: Path,
) -> None:
    path = tmp_path / "failed.csv"
    path.write_text(HEADER + "too,few\n" + "2026-01-01T00:00:00Z,half a r")

    assert [None] == list(scan(path))
    assert ["failed.csv"] == [each.name for each in tmp_path.iterdir()]


def test_a_list_that_is_not_ours_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "failed.csv"
    path.write_text("name,age\nx,1\n")

    with pytest.raises(NotOursError, match=r"failed\.csv:1"):
        list(scan(path))
