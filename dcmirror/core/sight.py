"""What can be seen of a command that runs, or ran, from outside."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Life(StrEnum):
    """How a command is, as far as lock, process and status.json tell."""

    RUNNING = "running"
    STARTING = "starting"  # it has the lock, and has not told anything yet
    STUCK = "stuck"  # it has the lock, and tells nothing any more
    STOPPED = "not running"
    UNKNOWN = "unknown"  # it cannot be seen from here


@dataclass(frozen=True, slots=True)
class Sight:
    """One look.

    ``status`` is the last status.json, empty if there is none or it cannot be read.
    ``pid`` is the process that has the lock, ``signed`` the number that it gave itself
    in the lock file: another one where it lives in a container.
    ``silence`` is how long ago the command last showed life, ``running_for`` how long
    it has had its lock, both in seconds.  ``process`` is the kernel's letter for what
    the process does (proc(5)).
    """

    command: str
    at: float
    is_running: bool | None
    status: dict[str, Any] = field(default_factory=dict)
    problem: str | None = None
    pid: int | None = None
    signed: int | None = None
    process: str = ""
    silence: float | None = None
    running_for: float | None = None

    @property
    def is_of_this_run(self) -> bool:
        """Whether status.json is of the process that has the lock."""
        told = self.status.get("pid")
        if told is None:
            return False
        return self.pid is self.signed is None or told in (self.pid, self.signed)
