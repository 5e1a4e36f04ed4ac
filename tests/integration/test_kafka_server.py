"""The broker the other tests stand on does what they believe it does."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from helpers import wait_until

if TYPE_CHECKING:
    from servers.kafka import Kafka, LocalKafka


def test_records_lie_where_produce_says(kafka: Kafka) -> None:
    topic = kafka.create_topic(partitions=3)

    placed = kafka.produce(topic, [b"a", b"b", None], partition=1)

    assert [(1, 0), (1, 1), (1, 2)] == placed
    assert {0: 0, 1: 3, 2: 0} == kafka.end_offsets(topic)


def test_a_group_that_never_committed_has_no_offsets(kafka: Kafka) -> None:
    assert {} == kafka.committed("a-group-nobody-used")


def test_records_outlive_a_kill_of_the_broker(
    private_kafka: Callable[..., LocalKafka],
) -> None:
    broker = private_kafka()
    topic = broker.create_topic()
    broker.produce(topic, [b"kept"], compression="zstd")

    broker.kill()
    broker.start()

    assert wait_until(lambda: broker.end_offsets(topic) == {0: 1})
