"""What cleanup works with: the door, the mirror, patience, and where it tells."""

from __future__ import annotations

import math
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from dcmirror.adapters.credentials import proxy_of
from dcmirror.adapters.door_client import DoorClient, door_options
from dcmirror.adapters.mirror_store import MirrorStore, store_of
from dcmirror.adapters.pace import Pace
from dcmirror.adapters.state_directory import StateDirectory, failures_path
from dcmirror.core.amounts import bytes_text, count_text
from dcmirror.core.journal_cleanup import CleanupTally
from dcmirror.core.paths import path_map_of
from dcmirror.processes.cleanup_crew import Means, StopSwitch
from dcmirror.processes.cleanup_story import CleanupStory
from dcmirror.processes.patience import Patience
from dcmirror.processes.tellers import make_teller, open_journal, open_log
from dcmirror.settings import Settings

# As long as the door may be away, or refuse our credential.
_HOLD_SECONDS = 600.0
# For tests of the real command, whose patience is shorter than an operator's.
_PROBE_SCALE = "DCMIRROR_TEST_PROBE_SCALE"


def say(text: str) -> None:
    """A note for people."""
    print(f"dcmirror: {text}", file=sys.stderr)


class Pulse:
    """Says now and then how far a run is, more often on a terminal."""

    def __init__(self, verbosity: int) -> None:
        self._every = math.inf if verbosity < 0 else 30.0
        if verbosity >= 0 and sys.stderr.isatty():
            self._every = 5.0
        self._told_at = time.monotonic()

    def __call__(self, tally: CleanupTally) -> None:
        """After each batch."""
        now = time.monotonic()
        if now - self._told_at >= self._every:
            self._told_at = now
            kept = count_text(tally.kept.total())
            size = bytes_text(tally.deleted_bytes)
            say(f"{count_text(tally.deleted)} deleted so far ({size}), {kept} kept")


class Room:
    """Made of the settings; ``signal`` is the one that told us to stop."""

    def __init__(
        self,
        settings: Settings,
        state: StateDirectory,
        instance: str | None,
        verbosity: int,
    ) -> None:
        dcache, local = settings.dcache, settings.local
        self.stop = StopSwitch()
        self.signal: int | None = None
        self.path_map = path_map_of(dcache)
        self._settings = settings
        self._state = state
        self._instance = instance
        self._verbosity = verbosity
        self._proxy = proxy_of(local, os.environ)
        self._pace = Pace(settings.cleanup.requests_per_second, stop=self.stop.now)

    @property
    def failed_csv(self) -> Path:
        """Where the failures are."""
        return failures_path(self._settings, self._state.path)

    def free_bytes(self) -> int | None:
        """What the door says of free space at the source."""
        client = self.client()
        try:
            return self.patience().call(client.free_bytes, self.path_map.root)
        finally:
            client.close()

    def means(self) -> Means:
        """What the threads work with."""
        cleanup = self._settings.cleanup
        return Means(
            make_client=self.client,
            make_store=self.store,
            patience=self.patience(),
            isolate=cleanup.isolate,
            is_deep=cleanup.verify == "deep",
            parallel=cleanup.parallel,
            stop=self.stop,
        )

    def client(self) -> DoorClient:
        """A client of the door; they all share one pace."""
        return DoorClient(door_options(self._settings), self._pace)

    def store(self) -> MirrorStore:
        """The mirror."""
        settings = self._settings
        return store_of(settings, self._state.tag)

    def patience(self) -> Patience:
        """How the door is waited for."""
        scale = float(os.environ.get(_PROBE_SCALE, 1.0))
        return Patience(
            say,
            self.stop.now,
            proxy=self._proxy,
            most_seconds=_HOLD_SECONDS * scale,
            scale=scale,
        )

    def story(self) -> CleanupStory:
        """Where it tells; on standard error only what an operator must see."""
        settings, state = self._settings, self._state
        journal = open_journal(settings, state)
        log = open_log(settings, self._verbosity - (settings.log.file is None))
        return make_teller(
            CleanupStory, settings, state, "cleanup", self._instance, journal, log
        )

    @contextmanager
    def signals(self) -> Iterator[None]:
        """TERM and INT: begin nothing more; the second one: leave at once."""
        old = {
            number: signal.signal(number, self._on_signal)
            for number in (signal.SIGTERM, signal.SIGINT)
        }
        try:
            yield
        finally:
            for number, handler in old.items():
                signal.signal(number, handler)

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """While the user is asked, INT means what it always does."""
        ours = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, ours)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if self.stop.soon.is_set():
            self.stop.now.set()
        self.signal = number
        self.stop.soon.set()
