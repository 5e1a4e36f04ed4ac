"""Removes source directories that cleanup has emptied, the deepest first."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from functools import partial

from dcmirror.adapters.catalogue_pruned import PrunedBook
from dcmirror.adapters.door_client import DoorClient
from dcmirror.core.door_errors import DoorError
from dcmirror.core.escapes import shown
from dcmirror.core.paths import isolated_name
from dcmirror.processes.cleanup_crew import MOST_FUTILE
from dcmirror.processes.patience import Patience
from dcmirror.tasks.prune import Pruned, Pruning, Verdict


class DirectoryPruner:
    """One run's; ``removed`` counts, ``troubles`` are told.

    Args:
        root: the folder; only what is below it may go.
        believes_gone: a directory that is away with the one above it is gone.
    """

    def __init__(
        self,
        book: PrunedBook,
        client: DoorClient,
        patience: Patience,
        root: str,
        stop: threading.Event,
        *,
        believes_gone: bool = False,
    ) -> None:
        self.removed = 0
        self.troubles: list[str] = []
        self._book = book
        self._client = client
        self._patience = patience
        self._root = root.rstrip("/")
        self._stop = stop
        self._believes_gone = believes_gone
        self._in_vain = 0

    def resolve(self) -> None:
        """See to what a killed run left behind."""
        removed = self._book.removed()
        for intent in self._book.unfinished():
            if not self._is_ours(intent.path):
                self.troubles.append(
                    f"{shown(intent.path)}: it was to be removed, and may be named "
                    f"{intent.isolated} still; it is not below {self._root} any more "
                    "([dcache] folder)"
                )
                continue
            above = intent.path.rpartition("/")[0]
            work = partial(
                self._pruning(intent.path, intent.isolated).resolve,
                is_removed=removed.get(above, -math.inf) >= intent.intended_at,
                is_gone=self._believes_gone,
            )
            verdict = self._told(intent.path, work)
            if verdict.result is not None:
                self._book.conclude(intent, verdict.result, verdict.text, time.time())

    def run(self, under: str | None = None) -> None:
        """Remove what is empty; what was not looked at now is looked at next time.

        Args:
            under: only what is below this path, that ends with a slash.
        """
        emptied, number = self._book.emptied()
        waiting = {
            path: first for path, first in emptied.items() if self._is_ours(path)
        }
        left, scope = [], under or f"{self._root}/"
        while waiting and not self._stop.is_set() and self._in_vain < MOST_FUTILE:
            path = max(waiting, key=lambda each: (each.count("/"), each))
            first = waiting.pop(path)
            is_in_scope = path.startswith(scope)
            is_gone = self._remove(path) if is_in_scope else None
            if is_gone is None:
                left.append(first)
            if is_in_scope:
                self._in_vain = self._in_vain + 1 if is_gone is None else 0
            above = path.rpartition("/")[0]
            if is_gone and self._is_ours(above):
                waiting[above] = min(first, waiting.get(above, first))
        self._book.seen_up_to(min([number + 1, *left, *waiting.values()]) - 1)

    def _is_ours(self, path: str) -> bool:
        return path.startswith(self._root + "/")

    def _remove(self, path: str) -> bool | None:
        """Whether it is gone: then the one above may be empty, too.  None: unknown."""
        name = isolated_name(f"{path} {time.time_ns()}")
        isolated = f"{path.rpartition('/')[0]}/{name}"
        pruning = self._pruning(path, isolated)
        try:
            nothing_to_do = pruning.looks_empty()
        except DoorError as error:
            self.troubles.append(str(error))
            return None
        if nothing_to_do is not None:
            return nothing_to_do is Pruned.GONE
        intent = self._book.intend(path, isolated, time.time())
        verdict = self._told(path, pruning.run)
        if verdict.result is None:
            return None
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
