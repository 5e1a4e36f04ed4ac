"""Runs `dcmirror reconcile` now and then beside ``watch``: [reconcile] every_hours.

The supervisor's loop of ``watch`` asks once a second.  The reconcile is a process of
its own, one at a time, and dies with its parent.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from dcmirror.errors import BooksError, ExitStatus

#: In its environment: whose death it must not survive.
PARENT = "DCMIRROR_PARENT_PID"
_FACT = "reconcile-due"
_HOUR = 3600.0
_WORDS = {
    ExitStatus.DONE: "source and mirror agree",
    ExitStatus.SOURCE_DIFFERS: "source and mirror differ",
    ExitStatus.LOCKED: "another one was running",
}


class Facts(Protocol):
    """What outlives a restart of the daemon."""

    def fact(self, key: str) -> str | None: ...
    def remember(self, key: str, value: str) -> None: ...


class Process(Protocol):
    """What is needed of a child."""

    def poll(self) -> int | None: ...
    def terminate(self) -> None: ...


Spawn = Callable[[Sequence[str], Path], Process]


class ReconcileTimer:
    """Begins one when it is due, and says how it ended.

    Args:
        every_hours: None: never.
        note: takes the line of the log.
        arguments: of the command line, after ``dcmirror reconcile``.
        report: the file that takes what it prints.
    """

    def __init__(
        self,
        every_hours: float | None,
        facts: Facts,
        note: Callable[[str], None],
        arguments: Sequence[str],
        report: Path,
        *,
        spawn: Spawn | None = None,
    ) -> None:
        self._seconds = None if every_hours is None else every_hours * _HOUR
        self._facts = facts
        self._note = note
        self._arguments = ("reconcile", *arguments)
        self._report = report
        self._spawn = spawn or spawn_command
        self._due: float | None = None
        self._running: Process | None = None
        self._is_told_to_stop = False

    def look(self, wall: float, *, is_stopping: bool) -> None:
        """Whether one is due, has ended, or is to end because we do."""
        if self._running is not None:
            self._look_at(self._running, is_stopping=is_stopping)
        elif self._seconds is not None and not is_stopping:
            with suppress(BooksError):  # the loop has a hold for that: later
                self._begin_if_due(wall, self._seconds)

    def _look_at(self, running: Process, *, is_stopping: bool) -> None:
        status = running.poll()
        if status is not None:
            self._running = None
            how = "; its report is in " + os.fspath(self._report)
            self._note(f"reconcile ended: {_meaning(status)}{how}")
        elif is_stopping and not self._is_told_to_stop:
            self._is_told_to_stop = True
            running.terminate()

    def _begin_if_due(self, wall: float, every: float) -> None:
        if self._due is None:
            self._due = self._read(wall, every)
        if wall < self._due:
            return
        self._plan(wall + every)  # remembered first: a crash must not repeat it
        try:
            self._running = self._spawn(self._arguments, self._report)
        except OSError as exc:
            self._note(f"reconcile could not be started: {exc}")
            return
        self._note("reconcile started ([reconcile] every_hours)")

    def _read(self, wall: float, every: float) -> float:
        """When it is due; a shorter interval than the last run's counts at once."""
        try:
            due = float(self._facts.fact(_FACT) or "nan")
        except ValueError:
            due = float("nan")
        if wall - 366 * 86400.0 < due <= wall + every:
            return due
        return self._plan(wall + every)

    def _plan(self, due: float) -> float:
        self._facts.remember(_FACT, repr(due))
        self._due = due
        return due


def spawn_command(arguments: Sequence[str], report: Path) -> Process:
    """Start dcmirror with these arguments, its output to ``report``."""
    environ: Mapping[str, str] = {**os.environ, PARENT: str(os.getpid())}
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    output = os.open(report, flags, 0o640)
    try:
        return subprocess.Popen(
            [sys.executable, "-m", "dcmirror", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environ,
        )
    finally:
        os.close(output)


def _meaning(status: int) -> str:
    if status < 0:
        return f"killed by signal {-status}"
    with suppress(ValueError):
        known = _WORDS.get(ExitStatus(status))
        if known is not None:
            return known
    return f"exit status {status}"
