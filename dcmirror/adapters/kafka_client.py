"""What every Kafka client of ours shares: its settings, a probe, its log lines."""

from __future__ import annotations

import logging
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

import kafka
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor

from dcmirror import config_kafka
from dcmirror.errors import ConfigError
from dcmirror.settings import Kafka

# what [kafka.client] may change
_DEFAULTS = {
    "fetch_min_bytes": 1,
    "fetch_max_bytes": 8 * 1024 * 1024,
    "max_poll_records": 500,
    # the default of 30 s keeps us away long after the broker is back
    "reconnect_backoff_max_ms": 1000,
    # new partitions and a topic that is created late are found by it
    "metadata_max_age_ms": 5000,
    "bootstrap_timeout_ms": 10000,
    "allow_auto_create_topics": False,
}

_TLS_ERROR_WAIT = 0.2
_CLOSE_WAIT = 5.0


def construct(kind: Any, **chosen: Any) -> Any:
    """A consumer or an admin client; one that fails leaves nothing running.

    Of itself kafka-python 3.0 leaves the thread that a failed constructor began, with
    its descriptors, and that thread goes on connecting.

    Raises:
        whatever the constructor raises
    """
    begun: list[Any] = []

    def begin(**configs: Any) -> Any:
        begun.append(kind.DEFAULT_CONFIG["kafka_client"](**configs))
        return begun[-1]

    try:
        return kind(**chosen, kafka_client=begin)
    except BaseException:
        for client in begun:
            # it waits for its thread without a limit
            closing = threading.Thread(target=client.close, daemon=True)
            closing.start()
            closing.join(_CLOSE_WAIT)
        raise


def connection_settings(settings: Kafka, client_id: str) -> dict[str, Any]:
    """Keyword arguments that a consumer and an admin client have in common.

    Raises:
        ConfigError: a setting is unknown, ours, or names a file that is no use.
    """
    for name in settings.client:
        _refuse_unusable(name)
    chosen = {"client_id": client_id, **settings.client}
    chosen["bootstrap_servers"] = list(settings.servers)
    if uses_tls(settings.client):
        # kafka-python ignores ssl_ciphers unless the context brings them along
        chosen["ssl_context"] = tls_context(settings.client)
    return chosen


def consumer_settings(settings: Kafka, client_id: str) -> dict[str, Any]:
    """Keyword arguments of KafkaConsumer.

    No deserializers: one that raises makes ``poll`` spin for ever.  No reset policy:
    it would jump over lost records in silence.
    """
    return {
        **_DEFAULTS,
        **connection_settings(settings, client_id),
        "group_id": settings.consumergroup,
        "enable_auto_commit": False,
        "auto_offset_reset": "none",
        # the class: instances have state and must not be shared
        "partition_assignment_strategy": (CooperativeStickyAssignor,),
    }


def admin_settings(settings: Kafka, client_id: str) -> dict[str, Any]:
    """Keyword arguments of KafkaAdminClient: those of the same settings it knows."""
    known = kafka.KafkaAdminClient.DEFAULT_CONFIG
    chosen = {**_DEFAULTS, **connection_settings(settings, client_id)}
    return {name: value for name, value in chosen.items() if name in known}


def _refuse_unusable(name: str) -> None:
    if name in config_kafka.OURS:
        raise ConfigError(f"[kafka.client] {name}: {config_kafka.OURS[name]}")
    known = kafka.KafkaConsumer.DEFAULT_CONFIG
    if name not in known:
        near = get_close_matches(name, [*known], n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ConfigError(f"[kafka.client] {name}: unknown setting{hint}")


def uses_tls(client: Mapping[str, Any]) -> bool:
    """Whether the brokers are spoken to by TLS."""
    return str(client.get("security_protocol", "PLAINTEXT")).endswith("SSL")


def tls_context(client: Mapping[str, Any]) -> ssl.SSLContext:
    """The TLS context that the ssl_ settings describe."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = client.get("ssl_check_hostname", True)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        _load(context, client)
    except OSError as exc:  # ssl.SSLError is one
        files = sorted(config_kafka.FILES & client.keys())
        named = ", ".join(f"{name} = {client[name]}" for name in files)
        raise ConfigError(f"[kafka.client] {named}: {exc}") from exc
    return context


def _load(context: ssl.SSLContext, client: Mapping[str, Any]) -> None:
    if client.get("ssl_cafile"):
        context.load_verify_locations(client["ssl_cafile"])
    else:
        context.load_default_certs()
    if client.get("ssl_certfile"):
        context.load_cert_chain(
            client["ssl_certfile"],
            client.get("ssl_keyfile"),
            # without this the library asks on the terminal
            client.get("ssl_password") or "",
        )
    if client.get("ssl_crlfile"):
        context.load_verify_locations(client["ssl_crlfile"])
        context.verify_flags |= ssl.VerifyFlags.VERIFY_CRL_CHECK_LEAF
    if client.get("ssl_ciphers"):
        context.set_ciphers(client["ssl_ciphers"])


def probe_brokers(
    servers: Iterable[str], client: Mapping[str, Any], seconds: float = 5.0
) -> list[tuple[str, str | None]]:
    """Whether each broker takes a connection (and TLS where set): None, or why not.

    The constructor of KafkaConsumer has no deadline for a TLS handshake, so it is not
    called before a broker has answered here.
    """
    return [(server, probe_broker(server, client, seconds)) for server in servers]


def probe_broker(server: str, client: Mapping[str, Any], seconds: float) -> str | None:
    """As probe_brokers, for one; brokers behind a proxy cannot be asked."""
    if client.get("proxy_url") or client.get("socks5_proxy"):
        return None
    host, _, port = server.rpartition(":")
    host = host.strip("[]")
    try:
        with socket.create_connection((host, int(port)), timeout=seconds) as plain:
            if uses_tls(client):
                _shake_hands(plain, tls_context(client), host)
    except TimeoutError:
        return f"no answer within {seconds:g} s"
    except ssl.SSLCertVerificationError as exc:
        return f"TLS: {exc.verify_message}"
    except ssl.SSLError as exc:
        return f"TLS: {exc.reason or exc}"
    except OSError as exc:
        return exc.strerror or str(exc)
    return None


def _shake_hands(plain: socket.socket, context: ssl.SSLContext, host: str) -> None:
    with context.wrap_socket(plain, server_hostname=host) as secured:
        # with TLS 1.3 a refused client certificate is told after the handshake
        secured.settimeout(_TLS_ERROR_WAIT)
        try:
            if secured.recv(1) == b"":
                raise OSError(
                    "the broker closed the connection after the TLS handshake"
                )
        except TimeoutError:
            pass


# It complains of the library's own tasks that take longer than 0.1 s.
_BUSY_LOGGER = "kafka.net.selector"


class KafkaLog(logging.Handler):
    """Keeps the last lines of kafka-python's own log, and lets none reach stderr.

    The library tells the reasons of failed connections nowhere else, and repeats some
    lines ten times a second.
    """

    def __init__(self, keep: int = 200) -> None:
        super().__init__(logging.WARNING)
        self._lines: deque[tuple[float, str, str]] = deque(maxlen=keep)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the line unless it repeats the one before."""
        text = record.getMessage()
        if record.name == _BUSY_LOGGER:
            return
        if self._lines and self._lines[-1][2] == text:
            self._lines.pop()
        self._lines.append((time.monotonic(), record.name, text))

    def since(self, moment: float, prefix: str = "kafka") -> list[str]:
        """Lines of loggers below ``prefix`` since ``moment``, oldest first."""
        return [
            text
            for at, name, text in list(self._lines)
            if at >= moment and name.startswith(prefix)
        ]

    def reason(self, moment: float) -> str | None:
        """The most telling line about connections since ``moment``."""
        # plain first: the library's names of its objects speak of SSL in any case
        lines = [_plain(line) for line in self.since(moment, "kafka.net")]
        telling = [line for line in lines if _is_telling(line)]
        broken = [line for line in lines if "disconnected" in line]
        return (telling or broken or lines)[-1] if lines else None


def _is_telling(line: str) -> bool:
    words = ("sasl", "authentic", "ssl", "tls", "certificate", "refused", "resolve")
    return any(word in line.lower() for word in words)


def _plain(line: str) -> str:
    """Without the library's own names of its connection objects."""
    return line.rpartition(">: ")[2] or line


def connection_hint(client: Mapping[str, Any], reason: str) -> str:
    """The reason, and what it may mean where the broker does not say more."""
    if "disconnected" in reason and client.get("sasl_mechanism"):
        return f"{reason}; a SASL authentication that is refused may end so too"
    return reason


def capture_log() -> KafkaLog:
    """The process's one KafkaLog, put in place at the first call."""
    logger = logging.getLogger("kafka")
    for handler in logger.handlers:
        if isinstance(handler, KafkaLog):
            return handler
    handler = KafkaLog()
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING)
    logger.propagate = False
    return handler
