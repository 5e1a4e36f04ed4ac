"""Which files failed.csv names, read again when the file has changed."""

from __future__ import annotations

import os
from pathlib import Path

from dcmirror.adapters.catalogue import storable
from dcmirror.adapters.failed_csv_scan import scan
from dcmirror.errors import BooksError


class FailedNames:
    """Paths and pnfsids of its rows, in the catalogue's spelling.

    ``torn`` counts lines that are no whole rows.
    """

    def __init__(self, path: Path) -> None:
        self.paths: set[str] = set()
        self.pnfsids: set[str] = set()
        self.torn = 0
        self._path = path
        self._stamp: tuple[int, int, int] | None = None

    def refresh(self) -> None:
        """Read the file if it is another one than before.

        Raises:
            NotOursError: the file is not ours.
            BooksError: it cannot be read.
        """
        stamp = self._stat()
        if stamp == self._stamp:
            return
        self.paths, self.pnfsids, self.torn = set(), set(), 0
        for row in scan(self._path):
            if row is None:
                self.torn += 1
                continue
            self.paths.add(storable(row.path))
            if row.pnfsid:
                self.pnfsids.add(storable(row.pnfsid))
        self._stamp = stamp

    def _stat(self) -> tuple[int, int, int] | None:
        try:
            now = os.stat(self._path)
        except FileNotFoundError:
            self.paths, self.pnfsids, self.torn = set(), set(), 0
            return None
        except OSError as exc:
            raise BooksError(f"{self._path}: {exc.strerror}") from exc
        return (now.st_mtime_ns, now.st_ino, now.st_size)
