"""Where each partition stands: what we may have committed, what the broker took."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Position:
    """Where an epoch of a partition stands: committable, and taken by the broker.

    ``honours_from`` is the oldest epoch whose spans are part of the same history, and
    ``began`` the offset where that history begins, None where it is not known.
    """

    epoch: int
    committable: int
    acknowledged: int
    honours_from: int = 0
    began: int | None = field(default=None, compare=False)

    def may_have_given(self, committed: int | None) -> bool:
        """Whether the broker's committed offset may be one that we gave it."""
        if committed is None:
            return False
        return self.acknowledged <= committed <= self.committable


def load(database: sqlite3.Connection, topic: str, partition: int) -> Position | None:
    """The stored position of a partition."""
    row = database.execute(
        "SELECT epoch, committable, acknowledged, honours_from, began "
        "FROM positions "
        'WHERE topic = ? AND "partition" = ?',
        (topic, partition),
    ).fetchone()
    return None if row is None else Position(*row)


def store(
    database: sqlite3.Connection, topic: str, partition: int, position: Position
) -> None:
    """Replace it; ``honours_from`` and ``began`` only an assignment knows."""
    database.execute(
        'INSERT INTO positions (topic, "partition", epoch, committable, acknowledged, '
        "honours_from, began) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
        "epoch = excluded.epoch, committable = excluded.committable, "
        "acknowledged = excluded.acknowledged, "
        "honours_from = max(positions.honours_from, excluded.honours_from), "
        "began = coalesce(excluded.began, positions.began)",
        (
            topic,
            partition,
            position.epoch,
            position.committable,
            position.acknowledged,
            position.honours_from,
            position.began,
        ),
    )
