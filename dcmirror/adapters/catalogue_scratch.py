"""What an audit has to remember of journal and failed.csv, in a file of no name.

SQLite keeps a private temporary database in memory while it is small, and takes it away
when it is closed, or when the process is killed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

from dcmirror.adapters.catalogue import storable
from dcmirror.adapters.sqlite_files import transaction

_PAGE = 500

#: Topic, partition and offset of a record.
Origin = tuple[str, int, int]
#: The state of a task that failed once more, in a replay.
FAILED_AGAIN = "failed-again"

_TABLES = """
CREATE TABLE outcomes (task TEXT PRIMARY KEY, at TEXT NOT NULL, state TEXT NOT NULL,
    relative TEXT NOT NULL, path TEXT NOT NULL, pnfsid TEXT, size INTEGER)
    WITHOUT ROWID;
CREATE TABLE good (relative TEXT PRIMARY KEY, at TEXT NOT NULL, path TEXT NOT NULL,
    pnfsid TEXT, size INTEGER) WITHOUT ROWID;
CREATE TABLE failed_rows (task TEXT NOT NULL, path TEXT NOT NULL, relative TEXT,
    pnfsid TEXT, at REAL, topic TEXT, part INTEGER, place INTEGER);
CREATE TABLE origins (topic TEXT NOT NULL, part INTEGER NOT NULL,
    place INTEGER NOT NULL, PRIMARY KEY (topic, part, place)) WITHOUT ROWID;
CREATE TABLE suspects (relative TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE eventless (relative TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE repairs (relative TEXT PRIMARY KEY, path TEXT NOT NULL,
    size INTEGER, pnfsid TEXT, kinds TEXT NOT NULL) WITHOUT ROWID;
"""


class Outcome(NamedTuple):
    """What the journal says last of a task; ``at`` as it is written there."""

    task: str
    at: str
    state: str
    relative: str
    path: str
    pnfsid: str | None
    size: int | None


class GoodCopy(NamedTuple):
    """What the journal says last of a copy that was made, or adopted."""

    relative: str
    at: str
    path: str
    pnfsid: str | None
    size: int | None


class FailedLine(NamedTuple):
    """A row of failed.csv; ``relative`` None: not below the folder."""

    task: str
    path: str
    relative: str | None
    pnfsid: str | None
    at: float
    topic: str | None
    partition: int | None
    offset: int | None

    @property
    def origin(self) -> Origin | None:
        """The record it comes from, where that is known."""
        if self.topic is None or self.partition is None or self.offset is None:
            return None
        return self.topic, self.partition, self.offset


class Repair(NamedTuple):
    """A copy to mend; ``kinds`` of what is wrong with it, with commas between."""

    relative: str
    path: str
    size: int | None
    pnfsid: str | None
    kinds: str


class Scratch:
    """Tables of one audit; nobody else sees them."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.execute("PRAGMA cache_size = -16000")
        self._database.executescript(_TABLES)

    def __enter__(self) -> Scratch:
        return self

    def __exit__(self, *args: object) -> None:
        self._database.close()

    # -- the journal --------------------------------------------------------------

    def add_outcomes(self, outcomes: Iterable[Outcome]) -> None:
        """Keep the last one of each task; those of several writers may be mixed."""
        self._many(
            "INSERT INTO outcomes VALUES (?,?,?,?,?,?,?) ON CONFLICT DO UPDATE SET "
            "at = excluded.at, state = excluded.state WHERE excluded.at >= at",
            outcomes,
        )

    def add_good(self, copies: Iterable[GoodCopy]) -> None:
        """Keep the last one of each path."""
        self._many(
            "INSERT INTO good VALUES (?,?,?,?,?) ON CONFLICT DO UPDATE SET "
            "at = excluded.at, path = excluded.path, pnfsid = excluded.pnfsid, "
            "size = excluded.size WHERE excluded.at >= at",
            copies,
        )

    def good(self) -> Iterator[list[GoodCopy]]:
        """All of them by path, a page at a time."""
        after = ""
        while page := self._all(
            "SELECT * FROM good WHERE relative > ? ORDER BY relative LIMIT ?",
            (after, _PAGE),
        ):
            yield [GoodCopy(*row) for row in page]
            after = page[-1][0]

    def good_of(self, relatives: Collection[str]) -> dict[str, str]:
        """When the journal last told of a good copy of these, as far as it did."""
        marks = ",".join("?" * len(relatives))
        sql = f"SELECT relative, at FROM good WHERE relative IN ({marks})"
        return dict(self._all(sql, tuple(relatives)))

    # -- failed.csv ---------------------------------------------------------------

    def add_failed(self, rows: Iterable[FailedLine]) -> None:
        """Rows of failed.csv; texts are compared as the journal writes them."""
        self._many(
            "INSERT INTO failed_rows VALUES (?,?,?,?,?,?,?,?)",
            (tuple(map(_stored, row)) for row in rows),
        )

    def index_failed(self) -> None:
        """All rows are there: they can be asked for."""
        self._database.execute("CREATE INDEX by_task ON failed_rows (task)")

    def failed_rows(self) -> Iterator[list[FailedLine]]:
        """All of them, a page at a time."""
        after = 0
        while page := self._all(
            "SELECT rowid, * FROM failed_rows WHERE rowid > ? ORDER BY rowid LIMIT ?",
            (after, _PAGE),
        ):
            yield [FailedLine(*row[1:]) for row in page]
            after = page[-1][0]

    def failures_without_row(self, state: str = "failed") -> Iterator[Outcome]:
        """Tasks that ended so, that failed.csv lacks, and nothing has cured."""
        after = ""
        while page := self._all(
            "SELECT o.* FROM outcomes o WHERE o.task > ? AND o.state = ? "
            "AND NOT EXISTS (SELECT 1 FROM failed_rows f WHERE f.task = o.task) "
            "AND NOT EXISTS (SELECT 1 FROM good g WHERE g.relative = o.relative "
            "AND g.at >= o.at) ORDER BY o.task LIMIT ?",
            (after, state, _PAGE),
        ):
            yield from (Outcome(*row) for row in page)
            after = page[-1][0]

    def outcomes_of(self, tasks: Collection[str]) -> dict[str, Outcome]:
        """What the journal says of these tasks, as far as it does."""
        marks = ",".join("?" * len(tasks))
        sql = f"SELECT * FROM outcomes WHERE task IN ({marks})"
        return {row[0]: Outcome(*row) for row in self._all(sql, tuple(tasks))}

    # -- offsets ------------------------------------------------------------------

    def add_origins(self, origins: Iterable[Origin]) -> None:
        """Records that rows of the books come from."""
        self._many("INSERT OR IGNORE INTO origins VALUES (?,?,?)", origins)

    def origins_in(self, topic: str, partition: int, first: int, last: int) -> int:
        """How many rows come from these offsets, both ends included."""
        found = self._all(
            "SELECT count(*) FROM origins "
            "WHERE topic = ? AND part = ? AND place BETWEEN ? AND ?",
            (topic, partition, first, last),
        )
        return int(found[0][0])

    # -- what is looked at again --------------------------------------------------

    def suspect(self, relatives: Iterable[str]) -> None:
        """Copies that seem wrong: looked at again at the end."""
        rows = ((relative,) for relative in relatives)
        self._many("INSERT OR IGNORE INTO suspects VALUES (?)", rows)

    def suspects(self) -> Iterator[list[str]]:
        """Their paths below the mirror, a page at a time."""
        return self._names("suspects")

    def miss_event(self, relatives: Iterable[str]) -> None:
        """Rows of which the journal has not told."""
        rows = ((relative,) for relative in relatives)
        self._many("INSERT OR IGNORE INTO eventless VALUES (?)", rows)

    def eventless(self) -> Iterator[list[str]]:
        """Their paths below the mirror, a page at a time."""
        return self._names("eventless")

    # -- repairs ------------------------------------------------------------------

    def add_repair(self, repair: Repair) -> None:
        """Something to mend; once, whatever is wrong with it."""
        self._many(
            "INSERT INTO repairs VALUES (?,?,?,?,?) ON CONFLICT DO UPDATE SET "
            "kinds = kinds || ',' || excluded.kinds",
            [repair],
        )

    def repairs(self) -> Iterator[Repair]:
        """By path."""
        after = ""
        while page := self._all(
            "SELECT * FROM repairs WHERE relative > ? ORDER BY relative LIMIT ?",
            (after, _PAGE),
        ):
            yield from (Repair(*row) for row in page)
            after = page[-1][0]

    def repairs_only(self, kind: str) -> list[str]:
        """The paths below the mirror of which nothing else is wrong."""
        rows = self._all("SELECT relative FROM repairs WHERE kinds = ?", (kind,))
        return [relative for (relative,) in rows]

    def drop_repairs(self, relatives: Iterable[str]) -> None:
        """These need not, or cannot, be mended."""
        rows = ((relative,) for relative in relatives)
        self._many("DELETE FROM repairs WHERE relative = ?", rows)

    def repair_count(self) -> int:
        """How many there are."""
        return int(self._all("SELECT count(*) FROM repairs", ())[0][0])

    def _names(self, table: str) -> Iterator[list[str]]:
        after = ""
        while page := self._all(
            f"SELECT relative FROM {table} WHERE relative > ? "
            "ORDER BY relative LIMIT ?",
            (after, _PAGE),
        ):
            yield [name for (name,) in page]
            after = page[-1][0]

    def _many(self, sql: str, rows: Iterable[tuple[object, ...]]) -> None:
        with transaction(self._database) as database:
            database.executemany(sql, rows)

    def _all(self, sql: str, values: tuple[object, ...]) -> list[tuple]:  # type: ignore[type-arg]
        return self._database.execute(sql, values).fetchall()


def _stored(value: object) -> object:
    return storable(value) if isinstance(value, str) else value
