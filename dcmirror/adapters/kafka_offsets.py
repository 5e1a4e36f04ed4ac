"""What ``dcmirror audit`` asks of Kafka: the group's offsets, the log's ends, records.

Its consumer assigns partitions to itself and never joins the group, so that nobody is
rebalanced; every call has a deadline.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import kafka
from kafka import errors as kafka_errors
from kafka.structs import TopicPartition

from dcmirror.adapters.kafka_client import (
    construct,
    consumer_settings,
    probe_brokers,
)
from dcmirror.adapters.kafka_errors import told_errors
from dcmirror.errors import IntakeError
from dcmirror.settings import Kafka

_POLL_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class LogState:
    """One partition: the group's offset, the log's oldest one, the one behind its end.

    ``committed`` None: the group has none there.
    """

    committed: int | None
    begin: int
    end: int


class KafkaOffsets:
    """Asks; made by ``asking``.  Every method raises IntakeError."""

    def __init__(self, consumer: Any, topic: str, seconds: float) -> None:
        self._consumer = consumer
        self._topic = topic
        self._seconds = seconds

    def partitions(self) -> set[int]:
        """The topic's partitions; none where there is no such topic."""
        return set(self._call(self._consumer.partitions_for_topic, self._topic) or ())

    def committed(self, partition: int) -> int | None:
        """The group's committed offset."""
        found = self._call(
            self._consumer.committed,
            TopicPartition(self._topic, partition),
            timeout_ms=self._seconds * 1000,
        )
        return None if found is None else int(found)

    def state(self, partition: int) -> LogState:
        """The group's offset and the log's ends."""
        at = TopicPartition(self._topic, partition)
        limit = {"timeout_ms": self._seconds * 1000}
        begin = self._call(self._consumer.beginning_offsets, [at], **limit)
        end = self._call(self._consumer.end_offsets, [at], **limit)
        return LogState(self.committed(partition), int(begin[at]), int(end[at]))

    def has_records(
        self, partition: int, first: int, last: int, deadline: float
    ) -> bool | None:
        """Whether there is a record at these offsets; None: not known in time.

        Args:
            deadline: a monotonic clock's.
        """
        at = TopicPartition(self._topic, partition)
        self._consumer.assign([at])
        self._consumer.seek(at, first)
        while time.monotonic() < deadline:
            found = self._call(self._consumer.poll, timeout_ms=_POLL_SECONDS * 1000)
            offsets = [record.offset for record in found.get(at, ())]
            if any(first <= offset <= last for offset in offsets):
                return True
            if offsets or self._position(at) > last:
                return False
        return None

    def are_older(self, partition: int, last: int, moment: float) -> bool:
        """Whether all records up to ``last`` have times before ``moment`` (epoch s)."""
        at = TopicPartition(self._topic, partition)
        limit = {"timeout_ms": self._seconds * 1000}
        times = {at: round(moment * 1000)}
        found = self._call(self._consumer.offsets_for_times, times, **limit)[at]
        return found is None or int(found.offset) > last

    def _position(self, at: TopicPartition) -> int:
        return int(
            self._call(self._consumer.position, at, timeout_ms=self._seconds * 1000)
            or 0
        )

    def _call(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        try:
            return call(*args, **kwargs)
        except kafka_errors.KafkaError as exc:
            raise IntakeError(str(exc) or type(exc).__name__) from exc


@contextmanager
def asking(settings: Kafka, seconds: float = 10.0) -> Iterator[KafkaOffsets]:
    """Connect as the daemon would, without becoming a member of its group.

    Raises:
        IntakeError: no broker answers, or it refuses us; with the reason.
        ConfigError: a client setting is of no use.
    """
    answers = probe_brokers(settings.servers, settings.client)
    if all(why is not None for _, why in answers):
        raise IntakeError("; ".join(f"{server}: {why}" for server, why in answers))
    chosen = consumer_settings(settings, "dcmirror-audit")
    chosen["auto_offset_reset"] = "none"
    with told_errors(settings):
        consumer = construct(kafka.KafkaConsumer, **chosen)
    try:
        yield KafkaOffsets(consumer, settings.topic, seconds)
    finally:
        with suppress(kafka_errors.KafkaError):
            consumer.close(autocommit=False, timeout_ms=seconds * 1000)
