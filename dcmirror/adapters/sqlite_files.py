"""What our SQLite files have in common: transactions, and errors in our words."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dcmirror.errors import BooksError


@contextmanager
def books_errors(path: Path | str) -> Iterator[None]:
    """Tell what SQLite says of the file, or of its disk, as a BooksError."""
    try:
        yield
    except sqlite3.ProgrammingError:
        raise  # a mistake of ours, not a state of the disk
    except sqlite3.Error as exc:
        raise BooksError(f"{path}: {exc}") from exc


@contextmanager
def transaction(
    database: sqlite3.Connection, begin: str = "BEGIN"
) -> Iterator[sqlite3.Connection]:
    """All of it, or nothing."""
    database.execute(begin)
    try:
        yield database
    except BaseException:
        database.rollback()
        raise
    database.execute("COMMIT")
