"""What the catalogue knows of source directories that cleanup removed."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass

from dcmirror.adapters.catalogue import Catalogue

_SEEN = "cleanup.pruned_up_to"
_PAGE = 2000


@dataclass(frozen=True, slots=True)
class PruneIntent:
    """A directory that was to be removed, and what it was to be renamed to."""

    number: int
    path: str
    isolated: str
    intended_at: float


class PrunedBook(Catalogue):
    """The catalogue as pruning uses it.  Every method may raise BooksError."""

    def emptied(self) -> tuple[dict[str, int], int]:
        """Directories that sources were deleted from since the last ``seen_up_to``.

        Each with the number of its first deletion; and the last number of all.  For
        one that was removed since, the one above, which that may have emptied.
        """
        number, found = int(self.fact(_SEEN) or 0), dict[str, int]()
        gone = self.removed()
        while True:
            with self._reading() as database:
                rows = database.execute(
                    "SELECT rowid, path, ended_at FROM deletions WHERE rowid > ? "
                    "AND result = 'deleted' ORDER BY rowid LIMIT ?",
                    (number, _PAGE),
                ).fetchall()
            for each, path, at in rows:
                directory = path.rpartition("/")[0]
                while at <= gone.get(directory, -math.inf):
                    directory = directory.rpartition("/")[0]
                found.setdefault(directory, each)
            number = rows[-1][0] if rows else number
            if len(rows) < _PAGE:
                return found, number

    def seen_up_to(self, number: int) -> None:
        """All that ``emptied`` found up to this number was looked at."""
        self.remember(_SEEN, str(number))

    def intend(self, path: str, isolated: str, at: float) -> PruneIntent:
        """Make an intent durable."""
        with self._writing() as database:
            number = database.execute(
                "INSERT INTO pruned (path, isolated, intended_at) VALUES (?, ?, ?)",
                (path, isolated, at),
            ).lastrowid
        assert number is not None
        return PruneIntent(number, path, isolated, at)

    def conclude(self, intent: PruneIntent, result: str, error: str, at: float) -> None:
        """Make a result durable."""
        with self._writing() as database:
            database.execute(
                "UPDATE pruned SET ended_at = ?, result = ?, error = ? WHERE rowid = ?",
                (at, result, error or None, intent.number),
            )

    def unfinished(self) -> Iterator[PruneIntent]:
        """Intents without a result."""
        with self._reading() as database:
            rows = database.execute(
                "SELECT rowid, path, isolated, intended_at FROM pruned "
                "WHERE ended_at IS NULL"
            ).fetchall()
        return (PruneIntent(*row) for row in rows)

    def removed(self) -> dict[str, float]:
        """When directories were removed, the last time of each."""
        with self._reading() as database:
            return removed(database)


def removed(database: sqlite3.Connection) -> dict[str, float]:
    """As ``PrunedBook.removed``, on an open connection."""
    rows = database.execute(
        "SELECT path, max(ended_at) FROM pruned WHERE result = 'removed' GROUP BY path"
    )
    return dict(rows.fetchall())
