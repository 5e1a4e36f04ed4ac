"""Reads the catalogue for reports: page by page, without holding up who writes it.

Makes nothing and changes nothing, so that a user who may only read can ask too.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Self

from dcmirror.adapters.catalogue_schema import VERSION
from dcmirror.adapters.sqlite_files import books_errors
from dcmirror.adapters.whereabouts import look_for
from dcmirror.errors import BooksError

_BUSY_SECONDS = 10.0
_PAGE = 2000

# relative, path, size, verified, copied_at, event_time
CopyRow = tuple[str, str, int, int, float, float | None]
# path, size, intended_at, ended_at, error
DeletionRow = tuple[str, int | None, float, float | None, str | None]


class CatalogueReader:
    """A connection that only reads; a missing file has no rows.

    Every method raises BooksError when the database cannot be read.
    """

    def __init__(
        self, path: Path, page: int = _PAGE, busy_seconds: float = _BUSY_SECONDS
    ) -> None:
        self._path = path
        self._page = page
        self._connection: sqlite3.Connection | None = None
        if look_for(path) is not None:
            with books_errors(self._path):
                self._connection = self._open(busy_seconds)

    def __repr__(self) -> str:
        return f"<CatalogueReader {self._path}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *args: object) -> None:
        if self._connection is not None:
            self._connection.close()

    def copies(self) -> Iterator[CopyRow]:
        """Every copy, by its path below the mirror."""
        after = ""
        while True:
            rows = self._rows(
                "SELECT relative, path, size, verified, copied_at, event_time "
                "FROM copies WHERE relative > ? ORDER BY relative LIMIT ?",
                (after, self._page),
            )
            yield from rows
            if len(rows) < self._page:
                return
            after = rows[-1][0]

    def deletions(self) -> Iterator[DeletionRow]:
        """Every deletion of a source that was ours, the oldest intent first."""
        after = 0
        while True:
            rows = self._rows(
                "SELECT rowid, path, size, intended_at, ended_at, error "
                "FROM deletions WHERE rowid > ? "
                "AND result IS NOT 'already-gone' ORDER BY rowid LIMIT ?",
                (after, self._page),
            )
            for row in rows:
                yield row[1:]
            if len(rows) < self._page:
                return
            after = rows[-1][0]

    def pnfsids(self, relatives: Collection[str]) -> dict[str, str | None]:
        """Whose copies these paths below the mirror are, as far as there are any."""
        marks = ",".join("?" * len(relatives))
        sql = f"SELECT relative, pnfsid FROM copies WHERE relative IN ({marks})"
        return dict(self._rows(sql, tuple(relatives)))

    def _rows(self, sql: str, values: tuple[object, ...]) -> list[Any]:
        """All rows at once: nobody may wait for us between two pages."""
        if self._connection is None:
            return []
        with books_errors(self._path), closing(self._connection.cursor()) as cursor:
            return cursor.execute(sql, values).fetchall()

    def _open(self, busy_seconds: float) -> sqlite3.Connection:
        # rw makes no file, can undo what a killed writer left half done, and becomes
        # read-only by itself where we may not write.
        uri = f"{self._path.absolute().as_uri()}?mode=rw"
        connection = sqlite3.connect(
            uri, timeout=busy_seconds, isolation_level=None, uri=True
        )
        try:
            connection.execute("PRAGMA query_only = ON")
            version = connection.execute("PRAGMA user_version").fetchone()[0]
        except BaseException:
            connection.close()
            raise
        if version > VERSION:
            connection.close()
            raise BooksError(
                f"{self._path}: schema version {version} is newer than this dcmirror "
                f"knows ({VERSION})"
            )
        if version == 0:  # just being made: no tables yet
            connection.close()
            return None  # type: ignore[return-value]
        return connection
