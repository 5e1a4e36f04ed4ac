"""The intake thread against a real Apache Kafka broker."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import wait_until

from dcmirror.core.records import (
    Acknowledged,
    Assigned,
    Closed,
    Connected,
    Fatal,
    IntakeTrouble,
    Notice,
    OffsetsLost,
    Record,
    Revoked,
)
from dcmirror.processes.intake import Intake
from dcmirror.settings import DCache, Kafka, Local, Settings

pytestmark = [pytest.mark.real_kafka, pytest.mark.timeout(240)]

QUICK = {"session_timeout_ms": 6000, "heartbeat_interval_ms": 500}


def settings_for(
    bootstrap: str, topic: str, group: str, start: str = "earliest", **client
) -> Settings:
    return Settings(
        kafka=Kafka(
            topic=topic,
            servers=(bootstrap,),
            consumergroup=group,
            start=start,
            client={**QUICK, "metadata_max_age_ms": 1000, **client},
        ),
        dcache=DCache(url="https://door.example.org/", pool="/", folder="/x"),
        local=Local(downloadfolder=Path("/nowhere")),
    )


class Loop:
    """What the supervisor's loop does with an intake, and a memory of it."""

    def __init__(self, settings: Settings, first_epoch: int = 1) -> None:
        self.fd = os.eventfd(0, os.EFD_NONBLOCK)
        self.intake = Intake(
            settings, f"test-{uuid.uuid4().hex[:6]}", self.fd, first_epoch=first_epoch
        )
        self.notices: list[Notice] = []
        self.records: list[Record] = []
        self.seen_at: dict[tuple[int, int], float] = {}
        self.settles = True

    def start(self) -> Loop:
        self.intake.start()
        return self

    def turn(self) -> Loop:
        while True:
            notices, batch = self.intake.take()
            self.notices += notices
            for notice in notices:
                if isinstance(notice, Assigned):
                    self._note(notice.partition, notice.epoch, notice.start)
            if batch is None:
                return self
            now = time.monotonic()
            for record in batch.records:
                self.records.append(record)
                self.seen_at[record.partition, record.offset] = now
                self._note(record.partition, record.epoch, record.offset + 1)

    def _note(self, partition: int, epoch: int, offset: int) -> None:
        if self.settles:
            entries = {**self.intake.committables, (partition, epoch): offset}
            self.intake.committables = entries
            self.intake.request_commit()

    def told(self, kind: type) -> list:
        self.turn()
        return [notice for notice in self.notices if isinstance(notice, kind)]

    def values(self) -> list[bytes | None]:
        self.turn()
        return [record.value for record in self.records]

    def wait_for(self, count: int, deadline: float = 40.0) -> None:
        wait_until(
            lambda: len(self.values()) >= count,
            deadline,
            what=f"{count} records (got {len(self.records)}; {self.notices[-5:]})",
        )

    def assigned(self) -> set[int]:
        self.turn()
        ours: set[int] = set()
        for notice in self.notices:
            if isinstance(notice, Assigned):
                ours.add(notice.partition)
            elif isinstance(notice, Revoked):
                ours -= set(notice.partitions)
        return ours

    def close(self) -> None:
        if self.intake.is_alive():
            self.intake.stop(final=True)
            self.intake.join(25)
        assert not self.intake.is_alive()
        self.turn()
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


@pytest.fixture
def loops() -> Iterator:
    started: list[Loop] = []

    def start(settings: Settings, **options) -> Loop:
        started.append(Loop(settings, **options))
        return started[-1].start()

    yield start
    for loop in started:
        loop.close()


@pytest.fixture
def group() -> str:
    return f"group-{uuid.uuid4().hex[:8]}"


def values(count: int, first: int = 0) -> list[bytes]:
    return [b"value-%d" % number for number in range(first, first + count)]


def test_records_arrive_in_order_with_the_epoch_of_their_assignment(
    kafka, loops, group
):
    topic = kafka.create_topic(partitions=3)
    sent = kafka.produce(topic, values(3000))
    loop = loops(settings_for(kafka.bootstrap, topic, group), first_epoch=41)

    loop.wait_for(3000)

    epochs = {n.partition: n.epoch for n in loop.told(Assigned)}
    assert sorted((r.partition, r.offset) for r in loop.records) == sorted(sent)
    assert sorted(epochs.values()) == [41, 42, 43]
    assert {(r.partition, r.epoch) for r in loop.records} == set(epochs.items())
    for partition in range(3):
        offsets = [r.offset for r in loop.records if r.partition == partition]
        assert offsets == sorted(offsets)
    assert len(loop.told(Connected)) == 1
    assert loop.told(Connected)[0].cluster_id


def test_what_was_committed_is_not_read_again(kafka, loops, group):
    topic = kafka.create_topic()
    kafka.produce(topic, values(10))
    first = loops(settings_for(kafka.bootstrap, topic, group))
    first.wait_for(10)
    first.close()
    kafka.produce(topic, values(5, 10))

    second = loops(settings_for(kafka.bootstrap, topic, group))
    second.wait_for(5)

    assert kafka.committed(group)[0] >= 10
    assert second.values() == values(5, 10)
    assert second.told(Assigned) == [Assigned(0, 1, 10, 10)]
    assert first.told(Closed) == [Closed(committed=True)]


def test_an_event_reaches_the_loop_within_milliseconds(kafka, loops, group):
    topic = kafka.create_topic()
    loop = loops(settings_for(kafka.bootstrap, topic, group))
    wait_until(lambda: loop.assigned() == {0}, 30)
    kafka.produce(topic, values(1))
    loop.wait_for(1)
    delays = []
    for number in range(1, 21):
        kafka.produce(topic, values(1, number))
        acknowledged = time.monotonic()
        wait_until(lambda n=number: len(loop.values()) > n, 10)
        delays.append(loop.seen_at[0, number] - acknowledged)

    assert sorted(delays)[10] < 0.05
