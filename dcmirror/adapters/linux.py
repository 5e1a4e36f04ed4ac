"""What Linux offers, and Python not as we need it: openat2, syncfs, statfs, prctl,
pipe sizes, the limit of descriptors.

Every process runs this.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import functools
import os
import resource
import signal
from typing import Any

_libc = ctypes.CDLL(None, use_errno=True)

_PR_SET_PDEATHSIG = 1
_F_SETPIPE_SZ = 1031
_SYS_OPENAT2 = 437  # the same on every architecture we can meet
_RESOLVE_NO_SYMLINKS = 0x04
_RESOLVE_BENEATH = 0x08
_RENAME_NOREPLACE = 1

# of glibc's malloc.h
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_LARGEST_MMAP_THRESHOLD = 32 * 1024 * 1024

_MAGIC_NETWORK = {
    0x6969: "nfs",
    0x517B: "smb",
    0xFE534D42: "smb2",
    0xFF534D42: "cifs",
    0x00C36400: "ceph",
    0x0BD00BD0: "lustre",
    0x47504653: "gpfs",
    0x19830326: "beegfs",
    0x5346414F: "afs",
    0x6B414653: "kafs",
    0x73757245: "coda",
    0x65735546: "fuse",  # sshfs, glusterfs and friends: nobody can tell, so: network
    0x01021997: "9p",
    0x7461636F: "ocfs2",
    0x01161970: "gfs2",
    0x20030528: "orangefs",
    0xAAD7AAEA: "panfs",
}
_MAGIC_WHOLE_SYNC = {
    0xEF53: "ext4",
    0x58465342: "xfs",
    0x9123683E: "btrfs",
    0x01021994: "tmpfs",
}


class _OpenHow(ctypes.Structure):
    _fields_ = (
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    )


_OPEN_HOW_BYTES = ctypes.sizeof(_OpenHow)


def die_with_parent(expected_ppid: int, signum: int = signal.SIGKILL) -> None:
    """Ask the kernel to send ``signum`` to this process when its parent dies.

    The parent may have died before the request: then nobody would send anything, so the
    process ends itself.  Never change uid or capabilities afterwards; that clears it.
    """
    if _libc.prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signum), 0, 0, 0) != 0:
        raise _last_error("prctl")
    if os.getppid() != expected_ppid:
        os.kill(os.getpid(), signum)


def syncfs(fd: int) -> None:
    """Make everything that was written to ``fd``'s file system durable.

    Raises:
        OSError: some write-back failed since ``fd`` was opened (Linux 5.8 or newer;
            older ones say nothing, see ``syncfs_is_proof``).
    """
    if _libc.syncfs(fd) != 0:
        raise _last_error("syncfs")


def syncfs_is_proof(fd: int) -> bool:
    """Whether ``syncfs`` on this file system and kernel reports failed write-back."""
    return kernel_version() >= (5, 8) and file_system_magic(fd) in _MAGIC_WHOLE_SYNC


def file_system_magic(target: int | str) -> int:
    """``f_type`` of the file system that a descriptor or a path is on."""
    buffer = ctypes.create_string_buffer(512)
    if isinstance(target, int):
        result = _libc.fstatfs(target, buffer)
    else:
        result = _libc.statfs(os.fsencode(target), buffer)
    if result != 0:
        raise _last_error("statfs")
    return ctypes.c_long.from_buffer(buffer).value & 0xFFFFFFFF


def network_file_system(target: int | str) -> str | None:
    """The name of the network file system ``target`` is on, None on a local one."""
    return _MAGIC_NETWORK.get(file_system_magic(target))


@functools.cache
def kernel_version() -> tuple[int, int]:
    """Major and minor number of the running kernel."""
    major, minor = os.uname().release.split(".")[:2]
    return int(major), int("".join(c for c in minor if c.isdigit()) or "0")


def set_pipe_size(fd: int, size: int) -> int:
    """Ask for a pipe of ``size`` bytes; returns what it has now.

    The limit for unprivileged users is a courtesy we can live without, so a refusal
    leaves the pipe as it is.
    """
    try:
        return int(fcntl.fcntl(fd, _F_SETPIPE_SZ, size))
    except PermissionError:
        return int(fcntl.fcntl(fd, fcntl.F_GETPIPE_SZ))


def raise_descriptor_limit() -> int:
    """Allow this process, and its children, all the descriptors that it may have.

    The soft limit of 1024 is there for programs that use select; we do not.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def is_short_of_descriptors(reserve: int) -> bool:
    """Whether fewer than ``reserve`` are left to this process."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        used = len(os.listdir("/proc/self/fd"))
    except OSError as error:
        return error.errno in (errno.EMFILE, errno.ENFILE)
    return soft - used < reserve


def keep_freed_memory(size: int) -> None:
    """Reuse what is freed up to ``size`` bytes, instead of giving pages back each time.

    For all threads together; where the C library is another one, nothing happens.
    """
    mallopt = getattr(_libc, "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)
        mallopt(_M_TRIM_THRESHOLD, size)
        mallopt(_M_MMAP_THRESHOLD, min(size, _LARGEST_MMAP_THRESHOLD))


def open_beneath(directory_fd: int, path: str, flags: int) -> int:
    """Open ``path`` below ``directory_fd``; no component may be a symlink or lead out.

    Raises:
        NotImplementedError: the kernel (before 5.6) or a sandbox has no openat2.
        OSError: ELOOP for a symlink anywhere, EXDEV for a path that leads out.
    """
    how = _open_how(flags)
    name = os.fsencode(path)
    while True:
        fd: int = _libc.syscall(_SYS_OPENAT2, directory_fd, name, how, _OPEN_HOW_BYTES)
        if fd >= 0:
            return fd
        code = ctypes.get_errno()
        if code in (errno.ENOSYS, errno.EPERM, errno.E2BIG):
            raise NotImplementedError("openat2")
        if code not in (errno.EINTR, errno.EAGAIN):
            raise OSError(code, os.strerror(code), path)


def rename_new(directory_fd: int, old: str, new: str) -> None:
    """Rename within a directory, but never over something that is there.

    Raises:
        FileExistsError: ``new`` exists.
        NotImplementedError: this file system cannot tell.
    """
    result = _libc.renameat2(
        directory_fd,
        os.fsencode(old),
        directory_fd,
        os.fsencode(new),
        _RENAME_NOREPLACE,
    )
    if result != 0:
        code = ctypes.get_errno()
        if code in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
            raise NotImplementedError("renameat2")
        raise OSError(code, os.strerror(code), old, None, new)


@functools.cache
def _open_how(flags: int) -> Any:
    """Made once for the few combinations we use; the kernel only reads it."""
    resolve = _RESOLVE_NO_SYMLINKS | _RESOLVE_BENEATH
    return ctypes.byref(_OpenHow(flags | os.O_CLOEXEC, 0, resolve))


def _last_error(call: str) -> OSError:
    code = ctypes.get_errno()
    return OSError(code, f"{call}: {os.strerror(code)}")
