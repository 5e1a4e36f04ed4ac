"""Which offsets are settled: one ledger per partition and assignment epoch.

The supervisor's loop alone calls it.  Only offsets that were received count, so that
gaps left by compaction or transactions hold nothing up.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Span:
    """A run of settled offsets, both ends included, with how many ended in each way."""

    topic: str
    partition: int
    epoch: int
    first: int
    last: int
    counts: dict[str, int]


@dataclass(slots=True)
class _Run:
    first: int
    last: int
    counts: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class _Open:
    """An offset that was received as work, and what was settled right behind it."""

    offset: int
    settled_behind: int = 0


class PartitionLedger:
    """What was received of a partition in one epoch, and what of it is settled.

    ``committable`` is the lowest received offset that is not settled, else one past the
    last received one; it never goes back.  ``honoured`` are ranges (both ends included)
    that an earlier run settled: an offset in them is taken as settled when it arrives
    and gets no second span.

    Kinds of settling: mirrored, failed, not-ours, garbage, skipped:<reason>.
    """

    def __init__(
        self,
        topic: str,
        partition: int,
        epoch: int,
        start: int,
        honoured: Iterable[tuple[int, int]] = (),
    ) -> None:
        self.topic = topic
        self.partition = partition
        self.epoch = epoch
        self.start = start
        self.received_count = 0
        self._next = start
        self._honoured = deque(sorted(honoured))
        self._pending: set[int] = set()
        self._open: deque[_Open] = deque()
        self._settled_above_gap = 0
        self._runs: list[_Run] = []
        self._settled: list[tuple[int, str]] = []

    def __repr__(self) -> str:
        return (
            f"<Ledger {self.topic}[{self.partition}] epoch={self.epoch} "
            f"received={self.received_count} next={self._next} "
            f"committable={self.committable} pending={len(self._pending)}>"
        )

    def receive(self, offset: int) -> bool:
        """Note an offset that is work; False: it is settled or in work already."""
        if not self._advance(offset):
            return False
        self._pending.add(offset)
        self._open.append(_Open(offset))
        return True

    def receive_settled(self, offset: int, kind: str) -> bool:
        """Receive and settle in one step, for the many records that are not ours."""
        if not self._advance(offset):
            return False
        self._count_behind()
        run = self._runs[-1] if self._runs else None
        if run is None or run.last + 1 != offset:
            self._runs.append(_Run(offset, offset, {kind: 1}))
        else:
            run.last = offset
            run.counts[kind] = run.counts.get(kind, 0) + 1
        return True

    def settle(self, offset: int, kind: str) -> None:
        """The outcome of a received offset is durable."""
        self._pending.remove(offset)
        self._settled.append((offset, kind))
        self._settled_above_gap += 1
        self._drop_settled_head()
        if len(self._open) > 2 * len(self._pending) + 64:
            self._compact()

    def skip_to(self, offset: int) -> None:
        """What lies before ``offset`` is gone from the log and holds nothing up."""
        self._next = max(self._next, offset)

    @property
    def committable(self) -> int:
        """What may be committed: everything below it is settled."""
        return self._open[0].offset if self._open else self._next

    @property
    def pending_count(self) -> int:
        """Offsets received as work and not settled yet."""
        return len(self._pending)

    @property
    def settled_above_gap(self) -> int:
        """Offsets that are settled but wait for an earlier one."""
        return self._settled_above_gap

    def is_pending(self, offset: int) -> bool:
        """Whether the offset was received as work and is not settled."""
        return offset in self._pending

    def take_spans(self) -> list[Span]:
        """What was settled since the last call, as runs in order of offset."""
        runs = self._runs + [_Run(at, at, {kind: 1}) for at, kind in self._settled]
        self._runs, self._settled = [], []
        return [
            Span(
                self.topic, self.partition, self.epoch, run.first, run.last, run.counts
            )
            for run in _coalesced(runs)
        ]

    def _advance(self, offset: int) -> bool:
        """Move past an offset; False: seen before, or settled by a honoured range."""
        if offset < self._next:
            return False
        self._next = offset + 1
        self.received_count += 1
        if self._honoured and self._is_honoured(offset):
            self._count_behind()
            return False
        return True

    def _is_honoured(self, offset: int) -> bool:
        while self._honoured and self._honoured[0][1] < offset:
            self._honoured.popleft()
        return bool(self._honoured) and self._honoured[0][0] <= offset

    def _count_behind(self) -> None:
        if self._open:
            self._open[-1].settled_behind += 1
            self._settled_above_gap += 1

    def _drop_settled_head(self) -> None:
        while self._open and self._open[0].offset not in self._pending:
            self._settled_above_gap -= 1 + self._open.popleft().settled_behind

    def _compact(self) -> None:
        """Forget settled offsets behind a slow one, which may stay open for a day."""
        kept: deque[_Open] = deque()
        for entry in self._open:
            if entry.offset in self._pending:
                kept.append(entry)
            else:
                kept[-1].settled_behind += 1 + entry.settled_behind
        self._open = kept


class Ledgers:
    """The ledgers of the partitions that are ours now.

    A result of an earlier epoch finds no ledger, so it cannot move an offset.
    """

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self._by_partition: dict[int, PartitionLedger] = {}
        self._left: list[Span] = []

    def __iter__(self) -> Iterator[PartitionLedger]:
        return iter(self._by_partition.values())

    def assign(
        self,
        partition: int,
        epoch: int,
        start: int,
        honoured: Iterable[tuple[int, int]] = (),
    ) -> PartitionLedger:
        """Begin an epoch of a partition; one that was open is closed first."""
        self.revoke(partition)
        ledger = PartitionLedger(self.topic, partition, epoch, start, honoured)
        self._by_partition[partition] = ledger
        return ledger

    def revoke(self, partition: int) -> PartitionLedger | None:
        """End the epoch; what it settled so far still comes out of ``take_spans``."""
        ledger = self._by_partition.pop(partition, None)
        if ledger is not None:
            self._left += ledger.take_spans()
        return ledger

    def get(self, partition: int, epoch: int) -> PartitionLedger | None:
        """The partition's ledger, if that epoch is still the current one."""
        ledger = self._by_partition.get(partition)
        return ledger if ledger is not None and ledger.epoch == epoch else None

    def skip_to(self, partition: int, epoch: int, offset: int) -> bool:
        """The log of the partition begins at ``offset`` now; False: not ours now."""
        ledger = self.get(partition, epoch)
        if ledger is not None:
            ledger.skip_to(offset)
        return ledger is not None

    def committables(self) -> dict[tuple[int, int], int]:
        """(partition, epoch) → what may be committed there."""
        return {(led.partition, led.epoch): led.committable for led in self}

    def take_spans(self) -> list[Span]:
        """What was settled since the last call, on all partitions."""
        left, self._left = self._left, []
        return left + [span for ledger in self for span in ledger.take_spans()]


def _coalesced(runs: list[_Run]) -> list[_Run]:
    joined: list[_Run] = []
    for run in sorted(runs, key=lambda run: run.first):
        if joined and joined[-1].last + 1 == run.first:
            _extend(joined[-1], run)
        else:
            joined.append(run)
    return joined


def _extend(run: _Run, more: _Run) -> None:
    run.last = more.last
    for kind, count in more.counts.items():
        run.counts[kind] = run.counts.get(kind, 0) + count
