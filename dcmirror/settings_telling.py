"""The tables of what is told: the event log, where it is shipped, metrics, the log."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dcmirror.settings_field import setting


@dataclass(frozen=True, slots=True, kw_only=True)
class Journal:
    """The event log on disk."""

    max_bytes: int = setting(
        "Disk the journal may use; the oldest shipped segments go first.",
        2147483648,
        unit="B",
        check="at_least_16_mib",
    )
    segment_bytes: int = setting(
        "Size of one segment.", 8388608, unit="B", check="at_least_64_kib"
    )
    min_free: int | None = setting(
        "Space the journal leaves free on its disk. "
        "Default: the smaller of 1 % and 1 GiB.",
        None,
        unit="B",
        check="zero_or_more",
        sample=1073741824,
    )
    required: bool = setting(
        "Hold everything when the journal cannot be written, "
        "instead of counting the loss.",
        False,
    )
    export: Path | None = setting(
        "File that the logger process appends every event to, as lines of JSON; "
        "it may be rotated. Default: none.",
        None,
        check="absolute_path",
        sample="/var/log/dcmirror/events.ndjson",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Elasticsearch:
    """Where the journal's events are shipped to; without `urls`, nowhere."""

    urls: tuple[str, ...] = setting(
        "Addresses of Elasticsearch 8.9 or later. Empty: nothing is shipped, "
        "the journal alone keeps the events.",
        (),
        check="http_url",
        sample=("https://elastic.example.org:9200",),
    )
    api_key_file: Path | None = setting(
        "File with the API key, as `dcmirror elastic setup --make-api-key` writes it.",
        None,
        check="absolute_path",
        sample="/etc/dcmirror/elastic_api_key",
    )
    username: str | None = setting(
        "User, for servers without API keys.", None, sample="dcmirror"
    )
    password_file: Path | None = setting(
        "File with that user's password.",
        None,
        check="absolute_path",
        sample="/etc/dcmirror/elastic_password",
    )
    ca_certs: Path | None = setting(
        "CA certificates of the server, PEM. Default: the system's.",
        None,
        check="absolute_path",
        sample="/etc/dcmirror/elastic_ca.pem",
    )
    namespace: str = setting(
        "Namespace of the data streams: logs-dcmirror.transfer-<namespace> and "
        "logs-dcmirror.health-<namespace>.",
        "default",
        check="stream_namespace",
    )
    timeout: float = setting(
        "Longest wait for an answer.", 30.0, unit="s", check="positive"
    )
    compress: bool = setting(
        "Compress what is sent; for slow networks, costs CPU.", False
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """The endpoint for Prometheus."""

    port: int | None = setting(
        "Port of /metrics; none: no endpoint.", None, check="port_number", sample=9464
    )
    address: str = setting("Address to listen on.", "127.0.0.1", check="ip_address")


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """The human log."""

    file: Path | None = setting(
        "File of the human log. Default: standard error.",
        None,
        check="absolute_path",
        sample="/var/log/dcmirror/dcmirror.log",
        reload=True,
    )
    level: str = setting(
        'How much it says: "debug", "info", "warning" or "error".',
        "info",
        check="log_level",
        reload=True,
    )
