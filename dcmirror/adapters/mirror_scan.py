"""What the mirror has, for a comparison: looks at names, and what lies in a directory.

Reconcile's own thread runs it; it changes nothing.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dcmirror.adapters import looks
from dcmirror.adapters.directories import MirrorTree
from dcmirror.adapters.mirror_store import MirrorStore, TargetChanged
from dcmirror.core.differences import Local
from dcmirror.core.paths import is_own_part_name, is_part_name
from dcmirror.errors import DirectoryError, UnsafePathError

_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class LocalName:
    """A file or directory of the mirror; ``changed`` is its inode's time."""

    name: str
    is_directory: bool
    size: int = 0
    modified: float = 0.0
    changed: float = 0.0


class MirrorScan:
    """Looks at a mirror that others may be writing to."""

    def __init__(self, root: Path) -> None:
        self._root = root
        # Mode and tag are for those who write; nothing here does.
        self._store = MirrorStore(
            root, directory_mode=0o755, shared=False, tag="00000000"
        )
        self._tree: MirrorTree = self._store.tree

    def look(self, relative: str) -> Local:
        """What lies under a name that was checked.

        Raises:
            DirectoryError: the mirror itself is not there.
        """
        try:
            seen = self._store.look(relative)
        except UnsafePathError as exc:
            return Local(exists=True, odd=str(exc))
        except OSError as exc:
            self._refuse_absent(exc)
            return Local(exists=True, odd=f"here: {exc.strerror or exc}")
        return Local(seen.exists, seen.size, seen.mtime_ns, seen.mark)

    def adler32(self, relative: str) -> int | None:
        """The checksum of the file as it is; None if it changes or cannot be read."""
        value = None
        try:
            steps = self._store.digest_steps(relative, self._store.look(relative))
            for step in steps:
                value = step
        except (OSError, UnsafePathError, TargetChanged):
            return None
        return value

    def names(self, directory: str) -> Iterator[list[LocalName]]:
        """What is in a directory of the mirror, in pages, parts left out.

        A directory that is not there has nothing.
        """
        try:
            fd = self._tree.open(directory, os.O_RDONLY)
        except (FileNotFoundError, UnsafePathError):
            return
        except OSError as exc:
            self._refuse_absent(exc)
            return
        try:
            yield from _pages(fd)
        finally:
            os.close(fd)

    def files_below(self, directory: str) -> Iterator[list[tuple[str, LocalName]]]:
        """Every file below a directory with its path below the mirror, in pages."""
        waiting = [directory]
        while waiting:
            place = waiting.pop()
            for page in self.names(place):
                waiting += [f"{place}/{e.name}" for e in page if e.is_directory]
                yield [(f"{place}/{e.name}", e) for e in page if not e.is_directory]

    def _refuse_absent(self, error: OSError) -> None:
        """Without the mirror every file would look as if it were missing."""
        if error.errno == errno.ENODEV:
            raise DirectoryError(f"mirror {self._root}: it is not there") from error


def _pages(fd: int) -> Iterator[list[LocalName]]:
    page: list[LocalName] = []
    with os.scandir(fd) as entries:
        for entry in entries:
            if not _is_part(fd, entry.name):
                with suppress(OSError):  # it went meanwhile
                    page += _local_name(entry)
            if len(page) >= _AT_ONCE:
                yield page
                page = []
    yield page


def _local_name(entry: os.DirEntry[str]) -> list[LocalName]:
    now = entry.stat(follow_symlinks=False)
    if stat.S_ISDIR(now.st_mode):
        return [LocalName(entry.name, True)]
    if not stat.S_ISREG(now.st_mode):
        return []
    return [LocalName(entry.name, False, now.st_size, now.st_mtime, now.st_ctime)]


def _is_part(fd: int, name: str) -> bool:
    if is_own_part_name(name):
        return True
    return is_part_name(name) and not looks.is_taken(fd, name)
