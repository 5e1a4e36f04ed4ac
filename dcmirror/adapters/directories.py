"""Directories of the mirror, reached only through its root and never through a symlink.

Workers run this.  No descriptor is kept between two uses: one openat2 costs less than
proving that a kept one still is the directory of that name.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import time
from pathlib import Path

from dcmirror.adapters import linux
from dcmirror.errors import UnsafePathError

# An empty component, "." or "..", or a NUL.
_NOT_PLAIN = re.compile(r"(?:\A|/)\.{0,2}(?:/|\Z)|\0")
_ROOT_SECONDS = 0.05  # how long a replaced root or directory may go unnoticed
_MAX_ENTERED = 64
_MAX_PROVED = 100_000
_UNSAFE = frozenset({errno.ELOOP, errno.ENOTDIR, errno.EXDEV, errno.ENAMETOOLONG})


class MirrorTree:
    """Opens and makes directories below ``root``.

    Safe for use by several threads.  The root may appear, go and be mounted anew while
    we run; until it is there, everything raises ENODEV.
    """

    def __init__(self, root: Path, directory_mode: int) -> None:
        self._path = str(root)
        self._mode = directory_mode
        self._root: OpenDirectory | None = None
        self._root_until = 0.0
        self._entered: dict[str, Descriptor] = {}
        self._has_openat2 = True
        # Directories whose entry in their parent is known to be on disk.
        self._proved: set[str] = set()

    def open(self, path: str, flags: int = os.O_PATH) -> int:
        """A descriptor of the directory ``path`` ("" is the root).

        Raises:
            FileNotFoundError: it does not exist.
            UnsafePathError: a component is a symlink or not a directory.
        """
        root = self._current_root()
        try:
            return self._open_below(root.fd, path or ".", flags | os.O_DIRECTORY)
        except OSError as error:
            if error.errno in _UNSAFE:
                raise UnsafePathError(_why_unsafe(root.fd, path, error)) from error
            raise

    def enter(self, path: str) -> Descriptor:
        """As ``open``, but the same descriptor again for a moment.

        The directory may have been replaced meanwhile: who publishes opens it anew.
        """
        self._current_root()
        entered = self._entered.get(path)
        if entered is None:
            if len(self._entered) >= _MAX_ENTERED:
                self._entered.clear()
            entered = self._entered[path] = Descriptor(self.open(path))
        return entered

    def make(self, path: str) -> tuple[Descriptor, tuple[str, ...]]:
        """As ``enter``, but makes what is missing; also tells what was made."""
        root = self._current_root()
        made: list[str] = []
        done: list[str] = []
        fd = os.dup(root.fd)
        try:
            for name in path.split("/"):
                done.append(name)
                child, is_new = self._enter(fd, name)
                os.close(fd)
                fd = child
                if is_new:
                    made.append("/".join(done))
        except OSError as error:
            os.close(fd)
            if error.errno in _UNSAFE:
                raise UnsafePathError(_why_unsafe(root.fd, path, error)) from error
            raise
        self._proved.difference_update(made)
        return Descriptor(fd), tuple(made)

    def unproved(self, path: str, made: tuple[str, ...] = ()) -> list[str]:
        """Directories to sync, besides ``path``, before a file in it is there for good.

        Another process may have made a directory a moment ago and not synced it yet, so
        whatever this process has not proved counts, not only what it made itself.
        """
        missing = []
        while path:
            if path not in self._proved or path in made:
                missing.append(path.rpartition("/")[0])
            path = path.rpartition("/")[0]
        return missing

    def prove(self, path: str) -> None:
        """Remember that ``path`` and all above it have durable entries."""
        if len(self._proved) > _MAX_PROVED:
            self._proved.clear()
        while path and path not in self._proved:
            self._proved.add(path)
            path = path.rpartition("/")[0]

    def _enter(self, fd: int, name: str) -> tuple[int, bool]:
        flags = os.O_DIRECTORY | os.O_NOFOLLOW
        with contextlib.suppress(FileNotFoundError):
            return os.open(name, flags | os.O_PATH, dir_fd=fd), False
        try:
            os.mkdir(name, self._mode & 0o777, dir_fd=fd)
        except FileExistsError:  # another worker was faster; the mode is its business
            return os.open(name, flags | os.O_PATH, dir_fd=fd), False
        child = os.open(name, flags | os.O_RDONLY, dir_fd=fd)
        # mkdir knows no setgid, and the umask took its share.
        if stat.S_IMODE(os.fstat(child).st_mode) != self._mode:
            os.fchmod(child, self._mode)
        return child, True

    def _open_below(self, root_fd: int, path: str, flags: int) -> int:
        if self._has_openat2:
            try:
                return linux.open_beneath(root_fd, path, flags)
            except NotImplementedError:
                self._has_openat2 = False
        return _walk(root_fd, path, flags)

    def forget_root(self) -> None:
        """Look for the root anew at the next use: it may have been replaced."""
        self._root_until = 0.0

    def _current_root(self) -> OpenDirectory:
        now_s = time.monotonic()
        if self._root is not None and now_s < self._root_until:
            return self._root
        try:
            now = os.stat(self._path)
        except FileNotFoundError as error:
            raise OSError(
                errno.ENODEV, "the mirror directory is not there", self._path
            ) from error
        root = self._root
        if root is None or root.identity != (now.st_dev, now.st_ino):
            root = self._root = OpenDirectory(self._path)
        self._root_until = now_s + _ROOT_SECONDS
        self._entered.clear()
        return root


class Descriptor:
    """Stays open until the last who uses it has let go."""

    __slots__ = ("fd",)

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __del__(self) -> None:
        if hasattr(self, "fd"):
            os.close(self.fd)


class OpenDirectory(Descriptor):
    """A directory that stays open, and which one it is."""

    __slots__ = ("identity",)

    def __init__(self, path: str, *, dir_fd: int | None = None) -> None:
        super().__init__(os.open(path, os.O_RDONLY | os.O_DIRECTORY, dir_fd=dir_fd))
        now = os.fstat(self.fd)
        self.identity = (now.st_dev, now.st_ino)


def split(relative: str) -> tuple[str, str]:
    """Parent and name of a path below the mirror, which was checked before.

    Checked again, cheaply, because this is the last place that can say no.
    """
    if _NOT_PLAIN.search(relative):
        raise UnsafePathError(f"{relative!r} is not a plain path below the mirror")
    parent, _, name = relative.rpartition("/")
    return parent, name


def _walk(root_fd: int, path: str, flags: int) -> int:
    """What openat2 does, one component at a time, for kernels without it."""
    fd = os.dup(root_fd)
    *parents, last = path.split("/")
    try:
        for name in parents:
            child = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=fd)
            os.close(fd)
            fd = child
        return os.open(last, flags | os.O_NOFOLLOW, dir_fd=fd)
    finally:
        os.close(fd)


def _why_unsafe(root_fd: int, path: str, error: OSError) -> str:
    """Name the component that cannot be entered; only runs after it could not be."""
    if error.errno == errno.ENAMETOOLONG:
        return f"{path!r} is too long for the mirror's file system"
    components = path.split("/")
    for depth in range(1, len(components) + 1):
        prefix = "/".join(components[:depth])
        try:
            mode = os.stat(prefix, dir_fd=root_fd, follow_symlinks=False).st_mode
        except OSError:
            break
        if stat.S_ISLNK(mode):
            return f"{prefix!r} in the mirror is a symbolic link, not a directory"
        if not stat.S_ISDIR(mode):
            return f"{prefix!r} in the mirror is a file, not a directory"
    return f"{path!r} cannot be entered safely: {error.strerror}"
