"""The group commit: finished parts become durable files under their final names.

A worker runs this; only the syncs, which may block for long, are made by a thread of
its own, so that they stall no stream.  The order is the promise (G2): content, mark and
times are on disk before the name appears, and the name is on disk before anybody is
told.
"""

from __future__ import annotations

import contextlib
import os
import queue
import select
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from dcmirror.adapters import linux
from dcmirror.adapters.directories import MirrorTree
from dcmirror.adapters.looks import identity_at
from dcmirror.adapters.mirror_store import MirrorStore, Part
from dcmirror.core.marks import Mark
from dcmirror.errors import UnsafePathError

_MAX_GROUP = 256  # bounds open descriptors and what one failed sync throws away
_WHOLE_SYNC_FROM = 8  # parts; below, a sync each is faster and disturbs nobody else
_MANY_DIRECTORIES = 4
_LOOK_MILLISECONDS = 10


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

    @property
    def goes_on(self) -> bool:
        return self.error is None and not self.changed

    def result(self, now: float) -> Published:
        return Published(
            token=self.finished.token,
            error=self.error,
            changed=self.changed,
            seconds=now - self.submitted_at,
            mark=self.mark if self.goes_on else None,
        )


@dataclass(slots=True, eq=False)
class _Group:
    """Parts that are made durable together: their contents first, then their names.

    ``file_systems`` and ``files`` are descriptors to sync now; of ``directories``, the
    descriptors are the group's own.
    """

    entries: list[_Entry]
    file_systems: Sequence[int] = ()
    files: Sequence[int] = ()
    is_whole: bool = False
    is_named: bool = False
    directories: dict[str, int] = field(default_factory=dict)

    @property
    def going_on(self) -> list[_Entry]:
        return [entry for entry in self.entries if entry.goes_on]

    def sync(self, calls: DurabilityCalls) -> None:
        """Make durable what the descriptors stand for, or give everything up.

        After a failed sync the kernel may call lost pages clean, so that a second one
        would prove nothing.
        """
        try:
            for fd in self.file_systems:
                calls.syncfs(fd)
            for fd in self.files:
                calls.fsync(fd)
        except OSError as error:
            self.give_up(error)

    def give_up(self, error: OSError) -> None:
        for entry in self.going_on:
            entry.error = error

    def directory(self, tree: MirrorTree, path: str) -> int:
        if path not in self.directories:
            self.directories[path] = tree.open(path, os.O_RDONLY)
        return self.directories[path]

    def close(self) -> None:
        for directory_fd in self.directories.values():
            os.close(directory_fd)
        self.directories.clear()


class Publisher(threading.Thread):
    """Publishes what has gathered while it was busy; never waits for more.

    The thread makes the syncs and nothing else: each system call is a chance to lose
    the interpreter to the other thread, and two threads that take turns so often need
    twice the time of one.

    ``fd`` is an eventfd that becomes readable when ``take_results`` has something to
    do.  If the thread dies, it becomes readable and ``is_alive`` tells.
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
        self._gathered: deque[_Entry] = deque()
        self._to_sync: queue.SimpleQueue[_Group | None] = queue.SimpleQueue()
        self._synced: deque[_Group] = deque()
        self._open_groups = 0
        self._is_contents_busy = False
        self._done: list[Published] = []

    def submit(self, *parts: FinishedPart) -> None:
        """Take over parts; nobody else may touch them from now on."""
        for part in parts:
            entry = _Entry(part, self._clock())
            _attempt(entry, _seal)
            self._gathered.append(entry)
        self._begin_group()

    def take_results(self) -> list[Published]:
        """Go on with what was synced; everything published since, in order."""
        self._go_on()
        done, self._done = self._done, []
        return done

    def close(self, timeout: float | None = None) -> None:
        """Publish what was submitted, then end the thread."""
        until = self._clock() + (threading.TIMEOUT_MAX if timeout is None else timeout)
        synced = select.poll()
        synced.register(self.fd, select.POLLIN)
        while self._open_groups and self.is_alive() and self._clock() < until:
            synced.poll(_LOOK_MILLISECONDS)
            self._go_on()
        self._to_sync.put(None)
        if self.ident is not None:
            self.join(max(0.0, until - self._clock()))

    def run(self) -> None:
        """The thread's loop."""
        try:
            while (group := self._to_sync.get()) is not None:
                self.publishing = True
                group.sync(self._calls)
                self.publishing = False
                self._synced.append(group)
                os.eventfd_write(self.fd, 1)
        finally:
            os.eventfd_write(self.fd, 1)

    def _begin_group(self) -> None:
        """One group has its contents synced, and one its names, at a time."""
        if not self._gathered or self._is_contents_busy:
            return
        if self._sync == "file" and self._open_groups:
            return
        most = 1 if self._sync == "file" else _MAX_GROUP
        count = min(most, len(self._gathered))
        group = _Group([self._gathered.popleft() for _ in range(count)])
        self._open_groups += 1
        if self._sync == "none":
            self._give_names(group)
            self._finish(group)
            os.eventfd_write(self.fd, 1)
            return
        self._is_contents_busy = True
        self._sync_contents(group)
        self._to_sync.put(group)

    def _go_on(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self.fd)
        while self._synced:
            group = self._synced.popleft()
            if group.is_named:
                self._finish(group)
                continue
            self._is_contents_busy = False
            self._give_names(group)
            if group.going_on:
                self._sync_names(group)
                self._to_sync.put(group)
            else:
                self._finish(group)
        self._begin_group()

    def _sync_contents(self, group: _Group) -> None:
        entries = group.going_on
        group.file_systems = self._file_systems(entries)
        group.is_whole = bool(group.file_systems)
        if not group.is_whole:
            group.files = [entry.finished.part.fd for entry in entries]

    def _file_systems(self, entries: list[_Entry]) -> list[int]:
        """One descriptor per file system, or none if each part is to be synced."""
        if len(entries) < _WHOLE_SYNC_FROM:
            return []
        devices = {entry.finished.part.identity[0] for entry in entries}
        fds = [self._store.device_fd(device) for device in devices]
        return [] if None in fds else [fd for fd in fds if fd is not None]

    def _give_names(self, group: _Group) -> None:
        group.is_named = True
        group.files = group.file_systems = ()
        for entry in group.going_on:
            _attempt(entry, lambda entry: self._give_name(entry, group))

    def _give_name(self, entry: _Entry, group: _Group) -> None:
        part = entry.finished.part
        directory_fd = group.directory(self._store.tree, part.parent)
        entry.named = part.rename_in(directory_fd, self._calls.rename)
        entry.changed = not entry.named

    def _sync_names(self, group: _Group) -> None:
        tree, entries = self._store.tree, group.going_on
        paths = {entry.finished.part.parent for entry in entries}
        if not group.is_whole:  # else the contents' sync took the ones above along
            for part in [entry.finished.part for entry in entries]:
                paths.update(tree.unproved(part.parent, part.made_directories))
        if group.is_whole and len(paths) > _MANY_DIRECTORIES:
            group.file_systems = self._file_systems(entries)
        if group.file_systems:
            return
        try:
            # Longest first: an entry is on disk before what leads to it.
            group.files = [
                group.directory(tree, path)
                for path in sorted(paths, key=len, reverse=True)
            ]
        except (OSError, UnsafePathError) as error:
            # Somebody removed or swapped a directory right now.
            group.give_up(error if isinstance(error, OSError) else OSError(str(error)))

    def _finish(self, group: _Group) -> None:
        group.close()
        self._open_groups -= 1
        for entry in group.entries:
            part = entry.finished.part
            if entry.goes_on:
                self._store.tree.prove(part.parent)
            elif entry.named:
                part.withdraw()
            else:
                part.discard()
            part.close()
            self._done.append(entry.result(self._clock()))


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
