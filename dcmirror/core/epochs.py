"""Which partitions are ours, since which epoch, and how far they were read.

The intake thread owns it; kafka-python's thread changes it only inside a poll or close
of that thread, so there is no lock.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dcmirror.core.records import Record


@dataclass(slots=True)
class Held:
    """A partition that is ours in this epoch.

    Not open: just assigned, its start is not known yet, and what ``poll`` returned of
    it is thrown away, since it may have been fetched for an earlier epoch.
    """

    epoch: int
    is_open: bool = False
    next: int = 0
    acknowledged: int | None = None


class Epochs:
    """The partitions that are ours now; each assignment begins an epoch."""

    def __init__(self, first: int = 1) -> None:
        self._next = first
        self._held: dict[int, Held] = {}

    def __len__(self) -> int:
        return len(self._held)

    def begin(self, partition: int) -> Held:
        """The partition is ours from now on, in an epoch of its own."""
        held = self._held[partition] = Held(self._next)
        self._next += 1
        return held

    def end(self, partitions: Iterable[int]) -> tuple[int, ...]:
        """The partitions are ours no longer; returns those that were."""
        return tuple(
            number for number in partitions if self._held.pop(number, None) is not None
        )

    @property
    def newest(self) -> int:
        """The highest epoch that was ever begun."""
        return self._next - 1

    def all(self) -> tuple[int, ...]:
        """Every partition that is ours."""
        return tuple(self._held)

    def opened(self, partition: int) -> Held | None:
        """The partition, if it is ours and its start is known."""
        held = self._held.get(partition)
        return held if held is not None and held.is_open else None

    def waiting(self) -> dict[int, Held]:
        """Partitions whose start is not known yet."""
        return {number: held for number, held in self._held.items() if not held.is_open}

    def positions(self) -> dict[int, int]:
        """Partition → the next offset to be read, of those that are open."""
        return {number: held.next for number, held in self._opened()}

    def tag(self, found: Mapping[int, list[Any]]) -> tuple[Record, ...]:
        """The records of open partitions, with their epoch; the rest is dropped."""
        tagged: list[Record] = []
        for partition, records in found.items():
            held = self.opened(partition)
            if held is None or not records:
                continue
            epoch = held.epoch
            tagged += [
                Record(partition, got.offset, epoch, got.value) for got in records
            ]
            held.next = records[-1].offset + 1
        return tuple(tagged)

    def committable(
        self,
        entries: Mapping[tuple[int, int], int],
        partitions: Collection[int] | None = None,
    ) -> dict[int, int]:
        """Of (partition, epoch) → offset, the current ones that the broker lacks.

        Never a lower one than the broker has.
        """
        return {
            number: offset
            for number, held in self._opened()
            if (partitions is None or number in partitions)
            and (offset := entries.get((number, held.epoch))) is not None
            and (held.acknowledged is None or offset > held.acknowledged)
        }

    def acknowledged(self) -> dict[int, int]:
        """What the broker is known to have."""
        return {
            number: held.acknowledged
            for number, held in self._opened()
            if held.acknowledged is not None
        }

    def acknowledge(self, offsets: Mapping[int, int]) -> None:
        """The broker took these commits."""
        for number, offset in offsets.items():
            self._held[number].acknowledged = offset

    def _opened(self) -> list[tuple[int, Held]]:
        return [(number, held) for number, held in self._held.items() if held.is_open]
