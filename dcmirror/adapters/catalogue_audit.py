"""Reads the catalogue for an audit: page by page, and only reads.

A running watch never waits for longer than a page; what it changes meanwhile is seen in
a later page or not at all, so the audit looks again before it calls anything wrong.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Collection, Iterator

from dcmirror.adapters.catalogue_positions import Position
from dcmirror.adapters.catalogue_reading import CatalogueReader
from dcmirror.core.audit_copies import AuditRow
from dcmirror.core.ledger import Span

_NAMES_PER_QUERY = 500


# What ended in the very moment that the copy's row says; a file that we had deleted
# before, and that was found gone then, is one that we deleted.
_RESULT = (
    "CASE WHEN c.source_deleted_at IS NOT NULL THEN (SELECT d.result FROM deletions d "
    "WHERE d.relative = c.relative AND (d.ended_at = c.source_deleted_at "
    "AND d.result IN ('deleted', 'already-gone', 'deleted-or-replaced') "
    "OR d.result = 'deleted' AND d.pnfsid = c.pnfsid "
    "AND d.ended_at < c.source_deleted_at) "
    "ORDER BY d.result = 'already-gone' LIMIT 1) END"
)


class AuditReader(CatalogueReader):
    """What an audit asks; a catalogue of an older version may not know all of it.

    Every method raises BooksError when the database cannot be read.
    """

    _version: int | None = None

    def rows(self, after: str = "") -> Iterator[list[AuditRow]]:
        """All copies by path, or those behind a path, a page at a time."""
        while True:
            found = self._rows(
                f"{self._select()} WHERE c.relative > ? ORDER BY c.relative LIMIT ?",
                (after, self._page),
            )
            if found:
                yield [AuditRow(*row) for row in found]
            if len(found) < self._page:
                return
            after = found[-1][0]

    def rows_of(self, relatives: Collection[str]) -> dict[str, AuditRow]:
        """The rows of these paths below the mirror, as far as there are any."""
        names = list(relatives)
        found: dict[str, AuditRow] = {}
        for at in range(0, len(names), _NAMES_PER_QUERY):
            chunk = names[at : at + _NAMES_PER_QUERY]
            marks = ",".join("?" * len(chunk))
            sql = f"{self._select()} WHERE c.relative IN ({marks})"
            found |= {row[0]: AuditRow(*row) for row in self._rows(sql, tuple(chunk))}
        return found

    def fact(self, key: str) -> str | None:
        """A remembered value."""
        found = self._rows("SELECT value FROM facts WHERE key = ?", (key,))
        return str(found[0][0]) if found else None

    def count(self) -> int:
        """How many copies there are."""
        found = self._rows("SELECT count(*) FROM copies", ())
        return int(found[0][0]) if found else 0

    def partitions(self) -> list[tuple[str, int]]:
        """Every topic and partition that the books know, in order."""
        return [
            (topic, partition)
            for topic, partition in self._rows(
                'SELECT topic, "partition" FROM positions '
                'UNION SELECT DISTINCT topic, "partition" FROM spans ORDER BY 1, 2',
                (),
            )
        ]

    def position(self, topic: str, partition: int) -> Position | None:
        """Where a partition stands."""
        began = "began" if self._is_since(2) else "NULL"
        found = self._rows(
            f"SELECT epoch, committable, acknowledged, honours_from, {began} "
            'FROM positions WHERE topic = ? AND "partition" = ?',
            (topic, partition),
        )
        return Position(*found[0]) if found else None

    def spans(self, topic: str, partition: int, since: int = 0) -> Iterator[Span]:
        """The spans of a partition by their first offset, whatever their epoch.

        Args:
            since: the oldest epoch that is wanted.
        """
        epochs = self._rows(
            'SELECT DISTINCT epoch FROM spans WHERE topic = ? AND "partition" = ? '
            "AND epoch >= ?",
            (topic, partition, since),
        )
        rows = [self._epoch(topic, partition, epoch) for (epoch,) in epochs]
        return heapq.merge(*rows, key=lambda span: span.first)

    def _epoch(self, topic: str, partition: int, epoch: int) -> Iterator[Span]:
        after = -1
        while True:
            found = self._rows(
                'SELECT first, last, counts FROM spans WHERE topic = ? AND "partition" '
                "= ? AND epoch = ? AND first > ? ORDER BY first LIMIT ?",
                (topic, partition, epoch, after, self._page),
            )
            for first, last, counts in found:
                yield Span(topic, partition, epoch, first, last, json.loads(counts))
            if len(found) < self._page:
                return
            after = found[-1][0]

    def is_settled(self, topic: str, partition: int, offset: int) -> bool:
        """Whether a span of any epoch has this offset."""
        found = self._rows(
            'SELECT EXISTS(SELECT 1 FROM spans WHERE topic = ? AND "partition" = ? '
            "AND first <= ? AND last >= ?)",
            (topic, partition, offset, offset),
        )
        return bool(found and found[0][0])

    def is_being_deleted(self, relative: str) -> bool:
        """Whether cleanup has begun to delete the source, and does not know the end."""
        found = self._rows(
            "SELECT EXISTS(SELECT 1 FROM deletions "
            "WHERE relative = ? AND ended_at IS NULL)",
            (relative,),
        )
        return bool(found and found[0][0])

    def was_being_deleted(self, relative: str, since: float) -> bool:
        """Whether a deletion has ended since then, whatever came of it."""
        found = self._rows(
            "SELECT EXISTS(SELECT 1 FROM deletions WHERE relative = ? "
            "AND ended_at >= ?)",
            (relative, since),
        )
        return bool(found and found[0][0])

    def outbox(self) -> list[tuple[str, str]]:
        """Outcome lines that no later transaction has dropped: event.id and line."""
        return self._rows("SELECT event_id, line FROM outbox ORDER BY rowid", ())

    def _select(self) -> str:
        gone, result, scrubbed, join = "NULL", "NULL", "NULL", ""
        if self._is_since(3):
            result = _RESULT
        if self._is_since(2):
            gone, scrubbed = "c.gone_at", "s.at"
            join = " LEFT JOIN scrubs s ON s.relative = c.relative"
        return (
            "SELECT c.relative, c.path, c.pnfsid, c.size, c.adler32, c.verified, "
            'c.mtime_ns, c.copied_at, c.topic, c."partition", c."offset", '
            f"c.source_deleted_at, {gone}, {result}, {scrubbed} FROM copies c{join}"
        )

    def _is_since(self, version: int) -> bool:
        if self._version is None:
            found = self._rows("PRAGMA user_version", ())
            self._version = int(found[0][0]) if found else 0
        return self._version >= version
