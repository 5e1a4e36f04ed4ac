"""A report as tables of words: what the terminal shows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from dcmirror.core.escapes import shown
from dcmirror.core.histogram import ACCURACY, LogHistogram
from dcmirror.core.report import Report
from dcmirror.core.report_figures import Figures
from dcmirror.core.report_groups import OTHERS, Step
from dcmirror.core.report_words import (
    NOTHING,
    PHASES,
    SKIPS,
    number,
    plural,
    rate,
    share,
    size,
    span,
)


class By(StrEnum):
    """What the main table has a row for."""

    HOUR = "hour"
    DAY = "day"
    DIRECTORY = "directory"
    DOOR = "door"
    CLASS = "class"


@dataclass(frozen=True, slots=True)
class Heading:
    """What a report says of itself."""

    instance: str
    host: str
    version: str
    made_at: float
    by: By = By.DAY
    top: int = 20
    meanings: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of words; the first column is a name, ``texts`` more at the end are too."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    texts: int = 0

    def is_text(self, column: int) -> bool:
        """Whether a column is of words rather than numbers."""
        return column == 0 or column >= len(self.columns) - self.texts


def groups_of(report: Report, by: By, top: int) -> list[tuple[str, Figures]]:
    """The groups of the main table, by label; none for classes."""
    if by in (By.HOUR, By.DAY):
        return list(report.times.grouped(Step(by.value)).items())
    if by is By.DIRECTORY:
        return report.directories.top(top)
    return report.doors.top(top) if by is By.DOOR else []


def tables(report: Report, heading: Heading) -> list[Table]:
    """Everything, in reading order; tables without rows are left out."""
    found = [
        _summary(report),
        _main(report, heading),
        _distributions(report),
        classes(report, heading.meanings or {}) if heading.by is not By.CLASS else None,
        skips(report),
        holds(report),
    ]
    return [each for each in found if each is not None and each.rows]


def period(report: Report) -> str:
    """From when to when, in the report's zone."""
    since, until = report.query.since, report.query.until
    begin = report.first_copy if since is None else since
    first = "the beginning" if begin is None else moment(report, begin)
    last = "now" if until is None else moment(report, until)
    return f"{first} to {last}"


def moment(report: Report, at: float) -> str:
    """A time with its offset."""
    return report.zone(at).isoformat(sep=" ", timespec="minutes")


def notes(report: Report) -> list[str]:
    """What a reader must know to trust the figures."""
    sources, remaining = report.sources, report.remaining
    found = []
    if sources.reaches_from is None:
        found.append(
            "The journal is empty: there is nothing on retries, failures, skips and "
            "throughput."
        )
    elif not report.is_covered:
        found.append(
            f"The journal reaches back to {moment(report, sources.reaches_from)} only: "
            "retries, failures, skips and throughput before that are not known. "
            "Files, bytes and delay are whole."
        )
    for count, noun, what in (
        (sources.missed, "journal segment", "not readable, or removed meanwhile"),
        (sources.dropped, "journal line", "never written, for want of space"),
        (sources.spoiled, "journal line", "spoiled, with a wrong checksum"),
        (sources.odd, "journal line", "no event that this dcmirror knows"),
        (remaining.torn, "line of failed.csv", "no whole row"),
    ):
        if count:
            many = "lines of failed.csv" if "failed" in noun else None
            found.append(f"{plural(count, noun, many)}: {what}.")
    if remaining.trouble:
        found.append(f"failed.csv is left out: {shown(remaining.trouble)}")
    return found


def classes(report: Report, meanings: Mapping[str, str]) -> Table:
    """One row for each failure class that occurred."""
    failures, retried = report.total().failures, report.work.retried
    left = report.remaining.classes
    names = sorted(
        failures.keys() | retried.keys() | left.keys(),
        key=lambda name: (-failures[name], -left[name], -retried[name], name),
    )
    rows = tuple(
        (
            shown(name),
            number(failures[name]),
            number(left[name]),
            number(retried[name]),
            meanings.get(name, ""),
        )
        for name in names
    )
    columns = ("class", "failed", "still in failed.csv", "retries", "what it means")
    return Table("Failures by class", columns, rows, texts=1)


def skips(report: Report) -> Table:
    """One row for each reason not to copy."""
    rows = tuple(
        (shown(reason), number(count), SKIPS.get(reason, ""))
        for reason, count in report.work.skips.most_common()
    )
    return Table("Skipped", ("reason", "events", "what it means"), rows, texts=1)


def holds(report: Report) -> Table:
    """One row for each kind of cause that work waited for."""
    rows = tuple(
        (shown(kind), number(held.count), span(held.seconds))
        for kind, held in sorted(report.work.holds.items())
    )
    return Table("Holds that ended", ("cause", "times", "together"), rows)


def _summary(report: Report) -> Table:
    total, work = report.total(), report.work
    remaining, deleted = report.remaining, report.deleted
    proved = share(total.files - total.unproved, total.files)
    rows = [
        ("files mirrored", number(total.files), "the catalogue's current copies"),
        ("bytes", number(total.bytes), size(total.bytes)),
        ("checksum proved", number(total.files - total.unproved), proved),
        ("copies done", number(total.copies), f"{size(total.copied_bytes)} copied"),
        ("adopted", number(total.adopted), "found right in the mirror, not copied"),
        ("retries", number(total.retries), "attempts that failed and were repeated"),
        ("failed", number(total.failed), f"{share(total.failed, total.jobs)} of jobs"),
        ("still in failed.csv", number(remaining.in_period), _left(report)),
        ("skipped", number(total.skipped), "events and jobs that needed no copy"),
        ("sources deleted", number(deleted.files), size(deleted.bytes)),
    ]
    if deleted.failed or deleted.unfinished:
        trouble = deleted.failed + deleted.unfinished
        rows.append(("deletions not done", number(trouble), "failed or unfinished"))
    if work.requests and total.copies:
        each = f"{work.requests / total.copies:.2f} for each copy"
        rows.append(("requests to the source", number(work.requests), each))
    if work.garbage:
        rows.append(("rejected records", number(work.garbage), "no dCache events"))
    return Table("Summary", ("", "count", ""), tuple(rows), texts=1)


def _left(report: Report) -> str:
    remaining = report.remaining
    parts = []
    if remaining.outranked:
        parts.append(f"{number(remaining.outranked)} of them in the mirror meanwhile")
    others = remaining.rows - remaining.in_period
    if others:
        parts.append(f"and {number(others)} from other times")
    return ", ".join(parts) or "failed in this period and not replayed"


def _main(report: Report, heading: Heading) -> Table:
    if heading.by is By.CLASS:
        return classes(report, heading.meanings or {})
    groups = groups_of(report, heading.by, heading.top)
    columns = COLUMNS if heading.by is not By.DOOR else DOOR_COLUMNS
    rows = tuple(
        (shown(label), *(cell(figures) for cell in columns.values()))
        for label, figures in groups
    )
    label = heading.by.value
    if rows and rows[-1][0] == OTHERS:
        count = report.directories if heading.by is By.DIRECTORY else report.doors
        rows = (*rows[:-1], (f"{number(count.others_count)} others", *rows[-1][1:]))
    return Table(f"By {label}", (label, *columns), rows)


def _percentile(
    values: Callable[[Figures], LogHistogram],
    percent: float,
    words: Callable[[float | None], str],
) -> Callable[[Figures], str]:
    return lambda figures: words(values(figures).percentile(percent))


_JOURNAL: dict[str, Callable[[Figures], str]] = {
    "retries": lambda f: number(f.retries),
    "failed": lambda f: number(f.failed),
    "skipped": lambda f: number(f.skipped),
    "rate p50": _percentile(lambda f: f.throughput, 50, rate),
}
COLUMNS: dict[str, Callable[[Figures], str]] = {
    "files": lambda f: number(f.files),
    "bytes": lambda f: size(f.bytes),
    "delay p50": _percentile(lambda f: f.delay, 50, span),
    "p95": _percentile(lambda f: f.delay, 95, span),
    "p99": _percentile(lambda f: f.delay, 99, span),
    "copies": lambda f: number(f.copies),
    **_JOURNAL,
}
DOOR_COLUMNS: dict[str, Callable[[Figures], str]] = {
    "copies": lambda f: number(f.copies),
    "bytes copied": lambda f: size(f.copied_bytes),
    **_JOURNAL,
}


def distributions(report: Report) -> Iterable[tuple[str, LogHistogram, str]]:
    """Name, values and kind (span or rate) of everything that is measured."""
    total, work = report.total(), report.work
    yield "delay, event to copy", total.delay, "span"
    yield "throughput of a file", total.throughput, "rate"
    yield "one copy", work.duration, "span"
    for name, words in PHASES.items():
        if name in work.phases:
            yield f"  {words}", work.phases[name], "span"


def _distributions(report: Report) -> Table:
    words = {"span": span, "rate": rate}
    rows = []
    for name, values, kind in distributions(report):
        if values.count:
            found = values.percentiles()
            told = (found.p5, found.p50, found.p95, found.p99, found.largest)
            rows.append((name, *map(words[kind], told), number(values.count)))
    columns = ("", "p5", "p50", "p95", "p99", "largest", "of")
    return Table(f"Percentiles (within {ACCURACY:.0%})", columns, tuple(rows))


def plain(table: Table) -> list[str]:
    """A table as aligned lines of text."""
    lines = (table.columns, *table.rows)
    widths = [max(len(line[n]) for line in lines) for n in range(len(table.columns))]
    return [_aligned(table, line, widths) for line in lines if any(line)]


def _aligned(table: Table, line: Sequence[str], widths: Sequence[int]) -> str:
    cells = (
        cell.ljust(width) if table.is_text(n) else cell.rjust(width)
        for n, (cell, width) in enumerate(zip(line, widths, strict=True))
    )
    return "  ".join(cells).rstrip()


__all__ = [
    "NOTHING",
    "By",
    "Heading",
    "Table",
    "classes",
    "distributions",
    "groups_of",
    "holds",
    "moment",
    "notes",
    "period",
    "plain",
    "skips",
    "tables",
]
