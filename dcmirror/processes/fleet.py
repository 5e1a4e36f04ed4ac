"""The worker processes and the logger: started, heard, buried and started again.

Runs in the supervisor.  It explains every death in one line and gives up only on a
child that dies again and again without having done anything in between.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from dcmirror.core import wire
from dcmirror.core.attention import Attention, excused
from dcmirror.core.messages import Ready, ToWorker
from dcmirror.errors import ChildBootError, ChildrenDyingError
from dcmirror.processes.child import Child, end_child, spawn_child

#: Deaths in a row, with nothing done in between, after which we give up.
HOPELESS_DEATHS = 5
#: Longest silence of a worker that is not inside a sync (seconds).
LONGEST_SILENCE = 120.0
BOOT_SECONDS = 60.0
_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 30.0


@dataclass(frozen=True, slots=True)
class Post:
    """A place that one child at a time fills."""

    name: str
    target: Callable[[Any], None]
    make_boot: Callable[[Connection, Connection], Any]
    streams: int = 0

    @property
    def is_worker(self) -> bool:
        """Whether it takes jobs; else it is the logger."""
        return self.streams > 0


@dataclass(slots=True)
class _Slot:
    post: Post
    child: Child | None = None
    idle_deaths: int = 0
    spawn_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Death:
    """A child that is gone, and what is known about it."""

    child: Child
    post: Post
    why: str


class Fleet:
    """All children of one supervisor."""

    def __init__(
        self,
        posts: list[Post],
        children_lock: Path,
        *,
        longest_silence: float = LONGEST_SILENCE,
    ) -> None:
        self._slots = [_Slot(post) for post in posts]
        self._longest_silence = longest_silence
        self._children_lock = children_lock
        self._attention = Attention()
        self._number = 0
        self.restarts = 0

    def __repr__(self) -> str:
        return f"<Fleet {[c.name for c in self.children()]} restarts={self.restarts}>"

    def children(self) -> list[Child]:
        """Every child that lives, as far as we know."""
        return [slot.child for slot in self._slots if slot.child is not None]

    def seated(self) -> list[tuple[Child, int]]:
        """Every child with the streams of its post."""
        return [(s.child, s.post.streams) for s in self._slots if s.child]

    def vacant(self) -> list[tuple[str, int, float]]:
        """Posts without a child: name, idle deaths in a row, when it is filled."""
        return [
            (slot.post.name, slot.idle_deaths, slot.spawn_at)
            for slot in self._slots
            if slot.child is None
        ]

    def workers(self) -> list[Child]:
        """The children that take jobs."""
        return [s.child for s in self._slots if s.child and s.post.is_worker]

    def streams_of(self, number: int) -> int:
        """How many transfers the worker runs at once."""
        return next(
            s.post.streams for s in self._slots if s.child and s.child.number == number
        )

    def spawn_missing(self, now: float) -> list[Child]:
        """Start what is not there and may be started now."""
        started = []
        for slot in self._slots:
            if slot.child is None and slot.spawn_at <= now:
                slot.child = self._spawn(slot.post)
                started.append(slot.child)
        return started

    def next_spawn(self) -> float | None:
        """When a missing child may be started."""
        return min((s.spawn_at for s in self._slots if s.child is None), default=None)

    def receive(self, child: Child, now: float) -> list[wire.Message]:
        """Everything that a child has said by now."""
        messages: list[wire.Message] = []
        with contextlib.suppress(EOFError, OSError):
            while child.from_child.poll():
                messages.append(wire.decode(child.from_child.recv_bytes()))
        if messages:
            child.last_beat = now
        if any(isinstance(message, Ready) for message in messages):
            child.is_ready = True
        return messages

    def send(self, child: Child, message: ToWorker) -> bool:
        """Say something to a child; False if it is gone (its death will be seen)."""
        try:
            child.to_child.send_bytes(wire.encode(message))
        except OSError:
            return False
        return True

    def tell_workers(self, message: ToWorker) -> None:
        """Say something to every worker."""
        for child in self.workers():
            self.send(child, message)

    def bury(self, child: Child, now: float, *, respawn: bool) -> Death:
        """The process is gone: explain it, throw its pipes away, plan the next one.

        Raises:
            ChildBootError: a worker that never was ready said so by its exit status.
            ChildrenDyingError: it died the fifth time in a row without having worked.
        """
        slot = next(s for s in self._slots if s.child is child)
        child.process.join()
        death = Death(child, slot.post, child.explain_death())
        child.close_pipes()
        slot.child = None
        if child.is_retiring:
            slot.spawn_at = float("inf")
            return death
        self.restarts += 1
        slot.idle_deaths = 0 if child.has_worked else slot.idle_deaths + 1
        pause = min(_FIRST_PAUSE * 2.0**slot.idle_deaths, _LONGEST_PAUSE)
        slot.spawn_at = now + pause if respawn else float("inf")
        if slot.post.is_worker and respawn:
            _despair(death, slot.idle_deaths)
        return death

    def overdue(self, now: float) -> list[Child]:
        """Workers that owe a beat, or their first one, for too long: alive, but stuck.

        To be asked in every turn, after what they said was received.
        """
        missed = self._attention.missed(now)
        late = []
        for child in self.workers():
            child.last_beat = excused(child.last_beat, missed, now)
            limit = self._longest_silence if child.is_ready else BOOT_SECONDS
            if now - child.last_beat > limit:
                late.append(child)
        return late

    def end_silent(self, child: Child) -> None:
        """ABRT writes every thread's traceback, then KILL."""
        end_child(child, signals=(signal.SIGABRT, signal.SIGKILL), pause=2.0)

    def retire(self, message: ToWorker) -> None:
        """Tell every worker to finish; they leave by themselves."""
        for child in self.workers():
            child.is_retiring = True
            self.send(child, message)

    def join_workers(self, seconds: float) -> None:
        """Wait a little for those who were told to leave."""
        for child in self.workers():
            child.process.join(seconds)

    def end_logger(self, seconds: float) -> None:
        """The logger leaves last; TERM lets it ship what it can in ``seconds``."""
        for slot in self._slots:
            if slot.child is not None and not slot.post.is_worker:
                slot.child.is_retiring = True
                stops = (signal.SIGTERM, signal.SIGKILL)
                end_child(slot.child, signals=stops, pause=seconds)
                slot.child.close_pipes()
                slot.child = None

    def kill_all(self) -> None:
        """Leave nobody behind."""
        for child in self.children():
            end_child(child, signals=(signal.SIGKILL,), pause=5.0)

    def _spawn(self, post: Post) -> Child:
        self._number += 1
        return spawn_child(
            post.name, self._number, post.target, post.make_boot, self._children_lock
        )


def _despair(death: Death, idle_deaths: int) -> None:
    code = death.child.process.exitcode
    if code is not None and code >= 0 and not death.child.is_ready:
        raise ChildBootError(f"{death.child.name} could not start: {death.why}")
    if idle_deaths >= HOPELESS_DEATHS:
        raise ChildrenDyingError(
            f"{death.child.name} died {idle_deaths} times running without having done "
            f"anything, last: {death.why}"
        )
