"""Lock files: one command of a kind per state directory, and no second generation
of children while the first one lives.

Locks are flock's, which the kernel drops with the last process that holds the open
file; the file itself stays, since unlinking it would let two processes lock two files
of one name.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from dcmirror.errors import DirectoryError, LockedError

CHILDREN_SECONDS = 10.0
#: Longer than ``look_at`` may hold a lock.
LOOK_SECONDS = 0.5

_POLL_SECONDS = 0.05
_NAME_BYTES = 512
_SIGNED_PID = re.compile(rb"pid ([0-9]{1,9}) ")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

# What ``share_children_lock`` opened: held until the process ends, and never closed.
_held_for_life: list[int] = []


class Lock:
    """A held lock; released by ``release``, by ``with``, or by the process's end."""

    def __init__(self, path: Path, fd: int) -> None:
        self.path = path
        self._fd = fd

    def __repr__(self) -> str:
        return f"<Lock {self.path} {'held' if self._fd >= 0 else 'released'}>"

    def __enter__(self) -> Lock:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    def release(self) -> None:
        """Let go; a second call does nothing."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def acquire(path: Path, wait_seconds: float = 0.0) -> Lock:
    """Take a lock for ourselves and write into the file who we are.

    Raises:
        LockedError: somebody has it still after ``wait_seconds``; names the holder.
        DirectoryError: the file cannot be made.
    """
    fd = _open(path)
    try:
        if not _lock(fd, fcntl.LOCK_EX, wait_seconds):
            raise LockedError(f"{path} is held by {_holder(fd)}")
        _sign(fd)
    except BaseException:
        os.close(fd)
        raise
    return Lock(path, fd)


@dataclass(frozen=True, slots=True)
class Held:
    """Who holds a lock, as far as it can be seen, and since when (epoch seconds).

    ``pid`` is the kernel's, None where it does not tell; ``signed`` is what the holder
    calls itself, which is another number if it lives in a pid namespace of its own.
    """

    pid: int | None
    signed: int | None
    since: float


def look_at(path: Path) -> Held | None:
    """Who holds the lock; None if nobody does.

    Where the kernel lists the holder, the lock is not touched.  Elsewhere (another pid
    namespace, a file system with device numbers of its own) it is taken for a moment:
    who acquires it in earnest must wait that long.

    Raises:
        OSError: it cannot be seen.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        pids = _kernel_holders(fd)
        if not pids and _lock(fd, fcntl.LOCK_SH, 0.0):
            return None
        signed = _SIGNED_PID.match(os.pread(fd, _NAME_BYTES, 0))
        return Held(
            pids[0] if pids else None,
            int(signed[1]) if signed else None,
            os.fstat(fd).st_mtime,
        )
    finally:
        os.close(fd)


def share_children_lock(path: Path) -> None:
    """Hold the lock of a command's children for the rest of this process's life."""
    fd = _open(path)
    if not _lock(fd, fcntl.LOCK_SH, CHILDREN_SECONDS):
        holder = _holder(fd)
        os.close(fd)
        raise LockedError(f"{path} is held by {holder}")
    _held_for_life.append(fd)


def wait_for_children(path: Path, seconds: float = CHILDREN_SECONDS) -> None:
    """Return when no child of an earlier run lives.

    Raises:
        LockedError: one still does after ``seconds``; names it.
    """
    fd = _open(path)
    try:
        if not _lock(fd, fcntl.LOCK_EX, seconds):
            raise LockedError(
                f"children of an earlier run are alive still: {_holder(fd)} ({path})"
            )
    finally:
        os.close(fd)


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except PermissionError:
        # flock asks for no write permission, except where NFS emulates it.
        with suppress(OSError):
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        raise DirectoryError(f"{path}: no permission to open the lock file") from None
    except OSError as exc:
        raise DirectoryError(f"{path}: {exc.strerror}") from exc


def _lock(fd: int, kind: int, wait_seconds: float) -> bool:
    deadline = time.monotonic() + wait_seconds
    while True:
        try:
            fcntl.flock(fd, kind | fcntl.LOCK_NB)
            return True
        except OSError as exc:
            if exc.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise DirectoryError(f"flock: {exc.strerror}") from exc
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL_SECONDS)


def _sign(fd: int) -> None:
    """Say who holds the lock; a reader on another host of a shared disk sees it too."""
    text = f"pid {os.getpid()} on {socket.gethostname()}, boot {_boot_id()}\n"
    with suppress(OSError):  # a full disk, or opened for reading: the lock holds anyway
        os.ftruncate(fd, 0)
        os.pwrite(fd, text.encode(), 0)


def _boot_id() -> str:
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return "unknown"


def _holder(fd: int) -> str:
    """Who holds the lock, as the kernel knows it, else as the file says."""
    pids = _kernel_holders(fd)
    host = socket.gethostname()
    with suppress(OSError):
        signed = os.pread(fd, _NAME_BYTES, 0).decode("utf-8", "replace").strip()
        if signed and (not pids or any(signed.startswith(f"pid {p} ") for p in pids)):
            return signed
    if pids:
        named = ", ".join(f"pid {pid}{_command(pid)}" for pid in pids)
        return f"{named} on {host}, boot {_boot_id()}"
    return "an unknown process"


def _kernel_holders(fd: int) -> list[int]:
    """The processes that took a flock on this file, as /proc/locks lists them."""
    status = os.fstat(fd)
    device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}"
    wanted = f"{device}:{status.st_ino}"
    try:
        lines = Path("/proc/locks").read_text().splitlines()
    except OSError:
        return []
    # 1: FLOCK  ADVISORY  WRITE 1234 fe:00:5678 0 EOF; a waiter has "->" after "1:".
    fields = [line.split() for line in lines]
    holders = {
        int(f[4]) for f in fields if len(f) > 5 and f[1] == "FLOCK" and f[5] == wanted
    }
    return sorted(pid for pid in holders if pid > 0)


def _command(pid: int) -> str:
    try:
        name = Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""
    return f" ({name})"
