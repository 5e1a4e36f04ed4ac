"""Parts: unpublished files beside their targets, locked until they have their name.

Workers run this; the claim in the event loop, the rest in the publisher's thread.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import math
import os
import stat
from collections.abc import Callable
from typing import NamedTuple

from dcmirror.adapters.directories import MirrorTree
from dcmirror.adapters.durable import write_all
from dcmirror.adapters.looks import Identity, Look, identity_at, look_at, set_attribute
from dcmirror.core import marks
from dcmirror.core.marks import Mark
from dcmirror.core.paths import is_part_name
from dcmirror.errors import DcmirrorError, UnsafePathError

_NO_LOCKS = frozenset({errno.ENOSYS, errno.EOPNOTSUPP})
_LAST_MTIME = 2.0**33  # beyond what any clock of ours says: a forged event


class PartBusy(DcmirrorError):
    """Somebody else is at work on that name: look again later."""


class TargetChanged(PartBusy):
    """The final name is no longer what ``look`` saw: look again at once."""


class Part:
    """One locked part, from claim to rename or discard.

    ``bytes_written`` counts what went through ``write``.
    """

    __slots__ = (
        "_tree",
        "bytes_written",
        "expected",
        "fd",
        "identity",
        "made_directories",
        "name",
        "parent",
        "part_name",
        "relative",
    )

    def __init__(
        self,
        tree: MirrorTree,
        relative: str,
        opened: NewPart,
        expected: Look,
        made_directories: tuple[str, ...],
    ) -> None:
        self._tree = tree
        self.relative = relative
        self.parent, _, self.name = relative.rpartition("/")
        self.part_name = opened.name
        self.fd = opened.fd
        self.identity = opened.identity
        self.expected = expected
        self.made_directories = made_directories
        self.bytes_written = 0

    def __repr__(self) -> str:
        state = f"fd={self.fd} written={self.bytes_written}"
        return f"<Part {self.relative!r} as {self.part_name!r} {state}>"

    def write(self, data: memoryview | bytes) -> None:
        """Append all of ``data``.  Raises OSError for trouble at the destination."""
        write_all(self.fd, data)
        self.bytes_written += len(data)

    def seal(self, mark: Mark, mtime: float | None) -> Mark:
        """Set modification time and mark; returns the mark as it was written.

        The file system decides how finely it keeps times, so the mark takes the time
        from the file and not the other way round.
        """
        if mtime is not None and 0 <= mtime < _LAST_MTIME and math.isfinite(mtime):
            mtime_ns = round(mtime * 1_000_000) * 1000
            os.utime(self.fd, ns=(mtime_ns, mtime_ns))
        now = os.fstat(self.fd)
        if now.st_size != mark.size:
            raise OSError(
                errno.EIO,
                f"the part has {now.st_size} bytes, not {mark.size}",
                self.relative,
            )
        mark = Mark(
            pnfsid=mark.pnfsid,
            adler32=mark.adler32,
            verified=mark.verified,
            size=mark.size,
            mtime_ns=now.st_mtime_ns,
            event_time=mark.event_time,
            name=self.name if is_part_name(self.name) else None,
        )
        set_attribute(self.fd, marks.encode(mark))
        return mark

    def rename_in(
        self, directory_fd: int, rename: Callable[[int, str, str, bool], None]
    ) -> bool:
        """Give the part its final name; False if the world has changed since the claim.

        Changed is: the part's path is no longer the open file, or the final name is no
        longer what ``look`` saw.  ``rename`` takes directory, old name, new name and
        whether to replace; if not, it raises FileExistsError.
        """
        if not self.is_at(directory_fd, self.part_name):
            return False
        replace = self.expected.exists
        try:
            if replace and look_at(directory_fd, self.name) != self.expected:
                return False
            rename(directory_fd, self.part_name, self.name, replace)
        except (UnsafePathError, FileExistsError):
            return False
        return True

    def is_at(self, directory_fd: int, name: str) -> bool:
        """Whether ``name`` in the directory is the open file."""
        return identity_at(directory_fd, name) == self.identity

    def discard(self) -> None:
        """Remove the part and let go of it; may be called twice."""
        self._remove(self.part_name)

    def withdraw(self) -> None:
        """Remove the file under its final name again, if it still is this one.

        For a name that could not be made durable: the next attempt must not find and
        adopt what a power cut may take.
        """
        self._remove(self.name)

    def _remove(self, name: str) -> None:
        if self.fd < 0:
            return
        # Whatever stops the removal stops nothing else: the next claim replaces a part.
        with contextlib.suppress(OSError, UnsafePathError):
            directory_fd = self._tree.open(self.parent)
            try:
                if self.is_at(directory_fd, name):
                    os.unlink(name, dir_fd=directory_fd)
            finally:
                os.close(directory_fd)
        self.close()

    def close(self) -> None:
        """Release descriptor and lock, leaving the file as it is."""
        if self.fd >= 0:
            fd, self.fd = self.fd, -1
            os.close(fd)


class NewPart(NamedTuple):
    """A part as it was opened."""

    name: str
    fd: int
    identity: Identity


def new_part(
    directory_fd: int, name: str, mode: int, *, tagged: bool
) -> NewPart | None:
    """Create and lock ``name``; None if there is one already.

    ``tagged`` names are no other instance's, so a file system without locks will do.

    Raises:
        PartBusy: another process took it for a stale one while we made it.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    try:
        fd = os.open(name, flags, mode, dir_fd=directory_fd)
    except FileExistsError:
        return None
    try:
        lock(fd, name, tagged=tagged)
        now = os.fstat(fd)
        if now.st_nlink == 0:  # unlinked as stale, between our open and our lock
            os.close(fd)
            return None
        if stat.S_IMODE(now.st_mode) != mode:
            os.fchmod(fd, mode)
        set_attribute(fd, marks.PART_MARK)
    except PartBusy:
        os.close(fd)
        raise
    except OSError:
        os.unlink(name, dir_fd=directory_fd)
        os.close(fd)
        raise
    return NewPart(name, fd, (now.st_dev, now.st_ino))


def remove_stale(
    directory_fd: int, name: str, *, tagged: bool, is_dry: bool = False
) -> None:
    """Unlink the part that a dead process left behind, under its lock.

    ``is_dry`` only takes the lock.

    Raises:
        PartBusy: its process is alive.
    """
    flags = os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        fd = os.open(name, flags, dir_fd=directory_fd)
    except FileNotFoundError:
        return
    try:
        lock(fd, name, tagged=tagged)
        now = os.fstat(fd)
        if not is_dry and identity_at(directory_fd, name) == (now.st_dev, now.st_ino):
            os.unlink(name, dir_fd=directory_fd)
    finally:
        os.close(fd)


def lock(fd: int, name: str, *, tagged: bool) -> None:
    """Take the exclusive flock or raise PartBusy.  Never fcntl: any close drops it."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise PartBusy(f"{name!r} is being written by another process") from error
    except OSError as error:
        if not (tagged and error.errno in _NO_LOCKS):
            raise


def give_way(directory_fd: int, part: Part, live_seconds: float) -> None:
    """Raise PartBusy if another instance was first and still seems to be alive.

    For mirrors where locks may be local to a host.  Both make their part before they
    look, so at least one of two sees the other; who came later, or on a tie has the
    greater name, gives way.  Times are the file server's on both sides.
    """
    ours = os.stat(part.part_name, dir_fd=directory_fd, follow_symlinks=False)
    our_turn = (ours.st_mtime_ns, part.part_name)
    for name in _parts_of(directory_fd, part.name):
        if name == part.part_name:
            continue
        with contextlib.suppress(FileNotFoundError):
            theirs = os.stat(name, dir_fd=directory_fd, follow_symlinks=False)
            is_alive = ours.st_mtime - theirs.st_mtime <= live_seconds
            is_first = theirs.st_size > 0 or (theirs.st_mtime_ns, name) < our_turn
            if is_alive and is_first:
                raise PartBusy(f"{name!r} is being written by another instance")


def _parts_of(directory_fd: int, final: str) -> list[str]:
    """Names of all instances' tagged parts of one file."""
    fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=directory_fd)
    try:
        names = os.listdir(fd)
    finally:
        os.close(fd)
    start, length = f".{final}.", len(final) + len("..01234567.part")
    return [
        name
        for name in names
        if len(name) == length and name.startswith(start) and name.endswith(".part")
    ]
