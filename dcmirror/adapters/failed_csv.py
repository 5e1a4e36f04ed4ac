"""failed.csv: the list of files that could not be copied, shared by several processes.

``watch`` appends to it while ``replay`` may rewrite it; both under one lock.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from stat import S_ISREG
from typing import BinaryIO

from dcmirror.adapters import locks
from dcmirror.adapters.durable import sync_directory, write_all
from dcmirror.core.failed_rows import (
    COLUMNS,
    HEADER,
    FailedRow,
    Key,
    NotOursError,
    format_line,
    format_row,
    parse_header,
    parse_row,
)
from dcmirror.errors import BooksError, ConfigError, DcmirrorError

__all__ = ["FailedCsv", "FailedRow", "Key", "NotOursError", "Rewritten"]

_LOCK_SECONDS = 30.0
_HEADER_BYTES = 65536
_MODE = 0o644


@dataclass(frozen=True, slots=True)
class Rewritten:
    """What ``FailedCsv.rewrite`` did, in rows."""

    remaining: int
    removed: int
    torn: int


class FailedCsv:
    """The file at ``path``, opened anew each time, since it may be replaced."""

    def __init__(self, path: Path, lock_seconds: float = _LOCK_SECONDS) -> None:
        self._given = path
        # Through a symlink, the lock and the temporary belong beside the real file.
        self.path = Path(os.path.realpath(path))
        self.torn_path = self.path.with_name(self.path.name + ".torn")
        self._lock_path = self.path.with_name(self.path.name + ".lock")
        self._lock_seconds = lock_seconds
        self.on_set_aside: Callable[[Path], None] | None = None

    def __repr__(self) -> str:
        return f"<FailedCsv {self.path}>"

    def append(self, rows: Iterable[FailedRow]) -> None:
        """Add rows and make them durable.

        A file that is not ours is moved aside; ``on_set_aside`` hears of it.

        Raises:
            BooksError: nothing was added.
        """
        rows = list(rows)
        if not rows:
            return
        with self._locked():
            moved = self._set_aside_if_not_ours(None)
            columns = self._columns()
            if columns is None:
                self._begin()
            elif len(columns) < len(COLUMNS):
                self._rewrite((), {})  # under today's header, which has more columns
            columns = _widest(columns)
            self._append_durably("".join(format_row(row, columns) for row in rows))
        if moved is not None and self.on_set_aside is not None:
            self.on_set_aside(moved)

    def read(self) -> tuple[list[FailedRow], int]:
        """All rows, and how many lines are no whole rows; a missing file has none.

        Raises:
            NotOursError: the file is not ours; names the line.
            BooksError: it cannot be read.
        """
        with self._locked():
            found = [row for _, row in self._lines(self._columns())]
        return [row for row in found if row is not None], found.count(None)

    def rewrite(
        self, drop: Collection[Key] = (), change: Mapping[Key, FailedRow] | None = None
    ) -> Rewritten:
        """Take rows out and put changed ones in, whatever was appended meanwhile.

        All rows of a key in ``drop`` go; all rows of a key in ``change`` become the one
        given, which is added if there is none.  Lines that are no whole rows go to
        ``failed.csv.torn``.

        Raises:
            NotOursError: the file is not ours; names the line.
            BooksError: the file is as it was.
        """
        with self._locked():
            return self._rewrite(drop, change or {})

    def set_aside_if_not_ours(self, now: float | None = None) -> Path | None:
        """Move a file that is not ours out of the way; its new name, None if none was.

        Raises:
            BooksError: it cannot be read or moved.
        """
        with self._locked():
            return self._set_aside_if_not_ours(now)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._check_kind()
        try:
            with locks.acquire(self._lock_path, self._lock_seconds):
                yield
        except (BooksError, ConfigError):
            raise
        except DcmirrorError as exc:
            raise BooksError(str(exc)) from exc
        except OSError as exc:
            raise BooksError(f"{self.path}: {exc.strerror or exc}") from exc

    def _check_kind(self) -> None:
        """A device or a pipe keeps no rows, and our first rewrite would replace it."""
        with suppress(OSError):  # who opens it says why not
            if not S_ISREG(os.stat(self._given).st_mode):
                raise BooksError(f"{self._given}: not a regular file")

    def _set_aside_if_not_ours(self, now: float | None) -> Path | None:
        try:
            self._columns()
        except NotOursError:
            stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
            target = _free_name(f"{self.path}.not-ours-{stamp}")
            os.rename(self.path, target)
            sync_directory(self.path.parent)
            return target
        return None

    def _columns(self) -> tuple[str, ...] | None:
        """The file's own header; None when there is no file, or not even a header."""
        try:
            with open(self.path, "rb") as file:
                line = file.readline(_HEADER_BYTES)
        except FileNotFoundError:
            return None
        if not line.endswith(b"\n") and HEADER.encode().startswith(line):
            return None  # empty, or cut off when the file was made
        try:
            return parse_header(line.decode().rstrip("\r\n"))
        except UnicodeDecodeError:
            raise NotOursError(f"{self.path}:1: not a text file in UTF-8") from None
        except NotOursError as exc:
            raise NotOursError(f"{self.path}:1: {exc}") from None

    def _lines(
        self, columns: tuple[str, ...] | None
    ) -> Iterator[tuple[bytes, FailedRow | None]]:
        """Each line below the header and its row; None for one that is not whole."""
        if columns is None:
            return
        with open(self.path, "rb") as file:
            file.readline()
            for line in file:
                if line.strip():
                    yield line, _row_of(line, columns)

    def _begin(self) -> None:
        with self._replacement() as file:
            file.write(HEADER.encode())

    def _rewrite(
        self, drop: Collection[Key], change: Mapping[Key, FailedRow]
    ) -> Rewritten:
        old_columns = self._columns()
        if old_columns is None and not change:
            return Rewritten(0, 0, 0)
        columns = _widest(old_columns)
        remaining, removed, torn = 0, 0, []
        unwritten = dict(change)
        with self._replacement() as file:
            file.write(format_line(columns).encode())
            for line, row in self._lines(old_columns):
                if row is None:
                    torn.append(line)
                    continue
                if row.key in drop or (row.key in change and row.key not in unwritten):
                    removed += 1
                    continue
                changed = unwritten.pop(row.key, None)
                if changed is not None:
                    row = replace(changed, extra=row.extra | changed.extra)
                keep_line = changed is None and columns == old_columns
                file.write(line if keep_line else format_row(row, columns).encode())
                remaining += 1
            for row in unwritten.values():
                file.write(format_row(row, columns).encode())
            self._keep_torn(torn)
        return Rewritten(remaining + len(unwritten), removed, len(torn))

    def _append_durably(self, text: str) -> None:
        fd = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        try:
            size = os.fstat(fd).st_size
            is_torn = os.pread(fd, 1, max(size - 1, 0)) != b"\n"
            try:
                write_all(fd, (("\n" if is_torn else "") + text).encode())
                os.fsync(fd)
            except OSError:
                # The caller tries the batch again: half of it must not stay.
                with suppress(OSError):
                    os.ftruncate(fd, size)
                raise
        finally:
            os.close(fd)

    def _keep_torn(self, lines: list[bytes]) -> None:
        if not lines:
            return
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        fd = os.open(self.torn_path, flags, _MODE)
        try:
            write_all(fd, b"".join(line.rstrip(b"\r\n") + b"\n" for line in lines))
            os.fsync(fd)
        finally:
            os.close(fd)

    @contextmanager
    def _replacement(self) -> Iterator[BinaryIO]:
        """A new file to write; then it has the old one's owner, mode and name."""
        temporary = self.path.with_name(f".{self.path.name}.dcmirror-tmp")
        with suppress(FileNotFoundError):
            os.unlink(temporary)  # of a run that was killed: we hold the lock
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        exists = self.path.exists()
        fd = os.open(temporary, flags, 0o600 if exists else _MODE)
        try:
            with open(fd, "wb") as file:
                if exists:
                    _take_after(fd, os.stat(self.path))
                yield file
                file.flush()
                os.fsync(fd)
            os.rename(temporary, self.path)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise
        sync_directory(self.path.parent)


def _widest(columns: tuple[str, ...] | None) -> tuple[str, ...]:
    return COLUMNS if columns is None or len(columns) < len(COLUMNS) else columns


def _row_of(line: bytes, columns: tuple[str, ...]) -> FailedRow | None:
    # Whoever writes a row ends it: without its newline the last one is cut off.
    if not line.endswith(b"\n"):
        return None
    try:
        return parse_row(line.decode().rstrip("\r\n"), columns)
    except UnicodeDecodeError:
        return None


def _take_after(fd: int, status: os.stat_result) -> None:
    with suppress(PermissionError):  # only root gives files away
        os.fchown(fd, status.st_uid, status.st_gid)
    os.fchmod(fd, status.st_mode & 0o7777)


def _free_name(wanted: str) -> Path:
    target, number = Path(wanted), 1
    while target.exists():
        number += 1
        target = Path(f"{wanted}-{number}")
    return target
