"""One empty directory, a door that loses answers, and others who write meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcmirror.core.door_errors import DoorError
from dcmirror.core.failures import FailureClass
from dcmirror.core.listing import Entry
from dcmirror.tasks.prune import Pruned, Pruning, Verdict

ABOVE = "/data/raw"
PATH, APART = "/data/raw/sub", "/data/raw/.dcmirror-0123456789abcdef.isolated"


@dataclass
class Answer:
    status: int
    reason: str = ""
    retry_after: float | None = None


@dataclass
class Door:
    """Directories, files, and what happens at each request, one by one.

    write: somebody uploads a file into the directory first.  lost: done, and no
    answer.  unsent: not done, and no answer.  empty: a listing shows nothing.
    A number: the answer, and nothing is done.  away: somebody renames the one above it.
    """

    script: list[str] = field(default_factory=list)
    directories: set[str] = field(default_factory=lambda: {PATH})
    files: set[str] = field(default_factory=set)
    written: int = 0
    destroyed: list[str] = field(default_factory=list)
    hidden: tuple[set[str], set[str]] | None = None

    def begin(self) -> str:
        action = self.script.pop(0) if self.script else ""
        if action == "away" and self.hidden is None:
            self.hidden = self.directories, self.files
            self.directories, self.files = set(), set()
        if action == "write" and self.hidden is None:
            self.written += 1
            self.directories.add(PATH)
            self.files.add(f"{PATH}/file{self.written}")
        if action == "unsent":
            raise DoorError("no answer", FailureClass.TRANSIENT)
        return action

    def bring_back(self) -> None:
        """The one above has its name again."""
        if self.hidden is not None:
            (self.directories, self.files), self.hidden = self.hidden, None

    def list(self, directory: str) -> Iterator[Entry]:
        action = self.begin()
        if action in ("lost", "500"):
            raise DoorError("no answer", FailureClass.TRANSIENT)
        if directory not in self.directories:
            raise DoorError("404", FailureClass.NOT_THERE, http_status=404)
        for path in sorted(self.files | self.directories):
            if path.rpartition("/")[0] == directory and action != "empty":
                yield Entry(path, path in self.directories, None, None, None, None)

    def has_directory(self, path: str) -> bool:
        if self.begin() in ("lost", "500"):
            raise DoorError("no answer", FailureClass.TRANSIENT)
        assert path == ABOVE
        return self.hidden is None

    def make_directory(self, path: str) -> Answer:
        return self.change("make", path)

    def move_directory(self, source: str, target: str) -> Answer:
        return self.change("move", source, target)

    def delete_directory(self, path: str) -> Answer:
        return self.change("delete", path)

    def change(self, what: str, *paths: str) -> Answer:
        action = self.begin()
        if action.isdigit():
            return Answer(int(action))
        answer = getattr(self, f"do_{what}")(*paths)
        if action == "lost":
            raise DoorError("no answer", FailureClass.TRANSIENT)
        return Answer(answer)

    def do_make(self, path: str) -> int:
        if path in self.directories:
            return 405
        if path.rpartition("/")[0] not in self.directories:
            return 409
        self.directories.add(path)
        return 201

    def do_move(self, source: str, target: str) -> int:
        if source not in self.directories:
            return 404
        if target in self.directories:
            return 412
        for known in (self.directories, self.files):
            for path in [p for p in known if f"{p}/".startswith(f"{source}/")]:
                known.remove(path)
                known.add(target + path.removeprefix(source))
        return 201

    def do_delete(self, path: str) -> int:
        if path not in self.directories:
            return 404
        below = [p for p in self.files if p.startswith(f"{path}/")]
        self.destroyed += below
        self.files -= set(below)
        self.directories -= {
            p for p in self.directories if f"{p}/".startswith(f"{path}/")
        }
        return 204


class Patient:
    """Asks once."""

    def call(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)


def pruning(door: Door) -> Pruning:
    return Pruning(door, Patient(), PATH, APART)


def test_an_empty_directory_goes() -> None:
    door = Door()
    assert pruning(door).looks_empty() is None
    assert pruning(door).run() == Verdict(Pruned.REMOVED)
    assert door.directories == set()


def test_one_with_something_in_it_is_not_touched() -> None:
    door = Door(files={f"{PATH}/file"})

    assert pruning(door).looks_empty() is Pruned.NOT_EMPTY


@pytest.mark.parametrize("number", range(3))
def test_a_listing_that_is_wrongly_empty_removes_nothing(number: int) -> None:
    """dCache lists what it cannot read in time as empty; its DELETE takes all."""
    door = Door([""] * number + ["empty"] * 5, files={f"{PATH}/file"})
    verdict = pruning(door).run()

    assert verdict.result is Pruned.NOT_EMPTY
    assert door.destroyed == []
    assert door.files == {f"{PATH}/file"}
    assert door.directories == {PATH}


@pytest.mark.parametrize("is_removed", [True, False])
def test_one_that_is_away_with_the_one_above_stays_open(is_removed: bool) -> None:
    door = Door(["away"], directories={APART}, files={f"{APART}/file"})
    verdict = pruning(door).resolve(is_removed=is_removed)
    assert verdict.result is (Pruned.REMOVED if is_removed else None)
    assert pruning(door).resolve(is_gone=True).result is Pruned.GONE

    door.bring_back()
    assert pruning(door).resolve().result is Pruned.NOT_EMPTY
    assert door.files == {f"{PATH}/file"}


def test_one_whose_removal_is_refused_and_that_goes_away_stays_open() -> None:
    door = Door([*[""] * 5, "403", "away"])
    assert pruning(door).run().result is None

    door.bring_back()
    assert pruning(door).resolve().result is Pruned.NOT_EMPTY
    assert door.directories == {PATH}


ACTIONS = st.sampled_from(
    ["", "", "", "write", "lost", "unsent", "empty", "500", "403", "away"]
)


@settings(max_examples=500, deadline=None)
@given(st.lists(ACTIONS, max_size=9), st.lists(ACTIONS, max_size=9), st.booleans())
def test_whatever_happens_no_file_goes_with_its_directory(
    first: list[str], second: list[str], has_file: bool
) -> None:
    door = Door(list(first), files={f"{PATH}/old"} if has_file else set())
    verdict = pruning(door).run()
    for script in (list(second), []):
        if verdict.result is None:
            if not script:
                door.bring_back()
            door.script = script
            verdict = pruning(door).resolve()
    door.bring_back()

    assert door.destroyed == []
    assert len(door.files) == door.written + has_file
    if verdict.result is not None:
        assert APART not in door.directories
