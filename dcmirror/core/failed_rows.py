"""Rows of failed.csv: their columns, and how a row becomes one line and a line a row.

RFC 4180 quoting, lines that end in a newline alone.  Control characters and backslashes
are written as escapes, so that a row is one line whatever a path or an error contains.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any

from dcmirror.core.escapes import kept, restored, without_secrets
from dcmirror.errors import ConfigError

# A longer path cannot exist; a cell of csv ends at 131072 characters.
_CELL_CHARACTERS = 16384

Key = tuple[str, str, str | None]


class NotOursError(ConfigError):
    """A file at failed.csv's place that dcmirror did not write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedRow:
    """One file that could not be copied; the fields are the columns, in their order.

    Times are seconds since the epoch, checksums unsigned 32-bit integers, ``url`` has
    no query, ``path`` is the namespace path as in the event.  ``extra`` holds the
    columns of a later version, by name.
    """

    time: float
    task: str
    path: str
    url: str
    destination: str = ""
    failure_class: str
    error: str
    http_status: int | None = None
    curl_code: int | None = None
    attempts: int = 1
    size: int | None = None
    received: int | None = None
    adler32_expected: int | None = None
    adler32_computed: int | None = None
    pnfsid: str | None = None
    door: str | None = None
    pool: str | None = None
    topic: str | None = None
    partition: int | None = None
    offset: int | None = None
    event_time: float | None = None
    extra: dict[str, str] = field(default_factory=dict)

    @property
    def key(self) -> Key:
        """What replay knows a row by."""
        return (self.task, self.path, self.pnfsid)


_RENAMED = {"failure_class": "class"}
_FIELDS = tuple(f.name for f in fields(FailedRow) if f.name != "extra")

COLUMNS = tuple(_RENAMED.get(name, name) for name in _FIELDS)
_FIELD_OF = dict(zip(COLUMNS, _FIELDS, strict=True))


def format_line(cells: Iterable[str]) -> str:
    """Cells as one line of CSV, with its newline."""
    return str(_WRITER.writerow(cells))


class _Echo:
    """What csv writes to; ``writerow`` returns what ``write`` returns."""

    def write(self, text: str) -> str:
        return text


_WRITER = csv.writer(_Echo(), lineterminator="\n")
HEADER = format_line(COLUMNS)


def format_row(row: FailedRow, columns: tuple[str, ...] = COLUMNS) -> str:
    """A row as one line under this header."""
    return format_line(_cell(row, column) for column in columns)


def document(row: FailedRow) -> dict[str, Any]:
    """A row for JSON, by its columns; times and checksums as in the file."""
    values = {}
    for column in (*COLUMNS, *row.extra):
        name = _FIELD_OF.get(column)
        value = row.extra[column] if name is None else getattr(row, name)
        known = value is not None and name in _WRITERS
        values[column] = _WRITERS[name](value) if known else value
    return values


def parse_header(line: str) -> tuple[str, ...]:
    """The columns that a header names.

    Ours begin a later version's, and an earlier version's begin ours.

    Raises:
        NotOursError: it is no header of any version.
    """
    columns = tuple(split_line(line.removeprefix("\ufeff")) or ("",))
    for number, (found, expected) in enumerate(
        zip(columns, COLUMNS, strict=False), start=1
    ):
        if found != expected:
            raise NotOursError(
                f"not a list of failed files: column {number} is {found[:40]!r}, "
                f"expected {expected!r}"
            )
    return columns


def parse_row(line: str, columns: tuple[str, ...]) -> FailedRow | None:
    """The row of a line; None for one that is cut off or not a row at all."""
    cells = split_line(line)
    if cells is None or len(cells) != len(columns):
        return None
    values: dict[str, Any] = {"extra": {}}
    try:
        for column, cell in zip(columns, cells, strict=True):
            name = _FIELD_OF.get(column)
            if name is None:
                values["extra"][column] = restored(cell)
            elif cell or name in _TEXTS:
                values[name] = _READERS.get(name, restored)(cell)
        return FailedRow(**values)
    except (ValueError, TypeError, OverflowError):
        return None


def split_line(line: str) -> list[str] | None:
    """The cells of a line of CSV, escapes and all; None if its quotes are wrong."""
    try:
        return next(csv.reader([line], strict=True), None)
    except csv.Error:
        return None


def _cell(row: FailedRow, column: str) -> str:
    name = _FIELD_OF.get(column)
    value = row.extra.get(column, "") if name is None else getattr(row, name)
    if value is None:
        return ""
    text = _WRITERS[name](value) if name in _WRITERS else str(value)
    return kept(text[:_CELL_CHARACTERS])


def _without_query(url: str) -> str:
    """A query can hold a token; replay makes the URL anew anyway."""
    return url.partition("?")[0]


def _time_text(seconds: float) -> str:
    try:
        moment = datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return ""  # an event's own idea of time may be absurd
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _time_value(text: str) -> float:
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _checksum_text(value: int) -> str:
    return f"{value:08x}"


def count_of(text: str | float, base: int = 10) -> int:
    """A count as every book of ours can hold it.

    Raises:
        ValueError, TypeError, OverflowError: it is none.
    """
    number = int(text, base) if isinstance(text, str) else int(text)
    if not 0 <= number < 1 << 63:
        raise ValueError(text)
    return number


def _checksum_value(text: str) -> int:
    return count_of(text, 16)


_TIMES = ("time", "event_time")
_CHECKSUMS = ("adler32_expected", "adler32_computed")
_NUMBERS = (
    "http_status",
    "curl_code",
    "attempts",
    "size",
    "received",
    "partition",
    "offset",
)
_TEXTS = frozenset(("task", "path", "url", "destination", "failure_class", "error"))

_WRITERS: dict[str | None, Callable[[Any], str]] = {
    "error": without_secrets,
    "url": _without_query,
    **dict.fromkeys(_TIMES, _time_text),
    **dict.fromkeys(_CHECKSUMS, _checksum_text),
}
_READERS: dict[str, Callable[[str], Any]] = {
    **dict.fromkeys(_TIMES, _time_value),
    **dict.fromkeys(_CHECKSUMS, _checksum_value),
    **dict.fromkeys(_NUMBERS, count_of),
}
