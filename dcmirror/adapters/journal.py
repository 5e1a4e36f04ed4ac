"""The journal: events appended to segments on local disk, bounded, never in the way.

The supervisor of each command has its own segments: outcomes and what else is told in
one row, steps of transfers in another, so that steps can go without outcomes.  A
journal that cannot be written counts what it loses and goes on (G7).
"""

from __future__ import annotations

import errno
import secrets
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from dcmirror.adapters import segments
from dcmirror.adapters.durable import sync_file
from dcmirror.adapters.journal_space import JournalSpace, segments_with
from dcmirror.adapters.segment_writer import SegmentWriter
from dcmirror.core.journal_values import Lane, Value, lane_of

_SYNC_SECONDS = 0.2
_SYNC_LINES = 256
# How often space is looked at: while there is enough, and while something is refused.
_LOOK_SECONDS = 5.0
_WORRIED_SECONDS = 1.0
# A segment is at most this share of the whole, so that little goes with the oldest.
_SHARES = 4

_LINKS = {Lane.STORY: segments.CURRENT, Lane.STEPS: segments.CURRENT_STEPS}


class Journal:
    """One writer.

    Args:
        checkpoint: where the logger says what is shipped; beside the directory.
        required: never give up what is not shipped, steps apart; ``append`` then gives
            back all that it cannot write but steps.
        min_free: bytes to leave free on the disk; None: the smaller of 1 % and 1 GiB.
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
        min_free: int | None = None,
    ) -> None:
        self.writer = f"{segments.stamp(started_at)}-{secrets.token_hex(8)}"
        self.directory = directory
        self.required = required
        self.dropped_by_kind: Counter[str] = Counter()
        checkpoint = checkpoint or directory.parent / "checkpoint.json"
        # The least value that is not dropped when it cannot be written, but given back.
        self._waiting = Value.DETAIL if required else Value.OUTCOME
        self._space = JournalSpace(
            directory,
            max_bytes,
            min_free,
            checkpoint,
            self.dropped_by_kind,
            self._waiting,
        )
        self._segment_bytes = min(segment_bytes, max_bytes // _SHARES)
        self._rows = {lane: self._row(lane) for lane in Lane}
        self._troubles: dict[Lane, str] = {}
        self._failed_at = 0.0
        self._looked_at = 0.0
        self._unsynced = 0
        self._synced_at: float | None = None
        self._space.measure()

    def __repr__(self) -> str:
        return f"<Journal {self.writer} dropped={self.dropped}>"

    @property
    def dropped(self) -> int:
        """Lines that could not be written, or not be kept until they were shipped."""
        return sum(self.dropped_by_kind.values())

    @property
    def trouble(self) -> str | None:
        """Why not everything is written now."""
        return next(iter(self._troubles.values()), None) or self._space.pressure

    def append(
        self, lines: Sequence[str], values: Sequence[Value] | None = None
    ) -> list[int]:
        """Write lines, each a JSON object; without ``values`` all are outcomes.

        Returns the places of the outcomes that could not be written, in order: give
        them again later, or give them up.  What else could not be written is counted.
        Where the journal is ``required``, details are given back too.
        """
        values = values or [Value.OUTCOME] * len(lines)
        unwritten: list[int] = []
        places: dict[Lane, list[int]] = {lane: [] for lane in Lane}
        for place, value in enumerate(values):
            places[lane_of(value)].append(place)
        for lane, chosen in places.items():
            if chosen:
                unwritten += self._append_row(lane, lines, values, chosen)
        return unwritten

    def give_up(self, value: Value, number: int = 1) -> None:
        """Count lines that the caller gives up."""
        self.dropped_by_kind[value.kind] += number

    def tick(self, now: float) -> None:
        """Make durable what waits for it; ``now`` is a monotonic clock's."""
        self._look(now)
        if not self._unsynced:
            self._synced_at = None
        elif self._synced_at is None:
            self._synced_at = now
        elif now - self._synced_at >= _SYNC_SECONDS:
            self.sync()

    def sync(self) -> bool:
        """Make everything durable; whether it is.  What fails is told by ``trouble``.

        What an earlier sync could not bring to the disk counts too.
        """
        self._unsynced, self._synced_at = 0, None
        is_durable = True
        for lane, row in self._rows.items():
            try:
                row.sync()
            except OSError as exc:
                self._note_trouble(lane, exc)
                is_durable = False
        return is_durable

    def holds(self, event_ids: Collection[str]) -> set[str]:
        """Which of these events (by event.id) the newest segments have, durably."""
        held: set[str] = set()
        for path, events in segments_with(self.directory, event_ids):
            # A run that was killed left that to the kernel.
            with suppress(OSError):
                sync_file(path)
            held |= events
        return held

    def size(self) -> int:
        """Bytes of all segments of all writers, as of the last look at them."""
        return self._space.used

    def close(self) -> None:
        """Make everything durable and end the segments."""
        self.sync()
        for row in self._rows.values():
            row.close()

    def _row(self, lane: Lane) -> SegmentWriter:
        writer = segments.lane_writer(self.writer, lane)
        return SegmentWriter(self.directory, writer, _LINKS[lane], self._segment_bytes)

    def _append_row(
        self,
        lane: Lane,
        lines: Sequence[str],
        values: Sequence[Value],
        places: Sequence[int],
    ) -> list[int]:
        """Write the lines at ``places``; which of them are to be given again."""
        least = self._space.least
        admitted = [place for place in places if values[place] >= least]
        if len(admitted) < len(places):
            self._drop(values[place] for place in places if values[place] < least)
        done = 0
        for batch in self._batches([segments.seal(lines[p]) for p in admitted]):
            written, error = self._write(lane, b"".join(batch), len(batch))
            done += written
            if error is not None:
                self._note_trouble(lane, error)
                return self._refuse(admitted[done:], values)
        if admitted:
            self._troubles.pop(lane, None)
        if self._unsynced >= _SYNC_LINES:
            self.sync()
        return []

    def _refuse(self, places: Sequence[int], values: Sequence[Value]) -> list[int]:
        """What could not be written: outcomes go back to the caller."""
        least = self._waiting
        self._drop(values[place] for place in places if values[place] < least)
        return [place for place in places if values[place] >= least]

    def _drop(self, values: Iterator[Value]) -> None:
        self.dropped_by_kind.update(value.kind for value in values)

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
        if batch:
            yield batch

    def _write(self, lane: Lane, data: bytes, lines: int) -> tuple[int, OSError | None]:
        """How many lines of the batch are in a segment, and why not the others."""
        row = self._rows[lane]
        kept = 0
        for is_last in (False, True):
            try:
                if not row.fits(len(data) - kept):
                    self._begin_segment(lane, len(data) - kept)
                self._space.claim(len(data) - kept, lane)
            except OSError as exc:
                return self._written(data, kept), exc
            written, error = row.write(data[kept:])
            kept += written
            if error is None or error.errno != errno.ENOSPC or is_last:
                break
            self._space.is_exhausted = True  # the next claim makes room, or says no
        self._unsynced += lines
        return self._written(data, kept), error

    def _written(self, data: bytes, kept: int) -> int:
        return data.count(b"\n", 0, kept)

    def _begin_segment(self, lane: Lane, wanted: int) -> None:
        row = self._rows[lane]
        with suppress(OSError):  # the next sync tries it again
            row.sync()
        row.close()
        reserved = max(wanted, self._segment_bytes)
        self._space.make_room(reserved, lane, keeps_story=self.required)
        row.begin()

    def _note_trouble(self, lane: Lane, error: OSError) -> None:
        self._troubles[lane] = f"journal: {error.strerror or error}"
        self._failed_at = self._looked_at

    def _look(self, now: float) -> None:
        """See how much space there is, and forget a trouble that did not come again."""
        pause = _WORRIED_SECONDS if self.trouble else _LOOK_SECONDS
        if now - self._looked_at < pause:
            return
        self._looked_at = now
        self._space.measure()
        if now - self._failed_at >= _LOOK_SECONDS:
            self._troubles.clear()
