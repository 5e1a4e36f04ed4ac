"""Which directories of a walk are still to be listed: on disk, and found after a kill.

A database and no list in memory: a directory may have a million directories in it.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dcmirror.adapters.sqlite_files import transaction
from dcmirror.errors import BooksError

_VERSION = 2
# Of a directory being listed, the ones in it wait apart (FOUND) until it is at its end:
# a listing that breaks off is made again and must not leave them twice.
_WAITING, _OUT, _LISTED, _FOUND, _DONE_EARLY = range(5)
_TABLES = """
CREATE TABLE directories (
    id INTEGER PRIMARY KEY,
    path TEXT NOT NULL UNIQUE,
    state INTEGER NOT NULL,
    found_in INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX directories_by_state ON directories (state, found_in);
CREATE TABLE walk (root TEXT NOT NULL);
"""
_FILES = ("", "-journal", "-wal", "-shm")


class Frontier:
    """The directories of one walk; any thread may call.

    Newest first: what waits is then as deep as the tree times as wide as a directory,
    and the walk stays near what the door has in its caches.

    Args:
        path: where it outlives us; None: a file without a name, gone with us.
        root: where the walk begins.  A file of another walk, or one that cannot be
            read, is thrown away: that costs time only.

    Every method raises BooksError when the file cannot be written.
    """

    def __init__(self, path: Path | None, root: str) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._database, self.is_resumed = _open(path, root)

    def take(self) -> tuple[int, str] | None:
        """Number and path of a directory to list; None if none waits now."""
        with self._changing() as database:
            row = database.execute(
                "SELECT id, path FROM directories WHERE state = ? AND found_in = 0 "
                "ORDER BY id DESC LIMIT 1",
                (_WAITING,),
            ).fetchone()
            if row is None:
                return None
            _set_state(database, row[0], _OUT)
            return int(row[0]), str(row[1])

    def begin(self, number: int) -> None:
        """The directory is listed from its start; what was found in it is forgotten."""
        with self._changing() as database:
            database.execute(
                "DELETE FROM directories WHERE state = ? AND found_in = ?",
                (_FOUND, number),
            )

    def found(self, number: int, paths: Iterable[str]) -> None:
        """Directories that are in this one."""
        with self._changing() as database:
            _insert(database, paths, _FOUND, number)

    def listed(self, number: int) -> None:
        """The listing is whole; the directories in it may be taken."""
        with self._changing() as database:
            _open_up(database, number)
            database.execute(
                "DELETE FROM directories WHERE id = ? AND state = ?",
                (number, _DONE_EARLY),
            )
            _set_state(database, number, _LISTED)

    def done(self, path: str) -> None:
        """Whoever asked for the listing needs it no more."""
        with self._changing() as database:
            database.execute(
                "DELETE FROM directories WHERE path = ? AND state = ?", (path, _LISTED)
            )
            # The last page may be through before the one who listed it has said so.
            database.execute(
                "UPDATE directories SET state = ? WHERE path = ? AND state = ?",
                (_DONE_EARLY, path, _OUT),
            )

    def has_unlisted(self) -> bool:
        """Whether the walk is not at its end."""
        with self._changing() as database:
            row = database.execute(
                "SELECT EXISTS(SELECT 1 FROM directories WHERE state <> ?)", (_LISTED,)
            ).fetchone()
            return bool(row[0])

    def close(self) -> None:
        """Close the file, and remove it if all is done."""
        with self._lock, _mapped_errors(self._path):
            left = self._database.execute("SELECT EXISTS(SELECT 1 FROM directories)")
            is_over = not left.fetchone()[0]
            self._database.close()
            if is_over:
                _remove(self._path)

    @contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        with (
            self._lock,
            _mapped_errors(self._path),
            transaction(self._database) as database,
        ):
            yield database


def _open(path: Path | None, root: str) -> tuple[sqlite3.Connection, bool]:
    """The database, and whether there is something in it to go on with."""
    try:
        return _connect(path, root)
    except sqlite3.Error as exc:
        if getattr(exc, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY:
            raise BooksError(f"{path}: in use by another process") from exc
    _remove(path)
    with _mapped_errors(path):
        return _connect(path, root)


def _connect(path: Path | None, root: str) -> tuple[sqlite3.Connection, bool]:
    name = "" if path is None else str(path)
    database = sqlite3.connect(name, isolation_level=None, check_same_thread=False)
    try:
        # A power cut may take the last lines, or all: then more is listed again.
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = OFF")
        database.execute("PRAGMA cache_size = -2000")
        if database.execute("PRAGMA user_version").fetchone()[0] != _VERSION:
            database.executescript(
                f"BEGIN; {_TABLES} PRAGMA user_version = {_VERSION}; COMMIT;"
            )
        with transaction(database):
            return database, _resume(database, root)
    except BaseException:
        database.close()
        raise


def _resume(database: sqlite3.Connection, root: str) -> bool:
    row = database.execute("SELECT root FROM walk").fetchone()
    has_more = database.execute("SELECT EXISTS(SELECT 1 FROM directories)")
    if row is not None and row[0] == root and has_more.fetchone()[0]:
        _finish_done_early(database)
        database.execute("DELETE FROM directories WHERE state = ?", (_FOUND,))
        _forget_below_listed(database)
        database.execute("UPDATE directories SET state = ?", (_WAITING,))
        return True
    database.execute("DELETE FROM walk")
    database.execute("DELETE FROM directories")
    database.execute("INSERT INTO walk VALUES (?)", (root,))
    _insert(database, [root], _WAITING, 0)
    return False


def _remove(path: Path | None) -> None:
    for ending in _FILES if path is not None else ():
        with suppress(OSError):
            Path(f"{path}{ending}").unlink()


def _insert(
    database: sqlite3.Connection, paths: Iterable[str], state: int, number: int
) -> None:
    database.executemany(
        "INSERT OR IGNORE INTO directories (path, state, found_in) VALUES (?, ?, ?)",
        ((path, state, number) for path in paths),
    )


def _open_up(database: sqlite3.Connection, number: int) -> None:
    """The directories in this one may be taken."""
    database.execute(
        "UPDATE directories SET state = ?, found_in = 0 "
        "WHERE state = ? AND found_in = ?",
        (_WAITING, _FOUND, number),
    )


def _finish_done_early(database: sqlite3.Connection) -> None:
    """Only the word that it was listed is missing: all that is in it was found."""
    done = "SELECT id FROM directories WHERE state = ?"
    for (number,) in database.execute(done, (_DONE_EARLY,)).fetchall():
        _open_up(database, number)
    database.execute("DELETE FROM directories WHERE state = ?", (_DONE_EARLY,))


def _forget_below_listed(database: sqlite3.Connection) -> None:
    """What is listed again shows again what is in it, which must not come twice."""
    listed = database.execute(
        "SELECT path FROM directories WHERE state = ? ORDER BY path", (_LISTED,)
    )
    for (path,) in listed.fetchall():
        below = path.rstrip("/")
        database.execute(
            "DELETE FROM directories WHERE path > ? AND path < ?",
            (f"{below}/", f"{below}0"),  # "0" comes right after "/"
        )


def _set_state(database: sqlite3.Connection, number: int, state: int) -> None:
    database.execute("UPDATE directories SET state = ? WHERE id = ?", (state, number))


@contextmanager
def _mapped_errors(path: Path | None) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as exc:
        where = path or "a temporary file"
        raise BooksError(f"{where}: cannot be written: {exc}") from exc
