"""Removes one empty directory at the source.

A DELETE of a directory takes all that is in it, and a listing that shows nothing may be
one that failed: dCache lists what it cannot read in time as empty.  So the directory is
renamed first, to a name that nobody writes below; a directory that we make in it must
show in its listing, alone; only then it goes, and else it gets its name back.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import Protocol

from dcmirror.core.door_errors import DoorError
from dcmirror.core.http_values import GONE
from dcmirror.core.listing import Entry
from dcmirror.core.paths import isolated_name
from dcmirror.tasks.delete_words import Answer, Patient, said

_DONE = range(200, 300)


class Pruned(StrEnum):
    """What became of a directory; the words of ``pruned.result``."""

    REMOVED = "removed"
    GONE = "already-gone"
    NOT_EMPTY = "not-empty"
    REFUSED = "refused"


class DirectoryDoor(Protocol):
    """What is asked of a door; each may raise DoorError."""

    def list(self, directory: str) -> Iterator[Entry]:
        """What is in it."""

    def move_directory(self, source: str, target: str) -> Answer:
        """Rename; what has the target's name already stays."""

    def make_directory(self, path: str) -> Answer:
        """Make one."""

    def delete_directory(self, path: str) -> Answer:
        """Delete one, with what is in it."""

    def has_directory(self, path: str) -> bool:
        """Whether there is a directory of that name now."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """``result`` None: not known yet; the next run looks again."""

    result: Pruned | None
    text: str = ""


class Pruning:
    """One directory, and the path that it gets first."""

    def __init__(
        self, door: DirectoryDoor, patient: Patient, path: str, isolated: str
    ) -> None:
        self._door = door
        self._patient = patient
        self._path = path
        self._isolated = isolated
        self._witness = f"{isolated}/{isolated_name(isolated)}"

    def looks_empty(self) -> Pruned | None:
        """Why there is nothing to do; None if the listing shows nothing.

        Raises:
            DoorError: it cannot be listed.
        """
        names = self._patient.call(self._names, self._path)
        if names is None:
            return Pruned.GONE
        return Pruned.NOT_EMPTY if names else None

    def run(self) -> Verdict:
        """Remove it, or leave it as it was.  The intent is durable."""
        try:
            answer = self._door.move_directory(self._path, self._isolated)
        except DoorError as error:
            return Verdict(None, str(error))
        if answer.status in GONE:
            return Verdict(Pruned.GONE)
        if answer.status in _DONE:
            return self.resume()
        # After some of its errors a server has done it all the same.
        is_sure = answer.status < 500 and answer.status != 408
        result = Pruned.REFUSED if is_sure else None
        return Verdict(result, f"MOVE: {said(answer)}")

    def resume(self) -> Verdict:
        """Go on with one that has its other name already."""
        try:
            names = self._names(self._isolated)
            if names is None:
                return Verdict(None, f"renamed to {self._isolated} and not found there")
            if not names and self._is_proved_empty():
                return self._remove()
            return self._put_back("it is not empty, or that cannot be proved")
        except DoorError as error:
            return Verdict(None, str(error))

    def resolve(self, *, is_removed: bool = False, is_gone: bool = False) -> Verdict:
        """What became of one that an earlier run began with.

        Args:
            is_removed: since then we have removed the one above it, as an empty one.
            is_gone: the user says that what is not there is gone.
        """
        try:
            apart, here = self._names(self._isolated), self._names(self._path)
            if apart is None and here is None:
                return self._absent(is_removed=is_removed, is_gone=is_gone)
            if apart is None:
                return Verdict(Pruned.NOT_EMPTY)
            if here is None:
                return self._put_back("an earlier run was interrupted")
            self._door.delete_directory(self._witness)
            return self.resume()
        except DoorError as error:
            return Verdict(None, str(error))

    def _is_proved_empty(self) -> bool:
        if self._door.make_directory(self._witness).status not in _DONE:
            return False
        names = self._names(self._isolated)
        removed = self._door.delete_directory(self._witness).status in _DONE
        return removed and names == [self._witness]

    def _absent(self, *, is_removed: bool, is_gone: bool) -> Verdict:
        """Removed, or away with the directory above it, and with what is in it."""
        above, _, name = self._isolated.rpartition("/")
        if is_removed or self._door.has_directory(above):
            return Verdict(Pruned.REMOVED)
        if is_gone:
            return Verdict(Pruned.GONE)
        text = (
            f"its directory {above} is not there, and may have it still, as {name}; "
            "give the directory its name back, or say --accept-gone if it was removed"
        )
        return Verdict(None, text)

    def _remove(self) -> Verdict:
        answer = self._door.delete_directory(self._isolated)
        if self._names(self._isolated) is None:
            is_sure = answer.status in _DONE  # else it may be away
            result = Pruned.REMOVED if is_sure else None
            return Verdict(result, "" if is_sure else f"DELETE: {said(answer)}")
        return self._put_back(f"DELETE: {said(answer)}")

    def _put_back(self, why: str) -> Verdict:
        self._door.delete_directory(self._witness)
        answer = self._door.move_directory(self._isolated, self._path)
        if answer.status in _DONE:
            return Verdict(Pruned.NOT_EMPTY, why)
        text = f"{why}; it is left as {self._isolated}: MOVE: {said(answer)}"
        return Verdict(None, text)

    def _names(self, directory: str) -> list[str] | None:
        """The first names in it, none only if the whole listing has none."""
        try:
            found = self._door.list(directory)
            return [entry.path for entry in islice(found, 3)]
        except DoorError as error:
            if error.http_status in GONE:
                return None
            raise
