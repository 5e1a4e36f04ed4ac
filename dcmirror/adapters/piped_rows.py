"""failed.csv from a pipe into a pipe: read once, changed in memory, written once."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import TextIO

from dcmirror.core.failed_rows import (
    COLUMNS,
    FailedRow,
    Key,
    NotOursError,
    format_line,
    format_row,
    parse_header,
    parse_row,
)


class PipedRows:
    """The rows that ``lines`` (bytes, as a binary file gives them) hold.

    Nothing appends to a pipe while a replay runs, so a line that is no whole row was
    cut off or edited: better said before anything is done than guessed.

    Raises:
        NotOursError: it is no list of failures; names the line.
    """

    def __init__(self, lines: Iterable[bytes], name: str = "standard input") -> None:
        self.path = name
        self._columns = COLUMNS
        self._rows = self._read(lines)

    def __repr__(self) -> str:
        return f"<PipedRows {self.path} rows={len(self._rows)}>"

    def _read(self, lines: Iterable[bytes]) -> list[FailedRow]:
        rows: list[FailedRow] = []
        for number, line in enumerate(lines, start=1):
            text = self._text(line, number)
            if number == 1:
                self._columns = self._header(text)
            elif text:
                rows.append(self._row(text, number))
        return rows

    def _text(self, line: bytes, number: int) -> str:
        try:
            return line.decode().rstrip("\r\n")
        except UnicodeDecodeError:
            raise NotOursError(
                f"{self.path}:{number}: not a text file in UTF-8"
            ) from None

    def _header(self, text: str) -> tuple[str, ...]:
        try:
            return parse_header(text)
        except NotOursError as exc:
            raise NotOursError(f"{self.path}:1: {exc}") from None

    def _row(self, text: str, number: int) -> FailedRow:
        row = parse_row(text, self._columns)
        if row is None:
            raise NotOursError(f"{self.path}:{number}: not a whole row of failed.csv")
        return row

    def read(self) -> tuple[list[FailedRow], int]:
        """The rows that remain; none of them is torn."""
        return list(self._rows), 0

    def rewrite(self, drop: Collection[Key], change: Mapping[Key, FailedRow]) -> None:
        """Take rows out and put changed ones in, as ``FailedCsv.rewrite`` does."""
        unwritten = dict(change)
        left = []
        for row in self._rows:
            changed = unwritten.pop(row.key, None)
            if changed is not None:
                left.append(replace(changed, extra=row.extra | changed.extra))
            elif row.key not in drop and row.key not in change:
                left.append(row)
        self._rows = [*left, *unwritten.values()]

    def write(self, out: TextIO) -> None:
        """What remains, with its header."""
        columns = self._columns if len(self._columns) > len(COLUMNS) else COLUMNS
        out.write(format_line(columns))
        out.writelines(format_row(row, columns) for row in self._rows)
        out.flush()
