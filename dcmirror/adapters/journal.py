"""The journal: events appended to segments on local disk, bounded, never in the way.

The supervisor of each command has its own segments.  A journal that cannot be written
counts what it loses and goes on (G7).
"""

from __future__ import annotations

import fcntl
import os
import secrets
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

from dcmirror.adapters import segments
from dcmirror.adapters.durable import sync_directory, write_all
from dcmirror.adapters.journal_space import JournalSpace, find_events
from dcmirror.errors import BooksError

_SYNC_SECONDS = 0.2
_SYNC_LINES = 256


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
        checkpoint = checkpoint or directory.parent / "checkpoint.json"
        self._space = JournalSpace(directory, max_bytes, checkpoint)
        self._segment_bytes = segment_bytes
        self._required = required
        self._number = 0
        self._fd = -1
        self._size = 0
        self._unsynced = 0
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
        written, pruned_before = 0, self._space.lost
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
        lost = len(lines) - written + self._space.lost - pruned_before
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
        return find_events(self.directory, event_ids)

    def size(self) -> int:
        """Bytes of all segments of all writers."""
        return self._space.used()

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
        try:
            write_all(self._fd, data)
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
        reserved = max(wanted, self._segment_bytes)
        self._space.make_room(reserved, keep_unshipped=self._required)
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
            sync_directory(self.directory)
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
