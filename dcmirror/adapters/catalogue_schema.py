"""The catalogue's tables, their version, and how a connection is set up."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from dcmirror.errors import BooksError

VERSION = 3

_TABLES = """
CREATE TABLE copies (
    relative TEXT PRIMARY KEY,
    path TEXT NOT NULL,
    pnfsid TEXT,
    size INTEGER NOT NULL,
    adler32 INTEGER,
    verified INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    copied_at REAL NOT NULL,
    event_time REAL,
    topic TEXT,
    "partition" INTEGER,
    "offset" INTEGER,
    source_deleted_at REAL
) WITHOUT ROWID;
CREATE INDEX copies_by_pnfsid ON copies (pnfsid);

CREATE TABLE spans (
    topic TEXT NOT NULL,
    "partition" INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    counts TEXT NOT NULL,
    PRIMARY KEY (topic, "partition", epoch, first)
) WITHOUT ROWID;

CREATE TABLE positions (
    topic TEXT NOT NULL,
    "partition" INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    committable INTEGER NOT NULL,
    acknowledged INTEGER NOT NULL,
    honours_from INTEGER NOT NULL,
    PRIMARY KEY (topic, "partition")
) WITHOUT ROWID;

CREATE TABLE outbox (
    event_id TEXT NOT NULL UNIQUE,
    line TEXT NOT NULL
);

CREATE TABLE deletions (
    relative TEXT NOT NULL,
    path TEXT NOT NULL,
    pnfsid TEXT,
    size INTEGER,
    adler32 INTEGER,
    intended_at REAL NOT NULL,
    ended_at REAL,
    result TEXT,
    error TEXT
);
CREATE INDEX deletions_by_pnfsid ON deletions (pnfsid);

CREATE TABLE failures (
    pnfsid TEXT PRIMARY KEY
) WITHOUT ROWID;

CREATE TABLE facts (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;
"""


# What each version adds to the one before it; a new file passes through all of them.
_UPGRADES: dict[int, tuple[str, ...]] = {
    2: (
        # Where the history that honours_from names began to read; NULL: not known.
        "ALTER TABLE positions ADD COLUMN began INTEGER",
        # When a copy was last read again and found good: `audit --oldest`.
        "CREATE TABLE scrubs (relative TEXT PRIMARY KEY, at REAL NOT NULL) "
        "WITHOUT ROWID",
        # When neither the mirror nor the source had a copy any more.
        "ALTER TABLE copies ADD COLUMN gone_at REAL",
        # What the source was called while it was deleted, when to look at that name
        # again because an answer never came, and where its copy was.
        "ALTER TABLE deletions ADD COLUMN isolated TEXT",
        "ALTER TABLE deletions ADD COLUMN look_until REAL",
        "ALTER TABLE deletions ADD COLUMN copy TEXT",
        "CREATE INDEX deletions_open ON deletions (ended_at) WHERE ended_at IS NULL",
        "CREATE INDEX copies_by_age ON copies (copied_at, relative) "
        "WHERE source_deleted_at IS NULL",
        # Directories of the source that cleanup emptied and removed.
        "CREATE TABLE pruned (path TEXT NOT NULL, isolated TEXT, "
        "intended_at REAL NOT NULL, ended_at REAL, result TEXT, error TEXT)",
    ),
    3: (
        # Copies whose bytes an audit found wrong, and nobody has proved since.
        "CREATE TABLE damaged (relative TEXT PRIMARY KEY, at REAL NOT NULL) "
        "WITHOUT ROWID",
        # What the deletion of a copy's source ended in.
        "CREATE INDEX deletions_by_relative ON deletions (relative)",
    ),
}


def prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Set a new connection up, bring the tables to this version, refuse a newer one.

    Raises:
        BooksError: the file was written by a newer dcmirror.
    """
    # TRUNCATE, not DELETE: with FULL it syncs the emptied journal, so that a power cut
    # right after a commit cannot bring the journal back and undo it.
    connection.execute("PRAGMA journal_mode = TRUNCATE")
    connection.execute("PRAGMA synchronous = FULL")
    # A batch of 500 files must fit: a cache that spills costs a second sync.
    connection.execute("PRAGMA cache_size = -8000")
    version = _version(connection)
    if version < VERSION:
        version = _upgrade(connection)
    if version > VERSION:
        raise BooksError(
            f"{path}: schema version {version} is newer than this dcmirror knows "
            f"({VERSION}); use the dcmirror that wrote it, or a later one"
        )


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _upgrade(connection: sqlite3.Connection) -> int:
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Another process may have done it while we waited for the lock.
        version = _version(connection)
        if version == 0:
            for statement in _TABLES.split(";"):
                connection.execute(statement)
        for number in range(max(version, 1) + 1, VERSION + 1):
            for statement in _UPGRADES[number]:
                connection.execute(statement)
        if version < VERSION:
            connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        connection.rollback()
        raise
    return _version(connection)
