"""The one user of KafkaConsumer: what it can do for us.

The intake thread of the supervisor runs it; the rebalance listener runs on
kafka-python's own thread, always inside a ``poll`` or ``close`` of ours.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from typing import Any, Protocol

import kafka
from kafka import errors as foreign
from kafka.structs import MemberState, OffsetAndMetadata, TopicPartition

from dcmirror.adapters.kafka_client import (
    capture_log,
    connection_hint,
    construct,
    consumer_settings,
    probe_broker,
)
from dcmirror.adapters.kafka_errors import (
    OffsetsGone,
    SourceBroken,
    SourceFatal,
    SourceUnreachable,
    sorted_error,
)
from dcmirror.settings import Kafka

_CONSUMER = partial(construct, kafka.KafkaConsumer)


class RebalanceEvents(Protocol):
    """What the owner of a source hears of rebalances, on kafka-python's thread."""

    def on_assigned(self, partitions: Collection[int]) -> None:
        """These are ours now, beside those that were."""

    def committable(self, partitions: Collection[int]) -> Mapping[int, int]:
        """What of the partitions should be committed before they leave us."""

    def on_revoked(
        self, partitions: Collection[int], lost: bool, committed: Mapping[int, int]
    ) -> None:
        """These are ours no longer; ``committed`` is what the broker took of them."""


class KafkaSource:
    """A member of the consumer group, reading one topic.

    Made only by ``connect`` outside of tests, since some constructors of KafkaConsumer
    hang.
    """

    def __init__(
        self,
        settings: Kafka,
        client_id: str,
        events: RebalanceEvents,
        consumer_class: Callable[..., Any] = _CONSUMER,
    ) -> None:
        self._settings = settings
        self._log = capture_log()
        self._heartbeat: Any = None
        began = time.monotonic()
        try:
            self._consumer = consumer_class(**consumer_settings(settings, client_id))
        except foreign.KafkaError as exc:
            reason = self.connection_reason(began)
            raise sorted_error(exc, settings, reason) from exc
        except (OSError, ValueError, TypeError, AssertionError) as exc:
            raise SourceFatal(f"[kafka.client]: {exc}") from exc
        listener = _Listener(self._consumer, settings.topic, events)
        self._consumer.subscribe([settings.topic], listener=listener)

    @property
    def cluster_id(self) -> str | None:
        """The cluster's id, once known; the consumer has no public name for it."""
        cluster = getattr(self._consumer, "_cluster", None)
        return getattr(cluster, "cluster_id", None)

    def poll(self, seconds: float) -> dict[int, list[Any]]:
        """Records by partition, as soon as there are any; drives the membership.

        Raises:
            OffsetsGone, SourceTrouble, SourceBroken, SourceFatal
        """
        self._insist_on_rejoining()
        try:
            found = self._consumer.poll(timeout_ms=seconds * 1000)
        except foreign.NoOffsetForPartitionError:
            return {}  # a new partition: the owner seeks
        except foreign.OffsetOutOfRangeError as exc:
            raise OffsetsGone({tp.partition: None for tp in exc.args[0]}) from exc
        except foreign.LogTruncationError as exc:
            raise OffsetsGone(_divergence(exc.divergent_offsets)) from exc
        except foreign.KafkaError as exc:
            raise sorted_error(exc, self._settings) from exc
        # whatever a record that cannot be decoded raises, the next poll never returns
        except Exception as exc:
            raise SourceBroken(f"{type(exc).__name__}: {exc}") from exc
        return {tp.partition: records for tp, records in found.items()}

    def _insist_on_rejoining(self) -> None:
        """Go on with a rejoin that has outlived the poll it began in.

        Where the leader rejoins for new partitions, kafka-python 3.0 takes the matter
        as done once it has assigned them, though the poll may have timed out before the
        answer: the join is never completed, heartbeats stay off, and poll spins.
        """
        if self._consumer.group_metadata().state == MemberState.REBALANCING:
            self._consumer._coordinator.request_rejoin()

    def is_reachable(self, seconds: float) -> bool:
        """Whether any broker takes a connection now."""
        servers, client = self._settings.servers, self._settings.client
        return any(probe_broker(name, client, seconds) is None for name in servers)

    def pause_only(self, partitions: Collection[int]) -> None:
        """Pause exactly these of the assigned partitions."""
        assigned, paused = self._consumer.assignment(), self._consumer.paused()
        wanted = {tp for tp in assigned if tp.partition in partitions}
        if wanted - paused:
            self._consumer.pause(*(wanted - paused))
        if paused - wanted:
            self._consumer.resume(*(paused - wanted))

    def assigned(self) -> set[int]:
        """Partitions that the consumer believes to be its own."""
        return {tp.partition for tp in self._consumer.assignment()}

    def committed(self, partition: int, seconds: float) -> int | None:
        """The group's committed offset."""
        ask = self._consumer.committed
        offset = self._call(ask, self._tp(partition), timeout_ms=seconds * 1000)
        return None if offset is None else int(offset)

    def first_offset(self, partition: int, seconds: float) -> int:
        """The oldest offset that the log still holds."""
        return self._bound(self._consumer.beginning_offsets, partition, seconds)

    def end_offset(self, partition: int, seconds: float) -> int:
        """Where the next record will be written."""
        return self._bound(self._consumer.end_offsets, partition, seconds)

    def seek(self, partition: int, offset: int) -> None:
        """Read on from ``offset``; what was fetched already is forgotten."""
        self._consumer.seek(self._tp(partition), offset)

    def highwater(self, partition: int) -> int | None:
        """End of the log as of the last fetch."""
        mark = self._consumer.highwater(self._tp(partition))
        return None if mark is None else int(mark)

    def commit(self, offsets: Mapping[int, int], seconds: float) -> None:
        """Commit and wait for the answer.

        Raises:
            CommitRefused, SourceTrouble, SourceBroken, SourceFatal
        """
        wanted = _offsets(self._settings.topic, offsets)
        self._call(self._consumer.commit, wanted, timeout_ms=seconds * 1000)

    def heartbeat_age(self) -> float:
        """Seconds since a heartbeat was last sent: the only sign of being fenced."""
        if self._heartbeat is None:
            self._heartbeat = _heartbeat_metric(self._consumer.metrics(raw=True) or {})
        return float(self._heartbeat.value()) if self._heartbeat is not None else 0.0

    def connection_reason(self, since: float) -> str:
        """What kafka-python's log said of connections since then (monotonic)."""
        return connection_hint(self._settings.client, self._log.reason(since) or "")

    def topic_reason(self, since: float) -> str:
        """What kafka-python's log said of the topic since then: that it is missing."""
        named = f"opic {self._settings.topic} "
        lines = self._log.since(since, "kafka.cluster")
        return next((line for line in reversed(lines) if named in line), "")

    def close(self, seconds: float) -> None:
        """Leave the group; tells the listener, which commits a last time."""
        try:
            self._consumer.close(autocommit=False, timeout_ms=seconds * 1000)
        except foreign.KafkaError as exc:
            raise sorted_error(exc, self._settings) from exc

    def _bound(
        self, ask: Callable[..., Mapping[Any, int]], partition: int, seconds: float
    ) -> int:
        wanted = self._tp(partition)
        return int(self._call(ask, [wanted], timeout_ms=seconds * 1000)[wanted])

    def _call(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        try:
            return call(*args, **kwargs)
        except foreign.KafkaError as exc:
            raise sorted_error(exc, self._settings) from exc

    def _tp(self, partition: int) -> TopicPartition:
        return TopicPartition(self._settings.topic, partition)


def connect(
    settings: Kafka,
    client_id: str,
    events: RebalanceEvents,
    beat: Callable[[], None] = lambda: None,
    seconds: float = 5.0,
) -> KafkaSource:
    """Make a source as soon as one broker answers a probe.

    Args:
        beat: called between steps that may each take up to ``seconds``.

    Raises:
        SourceUnreachable: no broker answers, so nothing was constructed.
        SourceTrouble, SourceBroken, SourceFatal: the constructor failed.
    """
    capture_log()
    refusals = []
    for server in settings.servers:
        beat()
        error = probe_broker(server, settings.client, seconds)
        if error is None:
            beat()
            return KafkaSource(settings, client_id, events)
        refusals.append(f"{server}: {error}")
    raise SourceUnreachable("no broker answers: " + "; ".join(refusals))


class _Listener(kafka.AsyncConsumerRebalanceListener):  # type: ignore[misc]
    """Runs on kafka-python's thread, where nothing may block and nothing may raise."""

    def __init__(self, consumer: Any, topic: str, events: RebalanceEvents) -> None:
        self._consumer = consumer
        self._topic = topic
        self._events = events

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        self._events.on_assigned(_numbers(assigned))

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        partitions = _numbers(revoked)
        offsets = self._events.committable(partitions)
        taken = offsets if await self._commit(offsets) else {}
        self._events.on_revoked(partitions, False, taken)

    async def on_partitions_lost(self, lost: Iterable[TopicPartition]) -> None:
        self._events.on_revoked(_numbers(lost), True, {})

    async def _commit(self, offsets: Mapping[int, int]) -> bool:
        if not offsets:
            return False
        try:
            await self._consumer.commit_async(_offsets(self._topic, offsets))
        except foreign.KafkaError:
            return False  # the next owner repeats the work, and finds the copies there
        return True


def _numbers(partitions: Iterable[TopicPartition]) -> list[int]:
    return sorted(tp.partition for tp in partitions)


def _offsets(topic: str, offsets: Mapping[int, int]) -> dict[Any, Any]:
    return {
        TopicPartition(topic, partition): OffsetAndMetadata(offset, "", -1)
        for partition, offset in offsets.items()
    }


def _divergence(offsets: Mapping[Any, Any]) -> dict[int, int | None]:
    return {
        tp.partition: None if where is None else where.offset
        for tp, where in offsets.items()
    }


def _heartbeat_metric(metrics: Mapping[Any, Any]) -> Any:
    for name, metric in metrics.items():
        if name.name == "last-heartbeat-seconds-ago":
            return metric
    return None
