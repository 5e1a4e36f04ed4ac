"""librdkafka's mock cluster, driven by ctypes: a Kafka broker without Java.

Runs in a process of its own (``broker.py`` starts it), since librdkafka's threads and
the daemon under test had better not share one.
"""

from __future__ import annotations

import argparse
import base64
import ctypes
from pathlib import Path
from typing import Any

import confluent_kafka
from confluent_kafka import Consumer, Producer, TopicPartition, cimpl

from dcmirror.testing.lines import serve

_P, _S, _I = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
_I16, _I32, _I64 = ctypes.c_int16, ctypes.c_int32, ctypes.c_int64
_ANSWER_SECONDS = 20.0


class MockCluster:
    """The C library's cluster; every method can be called over the pipe."""

    def __init__(self, brokers: int = 1, rebalance_milliseconds: int = 100) -> None:
        self._library = ctypes.CDLL(_library_path())
        error = ctypes.create_string_buffer(512)
        configuration = self._call("rd_kafka_conf_new", _P)
        quiet = ((_P, configuration), (_S, b"log_level"), (_S, b"2"))
        self._call("rd_kafka_conf_set", _I, *quiet, (_S, error), (ctypes.c_size_t, 512))
        # 0 is a producer; the handle only carries the cluster's thread
        self._handle = self._call(
            "rd_kafka_new", _P, (_I, 0), (_P, configuration), (_S, error),
            (ctypes.c_size_t, 512),
        )  # fmt: skip
        self._cluster = self._mock("cluster_new", _P, (_I, brokers), on=self._handle)
        self.bootstrap: str = self._mock("cluster_bootstraps", _S).decode()
        delay = (_I32, rebalance_milliseconds)
        self._mock("group_initial_rebalance_delay_ms", None, delay)
        self._producer = Producer(
            {
                "bootstrap.servers": self.bootstrap,
                "linger.ms": 0,
                # each record on a partition of its own choice, as far as dCache goes
                "sticky.partitioning.linger.ms": 0,
            }
        )

    def create_topic(self, name: str, partitions: int = 1) -> None:
        topic = (_S, name.encode())
        self._check(self._mock("topic_create", _I, topic, (_I, partitions), (_I, 1)))

    def produce(
        self, topic: str, values: list[str | None], partition: int | None = None
    ) -> int:
        """Append records; values in base64, None for a tombstone."""
        # -1: the partitioner chooses
        chosen = -1 if partition is None else partition
        for value in values:
            data = None if value is None else base64.b64decode(value)
            while not self._try_produce(topic, data, chosen):
                self._producer.poll(0.1)
        left = self._producer.flush(_ANSWER_SECONDS)
        if left:
            raise TimeoutError(f"{left} records not taken")
        return len(values)

    def push_errors(self, api_key: int, codes: list[int]) -> None:
        """The next requests of this kind get these error codes."""
        array = (_I * len(codes))(*codes)
        self._mock(
            "push_request_errors_array", None, (_I16, api_key),
            (ctypes.c_size_t, len(codes)), (ctypes.POINTER(_I), array),
        )  # fmt: skip

    def set_down(self, broker: int = 1) -> None:
        self._check(self._mock("broker_set_down", _I, (_I32, broker)))

    def set_up(self, broker: int = 1) -> None:
        self._check(self._mock("broker_set_up", _I, (_I32, broker)))

    def set_rtt(self, milliseconds: int, broker: int = 1) -> None:
        rtt = (_I, milliseconds)
        self._check(self._mock("broker_set_rtt", _I, (_I32, broker), rtt))

    def delete_records(self, topic: str, partition: int, before: int) -> None:
        """The log now begins at ``before``."""
        arguments = ((_S, topic.encode()), (_I32, partition), (_I64, before))
        self._check(self._mock("partition_delete_records", _I, *arguments))

    def end_offsets(self, topic: str) -> dict[str, int]:
        """Offset of the next record, by partition."""
        with_group = self._consumer("dcmirror-testing")
        try:
            metadata = with_group.list_topics(topic, timeout=_ANSWER_SECONDS)
            marks = {}
            for number in metadata.topics[topic].partitions:
                asked = TopicPartition(topic, number)
                _, end = with_group.get_watermark_offsets(asked, _ANSWER_SECONDS)
                marks[str(number)] = end
            return marks
        finally:
            with_group.close()

    def committed(self, group: str, topic: str) -> dict[str, int]:
        """The group's committed offset by partition, where there is one."""
        consumer = self._consumer(group)
        try:
            metadata = consumer.list_topics(topic, timeout=_ANSWER_SECONDS)
            asked = [
                TopicPartition(topic, number)
                for number in metadata.topics[topic].partitions
            ]
            found = consumer.committed(asked, timeout=_ANSWER_SECONDS)
            return {
                str(item.partition): item.offset for item in found if item.offset >= 0
            }
        finally:
            consumer.close()

    def calls(self) -> dict[str, Any]:
        """What may be called from outside."""
        return {
            "create_topic": self.create_topic,
            "produce": self.produce,
            "push_errors": self.push_errors,
            "set_down": self.set_down,
            "set_up": self.set_up,
            "set_rtt": self.set_rtt,
            "delete_records": self.delete_records,
            "end_offsets": self.end_offsets,
            "committed": self.committed,
        }

    def _try_produce(self, topic: str, data: bytes | None, partition: int) -> bool:
        try:
            self._producer.produce(topic, data, partition=partition)
        except BufferError:
            return False
        self._producer.poll(0)
        return True

    def _consumer(self, group: str) -> Consumer:
        return Consumer({"bootstrap.servers": self.bootstrap, "group.id": group})

    def _mock(
        self, name: str, result: Any, *arguments: tuple[Any, Any], on: Any = None
    ) -> Any:
        target = (_P, self._cluster if on is None else on)
        return self._call(f"rd_kafka_mock_{name}", result, target, *arguments)

    def _call(self, name: str, result: Any, *arguments: tuple[Any, Any]) -> Any:
        function = getattr(self._library, name)
        function.restype = result
        function.argtypes = [kind for kind, _ in arguments]
        return function(*(value for _, value in arguments))

    def _check(self, code: int) -> None:
        if code:
            text = self._call("rd_kafka_err2str", _S, (_I, code)).decode()
            raise RuntimeError(f"mock cluster: {text}")


def _library_path() -> str:
    """The very library that confluent_kafka has loaded, inside its wheel."""
    assert cimpl is not None
    root = Path(confluent_kafka.__file__).parent.parent
    found = sorted(root.glob("confluent_kafka.libs/librdkafka-*.so*"))
    if not found:
        raise RuntimeError(f"no librdkafka below {root}: is confluent-kafka a wheel?")
    return str(found[0])


def main() -> None:
    """Serve until stdin closes."""
    parser = argparse.ArgumentParser(
        prog="python -m dcmirror.testing.mock_cluster", description=__doc__
    )
    parser.add_argument("--brokers", type=int, default=1)
    parser.add_argument(
        "--topic", action="append", default=[], help="NAME:PARTITIONS; repeat for more"
    )
    options = parser.parse_args()
    cluster = MockCluster(options.brokers)
    for topic in options.topic:
        name, _, partitions = topic.partition(":")
        cluster.create_topic(name, int(partitions or 1))
    serve(cluster.bootstrap, cluster.calls())


if __name__ == "__main__":
    main()
