"""One sink's way through the journal: reads, ships, remembers, in this order.

The logger process runs one in a thread for each sink, so that a slow one keeps back no
other and nobody asks in vain how it goes.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from dcmirror.adapters import checkpoints
from dcmirror.adapters.checkpoints import Checkpoint, Position
from dcmirror.adapters.journal_reader import JournalReader
from dcmirror.adapters.sinks import Receipt, ShippedLine, Sink
from dcmirror.core.amounts import plural
from dcmirror.core.escapes import shown, without_secrets

_POLL_SECONDS = 0.5
_CHECKPOINT_SECONDS = 1.0
_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 60.0
# How often a pause looks whether there is a reason to end it.
_LOOK_SECONDS = 1.0
# Lines that wait while others pass them: bounded.
_MOST_WAITING = 8000


class Stop:
    """What ends all routes: first a request, then a deadline."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._deadline: float | None = None

    @property
    def is_asked(self) -> bool:
        """Ship what is there, then leave."""
        return self._event.is_set()

    @property
    def is_due(self) -> bool:
        """Leave now."""
        return self._deadline is not None and time.monotonic() >= self._deadline

    def ask(self, seconds: float) -> None:
        """Leave within so many seconds."""
        if self._deadline is None:
            self._deadline = time.monotonic() + seconds
        self._event.set()

    def pause(self, seconds: float) -> None:
        """Wait so long, or until it is asked."""
        self._event.wait(seconds)


class CheckpointBook:
    """The checkpoints of all routes in one file; several threads settle in it."""

    def __init__(self, path: Path, in_use: tuple[str, ...]) -> None:
        self._path = path
        self._in_use = in_use
        self._lock = threading.Lock()
        self._settled = checkpoints.load_all(path)

    def of(self, name: str) -> Checkpoint:
        """Where this sink stands, to work with."""
        return replace(self._settled.get(name, Checkpoint()))

    def settle(self, name: str, checkpoint: Checkpoint) -> None:
        """Make it durable.

        Raises:
            OSError: it is not.
        """
        with self._lock:
            self._settled[name] = replace(checkpoint)
            checkpoints.save_all(self._path, self._settled, self._in_use)


@dataclass(frozen=True, slots=True)
class RouteState:
    """How a route does: "shipping", "idle", "retrying" or "paused", why, since when."""

    name: str
    reason: str | None
    since: float


class Route:
    """One sink, one reader, one checkpoint.  ``run`` is its thread."""

    def __init__(
        self,
        name: str,
        reader: JournalReader,
        sink: Sink,
        book: CheckpointBook,
        stop: Stop,
    ) -> None:
        self._name = name
        self._reader = reader
        self._sink = sink
        self._book = book
        self._stop = stop
        self.checkpoint = book.of(sink.name)
        self.state = RouteState("shipping", None, time.time())
        self._positions: Mapping[str, Position] = self.checkpoint.writers
        self._waiting: list[ShippedLine] = []
        self._unread: str | None = None
        self._remark: str | None = None
        self._is_stuck = False
        self._is_saved = False
        self._saved_at = 0.0
        self._failures = 0
        self._complaint = ""
        self._rate: deque[tuple[float, int]] = deque(maxlen=12)

    @property
    def sink_name(self) -> str:
        """The name of where it ships to."""
        return self._sink.name

    def run(self) -> None:
        """Ship until the stop is asked; then what is there already."""
        self._sink.resume(self.checkpoint.sink)
        while not self._stop.is_due:
            pause = self._step()
            if pause and self._stop.is_asked:
                break
            if pause:
                self._rest(pause)
        self._save_guarded()
        self._sink.close()

    def rate(self, now: float) -> float:
        """Lines each second since it was asked about ten times ago."""
        shipped = self.checkpoint.shipped
        self._rate.append((now, shipped))
        then, before = self._rate[0]
        return (shipped - before) / (now - then) if now > then else 0.0

    def _step(self) -> float:
        """Read and ship once; whatever goes wrong is told once and tried again.

        Returns:
            how long to wait before the next step.
        """
        try:
            pause = self._ship()
        except Exception as exc:  # noqa: BLE001 - the logger loop: nothing ends it
            self._failures += 1
            self._be("retrying", f"{type(exc).__name__}: {exc}")
            return min(
                _FIRST_PAUSE * 2.0 ** min(self._failures - 1, 10), _LONGEST_PAUSE
            )
        self._failures = 0
        return pause

    def _ship(self) -> float:
        if not self._waiting or self._may_pass():
            self._read()
        if not self._waiting:
            self._save()
            # What the last answer remarked still holds.
            self._be("idle", self._with_unread(self._remark))
            return _POLL_SECONDS
        if self._sink.is_elsewhere():
            self._is_saved = False
            self._save()
        receipt = self._sink.ship(self._waiting)
        self._note(receipt)
        if time.monotonic() - self._saved_at > _CHECKPOINT_SECONDS:
            self._save()
        return receipt.pause

    def _may_pass(self) -> bool:
        return self._is_stuck and len(self._waiting) < _MOST_WAITING

    def _read(self) -> None:
        """What comes next, behind what waits."""
        batch = self._reader.read(self._positions)
        if batch.positions != self._positions:
            self._is_saved = False
        self._positions = batch.positions
        self._waiting += batch.lines
        self.checkpoint.spoiled += batch.spoiled
        self.checkpoint.missed += batch.missed
        unread = next(iter(batch.unread.values()), None)
        self._unread = unread and f"cannot read the journal: {unread}"
        if not self._waiting:
            self.checkpoint.writers = dict(batch.positions)

    def _note(self, receipt: Receipt) -> None:
        now = self.checkpoint
        self._waiting = list(receipt.rest)
        self._is_stuck = receipt.is_stuck
        now.shipped += receipt.taken - receipt.dead
        now.duplicates += receipt.duplicates
        now.dead_letters += receipt.dead
        now.dead_letters_lost += receipt.lost
        if receipt.lost:
            self._say(f"{plural(receipt.lost, 'dead letter')} lost for want of space")
        if not self._waiting:
            now.writers = dict(self._positions)
            self._is_saved = False
        self._remark = None if receipt.pause else receipt.trouble
        told = self._with_unread(receipt.trouble)
        if not receipt.pause:
            self._be("shipping", told)
        else:
            self._be("paused" if receipt.needs_help else "retrying", told)

    def _with_unread(self, reason: str | None) -> str | None:
        """A reason, and what of the journal cannot be read."""
        return "; ".join(filter(None, (reason, self._unread))) or None

    def _save(self) -> None:
        """Only what is behind every line that waits is settled."""
        if self._is_saved:
            return
        self.checkpoint.sink = self._sink.settle()
        self._book.settle(self._sink.name, self.checkpoint)
        self._is_saved = True
        self._saved_at = time.monotonic()

    def _save_guarded(self) -> None:
        try:
            self._save()
        except OSError as exc:
            self._be("retrying", f"{type(exc).__name__}: {exc}")

    def _rest(self, seconds: float) -> None:
        """Wait; not longer than until somebody cured what is wrong."""
        end = time.monotonic() + seconds
        while not self._stop.is_asked and not self._sink.is_cured():
            left = end - time.monotonic()
            if left <= 0:
                return
            self._stop.pause(min(left, _LOOK_SECONDS))

    def _be(self, name: str, reason: str | None) -> None:
        """Change the state; tell a new reason, and its end, once."""
        was = self.state
        if (name, reason) == (was.name, was.reason):
            return
        since = was.since if name == was.name else time.time()
        self.state = RouteState(name, reason, since)
        if reason is not None and reason != self._complaint:
            self._complaint = reason
            self._say(reason)
        elif reason is None and self._complaint and name == "shipping":
            self._complaint = ""
            self._say("ships again")

    def _say(self, text: str) -> None:
        say(self._name, f"{self._sink.name}: {text}")


def say(name: str, text: str) -> None:
    """A line on standard error, whatever a server has put into it."""
    line = shown(without_secrets(f"dcmirror: {name}: {text}"))
    with suppress(OSError):
        os.write(sys.stderr.fileno(), f"{line}\n".encode())
