"""The catalogue: the database of proved copies, settled spans and unsent outcome lines.

The supervisor of each command opens it; several processes may write, each in short
transactions.  ``settle`` makes a batch of outcomes durable in one of them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from dcmirror.adapters import (
    catalogue_positions,
    catalogue_schema,
    catalogue_sources,
    catalogue_spans,
)
from dcmirror.adapters.catalogue_positions import Position
from dcmirror.adapters.sqlite_files import books_errors, transaction
from dcmirror.core.jobs import CopyRecord
from dcmirror.core.ledger import Span
from dcmirror.errors import BooksError

__all__ = ["Catalogue", "OutboxLine", "Position", "SettleBatch"]

_BUSY_SECONDS = 10.0
_NAMES_PER_QUERY = 500

COPY_COLUMNS = (
    "relative, path, pnfsid, size, adler32, verified, mtime_ns, copied_at, "
    'event_time, topic, "partition", "offset"'
)


@dataclass(frozen=True, slots=True)
class OutboxLine:
    """A journal line that belongs to a settled outcome."""

    event_id: str
    line: str


@dataclass(frozen=True, slots=True)
class SettleBatch:
    """What becomes durable together.

    ``delivered`` are outbox lines that the journal has, ``failed`` the pnfsids of rows
    that went to failed.csv.  ``adopted`` are the paths of those copies that lay there
    already: their bytes were not written anew, and their sources perhaps not asked for.
    """

    copies: tuple[CopyRecord, ...] = ()
    spans: tuple[Span, ...] = ()
    positions: dict[tuple[str, int], Position] | None = None
    outbox: tuple[OutboxLine, ...] = ()
    delivered: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    adopted: frozenset[str] = frozenset()


class Catalogue:
    """One connection to catalogue.db, reopened by itself after trouble.

    No epoch is used twice: a run's first one is above ``last_epoch``.

    Every method raises BooksError when the database cannot be read or written.
    """

    def __init__(self, path: Path, busy_seconds: float = _BUSY_SECONDS) -> None:
        self._path = path
        self._busy_seconds = busy_seconds
        self._connection: sqlite3.Connection | None = None
        with self._mapped_errors():
            self._open()

    def __repr__(self) -> str:
        return f"<Catalogue {self._path}>"

    def close(self) -> None:
        """Close the connection; the next call would open it again."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            connection.close()

    def lookup(self, relatives: Iterable[str]) -> dict[str, CopyRecord]:
        """The rows of these paths below the mirror, as far as there are any."""
        found: dict[str, CopyRecord] = {}
        with self._reading() as database:
            for names in _chunks(map(storable, relatives), _NAMES_PER_QUERY):
                marks = ",".join("?" * len(names))
                found |= {
                    row[0]: copy_of(row)
                    for row in database.execute(
                        f"SELECT {COPY_COLUMNS} FROM copies "
                        f"WHERE relative IN ({marks})",
                        names,
                    )
                }
        return found

    def knows_pnfsid(self, pnfsid: str) -> bool:
        """Whether the books have any outcome of this file: copy, failure, deletion."""
        with self._reading() as database:
            row = database.execute(
                "SELECT EXISTS(SELECT 1 FROM copies WHERE pnfsid = ?1) "
                "OR EXISTS(SELECT 1 FROM failures WHERE pnfsid = ?1) "
                "OR EXISTS(SELECT 1 FROM deletions WHERE pnfsid = ?1)",
                (storable(pnfsid),),
            ).fetchone()
        return bool(row[0])

    def settle(self, batch: SettleBatch) -> None:
        """Make a batch durable, wholly or not; the same batch again is harmless."""
        with self._writing() as database:
            database.executemany(
                f"INSERT INTO copies ({COPY_COLUMNS}) "
                "VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12) "
                "ON CONFLICT (relative) DO UPDATE SET "
                "path=excluded.path, pnfsid=excluded.pnfsid, size=excluded.size, "
                "adler32=excluded.adler32, verified=excluded.verified, "
                "mtime_ns=excluded.mtime_ns, copied_at=excluded.copied_at, "
                "event_time=excluded.event_time, topic=excluded.topic, "
                '"partition"=excluded."partition", "offset"=excluded."offset", '
                # A mark that is believed is no witness that the source is back.
                "source_deleted_at = CASE WHEN ?13 AND excluded.pnfsid = copies.pnfsid "
                "AND excluded.size = copies.size THEN copies.source_deleted_at END, "
                "gone_at=NULL",
                (
                    (*_row_of(copy), copy.relative in batch.adopted)
                    for copy in batch.copies
                ),
            )
            names = (copy.relative for copy in batch.copies)
            fresh = (storable(name) for name in names if name not in batch.adopted)
            catalogue_sources.clear_damage(database, fresh)
            database.executemany(
                "INSERT OR IGNORE INTO failures VALUES (?)",
                ((storable(pnfsid),) for pnfsid in batch.failed),
            )
            catalogue_spans.merge(database, batch.spans)
            for (topic, partition), position in (batch.positions or {}).items():
                catalogue_positions.store(database, topic, partition, position)
            database.executemany(
                "DELETE FROM outbox WHERE event_id = ?",
                ((event_id,) for event_id in batch.delivered),
            )
            database.executemany(
                "INSERT OR REPLACE INTO outbox (event_id, line) VALUES (?, ?)",
                ((item.event_id, storable(item.line)) for item in batch.outbox),
            )

    def assign(
        self, topic: str, partition: int, epoch: int, committed: int | None, start: int
    ) -> list[tuple[int, int]]:
        """Begin an epoch; the ranges above ``start`` that it takes as settled.

        The spans are honoured only if the broker's committed offset is one that we may
        have committed ourselves (A <= C <= W); else somebody reset it, another owner
        moved it, or the topic is a new one: the history begins anew with this epoch.
        """
        with self._writing() as database:
            old = catalogue_positions.load(database, topic, partition)
            if old is None or not old.may_have_given(committed):
                fresh = Position(epoch, start, start, epoch, began=start)
                catalogue_positions.store(database, topic, partition, fresh)
                return []
            ranges = catalogue_spans.ranges_above(
                database, topic, partition, start, old.honours_from
            )
            settled_up_to = (
                ranges[0][1] + 1 if ranges and ranges[0][0] <= start else start
            )
            kept = Position(epoch, settled_up_to, start, old.honours_from)
            catalogue_positions.store(database, topic, partition, kept)
            return ranges

    def last_epoch(self) -> int:
        """The highest epoch of any partition; 0 in a new catalogue."""
        with self._reading() as database:
            row = database.execute(
                "SELECT max(coalesce((SELECT max(epoch) FROM positions), 0), "
                "coalesce((SELECT max(epoch) FROM spans), 0))"
            ).fetchone()
        return int(row[0])

    def outbox(self) -> list[OutboxLine]:
        """The outcome lines that no later transaction has dropped, oldest first."""
        with self._reading() as database:
            rows = database.execute("SELECT event_id, line FROM outbox ORDER BY rowid")
            return [OutboxLine(*row) for row in rows]

    def fact(self, key: str) -> str | None:
        """A remembered value."""
        with self._reading() as database:
            row = database.execute(
                "SELECT value FROM facts WHERE key = ?", (key,)
            ).fetchone()
        return None if row is None else str(row[0])

    def remember(self, key: str, value: str) -> None:
        """Keep a value for later runs."""
        with self._writing() as database:
            database.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (key, value))

    def scrubbed(self, relatives: Iterable[str], at: float) -> None:
        """These copies were read again and found good."""
        rows = [(storable(relative), at) for relative in relatives]
        with self._writing() as database:
            database.executemany("INSERT OR REPLACE INTO scrubs VALUES (?, ?)", rows)
            catalogue_sources.clear_damage(database, (name for name, _ in rows))

    def found_damaged(self, relatives: Iterable[str], at: float) -> None:
        """These copies were read again and are not what the row says.

        It holds until they are copied anew or read and found good: a mark that is
        believed once more, so that the copy is adopted, proves nothing of the bytes.
        """
        with self._writing() as database:
            database.executemany(
                "INSERT OR REPLACE INTO damaged VALUES (?, ?)",
                ((storable(relative), at) for relative in relatives),
            )

    def deleted_sources(self, relatives: Iterable[str], before: float) -> set[str]:
        """Which of these copies had no source any more then, as far as was known."""
        with self._reading() as database:
            return {
                name
                for names in _chunks(map(storable, relatives), _NAMES_PER_QUERY)
                for name in catalogue_sources.deleted(database, names, before)
            }

    def sources_are_back(self, copies: Iterable[CopyRecord], before: float) -> None:
        """The door shows them, whatever was concluded before: they were away."""
        with self._writing() as database:
            catalogue_sources.bring_back(
                database,
                ((storable(copy.relative), copy.copied_at) for copy in copies),
                before,
            )

    def left_apart(self, paths: Iterable[str], since: float) -> dict[str, str | None]:
        """Isolated names that no run of cleanup sees to: what each was, None: unknown.

        Args:
            since: what cleanup saw to later may have been listed before.
        """
        found: dict[str, str | None] = {}
        with self._reading() as database:
            for chunk in _chunks(paths, _NAMES_PER_QUERY):
                found |= catalogue_sources.left_apart(database, chunk, since)
        return found

    def gone(self, copies: Iterable[tuple[str, float]], at: float) -> None:
        """Neither side has these any more: paths, and when they were copied.

        A newer copy of the path is not meant.
        """
        with self._writing() as database:
            database.executemany(
                "UPDATE copies SET gone_at = ? WHERE relative = ? AND copied_at = ?",
                ((at, storable(relative), copied_at) for relative, copied_at in copies),
            )

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            connection = sqlite3.connect(
                self._path, timeout=self._busy_seconds, isolation_level=None
            )
            try:
                catalogue_schema.prepare(connection, self._path)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._mapped_errors():
            yield self._open()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with (
            self._mapped_errors(),
            transaction(self._open(), "BEGIN IMMEDIATE") as database,
        ):
            yield database

    @contextmanager
    def _mapped_errors(self) -> Iterator[None]:
        try:
            with books_errors(self._path):
                yield
        except BooksError:
            # After some I/O errors only a new connection recovers the journal.
            self.close()
            raise


def storable(text: str) -> str:
    """The text, with lone surrogates (not UTF-8) written as escapes."""
    if text.isascii():
        return text
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _row_of(copy: CopyRecord) -> tuple[object, ...]:
    return (
        storable(copy.relative),
        storable(copy.path),
        None if copy.pnfsid is None else storable(copy.pnfsid),
        copy.size,
        copy.adler32,
        int(copy.verified),
        copy.mtime_ns,
        copy.copied_at,
        copy.event_time,
        copy.topic,
        copy.partition,
        copy.offset,
    )


def copy_of(row: Sequence[object]) -> CopyRecord:
    """The record of a row that was selected by COPY_COLUMNS."""
    values = list(row)
    values[5] = bool(values[5])
    return CopyRecord(*values)  # type: ignore[arg-type]


def _chunks(names: Iterable[str], size: int) -> Iterator[list[str]]:
    rest = iter(names)
    while chunk := list(islice(rest, size)):
        yield chunk
