"""Settings of the Kafka client, the broker probe, and the library's log lines."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Iterator

import kafka
import pytest
from kafka.errors import KafkaTimeoutError

from dcmirror import config_kafka
from dcmirror.adapters.kafka_client import (
    KafkaLog,
    admin_settings,
    capture_log,
    connection_hint,
    construct,
    consumer_settings,
    probe_brokers,
)
from dcmirror.errors import ConfigError
from dcmirror.settings import Kafka


def settings(**client: object) -> Kafka:
    return Kafka(
        topic="billing", servers=("h:1", "h:2"), consumergroup="g", client=client
    )


def test_consumer_is_a_member_of_the_group_on_the_given_brokers():
    chosen = consumer_settings(settings(), "node-1")

    assert chosen["bootstrap_servers"] == ["h:1", "h:2"]
    assert (chosen["group_id"], chosen["client_id"]) == ("g", "node-1")
    assert chosen["allow_auto_create_topics"] is False
    assert chosen["reconnect_backoff_max_ms"] == 1000
    assert set(chosen) <= set(kafka.KafkaConsumer.DEFAULT_CONFIG)


def test_settings_of_the_library_pass_through_and_beat_our_defaults():
    chosen = consumer_settings(
        settings(max_poll_records=7, client_id="mine", api_version=(2, 3)), "node-1"
    )

    assert chosen["max_poll_records"] == 7
    assert chosen["client_id"] == "mine"
    assert chosen["api_version"] == (2, 3)


@pytest.mark.parametrize("name", sorted(config_kafka.OURS))
def test_what_dcmirror_must_decide_itself_is_refused(name):
    with pytest.raises(ConfigError, match=name):
        consumer_settings(settings(**{name: "x"}), "node-1")


def test_unknown_setting_names_the_nearest_one():
    with pytest.raises(ConfigError, match=r"did you mean ssl_cafile\?"):
        consumer_settings(settings(ssl_ca_file="/x"), "node-1")


def test_admin_client_gets_what_it_knows_of_the_same_settings():
    chosen = admin_settings(settings(max_poll_records=7, request_timeout_ms=5), "n")

    assert chosen["request_timeout_ms"] == 5
    assert set(chosen) <= set(kafka.KafkaAdminClient.DEFAULT_CONFIG)


def test_unreadable_certificates_are_bad_configuration(tmp_path):
    missing = str(tmp_path / "ca.pem")

    with pytest.raises(ConfigError, match=r"ssl_cafile = .*ca\.pem"):
        consumer_settings(settings(security_protocol="SSL", ssl_cafile=missing), "n")


@pytest.fixture
def listening() -> Iterator[str]:
    """A port that accepts and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def test_probe_tells_which_brokers_answer(listening, free_address):
    assert probe_brokers([listening, free_address], {}, 2) == [
        (listening, None),
        (free_address, "Connection refused"),
    ]


@pytest.fixture
def free_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


def test_probe_has_a_deadline_for_the_tls_handshake(listening):
    """KafkaConsumer has none: it would hang there for ever."""
    began = time.monotonic()

    ((_, error),) = probe_brokers([listening], {"security_protocol": "SSL"}, 0.3)

    assert error == "no answer within 0.3 s"
    assert time.monotonic() - began < 15


@pytest.mark.parametrize("kind", [kafka.KafkaConsumer, kafka.KafkaAdminClient])
def test_a_constructor_that_fails_leaves_nothing_running(kind, free_address):
    with pytest.raises(KafkaTimeoutError):
        construct(
            kind,
            bootstrap_servers=[free_address],
            client_id="left-behind",
            bootstrap_timeout_ms=50,
        )

    assert "kafka-io-left-behind" not in [each.name for each in threading.enumerate()]


@pytest.fixture
def log() -> Iterator[tuple[logging.Logger, KafkaLog]]:
    kept = KafkaLog()
    logger = logging.getLogger("kafka.net.test_kafka_client")
    logger.addHandler(kept)
    yield logger, kept
    logger.removeHandler(kept)


def test_telling_line_is_the_reason(log):
    logger, kept = log
    began = time.monotonic()
    logger.error("<conn>: SASL authentication failed: bad password")
    logger.warning("Bootstrap bootstrap-0 not ready; waiting 0.04 secs")

    assert kept.reason(began) == "SASL authentication failed: bad password"
    assert kept.reason(time.monotonic()) is None


def test_repeated_lines_are_kept_once_and_the_number_is_bounded(log):
    logger, kept = log
    for _ in range(1000):
        logger.error("Topic x not found in cluster metadata")
    assert len(kept.since(0)) == 1

    for number in range(1000):
        logger.error("line %d", number)

    assert len(kept.since(0)) == 200


def test_nothing_of_the_library_reaches_stderr(capsys):
    capture_log()
    assert capture_log() is capture_log()

    logging.getLogger("kafka.net.manager").error("Connection failed")

    assert capsys.readouterr() == ("", "")


def test_a_plain_disconnect_says_that_the_password_may_be_wrong():
    sasl = {"sasl_mechanism": "PLAIN"}

    assert "SASL" in connection_hint(sasl, "socket disconnected")
    assert connection_hint({}, "socket disconnected") == "socket disconnected"
