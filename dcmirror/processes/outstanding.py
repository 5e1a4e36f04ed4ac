"""Which directories have jobs under way: one is done when all of its jobs are.

The thread that compares adds, the engine's loop settles.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Task:
    """What a job is for."""

    path: str
    directory: str


@dataclass(slots=True)
class _Place:
    jobs: int = 0
    is_complete: bool = False


class Outstanding:
    """Counts jobs by directory; ``done`` hears of each that has none left."""

    def __init__(self, done: Callable[[str], None]) -> None:
        self._done = done
        self._lock = threading.Lock()
        self._tasks: dict[str, Task] = {}
        self._places: dict[str, _Place] = {}

    def __len__(self) -> int:
        return len(self._tasks)

    def begin(self, directory: str) -> None:
        """Its names begin to come, perhaps once more while jobs of it are under way."""
        with self._lock:
            self._places.setdefault(directory, _Place()).is_complete = False

    def add(self, name: str, task: Task) -> None:
        """A job of that name is under way."""
        with self._lock:
            self._tasks[name] = task
            self._places[task.directory].jobs += 1

    def complete(self, directory: str) -> None:
        """No more names will come of it."""
        with self._lock:
            self._places[directory].is_complete = True
            ended = self._take_ended({directory})
        self._tell(ended)

    def tasks_of(self, names: Iterable[str]) -> dict[str, Task]:
        """What these jobs are for, without those that are not ours."""
        with self._lock:
            return {name: self._tasks[name] for name in names if name in self._tasks}

    def settle(self, names: Iterable[str]) -> None:
        """These jobs are durable, and what became of them is noted."""
        with self._lock:
            tasks = [self._tasks.pop(name) for name in names if name in self._tasks]
            for task in tasks:
                self._places[task.directory].jobs -= 1
            ended = self._take_ended({task.directory for task in tasks})
        self._tell(ended)

    def _take_ended(self, directories: set[str]) -> list[str]:
        ended = [d for d in directories if self._is_over(self._places[d])]
        for directory in ended:
            del self._places[directory]
        return ended

    @staticmethod
    def _is_over(place: _Place) -> bool:
        return place.is_complete and place.jobs == 0

    def _tell(self, directories: Iterable[str]) -> None:
        for directory in directories:
            self._done(directory)
