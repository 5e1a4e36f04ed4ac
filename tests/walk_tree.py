"""A source without a server: a tree of directories, and clients that list it."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

from dcmirror.adapters.door_client import DoorClient
from dcmirror.core.door_errors import DoorError, DoorStopped
from dcmirror.core.failures import FailureClass
from dcmirror.core.listing import Entry
from dcmirror.processes.patience import Patience
from dcmirror.processes.walk import Walk

ROOT = "/data"


def entry(path: str, *, is_directory: bool = False, trouble: str = "") -> Entry:
    size = None if is_directory else 1
    return Entry(path, is_directory, size, None, None, None, trouble)


def gone(path: str) -> DoorError:
    return DoorError(f"{path}: 404", FailureClass.NOT_THERE, http_status=404)


def refused(path: str, status: int = 403) -> DoorError:
    kind = FailureClass.FORBIDDEN if status == 403 else FailureClass.TRANSIENT
    return DoorError(f"{path}: {status}", kind, http_status=status)


class Tree:
    """What is in each directory, what goes wrong there, and who asked for what."""

    def __init__(self, directories: dict[str, list[Entry]], pause: float = 0.0) -> None:
        self.directories = directories
        self.pause = pause
        self.asked: list[str] = []
        self.errors: dict[str, list[DoorError]] = {}
        self.before: dict[str, Callable[[], object]] = {}
        self.closed = 0
        self._at_once = 0
        self.most_at_once = 0
        self._lock = threading.Lock()

    def client(self) -> DoorClient:
        return cast(DoorClient, TreeClient(self))

    def begin(self, path: str) -> None:
        with self._lock:
            self.asked.append(path)
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)

    def end(self) -> None:
        with self._lock:
            self._at_once -= 1


class TreeClient:
    """As a DoorClient, for walks."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.requests = 0
        self.is_abandoned = False

    def list(self, directory: str) -> Iterator[Entry]:
        tree = self.tree
        self.requests += 1
        tree.begin(directory)
        try:
            tree.before.get(directory, lambda: None)()
            time.sleep(tree.pause)
            if self.is_abandoned:
                raise DoorStopped("abandoned")
            if directory not in tree.directories:
                raise gone(directory)
            errors = tree.errors.get(directory, [])
            entries = tree.directories[directory]
            yield from entries[: len(entries) // 2]
            if errors:
                raise errors.pop(0)
            yield from entries[len(entries) // 2 :]
        finally:
            tree.end()

    def look(self, path: str) -> Entry | None:
        self.requests += 1
        if self.tree.errors.get(path):
            raise self.tree.errors[path].pop(0)
        return entry(path, is_directory=True)

    def abandon(self) -> None:
        self.is_abandoned = True

    def close(self) -> None:
        self.tree.closed += 1


def grow(depth: int, width: int, files: int = 3, root: str = ROOT) -> Tree:
    """A tree of ``depth`` levels below its root, each directory with ``width`` more."""
    directories: dict[str, list[Entry]] = {}
    waiting = [(root, 0)]
    while waiting:
        path, level = waiting.pop()
        below = [f"{path}/d{n}" for n in range(width if level < depth else 0)]
        directories[path] = [entry(name, is_directory=True) for name in below]
        directories[path] += [entry(f"{path}/f{n}") for n in range(files)]
        waiting += [(name, level + 1) for name in below]
    return Tree(directories)


def patience(said: list[str] | None = None, **options: float) -> Patience:
    lines: list[str] = [] if said is None else said
    return Patience(lines.append, threading.Event(), scale=0.001, **options)


def main() -> None:
    """Walk and acknowledge, and tell both, until somebody kills us."""
    tree = grow(3, 6)
    tree.pause = 0.002
    stop = threading.Event()
    walk = Walk(tree.client, ROOT, 4, patience(), stop, Path(sys.argv[1]))
    for page in walk:
        if page.is_last:
            walk.done(page.directory)
            print(page.directory, flush=True)


if __name__ == "__main__":
    main()
