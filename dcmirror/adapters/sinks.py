"""Where the logger ships journal lines to: a seam, and a file behind it.

The logger process runs this.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from dcmirror.adapters.durable import write_all


class ShippedLine(NamedTuple):
    """A journal line on its way; segment and number name it, the same at a resend."""

    segment: str
    number: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of lines that were given to a sink.

    Args:
        rest: those to give again after ``pause`` seconds, in order.
        taken: how many are done with; ``duplicates`` of them were there already,
            ``dead`` of them were refused for good and set aside.
        lost: how many that were set aside before had to go for them.
        trouble: why there is a rest, or what should be known though there is none.
        needs_help: whether the trouble lasts until somebody acts.
        is_stuck: whether the rest should not keep back the lines behind it.
    """

    taken: int
    rest: Sequence[ShippedLine] = ()
    pause: float = 0.0
    duplicates: int = 0
    dead: int = 0
    lost: int = 0
    trouble: str | None = None
    needs_help: bool = False
    is_stuck: bool = False


class Sink(Protocol):
    """Takes lines, in order as far as it can.

    ``ship`` may be called again with lines it took before, when the process was killed
    between shipping and the checkpoint; ``resume`` gets what ``settle`` said at the
    last checkpoint, so that the sink can tell.  An OSError means: nothing of it was
    taken, try again later.
    """

    @property
    def name(self) -> str:
        """What the checkpoint and the report call it."""

    def resume(self, memory: Mapping[str, Any]) -> None:
        """Begin where the last checkpoint was."""

    def is_elsewhere(self) -> bool:
        """Whether lines go to another place now than the last checkpoint knows.

        Then it must be settled before they do: a kill would leave there what nobody
        could tell from what was there before.
        """

    def ship(self, lines: Sequence[ShippedLine]) -> Receipt:
        """Take these lines, or some of them."""

    def settle(self) -> dict[str, Any]:
        """Make durable what was taken, and say what to remember."""

    def is_cured(self) -> bool:
        """Whether somebody did something that is worth another try at once."""

    def close(self) -> None:
        """Let go."""


class NoSink:
    """Takes everything and keeps nothing."""

    name = "none"

    def resume(self, memory: Mapping[str, Any]) -> None:
        """Nothing to resume."""

    def is_elsewhere(self) -> bool:
        """Nowhere is one place."""
        return False

    def ship(self, lines: Sequence[ShippedLine]) -> Receipt:
        """Nowhere to ship to."""
        return Receipt(len(lines))

    def settle(self) -> dict[str, Any]:
        """Nothing to remember."""
        return {}

    def is_cured(self) -> bool:
        """Nothing can go wrong."""
        return False

    def close(self) -> None:
        """Nothing is open."""


class FileSink:
    """Appends to a file that somebody may rename, remove or truncate at any time."""

    name = "file"

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = -1
        self._is_elsewhere = True
        self._memory: Mapping[str, Any] = {}

    def __repr__(self) -> str:
        return f"<FileSink {self._path}>"

    def resume(self, memory: Mapping[str, Any]) -> None:
        """What stands in the file behind the remembered size is cut off when opened."""
        self._memory = memory

    def is_elsewhere(self) -> bool:
        """At first, and once somebody has renamed or removed the file."""
        self._follow()
        return self._is_elsewhere

    def ship(self, lines: Sequence[ShippedLine]) -> Receipt:
        """Append, wholly or not at all."""
        self._follow()
        size = os.fstat(self._fd).st_size
        try:
            write_all(self._fd, b"".join(line.body + b"\n" for line in lines))
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._fd, size)
            raise
        return Receipt(len(lines))

    def is_cured(self) -> bool:
        """Nobody tells."""
        return False

    def settle(self) -> dict[str, Any]:
        """Sync; remember which file it is and how long."""
        if self._fd < 0:
            return dict(self._memory)
        os.fsync(self._fd)
        self._is_elsewhere = False
        status = os.fstat(self._fd)
        self._memory = {
            "device": status.st_dev,
            "inode": status.st_ino,
            "size": status.st_size,
        }
        return dict(self._memory)

    def close(self) -> None:
        """Close the file."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _follow(self) -> None:
        """Write to the file that has the name now."""
        if self._fd >= 0 and self._is_current():
            return
        if self._fd >= 0:
            with suppress(OSError):
                os.fsync(self._fd)
            self.close()
        self._open()

    def _is_current(self) -> bool:
        try:
            return os.path.samestat(os.stat(self._path), os.fstat(self._fd))
        except FileNotFoundError:
            return False

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        fd = os.open(self._path, flags, 0o640)
        try:
            # Another instance's export is not ours to cut.
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            status = os.fstat(fd)
            seen = (self._memory.get("device"), self._memory.get("inode"))
            size = self._memory.get("size", 0)
            is_known = seen == (status.st_dev, status.st_ino) and status.st_size >= size
            if is_known and status.st_size > size:
                os.ftruncate(fd, size)
            self._is_elsewhere = not is_known
        except BlockingIOError:
            os.close(fd)
            raise OSError(f"{self._path} is written by another process") from None
        except OSError:
            os.close(fd)
            raise
        self._fd = fd
