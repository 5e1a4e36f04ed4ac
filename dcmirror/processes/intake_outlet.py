"""What the intake thread hands out, and what it is asked for.

Both ends live in the supervisor: the intake thread writes, the loop takes.
"""

from __future__ import annotations

import os
import queue
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from dcmirror.core.records import Batch, IntakeTrouble, Notice


@dataclass(slots=True)
class Wishes:
    """What the loop wants; plain attributes, each written by one side."""

    is_paused: bool = False
    is_draining: bool = False
    is_commit_asked: bool = False
    closing: threading.Event = field(default_factory=threading.Event)
    committables: Mapping[tuple[int, int], int] = field(default_factory=dict)


class Outlet:
    """A bounded queue of batches, an unbounded one of notices, and a bell.

    Batches that find no room stay in hand, in order.  A notice overtakes them, unless
    it says where a partition begins or goes on: that is true only behind the records
    read before, and would make the ledger take them for seen.
    """

    def __init__(self, wake_fd: int, room: int = 4) -> None:
        self.batches: queue.Queue[Batch] = queue.Queue(room)
        self.notices: deque[Notice] = deque()
        self._in_hand: deque[Batch] = deque()
        # a copy: its owner may close his while we still run, and the number be reused
        self._wake_fd = os.dup(wake_fd)

    @property
    def has_in_hand(self) -> bool:
        """Whether a batch waits for room."""
        return bool(self._in_hand)

    def take(self) -> tuple[list[Notice], Batch | None]:
        """The loop's end: a batch and every notice that precedes it."""
        try:
            batch = self.batches.get_nowait()
        except queue.Empty:
            batch = None
        notices = [self.notices.popleft() for _ in range(len(self.notices))]
        return notices + list(batch.notices if batch else ()), batch

    def notify(self, notice: Notice) -> None:
        """Tell it now, before every batch that was not taken yet; never blocks."""
        self.notices.append(notice)
        self._ring()

    def hand_over(self, batch: Batch) -> None:
        """Put the batch behind those in hand, and on the queue if there is room.

        Its notices keep their place too.
        """
        self._in_hand.append(batch)
        self.flush(0)

    def flush(self, seconds: float) -> None:
        """Put what is in hand on the queue, waiting so long for room."""
        while self._in_hand:
            try:
                self.batches.put(self._in_hand[0], seconds > 0, seconds)
            except queue.Full:
                return
            self._in_hand.popleft()
            self._ring()

    def drop(self) -> None:
        """Forget what is in hand: it is not committed, so it comes again."""
        self._in_hand.clear()

    def close(self) -> None:
        """No notice comes after this."""
        os.close(self._wake_fd)

    def _ring(self) -> None:
        os.eventfd_write(self._wake_fd, 1)


class Troubles:
    """Why nothing arrives, by kind; told when the first begins and the last ends."""

    def __init__(self, notify: Callable[[Notice], None], again_seconds: float) -> None:
        self._notify = notify
        self._again_seconds = again_seconds
        self._texts: dict[str, str] = {}
        self._told_at: float | None = None

    def put(self, kind: str, text: str, now: float) -> None:
        """Note a trouble, or, with an empty text, its end."""
        if text:
            self._texts[kind] = text
        elif self._texts.pop(kind, None) is None:
            return
        if not self._texts:
            self._told_at = None
            self._notify(IntakeTrouble(""))
        elif self._told_at is None or now - self._told_at >= self._again_seconds:
            self._told_at = now
            self._notify(IntakeTrouble(next(iter(self._texts.values()))))
