"""A Kafka broker for tests and the demo, up in a second: librdkafka's mock cluster.

It is not Kafka: no TLS, no real groups protocol, 5 MiB per partition.  kafka-python
finds no common protocol version with it by itself, hence ``CLIENT_SETTINGS``.
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterable
from types import TracebackType
from typing import Any

from dcmirror.testing.lines import LineProcess

# What KafkaConsumer needs to talk to it, and to see a record within milliseconds.  The
# mock answers whoever joins a group that is up only after a whole session timeout.
CLIENT_SETTINGS: dict[str, Any] = {
    "api_version": (2, 3),
    "fetch_max_wait_ms": 5,
    "session_timeout_ms": 6000,
    "heartbeat_interval_ms": 1000,
}


class MockBroker:
    """The mock cluster in a process of its own.

    Args:
        brokers: how many; their ids begin at 1.
    """

    def __init__(self, brokers: int = 1) -> None:
        self._process = LineProcess(
            "dcmirror.testing.mock_cluster", "--brokers", str(brokers)
        )
        self.bootstrap: str = self._process.greeting

    def __repr__(self) -> str:
        return f"<MockBroker {self.bootstrap}>"

    def __enter__(self) -> MockBroker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        return self._process.pid

    def stop(self) -> None:
        self._process.stop()

    def create_topic(self, name: str, partitions: int = 1) -> None:
        self._process.call("create_topic", name=name, partitions=partitions)

    def produce(
        self,
        topic: str,
        values: Iterable[bytes | None],
        partition: int | None = None,
    ) -> int:
        """Append records and wait until the broker has them; how many."""
        encoded = [
            None if value is None else base64.b64encode(value).decode()
            for value in values
        ]
        count: int = self._process.call(
            "produce", topic=topic, values=encoded, partition=partition
        )
        return count

    def push_errors(self, api_key: int, *codes: int) -> None:
        """Fail the next requests of a kind: 1 Fetch, 8 OffsetCommit, 12 Heartbeat."""
        self._process.call("push_errors", api_key=api_key, codes=list(codes))

    def set_down(self, broker: int = 1) -> None:
        self._process.call("set_down", broker=broker)

    def set_up(self, broker: int = 1) -> None:
        self._process.call("set_up", broker=broker)

    def set_rtt(self, milliseconds: int, broker: int = 1) -> None:
        """Answer that late."""
        self._process.call("set_rtt", milliseconds=milliseconds, broker=broker)

    def delete_records(self, topic: str, partition: int, before: int) -> None:
        """Forget the records below an offset, as retention does."""
        self._process.call(
            "delete_records", topic=topic, partition=partition, before=before
        )

    def end_offsets(self, topic: str) -> dict[int, int]:
        return _by_number(self._process.call("end_offsets", topic=topic))

    def committed(self, group: str, topic: str) -> dict[int, int]:
        """What a group has committed; partitions without a commit are left out."""
        return _by_number(self._process.call("committed", group=group, topic=topic))


class Publisher:
    """A ``publish`` callable for the fake dCache that fills a topic of a MockBroker.

    Records are gathered while a hand-over is under way, so a burst costs few of them.
    """

    def __init__(self, broker: MockBroker, topic: str) -> None:
        self._broker = broker
        self._topic = topic
        self._waiting: list[bytes] = []
        self._stopped = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)
        self._thread.start()

    def __call__(self, value: bytes) -> None:
        with self._changed:
            self._waiting.append(value)
            self._changed.notify_all()

    def flush(self, seconds: float = 30.0) -> None:
        """Wait until the broker has all that was published so far."""
        with self._changed:
            if not self._changed.wait_for(lambda: not self._waiting, seconds):
                raise TimeoutError(f"{len(self._waiting)} records not published")

    def stop(self) -> None:
        """Publish the rest and end."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        self._thread.join(30)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._stopped)
                batch = self._waiting[:]
                if not batch:
                    return
            self._broker.produce(self._topic, batch)
            with self._changed:
                del self._waiting[: len(batch)]
                self._changed.notify_all()


def _by_number(answer: dict[str, int]) -> dict[int, int]:
    return {int(partition): offset for partition, offset in answer.items()}
