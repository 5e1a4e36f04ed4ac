"""Removes source directories that cleanup has emptied, the deepest first."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from dcmirror.adapters.catalogue_pruned import PrunedBook
from dcmirror.adapters.door_client import DoorClient
from dcmirror.core.door_errors import DoorError
from dcmirror.core.escapes import shown
from dcmirror.core.paths import isolated_name
from dcmirror.processes.patience import Patience
from dcmirror.tasks.prune import Pruned, Pruning, Verdict


class DirectoryPruner:
    """One run's; ``removed`` counts, ``troubles`` are told.

    Args:
        root: the folder; only what is below it may go.
    """

    def __init__(
        self,
        book: PrunedBook,
        client: DoorClient,
        patience: Patience,
        root: str,
        stop: threading.Event,
    ) -> None:
        self.removed = 0
        self.troubles: list[str] = []
        self._book = book
        self._client = client
        self._patience = patience
        self._root = root.rstrip("/")
        self._stop = stop

    def resolve(self) -> None:
        """See to what a killed run left behind."""
        for intent in self._book.unfinished():
            pruning = self._pruning(intent.path, intent.isolated)
            verdict = self._told(intent.path, pruning.resolve)
            if verdict.result is not None:
                self._book.conclude(intent, verdict.result, verdict.text, time.time())

    def run(self) -> None:
        """Remove what is empty."""
        waiting, number = self._book.emptied()
        while waiting and not self._stop.is_set():
            path = max(waiting, key=lambda each: (each.count("/"), each))
            waiting.discard(path)
            if path.startswith(self._root + "/") and self._remove(path):
                waiting.add(path.rpartition("/")[0])
        if not waiting:
            self._book.seen_up_to(number)

    def _remove(self, path: str) -> bool:
        """Whether it is gone: then the one above may be empty, too."""
        name = isolated_name(f"{path} {time.time_ns()}")
        isolated = f"{path.rpartition('/')[0]}/{name}"
        pruning = self._pruning(path, isolated)
        try:
            nothing_to_do = pruning.looks_empty()
        except DoorError as error:
            self.troubles.append(str(error))
            return False
        if nothing_to_do is not None:
            return nothing_to_do is Pruned.GONE
        intent = self._book.intend(path, isolated, time.time())
        verdict = self._told(path, pruning.run)
        if verdict.result is not None:
            self._book.conclude(intent, verdict.result, verdict.text, time.time())
        if verdict.result is Pruned.REMOVED:
            self.removed += 1
        return verdict.result in (Pruned.REMOVED, Pruned.GONE)

    def _told(self, path: str, work: Callable[[], Verdict]) -> Verdict:
        verdict = work()
        if verdict.result is None or verdict.result is Pruned.REFUSED:
            self.troubles.append(f"{shown(path)}: {shown(verdict.text)}")
        return verdict

    def _pruning(self, path: str, isolated: str) -> Pruning:
        return Pruning(self._client, self._patience, path, isolated)
