"""The mock broker is Kafka enough for KafkaConsumer."""

from __future__ import annotations

import os
from collections.abc import Iterator
from uuid import uuid4

import pytest
from kafka import KafkaConsumer

from dcmirror.testing.broker import CLIENT_SETTINGS, MockBroker, Publisher
from helpers import wait_until


@pytest.fixture(scope="module")
def broker() -> Iterator[MockBroker]:
    with MockBroker() as broker:
        yield broker


@pytest.fixture
def topic(broker: MockBroker) -> str:
    name = f"topic-{uuid4().hex[:8]}"
    broker.create_topic(name, partitions=3)
    return name


def consume(broker: MockBroker, topic: str, count: int, group: str) -> list[bytes]:
    consumer = KafkaConsumer(
        topic,
        bootstrap_servers=broker.bootstrap,
        group_id=group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        **CLIENT_SETTINGS,
    )
    found: list[bytes] = []

    def poll() -> bool:
        for records in consumer.poll(timeout_ms=200).values():
            found.extend(record.value for record in records)
        return len(found) >= count

    try:
        wait_until(poll, 60)
        consumer.commit()
    finally:
        consumer.close()
    return found


def test_records_arrive_and_commits_stay(broker: MockBroker, topic: str) -> None:
    values = [f"value {number}".encode() for number in range(500)]
    broker.produce(topic, values)
    found = consume(broker, topic, 500, "readers")

    assert sorted(values) == sorted(found)
    assert broker.end_offsets(topic) == broker.committed("readers", topic)
    assert {} == broker.committed("others", topic)


def test_records_spread_over_the_partitions(broker: MockBroker, topic: str) -> None:
    broker.produce(topic, [b"x"] * 300)
    ends = broker.end_offsets(topic)

    assert (set(ends), sum(ends.values())) == ({0, 1, 2}, 300)
    assert all(ends.values())


def test_partition_can_be_chosen_and_its_beginning_lost(
    broker: MockBroker, topic: str
) -> None:
    broker.produce(topic, [b"a", b"b", b"c"], partition=1)
    broker.delete_records(topic, 1, 2)

    assert [b"c"] == consume(broker, topic, 1, f"g-{uuid4().hex}")


def test_publisher_loses_nothing_of_a_burst(broker: MockBroker, topic: str) -> None:
    publish = Publisher(broker, topic)
    for number in range(1000):
        publish(b"%d" % number)
    publish.stop()

    assert sum(broker.end_offsets(topic).values()) == 1000


def test_broker_is_gone_after_stop() -> None:
    broker = MockBroker()
    broker.stop()

    with pytest.raises(ProcessLookupError):
        os.kill(broker.pid, 0)
