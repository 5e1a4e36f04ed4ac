"""The metrics of ``/metrics``: every name once, with its prose and where it comes from.

``adapters/metrics.py`` renders it; the manual's list is made from it, and the tests
hold the alerts of ``etc/prometheus`` against it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from dcmirror.core import metric_readers as read
from dcmirror.core.metric_readers import Reader


class Kind(StrEnum):
    """Prometheus's types, as far as we use them."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """One family.  ``name`` is as one queries it: a counter's ends in ``_total``."""

    name: str
    kind: Kind
    help: str
    read: Reader
    labels: tuple[str, ...] = ()


def _counter(name: str, text: str, reader: Reader, *labels: str) -> Metric:
    return Metric(f"dcmirror_{name}_total", Kind.COUNTER, text, reader, labels)


def _gauge(name: str, text: str, reader: Reader, *labels: str) -> Metric:
    return Metric(f"dcmirror_{name}", Kind.GAUGE, text, reader, labels)


def _histogram(name: str, text: str, reader: Reader) -> Metric:
    return Metric(f"dcmirror_{name}", Kind.HISTOGRAM, text, reader)


_DAEMON = (
    _gauge("up", "1 while the daemon's loop runs, 0 when it is stuck.", read.up),
    _gauge(
        "status_age_seconds",
        "Age of what is shown here; the daemon renews it each second.",
        read.status_age,
    ),
    _gauge(
        "start_time_seconds",
        "When the daemon was started, since the epoch; counters begin at 0 then.",
        read.status("started"),
    ),
    _gauge("build_info", "1; the label is the version.", read.version, "version"),
    _gauge("stopping", "1 while the daemon drains.", read.status("stopping")),
)

_FILES = (
    _counter(
        "files",
        "Files by outcome (mirrored, adopted, failed, skipped); the reason is a "
        "failure class, or why a job or a record was skipped.",
        read.files,
        "outcome",
        "reason",
    ),
    _counter(
        "covered_records",
        "Records of uploads that need no outcome of their own, and are no skips, by "
        "reason: joined (another record of the upload is the job), hint-ignored (a "
        "request without mover, see [source] requests_without_mover), known (such a "
        "request, and the books have its file).",
        read.covered,
        "reason",
    ),
    _counter(
        "mirrored_bytes", "Bytes of the files mirrored.", read.status("bytes_mirrored")
    ),
    _counter(
        "retries",
        "Failed attempts that are repeated, by failure class.",
        read.by_class("retried"),
        "class",
    ),
    _histogram(
        "transfer_duration_seconds",
        "From an attempt's first look to the file under its name; mirrored files.",
        read.spread("transfer_duration"),
    ),
    _histogram(
        "event_delay_seconds",
        "From dCache's event to the file under its name; mirrored files.",
        read.spread("event_delay"),
    ),
    _gauge(
        "last_mirrored_timestamp_seconds",
        "When a file was mirrored last, since the epoch.",
        read.status("mirrored_at"),
    ),
)

_WORK = (
    _gauge(
        "jobs",
        "Jobs by state (ready, waiting, held, out, provisional).",
        read.by_key("jobs"),
        "state",
    ),
    _gauge(
        "transfers_in_flight",
        "Transfers that run now.",
        read.total("workers", "busy"),
    ),
    _gauge(
        "transfer_slots",
        "Transfers that may run at once.",
        read.total("workers", "streams"),
    ),
    _gauge(
        "receiving_bytes_per_second",
        "What the running transfers receive now.",
        read.total("transfers", "bytes_per_second"),
    ),
    _gauge(
        "queue_age_seconds",
        "For how long the next job has been ready to run; 0 where none is.",
        read.queue_age,
    ),
    _gauge(
        "unsettled_outcomes",
        "Outcomes that the books do not have yet.",
        read.status("unsettled"),
    ),
    _gauge(
        "net_records",
        "Door records that wait for their pool's record.",
        read.status("net"),
    ),
    _gauge(
        "kafka_lag_records",
        "Records behind the end of the partition.",
        read.each("partitions", ("topic", "partition"), "lag"),
        "topic",
        "partition",
    ),
    _gauge(
        "kafka_committed_offset",
        "The offset that the broker has.",
        read.each("partitions", ("topic", "partition"), "committed"),
        "topic",
        "partition",
    ),
    _gauge(
        "kafka_pending_records",
        "Records read and not settled.",
        read.each("partitions", ("topic", "partition"), "pending"),
        "topic",
        "partition",
    ),
    _gauge(
        "kafka_trouble", "1 while Kafka is away.", read.has_trouble("kafka", "trouble")
    ),
    _gauge("kafka_paused", "1 while intake is paused.", read.status("kafka", "paused")),
)

_HOLDS = (
    _gauge("holds", "Holds that are on, by kind.", read.holds, "kind"),
    _gauge(
        "hold_start_time_seconds",
        "Since when a hold is on, since the epoch; none while it is off.",
        read.hold_starts,
        "kind",
        "host",
    ),
    _gauge(
        "credential_left_seconds",
        "Time until the proxy certificate expires.",
        read.credential_left,
    ),
    _gauge(
        "credential_trouble",
        "1 while the proxy certificate cannot be read.",
        read.has_trouble("credential", "trouble"),
    ),
    _gauge(
        "destination_free_bytes",
        "Free space of the mirror's file system.",
        read.status("free_bytes"),
    ),
    _gauge(
        "destination_reserved_bytes",
        "What the running transfers will still write.",
        read.status("reserved_bytes"),
    ),
    _gauge(
        "destination_min_free_bytes",
        "Space that is left free.",
        read.status("min_free"),
    ),
    _gauge(
        "workers",
        "Worker processes by state (ready, starting, silent, missing).",
        read.workers,
        "state",
    ),
    _counter(
        "worker_restarts",
        "Child processes that were started again.",
        read.status("worker_restarts"),
    ),
)

_HOSTS = (
    _counter(
        "http_requests",
        "HTTP requests sent, by host and role (door, pool); after 200 hosts the "
        "others together.",
        read.each("hosts", ("host", "role"), "requests"),
        "host",
        "role",
    ),
    _counter(
        "http_connections",
        "Connections opened, by host and role.",
        read.each("hosts", ("host", "role"), "connections"),
        "host",
        "role",
    ),
    _counter(
        "http_received_bytes",
        "Bytes of bodies received, those of failed attempts too; counted when an "
        "attempt ends.",
        read.each("hosts", ("host", "role"), "bytes"),
        "host",
        "role",
    ),
    _gauge(
        "requests_per_file",
        "HTTP requests for each file fetched since the start, by role.",
        read.requests_per_file,
        "role",
    ),
)

_JOURNAL = (
    _gauge(
        "journal_bytes", "Disk that the journal uses.", read.status("journal", "bytes")
    ),
    _counter(
        "journal_dropped_events",
        "Events that the journal gave up, by kind (progress, started, detail, "
        "outcome).",
        read.journal_drops,
        "kind",
    ),
    _gauge(
        "journal_trouble",
        "1 while the journal does not take everything.",
        read.has_trouble("journal", "trouble"),
    ),
    _gauge(
        "shipping_state",
        "1 for the state of shipping (shipping, idle, retrying, paused).",
        read.shipping_states,
        "state",
    ),
    _gauge(
        "shipping_state_start_time_seconds",
        "Since when shipping is in its state, since the epoch.",
        read.shipping("since"),
    ),
    _gauge(
        "shipping_age_seconds",
        "Age of what is shown of shipping; renewed each 10 s at least.",
        read.shipping_age,
    ),
    _counter("shipped_events", "Events that arrived.", read.shipping("shipped")),
    _counter(
        "shipping_duplicates",
        "Events that were sent again and had arrived before.",
        read.shipping("duplicates"),
    ),
    _counter(
        "dead_letters",
        "Events that Elasticsearch refused for good; set aside.",
        read.shipping("dead_letters"),
    ),
    _counter(
        "dead_letters_lost",
        "Events that were set aside, and had to go for newer ones.",
        read.shipping("dead_letters_lost"),
    ),
    _counter(
        "spoiled_events",
        "Lines of the journal with a wrong checksum; set aside.",
        read.shipping("spoiled"),
    ),
    _counter(
        "missed_segments",
        "Segments that were removed before they were shipped.",
        read.shipping("missed"),
    ),
    _gauge(
        "spool_bytes",
        "What lies in the journal unshipped.",
        read.shipping("behind_bytes"),
    ),
    _gauge(
        "spool_age_seconds",
        "Age of the oldest event that is not shipped.",
        read.oldest_unshipped,
    ),
)

#: Groups for the manual, in its order.
GROUPS: tuple[tuple[str, tuple[Metric, ...]], ...] = (
    ("The daemon", _DAEMON),
    ("Files", _FILES),
    ("Work", _WORK),
    ("Holds and what leads to them", _HOLDS),
    ("Impact on the source", _HOSTS),
    ("Journal and shipping", _JOURNAL),
)

METRICS: tuple[Metric, ...] = tuple(m for _, group in GROUPS for m in group)
