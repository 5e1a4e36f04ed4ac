"""What lies under a name of the mirror, and the mark that a file carries.

Workers run this.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass

from dcmirror.core import marks
from dcmirror.core.marks import Mark
from dcmirror.core.paths import is_own_part_name
from dcmirror.errors import UnsafePathError

Identity = tuple[int, int]  # device and inode

_NO_ATTRIBUTES = frozenset({errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})
_NO_MARK = _NO_ATTRIBUTES | {errno.ENODATA, errno.EACCES, errno.ENOENT, errno.ELOOP}


@dataclass(frozen=True, slots=True)
class Look:
    """What is under a final name.  Two equal looks saw the same version of a file.

    ``mark`` is only set if it speaks of the file as it is now.
    """

    exists: bool
    identity: Identity | None = None
    size: int = 0
    mtime_ns: int = 0
    mark: Mark | None = None


ABSENT = Look(exists=False)


def look_at(directory_fd: int, name: str) -> Look:
    """Look at one name in an open directory.

    Raises:
        UnsafePathError: it is there and not a plain file.
    """
    while True:
        try:
            now = os.stat(name, dir_fd=directory_fd, follow_symlinks=False)
        except FileNotFoundError:
            return ABSENT
        if not stat.S_ISREG(now.st_mode):
            raise UnsafePathError(f"{name!r} in the mirror is not a plain file")
        identity = (now.st_dev, now.st_ino)
        mark = marks.decode(read_attribute(directory_fd, name) or b"")
        if mark and (mark.size, mark.mtime_ns) != (now.st_size, now.st_mtime_ns):
            if identity_at(directory_fd, name) != identity:
                continue  # the mark is that of the file which replaced it
            mark = None
        return Look(True, identity, now.st_size, now.st_mtime_ns, mark)


def read_attribute(directory_fd: int, name: str) -> bytes | None:
    """The raw mark of a plain file, None where there is none or no way to read it."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        fd = os.open(name, flags, dir_fd=directory_fd)
        try:
            return os.getxattr(fd, marks.ATTRIBUTE)
        finally:
            os.close(fd)
    except OSError as error:
        if error.errno in _NO_MARK:
            return None
        raise


def set_attribute(fd: int, value: bytes) -> None:
    """Write the mark; a file system without attributes goes without."""
    try:
        os.setxattr(fd, marks.ATTRIBUTE, value)
    except OSError as error:
        if error.errno not in _NO_ATTRIBUTES:
            raise


def is_taken(directory_fd: int, name: str) -> bool:
    """Whether ``name`` must not be used for a part: it is, or may be, somebody's file.

    Ours carry the part mark from the start, and the final mark from just before their
    rename; a mirrored file with a part's name says that name in its mark.  An empty
    file without a mark is one whose process died right after making it.
    """
    try:
        now = os.stat(name, dir_fd=directory_fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    if not stat.S_ISREG(now.st_mode):
        return True
    value = read_attribute(directory_fd, name)
    if value is None:
        return now.st_size > 0 and not is_own_part_name(name)
    mark = marks.decode(value)
    return value != marks.PART_MARK and (mark is None or marks.names_itself(mark, name))


def identity_at(directory_fd: int, name: str) -> Identity | None:
    """Device and inode under a name, a symlink's own if it is one."""
    try:
        now = os.stat(name, dir_fd=directory_fd, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return now.st_dev, now.st_ino
