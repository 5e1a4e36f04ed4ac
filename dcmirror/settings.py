"""The settings table: every key of the configuration, once, with its prose.

``config.py`` reads a TOML file into these classes; the sample in ``etc/``, the man page
and ``--help`` are generated from them, so that none can drift.
"""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field
from pathlib import Path
from typing import Any


def setting(
    doc: str,
    default: Any = MISSING,
    *,
    unit: str = "",
    check: str = "",
    sample: Any = None,
    reload: bool = False,
) -> Any:
    """A field of the table.

    Args:
        doc: what it does, in a sentence or two.
        default: MISSING makes the key required.
        unit: shown beside the default.
        check: name of a validator in ``config.py``; what it accepts is its docstring.
        sample: the value that the sample file shows, where the default says little.
        reload: whether HUP takes a new value; others need a restart.
    """
    metadata = {
        "doc": doc,
        "unit": unit,
        "check": check,
        "sample": sample,
        "reload": reload,
    }
    if isinstance(default, dict):
        return field(default_factory=dict, metadata=metadata)
    return field(default=default, metadata=metadata)


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
        "Files copied at the same time, over all workers.", 10, check="at_least_one"
    )
    timeout: float = setting(
        "Longest time for one attempt, plus 2 s per MiB of the file, "
        "the wait for the first byte not counted; 0: no limit.",
        0.0,
        unit="s",
        check="not_negative",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Local:
    """The mirror and the credential."""

    downloadfolder: Path = setting(
        "Directory that mirrors `folder`.", check="absolute_path", sample="/data/mirror"
    )
    proxy: Path | None = setting(
        "X.509 proxy: certificate, key and chain in one PEM file. "
        "Default: $X509_USER_PROXY, then /tmp/x509up_u<uid>.",
        None,
        check="absolute_path",
        sample="/etc/dcmirror/x509_proxy",
    )
    capath: Path | None = setting(
        "Directory of trusted CA certificates with hashed names. "
        "Default: $X509_CERT_DIR, then /etc/grid-security/certificates.",
        None,
        check="absolute_path",
        sample="/etc/grid-security/certificates",
    )
    permissions: str = setting(
        "Octal mode of directories that are made; files get it without x and setgid.",
        "2755",
        check="octal_mode",
    )
    failedtasksfile: Path | None = setting(
        "CSV of files that could not be copied. "
        "Default: failed.csv in the state directory.",
        None,
        check="absolute_path",
        sample="/var/lib/dcmirror/failed.csv",
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
        reload=True,
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
        check="not_negative",
    )
    stall_seconds: float = setting(
        "How long a transfer may be that slow.", 60.0, unit="s", check="positive"
    )
    keep_pool_connections: bool = setting(
        "Keep connections to pools open; before dCache 8 that blocks their movers.",
        False,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """How files are written."""

    sync: str = setting(
        'How a file is made durable before its name appears: "group" (a few syncs '
        'for all files that are ready), "file" (each by itself), "none".',
        "group",
        check="group_file_none",
    )
    min_free: int | None = setting(
        "Space to leave free. Default: the smaller of 1 % and 10 GiB.",
        None,
        unit="B",
        check="not_negative",
        sample=10737418240,
        reload=True,
    )
    shared: bool = setting(
        "The mirror is shared with instances on other hosts. "
        "Known by itself on network file systems.",
        False,
    )
    missing: str = setting(
        "A copy that somebody removed, when its event comes again: "
        '"recopy" or "leave".',
        "recopy",
        check="recopy_leave",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Where the books are kept."""

    directory: Path | None = setting(
        "State directory, on a local file system. "
        "Default: /var/lib/dcmirror/<instance> for root, "
        "else $XDG_STATE_HOME/dcmirror/<instance>.",
        None,
        check="absolute_path",
        sample="/var/lib/dcmirror/main",
    )
    instance: str | None = setting(
        "Name of this instance. Default: the consumer group.",
        None,
        check="instance_name",
        sample="main",
    )


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
        check="not_negative",
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
class Replay:
    """Limits of `dcmirror replay` and `reconcile`, which run beside `watch`."""

    maxdownloads: int | None = setting(
        "Files copied at the same time. Default: half of [dcache] maxdownloads.",
        None,
        check="at_least_one",
        sample=5,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconcile:
    """How the source is listed, by `dcmirror reconcile` and for `audit --source`."""

    requests_per_second: float = setting(
        "Most requests to the door. dCache 11.2 and later refuse a client that sends "
        "more than 250.",
        50.0,
        unit="1/s",
        check="positive",
    )
    parallel: int = setting(
        "Directories listed at the same time.", 4, check="at_least_one"
    )
    every_hours: float | None = setting(
        "`watch` runs a reconcile each so many hours. Default: it never does.",
        None,
        unit="h",
        check="positive",
        sample=168,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """How copies are read again by `dcmirror audit --deep`."""

    bytes_per_second: int | None = setting(
        "Most bytes read of the mirror per second. Default: no limit.",
        None,
        unit="B/s",
        check="at_least_one",
        sample=104857600,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleanup:
    """Which sources `dcmirror cleanup` deletes once their copies are proved."""

    allowed: bool = setting("Delete without a dry run before and without --yes.", False)
    min_age_days: float = setting(
        "A source is kept at least so long after it was copied.",
        7.0,
        unit="d",
        check="not_negative",
    )
    verify: str = setting(
        'How a copy is looked at just before its source is deleted: "stat" (there, '
        'size and time as recorded) or "deep" (read, and its Adler-32 compared).',
        "stat",
        check="stat_deep",
    )
    exclude: tuple[str, ...] = setting(
        "Globs, matched against the path below `folder`, of sources that are kept.",
        (),
        check="exclude_glob",
        sample=("calibration/**", "*.keep"),
    )
    max_files: int = setting("Most sources deleted in a run.", 10000, check="positive")
    max_bytes: int | None = setting(
        "Most bytes deleted in a run. Default: no limit.",
        None,
        unit="B",
        check="at_least_one",
        sample=10995116277760,
    )
    max_fraction: float = setting(
        "The brake: if more than this part of the copies whose sources are still there "
        "would be deleted in a run, nothing is.",
        0.25,
        check="fraction",
    )
    when_free_below: int | None = setting(
        "Delete only while the source has less free space than this, oldest first. "
        "Default: whatever is old enough.",
        None,
        unit="B",
        check="at_least_one",
        sample=5497558138880,
    )
    free_command: tuple[str, ...] = setting(
        "Program that prints the source's free bytes. "
        "Default: the door is asked (quota-available-bytes).",
        (),
        sample=("/usr/local/bin/pool-free", "experiment"),
    )
    part_age_hours: float = setting(
        "Left-over parts in the mirror are removed at this age.",
        24.0,
        unit="h",
        check="positive",
    )
    requests_per_second: float = setting(
        "Most requests to the door.", 20.0, unit="1/s", check="positive"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """The engine."""

    workers: int = setting(
        "Worker processes; 0: as many as cores, at most 4. "
        "As many as maxdownloads makes one process per transfer, "
        "for slow destinations (NFS).",
        0,
        check="not_negative",
    )
    drain_seconds: float = setting(
        "How long TERM waits for running transfers.",
        60.0,
        unit="s",
        check="not_negative",
    )
    max_jobs: int = setting(
        "Jobs ready, held or handed out; at this number intake pauses.",
        10000,
        check="at_least_one",
    )
    max_waiting: int = setting(
        "Jobs that wait for a due time; "
        "beyond it the longest waiting go to failed.csv.",
        100000,
        check="at_least_one",
    )


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The whole configuration, validated."""

    kafka: Kafka
    dcache: DCache
    local: Local
    filter: Filter = field(default_factory=Filter)
    source: Source = field(default_factory=Source)
    destination: Destination = field(default_factory=Destination)
    state: State = field(default_factory=State)
    journal: Journal = field(default_factory=Journal)
    elasticsearch: Elasticsearch = field(default_factory=Elasticsearch)
    metrics: Metrics = field(default_factory=Metrics)
    replay: Replay = field(default_factory=Replay)
    reconcile: Reconcile = field(default_factory=Reconcile)
    audit: Audit = field(default_factory=Audit)
    cleanup: Cleanup = field(default_factory=Cleanup)
    pipeline: Pipeline = field(default_factory=Pipeline)
    log: Log = field(default_factory=Log)
