"""A source that cleanup empties, killed again and again among adversaries."""

from __future__ import annotations

import json
import random
import re
import signal
from collections.abc import Callable, Sequence
from typing import Any

from both_sides import FakeSource, Source, flip, is_copy
from deployment import Deployment, Running

from helpers import wait_until

# Among what the fake counts: "door MOVE 201" is requests, "door bytes" is not.
_REQUEST = re.compile(r"door [A-Z]+ \d")
_CHANGE = re.compile(r"door (MOVE|DELETE) 2")


class EmptiedSource:
    """What cleanup may delete of a source, what it may not, and what it did.

    Args:
        places: directories; only what is below them may go.
    """

    def __init__(
        self,
        deployment: Deployment,
        source: Source,
        places: Sequence[str],
    ) -> None:
        self._deployment = deployment
        self._source = source
        self._random = random.Random(7)
        self.before = source.files()
        self.eligible = {n for n in self.before if n.startswith(tuple(places))}
        self.protected: set[str] = set()

    def protect(self, each: int, *more: Callable[[str], None]) -> None:
        """Take the proof away from a few, ``each`` in several ways."""
        mirror = self._deployment.mirror
        ways = (
            lambda name: (mirror / name).unlink(),
            lambda name: flip(mirror / name),
            self._source.replace,
            *more,
        )
        full = sorted(n for n in self.eligible if self.before[n].size > 1)
        chosen = self._random.sample(full, each * len(ways))
        for number, name in enumerate(chosen):
            ways[number % len(ways)](name)
        self.protected.update(chosen)

    def empty(self, kills: int, steps: Callable[[], int], most: int) -> None:
        """Cleanup, killed at random points.

        Args:
            steps: how much has happened at the source so far.
            most: the latest that a kill comes, in steps after the run began.
        """
        for _ in range(kills):
            self._kill_one(steps, steps() + self._random.randrange(1, most))

    def _kill_one(self, steps: Callable[[], int], enough: int) -> None:
        running = Running(self._deployment, "cleanup")

        def is_time() -> bool:
            return running.process.poll() is not None or steps() >= enough

        wait_until(is_time, 60, what="cleanup is at work")
        running.kill()
        assert running.process.returncode == -signal.SIGKILL, running.log

    def finish(self) -> None:
        """The last run; what is protected remains."""
        last = self._deployment.run("cleanup", timeout=120)
        assert last.returncode == 21, last.stderr

    def check(self) -> tuple[set[str], set[str]]:
        """Nothing unproved is gone, all else is; names that are, and that changed."""
        now = self._source.files()
        gone = self.before.keys() - now.keys()
        mirror = self._deployment.mirror

        assert now.keys() <= self.before.keys(), "nothing is left set apart"
        assert gone <= self.eligible - self.protected
        assert [n for n in gone if not is_copy(mirror / n, self.before[n])] == []
        left = self.eligible - self.protected - gone
        changed = {name for name in left if now[name] != self.before[name]}
        assert left == changed, "what is proved and was not replaced is deleted"
        return gone, changed

    def undo_list(self) -> list[dict[str, Any]]:
        """What cleanup says that it has deleted."""
        done = self._deployment.run("cleanup", "--undo-list", "--json")
        rows: list[dict[str, Any]] = json.loads(done.stdout)["deleted"]
        return rows


def requests(source: FakeSource) -> int:
    """How many the door had."""
    return _counted(source, _REQUEST)


def changes(source: FakeSource) -> int:
    """How often the door renamed or deleted something."""
    return _counted(source, _CHANGE)


def _counted(source: FakeSource, what: re.Pattern[str]) -> int:
    counters = source.remote.counters()
    return sum(n for name, n in counters.items() if what.match(name))
