"""What the catalogue says of sources that are gone, and of copies that are damaged.

Functions of an open connection; names are in the catalogue's spelling.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence

# When it was last concluded that the source is not there; 0 for never.
_CONCLUDED = "max(ifnull(source_deleted_at, 0), ifnull(gone_at, 0))"


def clear_damage(database: sqlite3.Connection, names: Iterable[str]) -> None:
    """The bytes of these copies are right, as was just seen."""
    database.executemany(
        "DELETE FROM damaged WHERE relative = ?", ((name,) for name in names)
    )


def deleted(
    database: sqlite3.Connection, names: Sequence[str], before: float
) -> list[str]:
    """Which of these had no source any more then, as far as was known."""
    marks = ",".join("?" * len(names))
    rows = database.execute(
        f"SELECT relative FROM copies WHERE relative IN ({marks}) "
        f"AND {_CONCLUDED} > 0 AND {_CONCLUDED} < ?",
        (*names, before),
    )
    return [name for (name,) in rows]


def bring_back(
    database: sqlite3.Connection, copies: Iterable[tuple[str, float]], before: float
) -> None:
    """Their sources are there: names, and when they were copied."""
    database.executemany(
        "UPDATE copies SET source_deleted_at = NULL, gone_at = NULL "
        f"WHERE relative = ? AND copied_at = ? AND {_CONCLUDED} < ?",
        ((name, copied_at, before) for name, copied_at in copies),
    )


def left_apart(
    database: sqlite3.Connection, paths: Sequence[str], since: float
) -> dict[str, str | None]:
    """Isolated names that cleanup sees to no more: what each was, None: unknown."""
    left = dict[str, str | None].fromkeys(paths)
    names = {path.rpartition("/")[2]: path for path in paths}
    marks = ",".join("?" * len(names))
    length = max(map(len, names), default=0)  # all are of one length
    # Nearly always they are open, of a cleanup that runs now; else all is read.
    for condition in ("ended_at IS NULL", "ended_at IS NOT NULL"):
        for table in ("deletions", "pruned") if left else ():
            rows = database.execute(
                f"SELECT path, isolated, ended_at FROM {table} "
                f"WHERE {condition} AND substr(isolated, -{length}) IN ({marks})",
                tuple(names),
            )
            for was, isolated, ended_at in rows:
                path = names[isolated.rpartition("/")[2]]
                if path != isolated or (ended_at is not None and ended_at < since):
                    left[path] = was
                else:
                    left.pop(path, None)
    return left
