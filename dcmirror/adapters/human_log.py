"""The human log: one line per step, to standard error or a file.

The supervisor writes it.  A log that cannot be written stops nothing.
"""

from __future__ import annotations

import os
import sys
from datetime import datetime
from pathlib import Path

from dcmirror.core.log_lines import format_line

LEVELS = ("debug", "info", "warning", "error")

_STANDARD_ERROR = 2


class HumanLog:
    """Lines of at least ``level``, each written at once.

    Raises:
        OSError: from the constructor and ``reopen``: the file cannot be opened.
    """

    def __init__(self, path: Path | None, level: str = "info") -> None:
        self.lost = 0
        self._path: Path | None = None
        self._fd = _STANDARD_ERROR
        self._threshold = LEVELS.index(level)
        self.reopen(path, level)

    def __repr__(self) -> str:
        return f"<HumanLog {self._path or 'stderr'} {LEVELS[self._threshold]}>"

    def shows(self, level: str) -> bool:
        """Whether a line of this level would be written."""
        return LEVELS.index(level) >= self._threshold

    def line(
        self, tag: str, text: str, task: str | None = None, level: str = "info"
    ) -> None:
        """Write ``2020/01/23 17:47:14 [TAG] text (task)``, local time."""
        if not self.shows(level):
            return
        line = format_line(datetime.now(), tag, text, task)
        try:
            os.write(self._fd, line.encode("utf-8", "backslashreplace"))
        except OSError:
            self.lost += 1

    def reopen(self, path: Path | None, level: str) -> None:
        """For HUP: another file, the same one after it was rotated, another level.

        What cannot be opened leaves the log as it was.
        """
        threshold = LEVELS.index(level)
        fd = _STANDARD_ERROR if path is None else _open(path)
        old, self._fd = self._fd, fd
        self._path, self._threshold = path, threshold
        if old != _STANDARD_ERROR:
            os.close(old)
        if path is None:
            sys.stderr.flush()

    def close(self) -> None:
        """Close the file; later lines go to standard error."""
        old, self._fd = self._fd, _STANDARD_ERROR
        self._path = None
        if old != _STANDARD_ERROR:
            os.close(old)


def _open(path: Path) -> int:
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
    return os.open(path, flags, 0o644)
