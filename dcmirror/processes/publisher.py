"""The group commit: finished parts become durable files under their final names.

A worker runs this as its one other thread, so that no sync stalls a stream.  The order
is the promise (G2): content, mark and times are on disk before the name appears, and
the name is on disk before anybody is told.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from dcmirror.adapters import linux
from dcmirror.adapters.looks import identity_at
from dcmirror.adapters.mirror_store import MirrorStore, Part
from dcmirror.core.marks import Mark
from dcmirror.errors import UnsafePathError

_MAX_GROUP = 256  # bounds open descriptors and what one failed sync throws away
_WHOLE_SYNC_FROM = 8  # parts; below, a sync each is faster and disturbs nobody else
_MANY_DIRECTORIES = 4


@dataclass(frozen=True, slots=True)
class FinishedPart:
    """A verified part to publish.

    ``mtime`` is in seconds since the epoch, None for the time of the last write; the
    mark's ``mtime_ns`` is filled in from the file.  ``token`` comes back in the result.
    """

    part: Part
    mark: Mark
    mtime: float | None
    token: object


@dataclass(frozen=True, slots=True)
class Published:
    """What became of a finished part; ``error`` and ``changed`` exclude each other.

    ``changed``: the final name is no longer what ``look`` saw; start again there.
    ``seconds`` are from ``submit`` to now.  ``mark`` is what the file carries.
    """

    token: object
    error: OSError | None
    changed: bool
    seconds: float
    mark: Mark | None = None


def _rename(directory_fd: int, old: str, new: str, replace: bool) -> None:
    if not replace:
        try:
            return linux.rename_new(directory_fd, old, new)
        except NotImplementedError:  # NFS: the best there is
            if identity_at(directory_fd, new) is not None:
                raise FileExistsError(new) from None
    return os.rename(old, new, src_dir_fd=directory_fd, dst_dir_fd=directory_fd)


@dataclass(frozen=True, slots=True)
class DurabilityCalls:
    """The calls whose order matters; tests record them."""

    fsync: Callable[[int], None] = os.fsync
    syncfs: Callable[[int], None] = linux.syncfs
    rename: Callable[[int, str, str, bool], None] = _rename


@dataclass(slots=True, eq=False)
class _Entry:
    """One part on its way through a group."""

    finished: FinishedPart
    submitted_at: float
    mark: Mark | None = None
    error: OSError | None = None
    changed: bool = False
    named: bool = False
    seconds: float = 0.0

    @property
    def goes_on(self) -> bool:
        return self.error is None and not self.changed

    @property
    def result(self) -> Published:
        return Published(
            token=self.finished.token,
            error=self.error,
            changed=self.changed,
            seconds=self.seconds,
            mark=self.mark if self.goes_on else None,
        )


class Publisher(threading.Thread):
    """Publishes what has gathered while it was busy; never waits for more.

    Only what may block for long is done in the thread.  Each system call is a chance to
    lose the interpreter to the other thread, and two threads that take turns so often
    need twice the time of one.

    ``fd`` is an eventfd that becomes readable when ``take_results`` has something.  If
    the thread dies, the descriptor becomes readable and ``is_alive`` tells.
    """

    def __init__(
        self,
        store: MirrorStore,
        *,
        sync: str = "group",
        calls: DurabilityCalls | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(name="publisher", daemon=True)
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.publishing = False
        self._store = store
        self._sync = sync
        self._calls = calls or DurabilityCalls()
        self._clock = clock
        self._done: deque[_Entry] = deque()
        self._waiting: queue.SimpleQueue[list[_Entry]] = queue.SimpleQueue()

    def submit(self, *parts: FinishedPart) -> None:
        """Hand over parts; nobody else may touch them from now on."""
        entries = [self._sealed(part) for part in parts]
        if self._sync == "file":
            for entry in entries:
                self._waiting.put([entry])
        else:
            self._waiting.put(entries)

    def publish_now(self, parts: Iterable[FinishedPart]) -> None:
        """Publish in the caller's thread: where nothing is synced, nothing blocks long.

        Two threads that take turns at the interpreter cost more than the renames do.
        """
        self._publish([self._sealed(part) for part in parts])

    def take_results(self) -> list[Published]:
        """Everything published since the last call, in order."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self.fd)
        results = []
        while self._done:
            entry = self._done.popleft()
            entry.finished.part.close()
            results.append(entry.result)
        return results

    def close(self, timeout: float | None = None) -> None:
        """Publish what was submitted, then end the thread."""
        self._waiting.put([])
        if self.ident is not None:
            self.join(timeout)

    def run(self) -> None:
        """The thread's loop."""
        try:
            while group := self._next_group():
                self.publishing = True
                self._publish(group)
                self.publishing = False
        finally:
            os.eventfd_write(self.fd, 1)

    def _sealed(self, finished: FinishedPart) -> _Entry:
        entry = _Entry(finished, self._clock())
        _attempt(entry, _seal)
        return entry

    def _next_group(self) -> list[_Entry]:
        group = self._waiting.get()
        while group and self._sync != "file" and len(group) < _MAX_GROUP:
            try:
                more = self._waiting.get_nowait()
            except queue.Empty:
                break
            if not more:  # the end comes after this group
                self._waiting.put([])
                break
            group += more
        return group

    def _publish(self, group: list[_Entry]) -> None:
        whole = self._sync_parts([entry for entry in group if entry.goes_on])
        directories: dict[str, int] = {}
        try:
            for entry in group:
                if entry.goes_on:
                    _attempt(entry, lambda entry: self._give_name(entry, directories))
            named = [entry for entry in group if entry.goes_on]
            if self._sync != "none" and named:
                self._sync_directories(named, directories, whole=whole)
        finally:
            for directory_fd in directories.values():
                os.close(directory_fd)
        for entry in group:
            self._finish(entry)
        os.eventfd_write(self.fd, 1)

    def _sync_parts(self, entries: list[_Entry]) -> bool:
        """Make the parts durable; True if by syncs of whole file systems.

        After a failed sync the kernel may call lost pages clean, so that a second one
        would prove nothing: the whole group is given up.
        """
        if self._sync == "none" or not entries:
            return False
        whole_fds = self._whole_sync_fds(entries)
        try:
            if whole_fds:
                for fd in whole_fds:
                    self._calls.syncfs(fd)
            else:
                for entry in entries:
                    self._calls.fsync(entry.finished.part.fd)
        except OSError as error:
            _give_up(entries, error)
        return bool(whole_fds)

    def _whole_sync_fds(self, entries: list[_Entry]) -> list[int]:
        """One descriptor per file system, or none if each part is to be synced."""
        if len(entries) < _WHOLE_SYNC_FROM:
            return []
        devices = {entry.finished.part.identity[0] for entry in entries}
        fds = [self._store.device_fd(device) for device in devices]
        return [] if None in fds else [fd for fd in fds if fd is not None]

    def _give_name(self, entry: _Entry, directories: dict[str, int]) -> None:
        part = entry.finished.part
        if part.parent not in directories:
            directories[part.parent] = self._store.tree.open(part.parent, os.O_RDONLY)
        directory_fd = directories[part.parent]
        entry.named = part.rename_in(directory_fd, self._calls.rename)
        entry.changed = not entry.named

    def _sync_directories(
        self, entries: list[_Entry], directories: dict[str, int], *, whole: bool
    ) -> None:
        tree = self._store.tree
        paths = {entry.finished.part.parent for entry in entries}
        if not whole:  # else the sync of the parts took the directories above along
            for part in [entry.finished.part for entry in entries]:
                paths.update(tree.unproved(part.parent, part.made_directories))
        try:
            fds = self._whole_sync_fds(entries) if whole else []
            if fds and len(paths) > _MANY_DIRECTORIES:
                for fd in fds:
                    self._calls.syncfs(fd)
            else:
                self._sync_each(paths, directories)
        except OSError as error:
            _give_up(entries, error)
        except UnsafePathError as error:
            # Somebody swapped a directory for something else right now.
            _give_up(entries, OSError(str(error)))
        else:
            for path in {entry.finished.part.parent for entry in entries}:
                tree.prove(path)

    def _sync_each(self, paths: Iterable[str], directories: dict[str, int]) -> None:
        # Longest first, so that an entry is on disk before what leads to it.
        for path in sorted(paths, key=len, reverse=True):
            if path not in directories:
                directories[path] = self._store.tree.open(path, os.O_RDONLY)
            self._calls.fsync(directories[path])

    def _finish(self, entry: _Entry) -> None:
        if not entry.goes_on:
            part = entry.finished.part
            part.withdraw() if entry.named else part.discard()
        entry.seconds = self._clock() - entry.submitted_at
        self._done.append(entry)


def _seal(entry: _Entry) -> None:
    finished = entry.finished
    entry.mark = finished.part.seal(finished.mark, finished.mtime)


def _attempt(entry: _Entry, step: Callable[[_Entry], None]) -> None:
    """Run one step for one part, whose trouble is its own."""
    try:
        step(entry)
    except (FileNotFoundError, UnsafePathError):
        # Its directory, or the part itself, was removed or swapped meanwhile.
        entry.changed = True
    except OSError as error:
        entry.error = error


def _give_up(entries: Iterable[_Entry], error: OSError) -> None:
    for entry in entries:
        entry.error = error
