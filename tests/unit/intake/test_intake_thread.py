"""The intake's thread: one consumer after the other, and what the loop hears."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kafka import errors
from kafka.cluster import ClusterMetadata
from kafka.coordinator.base import BaseCoordinator

from dcmirror.adapters.kafka_errors import SourceUnreachable
from dcmirror.adapters.kafka_source import KafkaSource
from dcmirror.core.records import (
    Assigned,
    Closed,
    Connected,
    Fatal,
    IntakeTrouble,
    Revoked,
)
from dcmirror.processes.intake import Intake
from dcmirror.processes.intake_outlet import Troubles
from dcmirror.settings import DCache, Local, Settings
from intake_bench import AT_ONCE, KAFKA, FakeConsumer, raising


@pytest.fixture
def run_intake() -> Iterator[Callable[..., Intake]]:
    fds: list[int] = []

    def run(connector: Any, steps: int = 0) -> Intake:
        fds.append(os.eventfd(0, os.EFD_NONBLOCK))
        settings = Settings(
            kafka=KAFKA,
            dcache=DCache(url="https://door.example.org/", pool="/", folder="/x"),
            local=Local(downloadfolder=Path("/nowhere")),
        )
        intake = Intake(
            settings, "id", fds[-1], timing=AT_ONCE, connector=connector, first_epoch=5
        )
        intake_box.append(intake)
        intake.run()
        return intake

    intake_box: list[Intake] = []
    run.box = intake_box  # type: ignore[attr-defined]
    yield run
    for fd in fds:
        os.close(fd)


def last(intake: Intake) -> Any:
    return intake.take()[0][-1]


def test_twenty_failed_constructions_are_fatal(run_intake):
    tried = []

    def connector(events: Any, beat: Any) -> KafkaSource:
        tried.append(1)

        def fails(**config: Any) -> Any:
            raise errors.KafkaTimeoutError("Unable to bootstrap")

        return KafkaSource(KAFKA, "id", events, fails)

    intake = run_intake(connector)

    assert len(tried) == 20
    assert "gave up after 20 Kafka consumers" in last(intake).text


def test_no_construction_is_counted_while_no_broker_answers(run_intake):
    tried = []

    def connector(events: Any, beat: Any) -> KafkaSource:
        tried.append(1)
        if len(tried) > 100:
            run_intake.box[0].stop(final=True)
        raise SourceUnreachable("no broker answers: h:1: Connection refused")

    intake = run_intake(connector)

    notices, _ = intake.take()
    assert notices == [
        IntakeTrouble("no broker answers: h:1: Connection refused"),
        Closed(committed=True),
    ]


def test_another_consumer_is_made_after_one_that_broke(run_intake):
    consumers: list[FakeConsumer] = []

    def connector(events: Any, beat: Any) -> KafkaSource:
        consumer = FakeConsumer(group={0: 0})
        consumer.steps.append(lambda: consumer.join(0))
        consumers.append(consumer)
        if len(consumers) == 1:
            consumer.steps.append(raising(ValueError("bad varint")))
        else:
            consumer.steps.append(lambda: run_intake.box[0].stop(final=True))
        return KafkaSource(KAFKA, "id", events, consumer.make)

    intake = run_intake(connector)

    notices, _ = intake.take()
    assert consumers[0].calls[-1] == "close"
    assert [n for n in notices if not isinstance(n, Connected)] == [
        IntakeTrouble("the Kafka consumer failed: ValueError: bad varint"),
        Revoked((0,), lost=False, epoch=5),
        IntakeTrouble(""),
        Revoked((0,), lost=False, epoch=6),
        Closed(committed=True),
        Assigned(0, 5, 0, 0),
    ]


def test_consumers_that_break_again_and_again_are_fatal(run_intake):
    consumers: list[FakeConsumer] = []

    def connector(events: Any, beat: Any) -> KafkaSource:
        consumer = FakeConsumer()
        consumer.steps.append(raising(errors.CorruptRecordError("crc")))
        consumers.append(consumer)
        return KafkaSource(KAFKA, "id", events, consumer.make)

    intake = run_intake(connector)

    assert len(consumers) == 20
    assert isinstance(last(intake), Fatal)


def test_fatal_is_told_before_the_consumer_is_closed(run_intake):
    consumer = FakeConsumer(group={0: 0})
    consumer.steps += [
        lambda: consumer.join(0),
        raising(errors.FencedInstanceIdError()),
    ]

    intake = run_intake(
        lambda events, beat: KafkaSource(KAFKA, "id", events, consumer.make)
    )

    kinds = [type(notice) for notice in intake.take()[0]]
    assert kinds == [Connected, Fatal, Revoked, Assigned]


def test_trouble_is_told_when_it_begins_each_minute_and_when_all_is_well():
    told: list[str] = []
    troubles = Troubles(lambda notice: told.append(notice.text), 60)
    troubles.put("poll", "", 0)
    troubles.put("poll", "away", 1)
    troubles.put("commit", "cannot commit", 2)
    troubles.put("poll", "still away", 30)
    troubles.put("poll", "still away", 62)
    troubles.put("poll", "", 63)
    assert told == ["away", "still away"]

    troubles.put("commit", "", 64)
    troubles.put("poll", "away again", 65)

    assert told == ["away", "still away", "", "away again"]


def test_library_has_the_private_names_that_we_use():
    assert callable(BaseCoordinator.request_rejoin)
    assert ClusterMetadata().cluster_id is None


def test_intake_wakes_the_loop_for_notices_and_batches(bench):
    bench.consumer.group[0] = 0
    bench.join(0)
    assert os.eventfd_read(bench.fd) == 2
    bench.consumer.logs[0] = [b"a"]

    bench.turn()

    assert os.eventfd_read(bench.fd) == 1
