"""Where each job is, what it has on its account, and which worker has room."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from dcmirror.core.holds import HoldKey
from dcmirror.core.jobs import Job

#: A job up to this size counts as small: more of them are handed out ahead.
SMALL_BYTES = 4 * 1024 * 1024
#: Small jobs that one worker may have at hand: enough for the time that a sync of the
#: books takes, and few enough to run each alone where the worker dies with them.
SMALL_AHEAD = 256


class State(Enum):
    """Where a job is."""

    READY = "ready"
    WAITING = "waiting"  # for a due time
    HELD = "held"  # for the end of a pool's hold
    OUT = "out"  # handed to a worker
    PROVISIONAL = "provisional"  # failed; the source is under suspicion


@dataclass(slots=True)
class Entry:
    """A job and what happened to it so far; times are monotonic seconds."""

    job: Job
    order: int
    state: State = State.READY
    due: float = 0.0
    waiting_since: float = 0.0
    ready_since: float | None = None  # None: since it was accepted
    worker: int | None = None
    ladder_step: int = 0
    host: str | None = None
    held_by: HoldKey | None = None
    is_suspect: bool = False
    deaths_alone: int = 0
    past_source_hold: bool = False
    handed_out_at: float = 0.0
    last_failure: str = ""  # the class, or why else it waits
    announced: int = 0  # bytes that the source said it has, where that was refused

    @property
    def needs(self) -> int:
        """Bytes that the destination must have for it, as far as they are known."""
        return max(self.job.size or 0, self.announced)

    @property
    def is_small(self) -> bool:
        """Whether the job is known to be over soon."""
        size = self.job.size
        return size is not None and size <= SMALL_BYTES


@dataclass(slots=True)
class Seat:
    """One worker incarnation as the dispatcher sees it."""

    number: int
    streams: int
    tasks: dict[str, Entry]
    large: int = 0  # how many of them are not small
    is_alone: bool = False  # runs a suspect: nothing else goes there
    is_leaving: bool = False  # finishes what it has

    def take(self, entry: Entry) -> None:
        """A job is handed to it."""
        self.tasks[entry.job.task] = entry
        self.large += not entry.is_small
        self.is_alone = entry.is_suspect

    def drop(self, entry: Entry) -> None:
        """It has that job no longer."""
        if self.tasks.pop(entry.job.task, None) is not None:
            self.large -= not entry.is_small
            self.is_alone = self.is_alone and bool(self.tasks)

    def room(self) -> int:
        """How many more jobs it may be given now."""
        if self.is_alone or self.is_leaving:
            return 0
        free = self.streams - len(self.tasks)
        if free > 0:
            return free
        return 0 if self.large else SMALL_AHEAD - len(self.tasks)
