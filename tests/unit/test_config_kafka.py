"""The configuration of the Kafka client: its own names, secrets and files."""

from __future__ import annotations

from pathlib import Path

import pytest

from config_text import SHORTEST, parsed, problems
from dcmirror import config_kafka
from dcmirror.testing.pki import Pki


def test_client_settings_reach_kafka_python_by_their_own_names(
    tmp_path: Path, pki: Pki
) -> None:
    (tmp_path / "password").write_text("s3cret\n")
    settings = parsed(
        f"""{SHORTEST}
[kafka.client]
security_protocol = "SASL_SSL"
sasl_mechanism = "SCRAM-SHA-512"
sasl_plain_username_env = "KAFKA_USER"
sasl_plain_password_file = "{tmp_path}/password"
ssl_cafile = "{pki.ca_pem}"
api_version = [3, 9]
""",
        KAFKA_USER="bob",
    )

    assert settings.kafka.client == {
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "bob",
        "sasl_plain_password": "s3cret",
        "ssl_cafile": str(pki.ca_pem),
        "api_version": (3, 9),
    }


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            'security_protocol = "TLS"',
            '[kafka.client] security_protocol = "TLS": '
            'expected one of "PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"',
        ),
        (
            'request_timeout_ms = "10s"',
            '[kafka.client] request_timeout_ms = "10s": '
            "expected a whole number from 1 to 2147483647",
        ),
        (
            "max_poll_records = -1",
            "[kafka.client] max_poll_records = -1: "
            "expected a whole number from 1 to 2147483647",
        ),
        (
            "max_poll_records = 0",
            "[kafka.client] max_poll_records = 0: "
            "expected a whole number from 1 to 2147483647",
        ),
        (
            "retry_backoff_ms = -1",
            "[kafka.client] retry_backoff_ms = -1: "
            "expected a whole number from 0 to 2147483647",
        ),
        (
            'client_dns_lookup = "bogus"',
            '[kafka.client] client_dns_lookup = "bogus": expected one of '
            '"use_all_dns_ips", "resolve_canonical_bootstrap_servers_only"',
        ),
        (
            "metrics_enabled = false",
            "[kafka.client] metrics_enabled: not to be set here; "
            "dcmirror sees by them whether heartbeats are sent",
        ),
        (
            'proxy_url = "socks5://me:secret@proxy"',
            "[kafka.client] proxy_url = (not shown): expected the URL of a proxy, "
            'such as "socks5://proxy.example.org:1080"',
        ),
        (
            'api_version = "new"',
            '[kafka.client] api_version = "new": '
            'expected a version, such as "3.9" or [3, 9]',
        ),
        (
            'api_version = "\u00b2.1"',
            '[kafka.client] api_version = "\u00b2.1": '
            'expected a version, such as "3.9" or [3, 9]',
        ),
        (
            "max_poll_records = 2147483648",
            "[kafka.client] max_poll_records = 2147483648: "
            "expected a whole number from 1 to 2147483647",
        ),
        (
            "sasl_plain_password = 12345",
            "[kafka.client] sasl_plain_password = (not shown): expected a string",
        ),
        (
            'sasl_plain_password_file = "/nonexistent"',
            '[kafka.client] sasl_plain_password_file = "/nonexistent": '
            "expected a text file that can be read",
        ),
        (
            'sasl_plain_password_env = "NOT_SET"',
            '[kafka.client] sasl_plain_password_env = "NOT_SET": '
            "expected the name of an environment variable that is set",
        ),
        (
            'ssl_cafile = "/nonexistent"',
            '[kafka.client] ssl_cafile = "/nonexistent": '
            "expected a file that can be read",
        ),
        (
            "sesion_timeout_ms = 1",
            "[kafka.client] sesion_timeout_ms: unknown key; "
            "did you mean session_timeout_ms?",
        ),
        (
            "enable_auto_commit = true",
            "[kafka.client] enable_auto_commit: not to be set here; "
            "dcmirror commits what is durable, and nothing else",
        ),
    ],
)
def test_a_wrong_client_setting_is_told(line: str, message: str) -> None:
    text = f"{SHORTEST}[kafka.client]\n{line}\n"

    assert problems(text) == [f"t.toml:12: {message}"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            "heartbeat_interval_ms = 50000",
            "12: [kafka.client] heartbeat_interval_ms = 50000: "
            "expected less than session_timeout_ms, which is 45000",
        ),
        (
            "request_timeout_ms = 400",
            "12: [kafka.client] request_timeout_ms = 400: "
            "expected more than fetch_max_wait_ms, which is 500",
        ),
        (
            'group_instance_id = "a b"',
            '12: [kafka.client] group_instance_id = "a b": '
            'expected at most 249 letters, digits, ".", "_" and "-"',
        ),
        (
            "ssl_check_hostname = false",
            "12: [kafka.client] ssl_check_hostname = false: "
            'expected security_protocol "SSL" or "SASL_SSL" beside it',
        ),
        (
            'sasl_plain_password = "secret"',
            "12: [kafka.client] sasl_plain_password = (not shown): "
            'expected security_protocol "SASL_SSL" or "SASL_PLAINTEXT" beside it',
        ),
        (
            'security_protocol = "SASL_SSL"',
            '12: [kafka.client] security_protocol = "SASL_SSL": '
            "expected a sasl_mechanism beside SASL_SSL",
        ),
        (
            'security_protocol = "SASL_SSL"\nsasl_mechanism = "PLAIN"\n'
            'sasl_plain_username = "bob"',
            '13: [kafka.client] sasl_mechanism = "PLAIN": '
            "expected sasl_plain_password beside it",
        ),
        (
            'security_protocol = "SSL"\nssl_ciphers = "nonsense"',
            '13: [kafka.client] ssl_ciphers = "nonsense": '
            "expected a list of ciphers that OpenSSL knows",
        ),
    ],
)
def test_client_settings_that_do_not_fit_each_other_are_told(
    lines: str, message: str
) -> None:
    assert problems(f"{SHORTEST}[kafka.client]\n{lines}\n") == [f"t.toml:{message}"]


def test_tls_files_for_kafka_are_read_before_anything_starts(
    tmp_path: Path, pki: Pki
) -> None:
    junk = tmp_path / "junk"
    junk.write_text("junk")
    text = f"""{SHORTEST}[kafka.client]
security_protocol = "SSL"
ssl_cafile = "{junk}"
ssl_certfile = "{pki.user_cert}"
ssl_keyfile = "{pki.host_key}"
"""
    ca, certificate = problems(text)

    assert ca.startswith(f't.toml:13: [kafka.client] ssl_cafile = "{junk}": ')
    assert "a PEM file of certificates" in ca
    assert "[kafka.client] ssl_certfile = " in certificate
    assert certificate.endswith(
        "expected a PEM certificate and its key (key values mismatch)"
    )


def test_good_tls_files_for_kafka_are_taken(pki: Pki) -> None:
    settings = parsed(
        f"""{SHORTEST}[kafka.client]
security_protocol = "SSL"
ssl_cafile = "{pki.ca_pem}"
ssl_certfile = "{pki.user_cert}"
ssl_keyfile = "{pki.user_key}"
"""
    )

    assert settings.kafka.client["ssl_cafile"] == str(pki.ca_pem)


def test_a_secret_given_twice_is_refused_without_showing_it(tmp_path: Path) -> None:
    (tmp_path / "p").write_text("s3cret")
    text = (
        f'{SHORTEST}[kafka.client]\nsasl_plain_password = "s3cret"\n'
        f'sasl_plain_password_file = "{tmp_path}/p"\n'
    )

    assert problems(text) == [
        "t.toml:13: [kafka.client] sasl_plain_password: given twice"
    ]


def test_our_list_of_client_settings_is_kafka_pythons() -> None:
    kafka = pytest.importorskip("kafka")

    assert set(kafka.KafkaConsumer.DEFAULT_CONFIG) == (
        config_kafka.KNOWN | config_kafka.OURS.keys()
    )


@pytest.mark.parametrize("key", sorted(config_kafka.NUMBERS))
def test_zero_is_taken_only_where_the_consumer_goes_on_with_it(key: str) -> None:
    may_be_zero = {
        "fetch_max_wait_ms",
        "fetch_min_bytes",
        "reconnect_backoff_max_ms",
        "reconnect_backoff_ms",
        "retry_backoff_ms",
    }

    assert (config_kafka.problem(key, 0) is None) is (key in may_be_zero)
    assert config_kafka.problem(key, 1) is None


@pytest.mark.parametrize("key", ["proxy_url", "socks5_proxy"])
@pytest.mark.parametrize(
    ("url", "is_good"),
    [
        ("socks5://proxy.example.org:1080", True),
        ("socks5h://me:secret@[2001:db8::1]:1080", True),
        ("http://proxy:3128", True),
        ("zzz", False),
        ("", False),
        ("proxy:1080", False),
        ("socks5://proxy", False),
        ("socks5://:1080", False),
        ("socks5://proxy:99999", False),
        ("socks5://[::1:1080", False),
        ("https://proxy:3128", False),
    ],
)
def test_a_proxy_is_a_url_that_kafka_python_can_use(
    key: str, url: str, is_good: bool
) -> None:
    assert (config_kafka.problem(key, url) is None) is is_good


def test_our_list_of_ways_to_look_names_up_is_kafka_pythons() -> None:
    manager = pytest.importorskip("kafka.net.manager").KafkaConnectionManager

    assert config_kafka.CHOICES["client_dns_lookup"] == manager._VALID_DNS_LOOKUP_MODES
