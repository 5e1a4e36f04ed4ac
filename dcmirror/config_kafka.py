"""The settings of kafka-python that ``[kafka.client]`` may hold, and what each expects.

Written down here, since only the Kafka adapter imports that library;
a test compares the list with the library's own.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

TEXT = frozenset(
    {
        "client_dns_lookup",
        "client_id",
        "client_rack",
        "group_instance_id",
        "isolation_level",
        "metric_group_prefix",
        "proxy_url",
        "sasl_kerberos_domain_name",
        "sasl_kerberos_name",
        "sasl_kerberos_service_name",
        "sasl_mechanism",
        "sasl_plain_password",
        "sasl_plain_username",
        "security_protocol",
        "socks5_proxy",
        "ssl_ciphers",
        "ssl_password",
    }
)

FILES = frozenset({"ssl_cafile", "ssl_certfile", "ssl_crlfile", "ssl_keyfile"})

NUMBERS = frozenset(
    {
        "bootstrap_timeout_ms",
        "connections_max_idle_ms",
        "fetch_max_bytes",
        "fetch_max_wait_ms",
        "fetch_min_bytes",
        "heartbeat_interval_ms",
        "max_in_flight_requests_per_connection",
        "max_partition_fetch_bytes",
        "max_poll_interval_ms",
        "max_poll_records",
        "metadata_max_age_ms",
        "metrics_num_samples",
        "metrics_sample_window_ms",
        "receive_buffer_bytes",
        "receive_message_max_bytes",
        "reconnect_backoff_max_ms",
        "reconnect_backoff_ms",
        "request_timeout_ms",
        "retry_backoff_ms",
        "send_buffer_bytes",
        "session_timeout_ms",
    }
)

#: The numbers of which 0 means none, or at once; elsewhere it stops the consumer.
_MAY_BE_ZERO = frozenset(
    {
        "fetch_max_wait_ms",
        "fetch_min_bytes",
        "reconnect_backoff_max_ms",
        "reconnect_backoff_ms",
        "retry_backoff_ms",
    }
)

SWITCHES = frozenset(
    {
        "allow_auto_create_topics",
        "check_crcs",
        "enable_incremental_fetch_sessions",
        "exclude_internal_topics",
        "ssl_check_hostname",
    }
)

VERSION = frozenset({"api_version"})

KNOWN = TEXT | FILES | NUMBERS | SWITCHES | VERSION

OURS = {
    "bootstrap_servers": "use [kafka] servers",
    "group_id": "use [kafka] consumergroup",
    "auto_offset_reset": "use [kafka] start",
    "enable_auto_commit": "dcmirror commits what is durable, and nothing else",
    "auto_commit_interval_ms": "dcmirror commits what is durable, and nothing else",
    "default_offset_commit_callback": "dcmirror sets it",
    "key_deserializer": "dcmirror decodes records itself",
    "value_deserializer": "dcmirror decodes records itself",
    "metrics_enabled": "dcmirror sees by them whether heartbeats are sent",
    "consumer_timeout_ms": "dcmirror polls without it",
    "partition_assignment_strategy": "dcmirror uses cooperative rebalancing",
    "socket_options": "it cannot be written in TOML",
    "ssl_context": "it cannot be written in TOML; use the ssl_ settings",
    "metric_reporters": "it cannot be written in TOML",
    "selector": "it cannot be written in TOML",
    "sasl_oauth_token_provider": "it cannot be written in TOML",
    "kafka_client": "it cannot be written in TOML",
}

CHOICES = {
    "security_protocol": ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"),
    "sasl_mechanism": ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "GSSAPI"),
    "client_dns_lookup": (
        "use_all_dns_ips",
        "resolve_canonical_bootstrap_servers_only",
    ),
    "isolation_level": ("read_uncommitted", "read_committed"),
}

#: Kafka's own numbers have 32 bits.
_MOST = 2**31 - 1

_PROXIES = frozenset({"proxy_url", "socks5_proxy"})
_PROXY_SCHEMES = frozenset({"socks5", "socks5h", "http"})

#: The URL of a proxy may hold a password.
SECRET = frozenset({"sasl_plain_password", "ssl_password"}) | _PROXIES


def problem(key: str, value: object) -> str | None:
    """What is wrong with ``value``, as the end of "expected ...", or None."""
    if key in CHOICES and value not in CHOICES[key]:
        return "one of " + ", ".join(f'"{choice}"' for choice in CHOICES[key])
    if key in SWITCHES and not isinstance(value, bool):
        return "true or false"
    least = 0 if key in _MAY_BE_ZERO else 1
    if key in NUMBERS and not _is_count(value, least):
        return f"a whole number from {least} to {_MOST}"
    if key in TEXT | FILES and not isinstance(value, str):
        return "a string"
    if key in _PROXIES and not _is_proxy(str(value)):
        return 'the URL of a proxy, such as "socks5://proxy.example.org:1080"'
    if key in VERSION and version_of(value) is None:
        return 'a version, such as "3.9" or [3, 9]'
    return None


def _is_count(value: object, least: int) -> bool:
    if isinstance(value, bool) or not isinstance(value, int):
        return False
    return least <= value <= _MOST


def _is_proxy(url: str) -> bool:
    """Whether kafka-python can use it: with another one it tries for ever."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    is_known = parts.scheme in _PROXY_SCHEMES and url.isascii()
    return is_known and bool(parts.hostname) and bool(port)


def version_of(value: object) -> tuple[int, ...] | None:
    """kafka-python's own form of a broker version."""
    if isinstance(value, str):
        parts = value.split(".")
        if not all(re.fullmatch("[0-9]{1,4}", part) for part in parts):
            return None
        value = [int(part) for part in parts]
    if not isinstance(value, list) or not 2 <= len(value) <= 3:
        return None
    if not all(isinstance(part, int) and part >= 0 for part in value):
        return None
    return tuple(value)
