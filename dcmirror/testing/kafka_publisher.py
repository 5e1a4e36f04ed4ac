"""Publishes the fake dCache's records to any Kafka, as dCache's own producers do."""

from __future__ import annotations

from confluent_kafka import Producer


class KafkaPublisher:
    """A ``publish`` callable: no key, no headers, any partition.

    Args:
        bootstrap: brokers, host:port, comma-separated.
        topic: where to.
        settings: more of librdkafka's own, such as TLS.
    """

    def __init__(
        self, bootstrap: str, topic: str, settings: dict[str, str] | None = None
    ) -> None:
        self._topic = topic
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "linger.ms": 0,
                # the two records of one upload shall often lie on two partitions
                "sticky.partitioning.linger.ms": 0,
                **(settings or {}),
            }
        )

    def __call__(self, value: bytes) -> None:
        while True:
            try:
                self._producer.produce(self._topic, value)
            except BufferError:
                self._producer.poll(0.1)
            else:
                self._producer.poll(0)
                return

    def flush(self, seconds: float = 30.0) -> None:
        """Wait until the broker has all of it."""
        left = self._producer.flush(seconds)
        if left:
            raise TimeoutError(f"{left} records not published")
