"""The human log: one line per step, to standard error or a file.

The supervisor writes it, what one pass of its loop has to say in one go.  A log that
cannot be written stops nothing; how many lines it lacks is its next one.
"""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

from dcmirror.adapters.durable import write_all
from dcmirror.core.amounts import plural
from dcmirror.core.log_lines import format_line
from dcmirror.errors import ConfigError

LEVELS = ("debug", "info", "warning", "error")

_STANDARD_ERROR = 2
_URGENT = frozenset({"warning", "error"})


class HumanLog:
    """Lines of at least ``level``, written by ``flush``; warnings at once.

    Raises:
        ConfigError: the file cannot be opened.
    """

    def __init__(self, path: Path | None, level: str = "info") -> None:
        self.lost = 0
        self._told_lost = 0
        self._trouble = ""
        self._lines: list[str] = []
        self._path = path
        self._threshold = LEVELS.index(level)
        try:
            self._fd = _open(path)
        except OSError as exc:
            raise ConfigError(f"[log] file = {path}: {exc.strerror}") from exc

    def __repr__(self) -> str:
        return f"<HumanLog {self._path or 'stderr'} {LEVELS[self._threshold]}>"

    def shows(self, level: str) -> bool:
        """Whether a line of this level would be written."""
        return LEVELS.index(level) >= self._threshold

    def line(
        self, tag: str, text: str, task: str | None = None, level: str = "info"
    ) -> None:
        """Say ``2020/01/23 17:47:14 [TAG] text (task)``, local time."""
        if not self.shows(level):
            return
        self._lines.append(format_line(datetime.now(), tag, text, task))
        if level in _URGENT:
            self.flush()

    def flush(self) -> None:
        """Write what was told."""
        if not self._lines:
            return
        lines, self._lines = self._lines, []
        data = (self._gap() + "".join(lines)).encode("utf-8", "backslashreplace")
        try:
            write_all(self._fd, data)
        except OSError as exc:
            self.lost += len(lines)
            self._trouble = exc.strerror or str(exc)
        else:
            self._told_lost = self.lost

    def _gap(self) -> str:
        """How many lines are missing here; no level hides it, as it showed them."""
        missing = self.lost - self._told_lost
        if not missing:
            return ""
        text = f"could not write {plural(missing, 'line')} of this log: {self._trouble}"
        return format_line(datetime.now(), "NOTE", text, None)

    def reopen(self, path: Path | None, level: str) -> str | None:
        """For HUP: another file, the same one after it was rotated, another level.

        Returns why the file cannot be opened; the log goes on in the old one then.
        """
        self.flush()
        self._threshold = LEVELS.index(level)
        try:
            fd = _open(path)
        except OSError as exc:
            return f"[log] file = {path}: {exc.strerror}"
        self.close()
        self._path, self._fd = path, fd
        return None

    def close(self) -> None:
        """Close the file; later lines go to standard error."""
        self.flush()
        old, self._fd = self._fd, _STANDARD_ERROR
        self._path = None
        if old != _STANDARD_ERROR:
            os.close(old)


def _open(path: Path | None) -> int:
    if path is None:
        return _STANDARD_ERROR
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
    return os.open(path, flags, 0o644)
