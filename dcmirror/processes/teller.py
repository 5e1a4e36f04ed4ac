"""How anything is told: a line to the journal, and one to the human log.

The supervisor's loop and engine use it through ``Story``.
"""

from __future__ import annotations

import itertools
import os
import socket
import time
import uuid
from collections import Counter
from contextlib import suppress
from pathlib import Path

from dcmirror import __version__
from dcmirror.adapters import shipping_report
from dcmirror.adapters.human_log import HumanLog
from dcmirror.adapters.journal import Journal
from dcmirror.adapters.shipping_report import ShippingReport
from dcmirror.core.journal_events import ACTIONS, Event, JournalEvents, Writer, render
from dcmirror.core.journal_values import Value
from dcmirror.errors import BooksError

# What a required journal cannot take meanwhile; beyond it even outcomes go.
_MOST_LINES = 20_000


class Teller:
    """The two places, and what both need of every line.

    Args:
        shipping: the report that the logger leaves (shipper.json).
    """

    def __init__(
        self,
        journal: Journal,
        log: HumanLog,
        command: str,
        *,
        mirror: Path,
        instance: str,
        namespace: str = "default",
        shipping: Path | None = None,
    ) -> None:
        self._journal = journal
        self._log = log
        self._mirror = mirror
        self._command = command
        self._shipping = shipping
        self._lines: list[str] = []
        self._values: list[Value] = []
        self._trouble = False
        self._told_trouble: str | None = None
        self._told_drops: Counter[str] = Counter()
        self._id_space = f"{command}-{uuid.uuid4().hex[:20]}"
        self._numbers = itertools.count()
        self._events = JournalEvents(
            Writer(
                socket.gethostname(),
                os.getpid(),
                f"dcmirror {command}",
                __version__,
                instance,
                namespace,
            )
        )

    def flush(self) -> None:
        """Bring what was told to the journal; what it cannot take it counts.

        Raises:
            BooksError: a required journal cannot be written; nothing is forgotten.
        """
        self._tell_drops()
        self._write()
        self._journal.tick(time.monotonic())

    def flush_log(self) -> None:
        """Write what the human log was told in this pass of the loop."""
        self._log.flush()

    def close(self) -> None:
        """The end: journal and log are durable as far as they can be."""
        self._write_or_give_up()
        self._tell_drops(is_last=True)
        self._write_or_give_up()
        self._journal.close()
        self._log.flush()

    def _write(self) -> None:
        if not self._lines:
            return
        lines, values = self._lines, self._values
        unwritten = self._journal.append(lines, values)
        kept = unwritten[-_MOST_LINES:]
        for place in unwritten[: -len(kept) or None]:
            self._journal.give_up(values[place])
        self._lines = [lines[place] for place in kept]
        self._values = [values[place] for place in kept]
        if kept and self._journal.required:
            raise BooksError(self._journal.trouble or "journal")

    def _write_or_give_up(self) -> None:
        """Nobody writes later what cannot be written now."""
        with suppress(BooksError):
            self._write()
        for value in self._values:
            self._journal.give_up(value)
        self._lines, self._values = [], []

    def _tell_drops(self, *, is_last: bool = False) -> None:
        """What is being lost, when that begins; how much it was, once it is over."""
        journal = self._journal
        trouble = journal.trouble
        if trouble is not None and self._told_trouble is None:
            what = "work waits" if journal.required else "events are lost"
            self._log.line("NOTE", f"{trouble}; {what}", level="error")
        cause = trouble or self._told_trouble
        self._told_trouble = trouble
        lost = Counter(journal.dropped_by_kind) - self._told_drops
        if not lost or (trouble is not None and not is_last):
            return
        self._told_drops += lost
        kinds = dict(lost)
        self._tell(self._events.journal_dropped(time.time(), kinds, cause))
        named = ", ".join(f"{number} {kind}" for kind, number in kinds.items())
        self._log.line("NOTE", f"journal lines were lost: {named}", level="warning")

    def _tell(self, event: Event) -> None:
        value = ACTIONS[event["event"]["action"]].value
        self._tell_line(render(event), value)

    def _tell_line(self, line: str, value: Value) -> None:
        self._lines.append(line)
        self._values.append(value)

    def _read_shipping(self) -> ShippingReport | None:
        return None if self._shipping is None else shipping_report.read(self._shipping)

    def _new_id(self) -> str:
        """Unique over all runs: random for the process, counted within it."""
        return f"{self._id_space}{next(self._numbers):012x}"
