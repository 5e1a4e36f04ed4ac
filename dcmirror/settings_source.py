"""The tables of where files come from: the events, the door, and what is wanted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dcmirror.settings_field import setting


@dataclass(frozen=True, slots=True, kw_only=True)
class Kafka:
    """Where the events come from."""

    topic: str = setting(
        "Topic that dCache publishes to.", check="topic_name", sample="billing"
    )
    servers: tuple[str, ...] = setting(
        "Bootstrap brokers, host:port.",
        check="host_ports",
        sample=("kafka.example.org:9092",),
    )
    consumergroup: str = setting(
        "Consumer group. Instances that share the work share it.", sample="dcmirror"
    )
    start: str = setting(
        "Where a first start and a new partition begin.",
        "earliest",
        check="earliest_or_latest",
    )
    client: dict[str, Any] = setting(
        "Any setting of kafka-python's KafkaConsumer by its own name: TLS, SASL, "
        "api_version. NAME_file and NAME_env read the value from a file or a variable.",
        {},
        sample={
            "security_protocol": "SASL_SSL",
            "sasl_mechanism": "SCRAM-SHA-512",
            "sasl_plain_username": "dcmirror",
            "sasl_plain_password_file": "/etc/dcmirror/kafka_password",
        },
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DCache:
    """The source: the WebDAV door and the part of the namespace that is ours."""

    url: str = setting(
        "URL of the WebDAV door, with the path that `pool` stands for.",
        check="https_url",
        sample="https://door.example.org:2880/data",
    )
    pool: str = setting(
        'Namespace prefix that `url` stands for; "/" is allowed.',
        check="absolute_path",
        sample="/pnfs/example.org/data",
    )
    folder: str = setting(
        "Only files below this directory are mirrored; relative to `pool`, "
        "taken literally.",
        check="folder_path",
        sample="/experiment/raw",
    )
    retryseconds: float = setting(
        "First pause before a retry; each further pause is three times as long, "
        "up to 300 s.",
        1.0,
        unit="s",
        check="positive",
        reload=True,
    )
    retrytimes: int = setting(
        "Retries of a file before it becomes a row of failed.csv.",
        10,
        check="not_negative",
        reload=True,
    )
    maxdownloads: int = setting(
        "Files copied at the same time, over all workers.", 10, check="up_to_10000"
    )
    timeout: float = setting(
        "Longest time for one attempt, plus 2 s per MiB of the file, "
        "the wait for the first byte not counted; 0: no limit.",
        0.0,
        unit="s",
        check="not_negative",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which of the uploads below `folder` are wanted."""

    rules: tuple[str, ...] = setting(
        'Ordered rules, "include GLOB" or "exclude GLOB", matched against the path '
        "below `folder`; the first that matches decides, no match includes.",
        (),
        check="filter_rules",
        sample=("exclude *.tmp", "exclude scratch/**"),
        reload=True,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """How the source is understood and how patient we are with it."""

    requests_without_mover: str = setting(
        "What a door's record without mover information means: "
        '"auto" (a hint, as long as the topic has shown no pool transfer), '
        '"hint" or "ignore".',
        "auto",
        check="auto_hint_ignore",
    )
    net_seconds: float = setting(
        "How long a door's record waits for the pool's transfer record "
        "of the same upload.",
        30.0,
        unit="s",
        check="positive",
    )
    grace_seconds: float = setting(
        "How long a file may be missing at the door before it counts as gone.",
        600.0,
        unit="s",
        check="not_negative",
        reload=True,
    )
    commit_grace_seconds: float = setting(
        "The same for SRM uploads, which appear only when the client commits them.",
        86400.0,
        unit="s",
        check="not_negative",
        reload=True,
    )
    redirect_schemes: tuple[str, ...] = setting(
        "Schemes a door may redirect to.", ("https", "http"), check="schemes"
    )
    redirect_hosts: tuple[str, ...] = setting(
        "Hosts (globs) a door may redirect to; empty: any but loopback and link-local, "
        "which are allowed only where the door itself is one.",
        (),
        sample=("*.example.org",),
    )
    missing_digest: str = setting(
        'A file for which the source has no Adler-32: "retry" asks for 60 s and then '
        'accepts it as unverified, "fail", or "accept" (servers that have none).',
        "retry",
        check="retry_fail_accept",
    )
    connect_seconds: float = setting(
        "Longest time to connect.", 30.0, unit="s", check="positive"
    )
    first_byte_seconds: float = setting(
        "Longest wait for the first byte. dCache queues readers for up to 180 s; "
        "giving up earlier makes its jam worse.",
        400.0,
        unit="s",
        check="positive",
    )
    stall_bytes_per_second: int = setting(
        "Below this rate for `stall_seconds` a transfer counts as stalled.",
        1000,
        unit="B/s",
        check="zero_or_more",
    )
    stall_seconds: float = setting(
        "How long a transfer may be that slow.", 60.0, unit="s", check="positive"
    )
    keep_pool_connections: bool = setting(
        "Keep connections to pools open; before dCache 8 that blocks their movers.",
        False,
    )
