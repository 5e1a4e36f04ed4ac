"""A scripted consumer in place of KafkaConsumer, and a reader around it."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from kafka import errors
from kafka.structs import (
    ConsumerGroupMetadata,
    MemberState,
    OffsetAndMetadata,
    TopicPartition,
)

from dcmirror.adapters.kafka_source import KafkaSource
from dcmirror.core.epochs import Epochs
from dcmirror.core.records import Batch, Notice
from dcmirror.processes.intake_outlet import Outlet, Troubles, Wishes
from dcmirror.processes.intake_reader import Reader, Rebalancing
from dcmirror.processes.intake_timing import Timing
from dcmirror.settings import Kafka

TOPIC = "billing"
AT_ONCE = Timing(hand_over=0, retry=0, reconnect_first=0, reconnect_most=0)


def tp(partition: int) -> TopicPartition:
    return TopicPartition(TOPIC, partition)


def drive(coroutine: Any) -> None:
    """Run a coroutine that only awaits what is done already."""
    with pytest.raises(StopIteration):
        coroutine.send(None)


class Answer:
    """The future of a commit that is answered at once."""

    def __init__(self, error: Exception | None) -> None:
        self._error = error

    def __await__(self) -> Iterator[None]:
        if self._error is not None:
            raise self._error
        return iter(())


@dataclass
class FakeConsumer:
    """A broker's log and a group, as one member sees them."""

    logs: dict[int, list[bytes]] = field(default_factory=lambda: defaultdict(list))
    firsts: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    group: dict[int, int] = field(default_factory=dict)
    steps: list[Callable[[], None]] = field(default_factory=list)
    commits: list[dict[int, int]] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    commit_error: Exception | None = None
    heartbeat_age: float = 0.0
    config: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.at: dict[int, int] = {}
        self.stopped: set[int] = set()
        self._cluster = SimpleNamespace(cluster_id="cluster-1")
        self.state = MemberState.STABLE
        self._coordinator = SimpleNamespace(
            request_rejoin=lambda: self.calls.append("rejoin")
        )

    def make(self, **config: Any) -> FakeConsumer:
        self.config = config
        return self

    # the group

    def join(self, *partitions: int) -> None:
        """A cooperative rebalance: only what really moves is told."""
        added = set(partitions) - set(self.at)
        revoked = set(self.at) - set(partitions)
        for number in revoked:
            del self.at[number]
            self.stopped.discard(number)
        for number in added:
            self.at[number] = self.group.get(number, 0)
        if revoked:
            drive(self.listener.on_partitions_revoked({tp(n) for n in revoked}))
        if added:
            drive(self.listener.on_partitions_assigned({tp(n) for n in added}))

    def lose(self) -> None:
        lost = {tp(number) for number in self.at}
        drive(self.listener.on_partitions_lost(lost))
        self.at.clear()
        self.stopped.clear()

    # KafkaConsumer's methods

    def subscribe(self, topics: list[str], listener: Any) -> None:
        assert topics == [TOPIC]
        self.listener = listener

    def group_metadata(self) -> Any:
        return ConsumerGroupMetadata(group_id="group", state=self.state)

    def poll(self, timeout_ms: float) -> dict[TopicPartition, list[Any]]:
        self.calls.append("poll")
        if self.steps:
            self.steps.pop(0)()
        found = {}
        for number in set(self.at) - self.stopped:
            records = self._records(number)
            if records:
                found[tp(number)] = records
                self.at[number] = records[-1].offset + 1
        return found

    def _records(self, number: int) -> list[Any]:
        at, first = self.at[number], self.firsts[number]
        if not first <= at <= first + len(self.logs[number]):
            raise errors.OffsetOutOfRangeError({tp(number): at})
        return [
            SimpleNamespace(offset=at + index, value=value)
            for index, value in enumerate(self.logs[number][at - first :])
        ]

    def assignment(self) -> set[TopicPartition]:
        return {tp(number) for number in self.at}

    def paused(self) -> set[TopicPartition]:
        return {tp(number) for number in self.stopped}

    def pause(self, *partitions: TopicPartition) -> None:
        self.stopped |= {p.partition for p in partitions}

    def resume(self, *partitions: TopicPartition) -> None:
        self.stopped -= {p.partition for p in partitions}

    def committed(self, partition: TopicPartition, timeout_ms: float) -> int | None:
        return self.group.get(partition.partition)

    def beginning_offsets(self, partitions: list[Any], timeout_ms: float) -> Any:
        return {p: self.firsts[p.partition] for p in partitions}

    def end_offsets(self, partitions: list[Any], timeout_ms: float) -> Any:
        return {p: self.highwater(p) for p in partitions}

    def highwater(self, partition: TopicPartition) -> int:
        return self.firsts[partition.partition] + len(self.logs[partition.partition])

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self.at[partition.partition] = offset

    def commit(self, offsets: dict[Any, OffsetAndMetadata], timeout_ms: float) -> None:
        self.calls.append("commit")
        wanted = {p.partition: o.offset for p, o in offsets.items()}
        self.commits.append(wanted)
        if self.commit_error is not None:
            raise self.commit_error
        self.group.update(wanted)

    def commit_async(self, offsets: dict[Any, OffsetAndMetadata]) -> Answer:
        try:
            self.commit(offsets, 0)
        except errors.KafkaError as exc:
            return Answer(exc)
        return Answer(None)

    def metrics(self, raw: bool) -> dict[Any, Any]:
        name = SimpleNamespace(name="last-heartbeat-seconds-ago")
        return {_Hashable(name.name): SimpleNamespace(value=lambda: self.heartbeat_age)}

    def close(self, autocommit: bool, timeout_ms: float) -> None:
        self.calls.append("close")
        if self.at:
            drive(self.listener.on_partitions_revoked(self.assignment()))
        self.at.clear()


@dataclass(frozen=True)
class _Hashable:
    name: str


class TellingOutlet(Outlet):
    """Remembers what it was told, in that order."""

    def __init__(self, wake_fd: int) -> None:
        super().__init__(wake_fd)
        self.told: list[Notice] = []

    def notify(self, notice: Notice) -> None:
        self.told.append(notice)
        super().notify(notice)

    def hand_over(self, batch: Batch) -> None:
        self.told += batch.notices
        super().hand_over(batch)


class Bench:
    """One reader, with everything around it in reach."""

    def __init__(self, kafka: Kafka, timing: Timing = AT_ONCE) -> None:
        self.now = 1000.0
        self.consumer = FakeConsumer()
        self.fd = os.eventfd(0, os.EFD_NONBLOCK)
        self.outlet = TellingOutlet(self.fd)
        self.wishes = Wishes()
        self.epochs = Epochs(1)
        self.rebalancing = Rebalancing(self.epochs, self.outlet, self.wishes)
        self.troubles = Troubles(self.outlet.notify, timing.trouble)
        self.source = KafkaSource(kafka, "id", self.rebalancing, self.consumer.make)
        self.reader = Reader(
            self.source,
            kafka.start,
            self.epochs,
            self.outlet,
            self.wishes,
            self.troubles,
            timing,
            lambda: self.now,
            lambda: None,
        )

    def turn(self, times: int = 1) -> Bench:
        for _ in range(times):
            self.reader.turn()
        return self

    def join(self, *partitions: int) -> Bench:
        self.consumer.steps.append(lambda: self.consumer.join(*partitions))
        return self.turn()

    def settle(self, entries: dict[tuple[int, int], int]) -> None:
        """The loop asks for a commit, and the time for one comes."""
        self.wishes.committables = entries
        self.wishes.is_commit_asked = True
        self.now += 2
        self.turn()

    def notices(self, kind: type | None = None) -> list[Any]:
        return [n for n in self.outlet.told if kind is None or isinstance(n, kind)]

    def batches(self) -> list[list[tuple[int, int, int]]]:
        """(partition, offset, epoch) of each record, batch by batch."""
        found = []
        while (batch := self.outlet.take()[1]) is not None:
            found.append([(r.partition, r.offset, r.epoch) for r in batch.records])
        return [records for records in found if records]

    def close(self) -> None:
        self.outlet.close()
        os.close(self.fd)


KAFKA = Kafka(topic=TOPIC, servers=("127.0.0.1:1",), consumergroup="group")


def raising(error: Exception) -> Callable[[], None]:
    def step() -> None:
        raise error

    return step
