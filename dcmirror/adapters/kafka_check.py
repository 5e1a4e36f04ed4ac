"""What ``dcmirror check`` asks of Kafka: topic, group, and what we can unpack."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import kafka
from kafka import codec
from kafka import errors as kafka_errors
from kafka.record import util

from dcmirror.adapters.kafka_client import admin_settings, construct
from dcmirror.adapters.kafka_errors import told_errors
from dcmirror.errors import IntakeError
from dcmirror.settings import Kafka

_CODECS = {
    "snappy": (codec.has_snappy, "python-snappy"),
    "lz4": (codec.has_lz4, "lz4"),
    "zstd": (codec.has_zstd, "zstandard"),
}
_UNKNOWN_TOPIC = 3


@dataclass(frozen=True, slots=True)
class TopicState:
    """What the cluster says of the topic; no partitions: there is no such topic.

    ``group`` is the state of the consumer group, "" if it cannot be told.
    """

    brokers: int
    partitions: int
    group: str = ""
    members: int = 0


def missing_packages() -> dict[str, str]:
    """Codecs that cannot be unpacked here, with the package that would help.

    A record that needs one of them would stop the intake for ever; without crc32c it
    crawls.
    """
    missing = {name: package for name, (has, package) in _CODECS.items() if not has()}
    if util.crc32c_c is None:
        missing["crc32c"] = "crc32c"
    return missing


def ask_topic(settings: Kafka, seconds: float) -> TopicState:
    """Connect as the daemon would, and ask for topic and group.

    Raises:
        IntakeError: with the reason, TLS and SASL ones included.
        ConfigError: a client setting is of no use.
    """
    with _admin(settings, seconds) as admin:
        brokers = admin.describe_cluster()["brokers"]
        (topic,) = admin.describe_topics([settings.topic])
        if topic["error_code"] == _UNKNOWN_TOPIC:
            return TopicState(len(brokers), 0)
        error = kafka_errors.for_code(topic["error_code"])
        if error is not kafka_errors.NoError:
            raise IntakeError(f"topic {settings.topic}: {error.__name__}")
        group, members = _group(admin, settings.consumergroup)
        return TopicState(len(brokers), len(topic["partitions"]), group, members)


@contextmanager
def _admin(settings: Kafka, seconds: float) -> Iterator[Any]:
    chosen = admin_settings(settings, "dcmirror-check")
    chosen["bootstrap_timeout_ms"] = seconds * 1000
    chosen["request_timeout_ms"] = seconds * 1000
    # a broker's refusal gets lost now and then when it closes at once: ask often
    chosen["reconnect_backoff_max_ms"] = 100
    with told_errors(settings):
        admin = construct(kafka.KafkaAdminClient, **chosen)
        try:
            yield admin
        finally:
            admin.close()


def _group(admin: Any, name: str) -> tuple[str, int]:
    """State and members of the consumer group; it need not exist yet."""
    try:
        answer = admin.describe_groups([name])
    except kafka_errors.GroupAuthorizationFailedError as error:
        raise IntakeError(f"not allowed to use consumer group {name!r}") from error
    except kafka_errors.KafkaError:
        return "", 0
    group = answer.get(name) if isinstance(answer, dict) else answer[0]
    if not isinstance(group, dict):
        return "", 0
    return str(group.get("group_state") or ""), len(group.get("members") or ())
