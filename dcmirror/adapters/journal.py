"""The journal: events appended to segments on local disk, bounded, never in the way.

The supervisor of each command has its own segments.  A journal that cannot be written
counts what it loses and goes on (G7).
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import secrets
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from pathlib import Path

from dcmirror.adapters import checkpoints, segments
from dcmirror.adapters.segments import Segment
from dcmirror.errors import BooksError

_SYNC_SECONDS = 0.2
_SYNC_LINES = 256
# Outbox lines were written just before a crash: they can only be in the newest bytes.
_SEARCHED_BYTES = 64 * 1024 * 1024
# Short runs leave short segments: their number has a bound of its own.
_MOST_SEGMENTS = 2000

_ID = re.compile(rb'"id": ?"([^"\\]+)"')


class Journal:
    """One writer.

    Args:
        checkpoint: where the logger says what is shipped; beside the directory.
        required: raise BooksError for lines that cannot be written or kept, instead
            of counting them.
    """

    def __init__(
        self,
        directory: Path,
        max_bytes: int,
        segment_bytes: int,
        *,
        checkpoint: Path | None = None,
        required: bool = False,
        started_at: float | None = None,
    ) -> None:
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(started_at))
        self.writer = f"{stamp}-{secrets.token_hex(8)}"
        self.directory = directory
        self.dropped = 0
        self.trouble: str | None = None
        self._checkpoint = checkpoint or directory.parent / "checkpoint.json"
        self._max_bytes = max_bytes
        self._segment_bytes = segment_bytes
        self._required = required
        self._number = 0
        self._fd = -1
        self._size = 0
        self._unsynced = 0
        self._pruned = 0
        self._synced_at: float | None = None

    def __repr__(self) -> str:
        return f"<Journal {self.writer} segment={self._number} dropped={self.dropped}>"

    def append(self, lines: list[str]) -> int:
        """Write lines, each a JSON object; returns how many were lost.

        Lines are lost when the disk is full or broken, and when segments that were not
        shipped had to go; ``dropped`` sums them up.

        Raises:
            BooksError: only where the journal is required; give the lines again.
        """
        if not lines:
            return 0
        sealed = [segments.seal(line) for line in lines]
        written = self._pruned = 0
        try:
            for batch in self._batches(sealed):
                self._make_room(sum(map(len, batch)))
                self._write(b"".join(batch))
                written += len(batch)
                self._unsynced += len(batch)
            if self._unsynced >= _SYNC_LINES:
                self._sync()
            self.trouble = None
        except OSError as exc:
            self.trouble = f"journal: {exc.strerror or exc}"
            if self._required:
                raise BooksError(self.trouble) from exc
        lost = len(lines) - written + self._pruned
        self.dropped += lost
        return lost

    def tick(self, now: float) -> None:
        """Make durable what waits for it; ``now`` is a monotonic clock's."""
        if not self._unsynced:
            self._synced_at = None
        elif self._synced_at is None:
            self._synced_at = now
        elif now - self._synced_at >= _SYNC_SECONDS:
            with suppress(OSError):  # told by ``trouble``; the next append goes on
                self._sync()

    def holds(self, event_ids: Collection[str]) -> set[str]:
        """Which of these events (by event.id) the newest segments have."""
        missing = set(event_ids)
        for path in self._newest():
            if not missing:
                break
            missing -= _found_in(path, missing)
        return set(event_ids) - missing

    def size(self) -> int:
        """Bytes of all segments of all writers."""
        return sum(size for _, size in _sized(self.directory))

    def close(self) -> None:
        """Make everything durable and end the segment."""
        with suppress(OSError):
            self._sync()
        self._close_segment()

    def _batches(self, sealed: list[bytes]) -> Iterator[list[bytes]]:
        """Parts that fit into a segment; one write each."""
        batch: list[bytes] = []
        size = 0
        for line in sealed:
            if batch and size + len(line) > self._segment_bytes:
                yield batch
                batch, size = [], 0
            batch.append(line)
            size += len(line)
        yield batch

    def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        except OSError:
            self._take_back()
            raise
        self._size += len(data)

    def _take_back(self) -> None:
        """A batch is in the segment wholly or not at all."""
        try:
            os.ftruncate(self._fd, self._size)
        except OSError:
            self._close_segment()  # a torn tail stays; the next line begins a new one

    def _make_room(self, wanted: int) -> None:
        """Begin a new segment where one is due."""
        fits = not self._size or self._size + wanted <= self._segment_bytes
        if self._fd >= 0 and fits:
            return
        with suppress(OSError):
            self._sync()
        self._close_segment()
        self._prune(wanted)
        self._open_segment()

    def _open_segment(self) -> None:
        self.directory.mkdir(mode=0o750, exist_ok=True)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        name = segments.segment_name(self.writer, self._number + 1)
        fd = os.open(self.directory / name, flags, 0o640)
        try:
            # Held while we write: nobody prunes it, and the logger knows we live.
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
            self._point_current_to(name)
            _sync_directory(self.directory)
        except OSError:
            os.close(fd)
            with suppress(OSError):
                os.unlink(self.directory / name)
            raise
        self._fd, self._size = fd, 0
        self._number += 1

    def _point_current_to(self, name: str) -> None:
        temporary = self.directory / f".current-{self.writer}"
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        os.symlink(name, temporary)
        os.rename(temporary, self.directory / segments.CURRENT)

    def _close_segment(self) -> None:
        fd, self._fd = self._fd, -1
        self._size = 0
        if fd >= 0:
            os.close(fd)

    def _sync(self) -> None:
        self._unsynced, self._synced_at = 0, None
        if self._fd < 0:
            return
        try:
            os.fdatasync(self._fd)
        except OSError as exc:
            # What a failed sync leaves in a file is unknown: write to another one.
            self.trouble = f"journal: {exc.strerror or exc}"
            self._close_segment()
            raise

    def _prune(self, wanted: int) -> None:
        """Remove the oldest segments, shipped ones first, until there is room."""
        sized = _sized(self.directory)
        excess = sum(size for _, size in sized) + max(wanted, self._segment_bytes)
        excess -= self._max_bytes
        too_many = len(sized) - _MOST_SEGMENTS
        if excess <= 0 and too_many <= 0:
            return
        positions = checkpoints.load(self._checkpoint).writers
        for segment, size in sorted(sized, key=_shipped_first(positions)):
            if excess <= 0 and too_many <= 0:
                break
            lines = _unshipped_lines(segment, positions.get(segment.writer))
            if lines and self._required:
                raise OSError(errno.ENOSPC, "full of events that are not shipped yet")
            if _remove(segment.path):
                excess -= size
                too_many -= 1
                self._pruned += lines

    def _newest(self) -> Iterator[Path]:
        rest = _SEARCHED_BYTES
        sized = _sized(self.directory)
        sized.sort(key=lambda item: (_modified(item[0].path), item[0]), reverse=True)
        for segment, size in sized:
            yield segment.path
            rest -= size
            if rest <= 0:
                return


def _sized(directory: Path) -> list[tuple[Segment, int]]:
    sized = []
    for segment in segments.list_segments(directory):
        with suppress(FileNotFoundError):
            sized.append((segment, segment.path.stat().st_size))
    return sized


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _shipped_first(
    positions: dict[str, checkpoints.Position],
) -> Callable[[tuple[Segment, int]], tuple[bool, Segment]]:
    def order(item: tuple[Segment, int]) -> tuple[bool, Segment]:
        position = positions.get(item[0].writer)
        return (position is None or not position.is_past(item[0]), item[0])

    return order


def _unshipped_lines(segment: Segment, position: checkpoints.Position | None) -> int:
    """How many lines of a segment no checkpoint covers."""
    if position is not None and position.is_past(segment):
        return 0
    offset = 0
    if position is not None and position.segment == segment.number:
        offset = position.offset
    try:
        return sum(1 for _ in segments.read_segment(segment.path, offset))
    except OSError:
        return 0


def _remove(path: Path) -> bool:
    """Unlink a segment that nobody writes any more."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(path)
        return True
    except OSError:
        return False
    finally:
        os.close(fd)


def _found_in(path: Path, event_ids: set[str]) -> set[str]:
    """Which events a segment has in whole lines (not only speaks of)."""
    try:
        content = path.read_bytes()
    except OSError:
        return set()
    wanted = {event_id.encode() for event_id in event_ids}
    return {
        match[1].decode()
        for match in _ID.finditer(content)
        if match[1] in wanted and _event_id_at(content, match.start()) == match[1]
    }


def _event_id_at(content: bytes, at: int) -> bytes | None:
    start = content.rfind(b"\n", 0, at) + 1
    end = content.find(b"\n", at)
    body = segments.unseal(content[start:end]) if end >= 0 else None
    if body is None:
        return None
    return str(json.loads(body).get("event", {}).get("id")).encode()


def _sync_directory(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
