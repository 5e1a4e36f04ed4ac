"""The mirror on disk: what is there, parts to write to, and what the disk can do.

Workers run this.  Paths are relative to the mirror's root and were checked by
``core.paths``; nothing here follows a symlink below the root (G9).
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
from collections.abc import Iterator
from pathlib import Path

from dcmirror.adapters import linux, looks, parts
from dcmirror.adapters.directories import Descriptor, MirrorTree, OpenDirectory, split
from dcmirror.adapters.durable import write_all
from dcmirror.adapters.looks import ABSENT, Look, look_at
from dcmirror.adapters.parts import NewPart, Part, PartBusy, TargetChanged
from dcmirror.core import marks
from dcmirror.core.checksums import adler32
from dcmirror.core.paths import is_own_part_name, is_part_name, part_name
from dcmirror.settings import Settings

__all__ = ["ABSENT", "Look", "MirrorStore", "Part", "PartBusy", "TargetChanged"]

_PERMISSION_BITS = 0o666  # of a directory's mode, what a plain file gets
_TRIES = 5  # against others who remove directories or stale parts at the same time
_CHUNK_BYTES = 1024 * 1024
_NOT_OURS = (PartBusy, FileNotFoundError, PermissionError)  # for a sweep


class MirrorStore:
    """One mirror directory.

    Args:
        root: the mirror; must exist, but not yet when this is called.
        directory_mode: of directories that are made, whatever the umask; files get it
            without x, setgid and sticky bits.
        shared: instances on other hosts write here too; network file systems are
            shared whatever this says.
        tag: of this instance, in part names where locks may be local to a host.
        live_seconds: how long after its last write the part of another instance counts
            as alive.
    """

    def __init__(
        self,
        root: Path,
        *,
        directory_mode: int,
        shared: bool,
        tag: str,
        live_seconds: float = 30.0,
    ) -> None:
        self.root = root
        self.tree = MirrorTree(root, directory_mode)
        self._file_mode = directory_mode & _PERMISSION_BITS
        self._shared = shared
        self._tag = tag
        self._live_seconds = live_seconds
        self._part_tag: str | None = None
        self._knows_root = False
        self._devices: dict[int, OpenDirectory | None] = {}

    def look(self, relative: str) -> Look:
        """What is under the final name now.

        Raises:
            UnsafePathError: a symlink or a plain file stands where a directory should,
                or the name is no plain file's.
        """
        parent, name = split(relative)
        try:
            directory = self.tree.enter(parent)
        except FileNotFoundError:
            return ABSENT
        return look_at(directory.fd, name)

    def claim(self, relative: str, expected: Look) -> Part:
        """Make the directories and a locked, empty part for ``relative``.

        Raises:
            PartBusy: somebody else writes that file (or wrote, a moment ago).
            TargetChanged: a PartBusy; the final name is not what ``expected`` says.
            UnsafePathError: as ``look``.
            OSError: trouble at the destination.
        """
        parent, _ = split(relative)
        self._learn_root()
        for _ in range(_TRIES):
            try:
                return self._claim(parent, relative, expected)
            except FileNotFoundError:  # the directory, or the root, was removed
                self.tree.forget_root()
        raise PartBusy(f"somebody keeps removing the directory of {relative!r}")

    def digest_steps(
        self, relative: str, expected: Look, *, evicts: bool = False
    ) -> Iterator[int]:
        """Adler-32 of a final file, one value per MiB read; the last one is the file's.

        Args:
            evicts: leave the page cache to others: who reads everything once would
                drive out what they need.

        Raises:
            TargetChanged: the file is, or becomes, another than ``expected``.
        """
        parent, name = split(relative)
        try:
            directory_fd = self.tree.open(parent)
            try:
                fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=directory_fd)
            finally:
                os.close(directory_fd)
        except FileNotFoundError as error:
            raise TargetChanged(f"{relative!r} was removed") from error
        try:
            value = 1
            while chunk := os.read(fd, _CHUNK_BYTES):
                value = adler32(chunk, value)
                if evicts:
                    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
                yield value
            yield value
            now = os.fstat(fd)
        finally:
            os.close(fd)
        seen = ((now.st_dev, now.st_ino), now.st_size, now.st_mtime_ns)
        if seen != (expected.identity, expected.size, expected.mtime_ns):
            raise TargetChanged(f"{relative!r} changed while it was read")

    def sync_directories(self, relative: str) -> None:
        """Make the entry of a file that is already there durable, up to the root."""
        parent, _ = split(relative)
        for path in [parent, *self.tree.unproved(parent)]:
            directory_fd = self.tree.open(path, os.O_RDONLY)
            try:
                os.fsync(directory_fd)
            finally:
                os.close(directory_fd)
        self.tree.prove(parent)

    @property
    def is_network_filesystem(self) -> bool:
        """Whether the mirror lies on a file system that other hosts may write to."""
        root_fd = self.tree.open("", os.O_RDONLY)
        try:
            return linux.network_file_system(root_fd) is not None
        finally:
            os.close(root_fd)

    def device_fd(self, device: int) -> int | None:
        """A descriptor, opened before our first byte, that ``syncfs`` may be used on.

        None where one sync for the whole file system would prove nothing.
        """
        directory = self._devices.get(device)
        return directory.fd if directory else None

    def probe_write(self) -> None:
        """Write, sync and remove a small file, or raise OSError."""
        self._learn_root()
        root_fd = self.tree.open("")
        name = part_name("probe", tag=f"{os.getpid() & 0xFFFFFFFF:08x}", taken=_never)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
        try:
            fd = os.open(name, flags, 0o600, dir_fd=root_fd)
            try:
                _write_and_sync(fd, bytes(65536))
            finally:
                os.close(fd)
                os.unlink(name, dir_fd=root_fd)
        finally:
            os.close(root_fd)

    def sweep_own_parts(
        self, before: float = math.inf, *, is_dry: bool = False
    ) -> Iterator[str]:
        """Remove the parts that dead processes left; yields the path of each.

        Only what carries our mark or our name form, and no live lock; where locks may
        be local to a host, only what carries our own tag.

        Args:
            before: only what was last written before this time (epoch seconds).
            is_dry: only name them.
        """
        self._learn_root()
        root_fd = self.tree.open("", os.O_RDONLY)
        try:
            for top, _, names, directory_fd in os.fwalk(".", dir_fd=root_fd):
                for name in filter(is_part_name, names):
                    with contextlib.suppress(*_NOT_OURS):
                        if not self._is_sweepable(directory_fd, name, before):
                            continue
                        parts.remove_stale(
                            directory_fd,
                            name,
                            tagged=self._part_tag is not None,
                            is_dry=is_dry,
                        )
                        yield os.path.normpath(f"{top}/{name}")
        finally:
            os.close(root_fd)

    def _is_sweepable(self, directory_fd: int, name: str, before: float) -> bool:
        status = os.stat(name, dir_fd=directory_fd, follow_symlinks=False)
        if status.st_mtime >= before:
            return False
        if self._part_tag is not None:
            is_ours = name.endswith(f".{self._part_tag}.part")
            return is_ours and is_own_part_name(name)
        return not looks.is_taken(directory_fd, name) and (
            is_own_part_name(name)
            or looks.read_attribute(directory_fd, name) is not None
        )

    def _learn_root(self) -> None:
        """Find out what names parts get.  Not in __init__: the root may come later."""
        if self._knows_root:
            return
        self._shared = self._shared or self.is_network_filesystem
        root_fd = self.tree.open("", os.O_RDONLY)
        try:
            # Without attributes a plain NAME.part could not be told from a mirrored
            # file of that name, so the part's name itself has to say that it is ours.
            if self._shared or not _has_attributes(root_fd):
                self._part_tag = self._tag
        finally:
            os.close(root_fd)
        self._knows_root = True

    def _enter_or_make(self, parent: str) -> tuple[Descriptor, tuple[str, ...]]:
        try:
            return self.tree.enter(parent), ()
        except FileNotFoundError:
            return self.tree.make(parent)

    def _claim(self, parent: str, relative: str, expected: Look) -> Part:
        directory, made = self._enter_or_make(parent)
        return self._claim_in(directory.fd, relative, expected, made)

    def _claim_in(
        self, directory_fd: int, relative: str, expected: Look, made: tuple[str, ...]
    ) -> Part:
        opened = self._locked_part(directory_fd, relative.rpartition("/")[2])
        part = Part(self.tree, relative, opened, expected, made)
        try:
            self._learn_device(part.identity[0], directory_fd)
            if self._shared:
                parts.give_way(directory_fd, part, self._live_seconds)
            # An absent file is a moment's look away; a look at one that was there may
            # be as old as a HEAD, and a copy in vain costs more than another look.
            if expected.exists and look_at(directory_fd, part.name) != expected:
                raise TargetChanged(f"{relative!r} has changed")
        except BaseException:
            part.discard()
            raise
        return part

    def _locked_part(self, directory_fd: int, final: str) -> NewPart:
        tagged = self._part_tag is not None
        name = part_name(final, tag=self._part_tag, taken=_never)
        for _ in range(_TRIES):
            opened = parts.new_part(directory_fd, name, self._file_mode, tagged=tagged)
            if opened is not None:
                return opened
            name = part_name(
                final,
                tag=self._part_tag,
                taken=lambda candidate: looks.is_taken(directory_fd, candidate),
            )
            parts.remove_stale(directory_fd, name, tagged=tagged)
        raise PartBusy(f"somebody else keeps making {name!r}")

    def _learn_device(self, device: int, directory_fd: int) -> None:
        if device in self._devices:
            return
        directory = OpenDirectory(".", dir_fd=directory_fd)
        is_proof = linux.syncfs_is_proof(directory.fd)
        self._devices[device] = directory if is_proof else None


def _has_attributes(fd: int) -> bool:
    try:
        os.getxattr(fd, marks.ATTRIBUTE)
    except OSError as error:
        return error.errno == errno.ENODATA
    return True


def _never(_name: str) -> bool:
    return False


def _write_and_sync(fd: int, data: bytes) -> None:
    write_all(fd, data)
    os.fsync(fd)


def store_of(settings: Settings, tag: str) -> MirrorStore:
    """The mirror of this configuration; the names of shared parts have ``tag``."""
    return MirrorStore(
        settings.local.downloadfolder,
        directory_mode=int(settings.local.permissions, 8),
        shared=settings.destination.shared,
        tag=tag,
    )
