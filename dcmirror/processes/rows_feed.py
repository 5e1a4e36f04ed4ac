"""The feed of ``replay``: rows of failed.csv as jobs, and what becomes of the rows.

The supervisor's loop calls it.  A row leaves the file only after its job's outcome is
durable, so an interruption at any point loses none.
"""

from __future__ import annotations

import os
import uuid
from collections import deque
from collections.abc import Callable, Collection, Mapping
from typing import Any, Protocol

from dcmirror.adapters.failed_csv import FailedRow, Key
from dcmirror.core.jobs import Job, JobKind, Origin
from dcmirror.core.paths import PathMap, check_relative
from dcmirror.errors import BooksError, DcmirrorError, UnsafePathError
from dcmirror.processes.engine import Engine
from dcmirror.processes.settler import Settlement

#: Successes after which the file is written anew.
REWRITE_EVERY = 1000
_TASKS_OF_ROWS = uuid.UUID("2f6b1a52-9c0e-5f4b-8d7e-41c7a90b3d18")
#: Rows that are offered before the loop looks at its children again.
_AT_ONCE = 200


class RowsBook(Protocol):
    """Where the rows came from, and stay until they need not be tried again."""

    def rewrite(
        self, drop: Collection[Key], change: Mapping[Key, FailedRow], /
    ) -> object:
        """Take rows out and put changed ones in.

        Raises:
            BooksError: the book is as it was.
        """


class RowsFeed:
    """Offers the chosen rows and takes out those that need not be tried again."""

    def __init__(
        self,
        rows: list[FailedRow],
        book: RowsBook,
        path_map: PathMap,
        refuse: Callable[[FailedRow, str], None],
    ) -> None:
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.total = len(rows)
        self.done = 0
        self.failed_again = 0
        self.refused = 0
        self.engine: Engine | None = None
        self._book = book
        self._path_map = path_map
        self._refuse = refuse
        self._rows = deque(rows)
        self._keys: dict[str, Key] = {}
        self._drop: set[Key] = set()
        self._change: dict[Key, FailedRow] = {}
        self._is_paused = False

    def take(self, now: float, wall: float) -> None:
        """Offer rows as long as the engine has room."""
        assert self.engine is not None  # set before the loop begins
        for _ in range(_AT_ONCE):
            if not self._rows or self._is_paused or self.engine.is_full:
                return
            row = self._rows.popleft()
            try:
                job = self._job_of(row, wall)
            except UnsafePathError as exc:
                self.refused += 1
                self._refuse(row, str(exc))
                continue
            self._keys[job.task] = row.key
            self.engine.offer(job)

    def _job_of(self, row: FailedRow, wall: float) -> Job:
        relative = self._path_map.relative(row.path)
        if relative is None:
            raise UnsafePathError(f"{row.path} is not below [dcache] folder")
        check_relative(relative)
        return Job(
            task=self._task_of(row),
            kind=JobKind.REPLAY,
            path=row.path,
            relative=relative,
            url=self._path_map.url(row.path),
            size=row.size,
            pnfsid=row.pnfsid,
            event_time=row.event_time,
            accepted_at=wall,
            origin=_origin_of(row),
            door=row.door,
            pool=row.pool,
        )

    def _task_of(self, row: FailedRow) -> str:
        """The row's own task, but never that of another row's job.

        A task is made of a record's offset, and so comes again with a topic that is
        made anew: the outcome of one file would take out the row of the other.
        """
        if self._keys.get(row.task, row.key) == row.key:
            return row.task
        return str(uuid.uuid5(_TASKS_OF_ROWS, repr(row.key)))

    def settled(self, settlements: list[Settlement]) -> None:
        """These outcomes are durable: note what becomes of their rows."""
        for settlement in settlements:
            key = self._keys.pop(settlement.task, None)
            if key is None:
                continue
            if settlement.row is None:
                self.done += 1
                self._drop.add(key)
            else:
                self.failed_again += 1
                self._change[key] = settlement.row
        if len(self._drop) >= REWRITE_EVERY:
            self.rewrite()

    def rewrite(self) -> None:
        """Take the done rows out of the file, put the new failures in.

        Raises:
            BooksError: the file is as it was; the next call tries it again.
        """
        if self._drop or self._change:
            self._book.rewrite(self._drop, self._change)
            self._drop, self._change = set(), {}

    def throttle(self, *, is_paused: bool) -> None:
        """Offer no more rows, or go on."""
        self._is_paused = is_paused

    def tick(self, now: float) -> None:
        """It has no due times of its own."""

    def next_due(self) -> float | None:
        """At once, while there are rows that the engine would take."""
        assert self.engine is not None
        waits = not self._rows or self._is_paused or self.engine.is_full
        return None if waits else 0.0

    def trouble(self, now: float) -> DcmirrorError | None:
        """A file that can be read once brings everything."""
        return None

    @property
    def is_exhausted(self) -> bool:
        """Every row was offered and settled."""
        return not self._rows and not self._keys

    def status(self, now: float) -> dict[str, Any]:
        """What status.json says of the rows."""
        return {
            "rows": {
                "total": self.total,
                "done": self.done,
                "failed_again": self.failed_again,
                "refused": self.refused,
            }
        }

    def stop_intake(self) -> None:
        """Rows that were not offered stay in the file."""
        self._rows.clear()

    def close(self) -> None:
        """The last rewrite; without it the rows are tried once more, nothing worse."""
        assert self.engine is not None
        try:
            self.rewrite()
        except BooksError as exc:
            self.engine.story.note(f"the rows stay as they were: {exc}", level="error")


def _origin_of(row: FailedRow) -> Origin | None:
    if row.topic is None or row.partition is None or row.offset is None:
        return None
    return Origin(row.topic, row.partition, row.offset)
