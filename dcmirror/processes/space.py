"""The room at the destination, and how much of it the next jobs may take.

The engine asks it before it hands out jobs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from dcmirror.core.dispatch import Dispatcher
from dcmirror.core.jobs import Progress

#: The default of min_free is one per cent of the destination, or this if it is less.
DEFAULT_MIN_FREE = 10 * 1024**3


class Space:
    """Bytes; ``free_bytes`` is what a worker saw last, None before.

    ``min_free`` is what is left free: as configured, or a share of the destination.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        progress: Mapping[str, Progress],
        min_free: int | None,
    ) -> None:
        self.free_bytes: int | None = None
        self.total_bytes: int | None = None
        self.min_free = min_free or 0
        self._configured = min_free
        self._dispatcher = dispatcher
        self._progress = progress

    def learn(self, free_bytes: int | None, total_bytes: int | None) -> None:
        """What a worker saw; None where it could not see."""
        if free_bytes is not None:
            self.free_bytes = free_bytes
        if total_bytes is not None:
            # Where file systems share a pool, the total shrinks while others fill it.
            self.total_bytes = max(total_bytes, self.total_bytes or 0)
            if self._configured is None:
                self.min_free = min(total_bytes // 100, DEFAULT_MIN_FREE)

    def keep_free(self, min_free: int | None) -> None:
        """Obey another setting from now on."""
        self._configured = min_free
        if min_free is not None:  # else the next report of a worker says it
            self.min_free = min_free

    def left(self) -> float:
        """Bytes that new jobs may reserve; what runs has reserved its rest."""
        if self.free_bytes is None:
            return math.inf
        return self.free_bytes - self.reserved_bytes() - self.min_free

    def reserved_bytes(self) -> int:
        """What the running transfers will still write, as far as it is known."""
        reserved = 0
        for entry in self._dispatcher.out():
            size, got = entry.needs, self._progress.get(entry.job.task)
            if got is not None:
                size = max(size, got.size or 0) - got.bytes_received
            reserved += max(size, 0)
        return reserved

    def could_take(self, size: int) -> bool:
        """Whether a file of this size fits once everything else is gone.

        With a ``min_free`` beyond the disk nothing would: that is no file's fault.
        """
        most = (
            math.inf if self.total_bytes is None else self.total_bytes - self.min_free
        )
        return most <= 0 or size <= most

    def impossible(self, size: int) -> str:
        """Why a file of this size is given up."""
        return (
            f"{size} bytes, and the whole file system of the mirror had at most "
            f"{self.total_bytes}, of which {self.min_free} stay free "
            "([destination] min_free)"
        )

    def is_enough(self) -> bool:
        """Whether a hold for want of space may end."""
        return self.left() >= max(self._dispatcher.needs, 1)

    def shortage(self) -> str:
        """Why the job that is next cannot be handed out."""
        return (
            f"{self.free_bytes} bytes free, {self._dispatcher.short_of:.0f} more "
            f"needed to keep {self.min_free} free ([destination] min_free)"
        )
