"""Reads failed.csv once, row by row, without its lock: for reports.

A rewrite replaces the file, so that an open one stays as it was; an append that is not
finished yet shows as a last line without its end.  Nobody has to wait, and who may only
read can read.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from dcmirror.core.failed_rows import FailedRow, NotOursError, parse_header, parse_row
from dcmirror.errors import BooksError

_LONGEST_LINE = 4 * 1024 * 1024


def scan(path: Path) -> Iterator[FailedRow | None]:
    """Each row, None for a line that is none; a missing file has none.

    Raises:
        NotOursError: the file is not ours.
        BooksError: it cannot be read.
    """
    try:
        with open(path, "rb") as file:
            header = file.readline(_LONGEST_LINE)
            if not header.endswith(b"\n"):
                return
            columns = _columns(path, header)
            while line := file.readline(_LONGEST_LINE):
                if not line.endswith(b"\n") and len(line) < _LONGEST_LINE:
                    return
                if line.strip():
                    yield _row(line, columns)
    except FileNotFoundError:
        return
    except OSError as exc:
        raise BooksError(f"{path}: {exc.strerror or exc}") from exc


def _columns(path: Path, header: bytes) -> tuple[str, ...]:
    try:
        return parse_header(header.decode().rstrip("\r\n"))
    except UnicodeDecodeError:
        raise NotOursError(f"{path}:1: not a text file in UTF-8") from None
    except NotOursError as exc:
        raise NotOursError(f"{path}:1: {exc}") from None


def _row(line: bytes, columns: tuple[str, ...]) -> FailedRow | None:
    try:
        return parse_row(line.decode().rstrip("\r\n"), columns)
    except UnicodeDecodeError:
        return None
