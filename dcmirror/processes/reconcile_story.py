"""What reconcile tells of itself; its copies are the engine's story."""

from __future__ import annotations

import time

from dcmirror.core.findings import Summary
from dcmirror.processes.teller import Teller


class ReconcileStory(Teller):
    """Writes at once: it may share a journal with the engine's story."""

    def started(self, what: str, *, is_resumed: bool) -> None:
        """It begins to compare."""
        event = self._events.reconcile_started(time.time(), what, is_resumed=is_resumed)
        self._tell(event)
        self._log.line("RECONCILE", what)
        self._write()

    def finished(self, summary: Summary, reason: str) -> None:
        """It is over."""
        event = self._events.reconcile_finished(time.time(), summary, reason)
        self._tell(event)
        self._log.line("RECONCILE", event["message"])
        self._write()
