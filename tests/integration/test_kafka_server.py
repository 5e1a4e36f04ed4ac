"""The broker the other tests stand on does what they believe it does."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from helpers import wait_until

if TYPE_CHECKING:
    from dcmirror.testing.pki import Pki
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


def test_the_secure_listeners_take_who_may_come(
    kafka_tls: LocalKafka, pki: Pki
) -> None:
    """One by client certificate, one by name and password; a stranger by neither."""
    tls = {"security.protocol": "SSL", "ssl.ca.location": str(pki.ca_pem)}
    mine = {
        "ssl.certificate.location": str(pki.user_cert),
        "ssl.key.location": str(pki.user_key),
    }
    bob = {
        "ssl.ca.location": str(pki.ca_pem),
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-256",
        "sasl.username": "bob",
        "sasl.password": "bob-secret",
    }

    assert kafka_tls.answers(kafka_tls.tls_bootstrap, tls | mine)
    assert kafka_tls.answers(kafka_tls.sasl_bootstrap, bob)
    assert not kafka_tls.answers(kafka_tls.tls_bootstrap, tls)
    assert not kafka_tls.answers(
        kafka_tls.sasl_bootstrap, bob | {"sasl.password": "no"}
    )
