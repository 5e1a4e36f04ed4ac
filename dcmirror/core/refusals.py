"""Files that the destination refuses: is it full, or is it that file?

A destination that takes nothing is held, and nobody is to blame.  But a directory with
a quota of its own, a bad spot of the disk or a body without end fails again right after
each good probe: while others are written, such a file waits by itself (G6).
"""

from __future__ import annotations

from dataclasses import dataclass

#: Pauses of a file that is refused again and again, in seconds.
PAUSES = (30.0, 90.0, 270.0, 300.0)
#: So often a file may be refused while others are written, until it is a row: with the
#: pauses more than half an hour, in which somebody may raise a quota.
MOST_REFUSALS = 10


@dataclass(frozen=True, slots=True)
class Refused:
    """How a file that was refused goes on.

    ``holds``: perhaps the destination takes nothing, so all wait.  ``pause``: then the
    others come first; None: it is the next one.  ``gives_up``: it is a row.
    """

    holds: bool
    pause: float | None = None
    gives_up: bool = False


@dataclass(slots=True)
class _File:
    directory: str
    refused_at: float = 0.0
    times: int = 0  # after the first
    blamed: int = 0  # with others written in between


@dataclass(slots=True)
class _Directory:
    """One that has files to blame; whoever comes to it next is suspected at once."""

    refused_at: float
    blamed: set[str]


class Refusals:
    """The files that were refused and have not ended yet.

    Times are monotonic seconds: a clock that was set would blame the innocent.
    ``scale`` shortens the pauses, for tests that run against real disks.
    """

    def __init__(self, *, scale: float = 1.0) -> None:
        self._scale = scale
        self._files: dict[str, _File] = {}
        self._directories: dict[str, _Directory] = {}
        self._written_since = float("-inf")

    def written(self, handed_out_at: float) -> None:
        """A file that was handed out then has its bytes on disk."""
        self._written_since = max(self._written_since, handed_out_at)

    def refused(self, task: str, relative: str, now: float) -> Refused:
        """What becomes of a file that the destination did not take."""
        name = relative.rpartition("/")[0]
        directory = self._directories.get(name)
        file = self._files.get(task)
        if file is not None:
            last: float | None = file.refused_at
        else:
            # A directory over its quota must not hold everything once for each file.
            last = directory.refused_at if directory else None
            file = self._files[task] = _File(name)
        file.refused_at = now
        if directory is not None:
            directory.refused_at = now
        if last is None:
            return Refused(holds=True)
        file.times += 1
        if self._written_since < last:
            return Refused(holds=True, pause=self._pause(file))
        file.blamed += 1
        directory = directory or _Directory(now, set())
        self._directories.setdefault(name, directory).blamed.add(task)
        if file.blamed >= MOST_REFUSALS:
            return Refused(holds=False, gives_up=True)
        return Refused(holds=False, pause=self._pause(file))

    def forget(self, task: str) -> None:
        """The file has ended, or is no longer ours."""
        file = self._files.pop(task, None)
        directory = self._directories.get(file.directory) if file else None
        if file is None or directory is None:
            return
        directory.blamed.discard(task)
        if not directory.blamed:
            del self._directories[file.directory]

    def _pause(self, file: _File) -> float:
        return PAUSES[min(file.times, len(PAUSES)) - 1] * self._scale
