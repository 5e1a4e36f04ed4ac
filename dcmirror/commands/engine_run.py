"""One run of the engine over jobs that a command found: replay, reconcile, audit."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from dcmirror.adapters.failed_csv import FailedCsv
from dcmirror.adapters.locks import wait_for_children
from dcmirror.adapters.state_directory import StateDirectory, instance_name
from dcmirror.core.tally import Tally
from dcmirror.processes.assembly import EngineRoom, assemble
from dcmirror.processes.credential_watch import CredentialWatch
from dcmirror.processes.engine import Engine
from dcmirror.processes.feeds import Feed
from dcmirror.processes.listing_feed import JobsFeed
from dcmirror.processes.outbox import write_outboxes
from dcmirror.processes.settler import Settlement
from dcmirror.processes.status import StatusBoard
from dcmirror.processes.supervisor import Supervisor
from dcmirror.settings import Settings

SIGNALLED = 128


class CountedFeed(Feed, Protocol):
    """A feed that ends, and that knows what became of its jobs."""

    engine: Engine | None

    def settled(self, settlements: list[Settlement]) -> None:
        """These outcomes are durable."""

    def status(self, now: float) -> dict[str, Any]:
        """What status.json says of it."""


@dataclass(frozen=True, slots=True)
class EngineRun:
    """What runs, and for which command.

    ``failed_csv`` None writes no rows: the feed keeps them itself.  With
    ``suspects_source`` ten refusals in a row hold the source, as in watch.
    """

    settings: Settings
    state: StateDirectory
    command: str
    instance: str | None = None
    verbosity: int = 0
    failed_csv: FailedCsv | None = None
    suspects_source: bool = False


@dataclass(frozen=True, slots=True)
class RunEnd:
    """What came of a run; ``stopped_by`` is the signal that ended it early.

    ``outcomes`` counts settlements by kind: "mirrored", "failed", "skipped:REASON".
    """

    tally: Tally
    stopped_by: int | None
    outcomes: dict[str, int]

    @property
    def failed(self) -> int:
        """Jobs that were given up."""
        return self.outcomes.get("failed", 0)


#: Called once a second with what runs.
Watcher = Callable[[EngineRoom], None]


def nobody(room: EngineRoom) -> None:
    """No progress is shown."""


def run_jobs(
    run: EngineRun,
    feed: JobsFeed,
    *,
    on_second: Watcher = nobody,
) -> RunEnd:
    """Do the jobs of ``feed``, until all are settled or a signal says stop.

    The caller holds the command's lock.

    Raises:
        LockedError: children of an earlier run of this command are alive still.
        DcmirrorError: what ended the work early; what was settled stays settled.
    """
    tally, stopped_by = run_feed(run, feed, on_second)
    if feed.error is not None:
        raise feed.error
    return RunEnd(tally, stopped_by, dict(feed.outcomes))


def run_feed(
    run: EngineRun, feed: CountedFeed, on_second: Watcher = nobody
) -> tuple[Tally, int | None]:
    """Run the engine until ``feed`` is exhausted; the tally, and the signal that came.

    Raises:
        LockedError: children of an earlier run of this command are alive still.
        DcmirrorError: what ended the work early.
    """
    state, settings, command = run.state, run.settings, run.command
    wait_for_children(state.children_lock(command))
    room = _room(run, feed)
    feed.engine = room.engine
    name = instance_name(settings, run.instance)
    board = StatusBoard(
        state.status_of(command), command, settings, name, room, time.time()
    )
    hooks = RunHooks(room, feed, board, on_second)
    supervisor = Supervisor(
        room.engine,
        room.fleet,
        feed,
        hooks,
        drain_seconds=settings.pipeline.drain_seconds,
    )
    hooks.say_once(_stopping(run), lambda: supervisor.stopped_by is not None)
    supervisor.listen()
    write_outboxes(room.engine.settler, state, command)
    room.engine.story.started(settings)
    hooks.every_second(time.monotonic(), time.time())
    with board.until_the_end():
        supervisor.run()
    return room.engine.tally, supervisor.stopped_by


def _stopping(run: EngineRun) -> str:
    """What to say once the run ends early; the human log may be in a file."""
    if run.verbosity < 0:
        return ""
    return f"stopping, at most {run.settings.pipeline.drain_seconds:.0f} s; again: now"


def _room(run: EngineRun, feed: CountedFeed) -> EngineRoom:
    settings = run.settings
    fallback = max(settings.dcache.maxdownloads // 2, 1)
    return assemble(
        settings,
        run.state,
        run.command,
        instance=run.instance,
        downloads=settings.replay.maxdownloads or fallback,
        # Without a log file the human log is the terminal: fewer lines of it there.
        verbosity=run.verbosity - (settings.log.file is None),
        ledgers=None,
        failed_csv=run.failed_csv,
        on_settled=feed.settled,
        suspects_source=run.suspects_source,
    )


class RunHooks:
    """Once a second: the credential, the status and what the command shows."""

    def __init__(
        self,
        room: EngineRoom,
        feed: CountedFeed,
        board: StatusBoard,
        on_second: Watcher,
    ) -> None:
        self._room = room
        self._feed = feed
        self._on_second = on_second
        self._saying = ""
        self._is_time: Callable[[], bool] = bool
        self._credential = CredentialWatch(
            room.proxy, room.engine, room.fleet.tell_workers
        )
        self.board = board

    def say_once(self, text: str, is_time: Callable[[], bool]) -> None:
        """What to say on standard error, and whether its time has come."""
        self._saying, self._is_time = text, is_time

    def every_second(self, now: float, wall: float) -> None:
        """Look at the proxy, write the status, tell the command."""
        self._credential.look(now, wall)
        self.board.show(
            now, wall, **self._feed.status(now), **self._credential.status(wall)
        )
        self._on_second(self._room)
        if self._saying and self._is_time():
            with suppress(OSError):
                print(f"dcmirror: {self._saying}", file=sys.stderr)
            self._saying = ""

    def reload(self) -> None:
        """HUP: such a run is over soon; it goes on as it began."""
