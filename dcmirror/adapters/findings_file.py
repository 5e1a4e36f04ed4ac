"""The database file of a reconcile's findings: opened, read in pages, written, removed.

A killed run goes on with it.  Losing it costs no more than another listing, so nothing
is synced; the pages themselves survive a kill.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from dcmirror.adapters.sqlite_files import books_errors, transaction

#: Rows that are read at a time.
PAGE = 1000
#: Names that stand in one query.
MOST_NAMES = 500
_TABLES = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)
    WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS findings (
    path TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    relative TEXT NOT NULL,
    size INTEGER,
    pnfsid TEXT,
    adler32 INTEGER,
    modified REAL,
    detail TEXT NOT NULL,
    outcome TEXT NOT NULL,
    directory TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS findings_of ON findings (directory);
CREATE TABLE IF NOT EXISTS strangers (
    relative TEXT PRIMARY KEY,
    size INTEGER NOT NULL,
    modified REAL NOT NULL,
    directory TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS strangers_of ON strangers (directory);
CREATE TABLE IF NOT EXISTS directories (
    path TEXT PRIMARY KEY, counts TEXT NOT NULL
) WITHOUT ROWID;
CREATE TEMP TABLE seen (
    directory TEXT NOT NULL, name TEXT NOT NULL, PRIMARY KEY (directory, name)
) WITHOUT ROWID;
CREATE TEMP TABLE failures (
    path TEXT PRIMARY KEY, class TEXT NOT NULL, pnfsid TEXT
) WITHOUT ROWID;
"""


class FindingsFile:
    """One connection for several threads.

    Every method raises BooksError when the database cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._database = self._open()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._path}>"

    def close(self) -> None:
        """Close it; what it knows stays."""
        with self._lock:
            self._database.close()

    def _open(self) -> sqlite3.Connection:
        try:
            return _connect(self._path)
        except sqlite3.DatabaseError:
            # Half written when the power went, or no database: it is only a spool.
            remove(self._path)
        with books_errors(self._path):
            return _connect(self._path)

    def _all(self, sql: str, values: Sequence[object] = ()) -> list[tuple]:  # type: ignore[type-arg]
        with self._lock, books_errors(self._path):
            return self._database.execute(sql, values).fetchall()

    def _stream(
        self, sql: str, key: str, values: tuple[object, ...]
    ) -> Iterator[tuple]:  # type: ignore[type-arg]
        """The rows without their first column, by which they are paged."""
        after = ""
        while True:
            page = f"{sql} WHERE {key} > ? ORDER BY {key} LIMIT ?"
            rows = self._all(page, (*values, after, PAGE))
            yield from (row[1:] for row in rows)
            if len(rows) < PAGE:
                return
            after = rows[-1][0]

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with (
            self._lock,
            books_errors(self._path),
            transaction(self._database) as database,
        ):
            yield database


def remove(path: Path) -> None:
    """Forget everything that a run has found."""
    for name in (path, path.with_name(f"{path.name}-journal")):
        with suppress(FileNotFoundError):
            name.unlink()


def _connect(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        database.execute("PRAGMA journal_mode = TRUNCATE")
        database.execute("PRAGMA synchronous = OFF")
        database.execute("PRAGMA temp_store = FILE")
        database.execute("PRAGMA cache_size = -4000")
        database.executescript(_TABLES)
    except BaseException:
        database.close()
        raise
    return database


def storable(text: str) -> str:
    """The text, with lone surrogates (not UTF-8) written as escapes."""
    if text.isascii():
        return text
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def chunks(names: Sequence[str]) -> Iterator[list[str]]:
    """Names as they are stored, so many as a query takes."""
    for start in range(0, len(names), MOST_NAMES):
        yield [storable(name) for name in names[start : start + MOST_NAMES]]
