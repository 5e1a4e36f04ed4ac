"""Settled spans in the catalogue: kept merged, so that a partition needs few rows."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable

from dcmirror.core.ledger import Span

_WHERE = 'topic = ? AND "partition" = ? AND epoch = ?'


def merge(database: sqlite3.Connection, spans: Iterable[Span]) -> None:
    """Add spans, each joined with the neighbours of its own epoch."""
    for span in spans:
        _merge_one(database, span)


def ranges_above(
    database: sqlite3.Connection, topic: str, partition: int, start: int, epoch: int
) -> list[tuple[int, int]]:
    """What epochs from ``epoch`` on settled at or above ``start``, joined, in order."""
    rows = database.execute(
        'SELECT first, last FROM spans WHERE topic = ? AND "partition" = ? '
        "AND epoch >= ? AND last >= ? ORDER BY first",
        (topic, partition, epoch, start),
    )
    joined: list[tuple[int, int]] = []
    for first, last in rows:
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(joined[-1][1], last))
        else:
            joined.append((max(first, start), last))
    return joined


def _merge_one(database: sqlite3.Connection, span: Span) -> None:
    key = (span.topic, span.partition, span.epoch)
    neighbours = _neighbours(database, key, span)
    if any(first <= span.first and span.last <= last for first, last, _ in neighbours):
        return  # the same batch again, after a commit whose result was not seen
    first, last, counts = span.first, span.last, dict(span.counts)
    for other_first, other_last, other_counts in neighbours:
        first, last = min(first, other_first), max(last, other_last)
        for kind, number in json.loads(other_counts).items():
            counts[kind] = counts.get(kind, 0) + number
    database.executemany(
        f"DELETE FROM spans WHERE {_WHERE} AND first = ?",
        ((*key, other[0]) for other in neighbours if other[0] != first),
    )
    database.execute(
        "INSERT OR REPLACE INTO spans VALUES (?, ?, ?, ?, ?, ?)",
        (*key, first, last, json.dumps(counts, sort_keys=True)),
    )


def _neighbours(
    database: sqlite3.Connection, key: tuple[str, int, int], span: Span
) -> list[tuple[int, int, str]]:
    """Spans that touch or overlap; rows are disjoint, so at most one lies before."""
    rows = database.execute(
        f"SELECT first, last, counts FROM spans WHERE {_WHERE} AND first >= coalesce("
        f"(SELECT max(first) FROM spans WHERE {_WHERE} AND first <= ?), ?) "
        "AND first <= ? ORDER BY first",
        (*key, *key, span.first, span.first, span.last + 1),
    ).fetchall()
    return [row for row in rows if row[1] >= span.first - 1]
