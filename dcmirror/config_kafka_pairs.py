"""Settings of ``[kafka.client]`` that are right by themselves and wrong together.

kafka-python would tell too, but only when a broker answers, or never.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from typing import Any

_ASCENDING = (
    ("fetch_max_wait_ms", 500, "request_timeout_ms", 30000),
    ("request_timeout_ms", 30000, "connections_max_idle_ms", 540000),
    ("heartbeat_interval_ms", 3000, "session_timeout_ms", 45000),
)
_WITH_PASSWORD = frozenset({"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"})

Mistake = tuple[str, str]


def mistakes(client: dict[str, Any]) -> Iterator[Mistake]:
    """Keys that do not fit the others, each with the end of "expected ..."."""
    yield from _order(client)
    yield from _group_instance(client)
    yield from _protocol(client)
    yield from _tls_files(client)


def _order(client: dict[str, Any]) -> Iterator[Mistake]:
    for low, low_default, high, high_default in _ASCENDING:
        most = client.get(high, high_default)
        least = client.get(low, low_default)
        if least >= most and low in client:
            yield low, f"less than {high}, which is {most}"
        elif least >= most:
            yield high, f"more than {low}, which is {least}"


def _group_instance(client: dict[str, Any]) -> Iterator[Mistake]:
    name = client.get("group_instance_id")
    if name is not None and not re.fullmatch(r"(?!\.{1,2}$)[\w.-]{1,249}", name, re.A):
        yield "group_instance_id", 'at most 249 letters, digits, ".", "_" and "-"'


def _protocol(client: dict[str, Any]) -> Iterator[Mistake]:
    protocol = client.get("security_protocol", "PLAINTEXT")
    for key in client:
        if key.startswith("ssl_") and not protocol.endswith("SSL"):
            yield key, 'security_protocol "SSL" or "SASL_SSL" beside it'
        if key.startswith("sasl_") and not protocol.startswith("SASL"):
            yield key, 'security_protocol "SASL_SSL" or "SASL_PLAINTEXT" beside it'
    if protocol.startswith("SASL"):
        yield from _sasl(client, protocol)


def _sasl(client: dict[str, Any], protocol: str) -> Iterator[Mistake]:
    mechanism = client.get("sasl_mechanism")
    if mechanism is None:
        yield "security_protocol", f"a sasl_mechanism beside {protocol}"
    if mechanism in _WITH_PASSWORD:
        for key in ("sasl_plain_username", "sasl_plain_password"):
            if not client.get(key):
                yield "sasl_mechanism", f"{key} beside it"


def _tls_files(client: dict[str, Any]) -> Iterator[Mistake]:
    """Whether OpenSSL can read what the files hold; what it says is kept short."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for key in ("ssl_cafile", "ssl_crlfile"):
        if key in client:
            try:
                context.load_verify_locations(client[key])
            except OSError as error:
                yield key, f"a PEM file of certificates or CRLs ({_reason(error)})"
    if "ssl_keyfile" in client and "ssl_certfile" not in client:
        yield "ssl_keyfile", "ssl_certfile beside it"
    if "ssl_certfile" in client:
        try:
            context.load_cert_chain(
                client["ssl_certfile"],
                client.get("ssl_keyfile"),
                client.get("ssl_password", ""),
            )
        except OSError as error:
            yield "ssl_certfile", f"a PEM certificate and its key ({_reason(error)})"
    if "ssl_ciphers" in client:
        try:
            context.set_ciphers(client["ssl_ciphers"])
        except ssl.SSLError:
            yield "ssl_ciphers", "a list of ciphers that OpenSSL knows"


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        reason = getattr(error, "reason", None) or str(error)
        return reason.lower().replace("_", " ").rstrip(".")
    return error.strerror or str(error)
