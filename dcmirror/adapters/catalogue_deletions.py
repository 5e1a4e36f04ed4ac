"""What the catalogue knows of deletions: candidates, intents, results, for ever.

``dcmirror cleanup`` alone writes here.  The order is: an intent is durable before the
door is asked to change anything, its result and ``copies.source_deleted_at`` together
in one transaction afterwards.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dcmirror.adapters import catalogue_pruned
from dcmirror.adapters.catalogue import COPY_COLUMNS, Catalogue, copy_of, storable
from dcmirror.core.deletion import ENDS, Result
from dcmirror.core.jobs import CopyRecord

_PAGE = 2000

_INTENT_COLUMNS = (
    "rowid, relative, path, pnfsid, size, adler32, intended_at, ended_at, result, "
    "error, isolated, look_until, copy"
)


@dataclass(frozen=True, slots=True)
class Intent:
    """One row of ``deletions``: what was to be deleted, and what came of it.

    ``isolated`` is the namespace path that the source was to be renamed to first, None
    where it was to be deleted under its own.  ``copy`` is the copy's file.
    ``look_until``: an answer never came, so that the door may still carry the request
    out; until then each run looks whether it has.
    """

    number: int
    relative: str
    path: str
    pnfsid: str | None
    size: int
    adler32: int | None
    intended_at: float
    ended_at: float | None = None
    result: str | None = None
    error: str | None = None
    isolated: str | None = None
    look_until: float | None = None
    copy: str | None = None


@dataclass(frozen=True, slots=True)
class Ending:
    """What came of an intent.  ``look_until`` as in ``Intent``."""

    number: int
    result: Result
    error: str | None = None
    look_until: float | None = None


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be deleted, before it has a row."""

    copy: CopyRecord
    isolated: str | None


class DeletionBook(Catalogue):
    """The catalogue as cleanup uses it.  Every method may raise BooksError."""

    def candidates(
        self, until: float = math.inf, page: int = _PAGE
    ) -> Iterator[CopyRecord]:
        """Copies whose sources are there, as far as we know; the oldest first.

        ``until``: only those made by then.  No transaction is held between pages.
        """
        after: tuple[float, str] = (-math.inf, "")
        while True:
            with self._reading() as database:
                rows = database.execute(
                    f"SELECT {COPY_COLUMNS} FROM copies "
                    "WHERE source_deleted_at IS NULL AND copied_at <= ? "
                    "AND (copied_at, relative) > (?, ?) "
                    "ORDER BY copied_at, relative LIMIT ?",
                    (until, *after, page),
                ).fetchall()
            found = [copy_of(row) for row in rows]
            yield from found
            if len(found) < page:
                return
            after = (found[-1].copied_at, found[-1].relative)

    def sources_there(self) -> int:
        """How many copies there are whose sources were not deleted."""
        with self._reading() as database:
            row = database.execute(
                "SELECT count(*) FROM copies WHERE source_deleted_at IS NULL"
            ).fetchone()
        return int(row[0])

    def intend(self, wishes: Sequence[Wish], at: float, mirror: str) -> list[Intent]:
        """Make intents durable, of those copies whose rows are as they were.

        And which no audit, that may run beside us, has found damaged.
        """
        made = []
        with self._writing() as database:
            for wish in wishes:
                relative = storable(wish.copy.relative)
                if _unchanged(database, wish.copy) and not _damaged(database, relative):
                    made.append(_insert(database, wish, at, mirror))
        return made

    def conclude(self, endings: Sequence[Ending], at: float) -> None:
        """Make results durable; sources that are gone are so in ``copies`` too.

        And no longer those that were taken for deleted and were only away.
        """
        with self._writing() as database:
            for ending in endings:
                if ending.result not in ENDS:
                    _unmark_deleted(database, ending.number)
                database.execute(
                    "UPDATE deletions SET ended_at = ?, result = ?, error = ?, "
                    "look_until = ? WHERE rowid = ?",
                    (
                        at,
                        str(ending.result),
                        None if ending.error is None else storable(ending.error),
                        ending.look_until,
                        ending.number,
                    ),
                )
                if ending.result in ENDS:
                    _mark_deleted(database, ending.number, at)

    def note(
        self, wishes: Sequence[Wish], result: Result, at: float, mirror: str
    ) -> None:
        """What needed no deletion: a result without an intent before it."""
        with self._writing() as database:
            for wish in wishes:
                if _unchanged(database, wish.copy):
                    intent = _insert(database, wish, at, mirror)
                    database.execute(
                        "UPDATE deletions SET ended_at = ?, result = ? WHERE rowid = ?",
                        (at, str(result), intent.number),
                    )
                    _mark_deleted(database, intent.number, at)

    def unfinished(self, now: float) -> list[Intent]:
        """Intents without a result, and those whose names must be looked at again.

        One that was to be deleted under its own name is not looked at again once
        another deletion has seen to it.
        """
        with self._reading() as database:
            rows = database.execute(
                f"SELECT {_INTENT_COLUMNS} FROM deletions WHERE ended_at IS NULL "
                "UNION ALL "
                f"SELECT {_INTENT_COLUMNS} FROM deletions "
                "WHERE ended_at IS NOT NULL AND look_until > ? "
                "AND (isolated IS NOT NULL OR EXISTS (SELECT 1 FROM copies "
                "WHERE copies.relative = deletions.relative "
                "AND copies.pnfsid IS deletions.pnfsid "
                "AND copies.source_deleted_at IS NULL)) ORDER BY 1",
                (now,),
            ).fetchall()
        return [Intent(*row) for row in rows]

    def open_relatives(self) -> set[str]:
        """Of which files there is an intent without a result."""
        with self._reading() as database:
            rows = database.execute(
                "SELECT relative FROM deletions WHERE ended_at IS NULL"
            ).fetchall()
        return {row[0] for row in rows}

    def removed_directories(self) -> dict[str, float]:
        """When source directories were removed by us, the last time of each."""
        with self._reading() as database:
            return catalogue_pruned.removed(database)

    def damaged(self) -> set[str]:
        """Copies whose bytes an audit found wrong."""
        with self._reading() as database:
            rows = database.execute("SELECT relative FROM damaged").fetchall()
        return {row[0] for row in rows}

    def deletions(
        self, after: int = 0, page: int = _PAGE, *, result: Result | None = None
    ) -> Iterator[Intent]:
        """Deletions by the order of their intents, those of one result if given."""
        while True:
            with self._reading() as database:
                rows = database.execute(
                    f"SELECT {_INTENT_COLUMNS} FROM deletions WHERE rowid > ?1 "
                    "AND (?2 IS NULL OR result = ?2) ORDER BY rowid LIMIT ?3",
                    (after, None if result is None else str(result), page),
                ).fetchall()
            for row in rows:
                yield Intent(*row)
            if len(rows) < page:
                return
            after = rows[-1][0]


def _unchanged(database: sqlite3.Connection, copy: CopyRecord) -> bool:
    """Whether the row is still what was planned from; a new copy may have come."""
    row = database.execute(
        f"SELECT {COPY_COLUMNS} FROM copies "
        "WHERE relative = ? AND source_deleted_at IS NULL",
        (storable(copy.relative),),
    ).fetchone()
    return row is not None and copy_of(row) == copy


def _damaged(database: sqlite3.Connection, relative: str) -> bool:
    sql = "SELECT EXISTS(SELECT 1 FROM damaged WHERE relative = ?)"
    return bool(database.execute(sql, (relative,)).fetchone()[0])


def _insert(database: sqlite3.Connection, wish: Wish, at: float, mirror: str) -> Intent:
    copy = wish.copy
    where = storable(f"{mirror}/{copy.relative}")
    values = (copy.relative, copy.path, copy.pnfsid, copy.size, copy.adler32, at)
    number = database.execute(
        "INSERT INTO deletions (relative, path, pnfsid, size, adler32, intended_at, "
        "isolated, copy) VALUES (?,?,?,?,?,?,?,?)",
        (*values, wish.isolated, where),
    ).lastrowid
    assert number is not None
    return Intent(number, *values, isolated=wish.isolated, copy=where)


def _unmark_deleted(database: sqlite3.Connection, number: int) -> None:
    """Only where it was this deletion that was believed."""
    database.execute(
        "UPDATE copies SET source_deleted_at = NULL "
        "WHERE (relative, source_deleted_at) = "
        "(SELECT relative, ended_at FROM deletions WHERE rowid = ?)",
        (number,),
    )


def _mark_deleted(database: sqlite3.Connection, number: int, at: float) -> None:
    """Only of the copy that it was made of: a newer one has a source of its own.

    One of the same pnfsid has the same source, even if it was adopted meanwhile.
    """
    database.execute(
        "UPDATE copies SET source_deleted_at = ?1 WHERE EXISTS ("
        "SELECT 1 FROM deletions WHERE deletions.rowid = ?2 "
        "AND copies.relative = deletions.relative "
        "AND copies.pnfsid IS deletions.pnfsid AND copies.size = deletions.size "
        "AND copies.adler32 IS deletions.adler32 "
        "AND (copies.pnfsid = deletions.pnfsid "
        "OR copies.copied_at <= deletions.intended_at)) "
        "AND relative = (SELECT relative FROM deletions WHERE rowid = ?2)",
        (at, number),
    )
