"""How anything is told: a line to the journal, and one to the human log.

The supervisor's loop and engine use it through ``Story``.
"""

from __future__ import annotations

import itertools
import os
import socket
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from dcmirror import __version__
from dcmirror.adapters.human_log import HumanLog
from dcmirror.adapters.journal import Journal
from dcmirror.core.journal_events import Event, JournalEvents, Writer, render

if TYPE_CHECKING:
    pass


class Teller:
    """The two places, and what both need of every line."""

    def __init__(
        self,
        journal: Journal,
        log: HumanLog,
        command: str,
        *,
        mirror: Path,
        instance: str,
    ) -> None:
        self._journal = journal
        self._log = log
        self._mirror = mirror
        self._command = command
        self._lines: list[str] = []
        self._trouble = False
        self._is_losing = False
        self._told_drops = 0
        self._id_space = uuid.uuid4().hex[:20]
        self._numbers = itertools.count()
        self._events = JournalEvents(
            Writer(
                socket.gethostname(),
                os.getpid(),
                f"dcmirror {command}",
                __version__,
                instance,
            )
        )

    def flush(self) -> None:
        """Bring what was told to the journal; what it cannot take it counts.

        Raises:
            BooksError: a required journal cannot be written; nothing is forgotten.
        """
        self._tell_drops()
        if self._lines:
            self._journal.append(self._lines)
            self._lines = []
        self._journal.tick(time.monotonic())

    def flush_log(self) -> None:
        """Write what the human log was told in this pass of the loop."""
        self._log.flush()

    def close(self) -> None:
        """The end: journal and log are durable as far as they can be."""
        self._journal.close()
        self._log.flush()

    @property
    def journal_dropped(self) -> int:
        """Lines that the journal could not take, or keep, so far."""
        return self._journal.dropped

    def _tell_drops(self) -> None:
        """Once, when it can be written again."""
        journal = self._journal
        if journal.trouble is not None and not self._is_losing:
            self._is_losing = True
            text = f"{journal.trouble}; events are lost until it can be written"
            self._log.line("NOTE", text, level="error")
        dropped = journal.dropped - self._told_drops
        if dropped and journal.trouble is None:
            self._is_losing = False
            self._told_drops = journal.dropped
            self._tell(self._events.journal_dropped(time.time(), dropped))
            text = f"{dropped} journal lines were lost"
            self._log.line("NOTE", text, level="warning")

    def _tell(self, event: Event) -> None:
        self._lines.append(render(event))

    def _new_id(self) -> str:
        """Unique over all runs: random for the process, counted within it."""
        return f"{self._id_space}{next(self._numbers):012x}"
