"""The table of the dashboards' panels: what is asked of the event log.

``kibana_objects`` makes Kibana's objects of it; the tests make queries of it, whose
answers they compare with the books, so that a field or a name cannot drift.
"""

from __future__ import annotations

from dcmirror.core.kibana_columns import (
    Chart,
    Format,
    Light,
    Metric,
    Operation,
    Panel,
    Ratio,
    Terms,
    Time,
    Where,
    action,
    equals,
)

GREEN, AMBER, RED, GREY, BLUE = "#54b399", "#d6bf57", "#cc5642", "#98a2b3", "#6092c0"

STATE = "dcmirror.transfer.state"
BYTES = "dcmirror.transfer.bytes"
_AGE = "dcmirror.kafka.event_age_ms"
RATE = "dcmirror.transfer.throughput_bps"

FINISHED = action("transfer-finished")
MIRRORED = FINISHED + equals(STATE, "mirrored")
FAILED = FINISHED + equals(STATE, "failed")
DECIDED = FINISHED + equals(STATE, "mirrored", "failed")
ATTEMPTS = action("transfer-finished", "transfer-retry", "transfer-parked")

GOOD_AT_ZERO = (Light(None, GREEN), Light(1, RED))


def count(label: str, where: Where = (), colour: str | None = None) -> Metric:
    """How many documents."""
    return Metric(label, Operation.COUNT, where=where, colour=colour)


def total(label: str, field: str, fmt: Format = Format.NUMBER) -> Metric:
    """The sum of a field."""
    return Metric(label, Operation.SUM, field, format=fmt)


def percentiles(
    field: str, *percents: int, fmt: Format = Format.FIELD
) -> tuple[Metric, ...]:
    """Several percentiles of a field."""
    return tuple(
        Metric(f"p{n}", Operation.PERCENTILE, field, percentile=n, format=fmt)
        for n in percents
    )


def most(label: str, field: str, fmt: Format = Format.FIELD) -> Metric:
    """The largest value of a field."""
    return Metric(label, Operation.MAX, field, format=fmt)


def _phase(label: str, name: str) -> Metric:
    field = f"dcmirror.transfer.phases.{name}"
    return Metric(label, Operation.AVERAGE, field, format=Format.FIELD)


PHASES = (
    _phase("connect", "connect"),
    _phase("TLS", "tls"),
    _phase("door", "door"),
    _phase("pool queue", "pool_queue"),
    _phase("data", "data"),
    _phase("checksum", "checksum"),
    _phase("publish", "publish"),
)


NUMBERS = (
    Panel(
        "efficiency",
        "Efficiency",
        Chart.METRIC,
        DECIDED,
        (
            Ratio(
                "mirrored of all that ended",
                count("mirrored", equals("event.outcome", "success")),
                count("ended"),
                Format.PERCENT,
            ),
        ),
        about="Files mirrored, of those mirrored or given up. Below 99 %: look at "
        "Errors by scope and class.",
        lights=(Light(None, RED), Light(0.95, AMBER), Light(0.99, GREEN)),
    ),
    Panel(
        "files",
        "Files mirrored",
        Chart.METRIC,
        MIRRORED,
        (count("files"),),
        about="Copies fetched, verified and published.",
    ),
    Panel(
        "bytes",
        "Bytes mirrored",
        Chart.METRIC,
        MIRRORED,
        (total("bytes", BYTES, Format.BYTES),),
        about="Bytes of those copies, as they came over the wire.",
    ),
    Panel(
        "failed",
        "Files failed",
        Chart.METRIC,
        FAILED,
        (count("failed"),),
        about="Jobs given up: rows of failed.csv. A replay may have mirrored them "
        "since.",
        lights=GOOD_AT_ZERO,
    ),
    Panel(
        "delay",
        "Event to copy",
        Chart.METRIC,
        MIRRORED,
        percentiles(_AGE, 50, 95),
        about="From dCache's event to the finished copy: half of the files, and all "
        "but the slowest 5 %.",
    ),
    Panel(
        "requests-per-file",
        "Requests per file",
        Chart.METRIC,
        ATTEMPTS,
        (
            Ratio(
                "HTTP requests per file mirrored",
                total("requests", "dcmirror.transfer.requests"),
                count("files", MIRRORED),
            ),
        ),
        about="Our impact on dCache: every request of every attempt, divided by the "
        "files mirrored. Two is the least where the door sends us to a pool.",
    ),
)

OVER_TIME = (
    Panel(
        "bytes-over-time",
        "Bytes mirrored over time, by storage class",
        Chart.BARS,
        MIRRORED,
        (total("bytes", BYTES, Format.BYTES),),
        (
            Time(),
            Terms("dcmirror.dcache.storage_class", "storage class", has_rest=True),
        ),
    ),
    Panel(
        "outcomes-over-time",
        "Outcomes over time",
        Chart.BARS,
        FINISHED,
        (
            count("mirrored", equals(STATE, "mirrored"), GREEN),
            count("there already", equals(STATE, "adopted"), BLUE),
            count("skipped", equals(STATE, "skipped", "superseded", "left"), GREY),
            count("failed", equals(STATE, "failed"), RED),
        ),
        (Time(),),
        about="What became of jobs. Records that need no job are not here.",
    ),
    Panel(
        "throughput",
        "Throughput of a file",
        Chart.LINES,
        MIRRORED,
        percentiles(RATE, 5, 50, 95, fmt=Format.BITS_PER_SECOND),
        (Time(),),
        about="While data came, empty files not counted. A p5 that falls while p50 "
        "holds is one slow pool: see Sources.",
    ),
    Panel(
        "duration",
        "Duration of a copy",
        Chart.LINES,
        MIRRORED,
        percentiles("event.duration", 50, 95, 99),
        (Time(),),
        about="From the first connection to the published file, of the attempt that "
        "succeeded.",
    ),
    Panel(
        "delay-over-time",
        "From dCache's event to the finished copy",
        Chart.LINES,
        MIRRORED,
        (*percentiles(_AGE, 50, 95), most("slowest", _AGE)),
        (Time(),),
        about="Grows with a backlog, with holds and with retries.",
    ),
    Panel(
        "lag-over-time",
        "Kafka lag by partition",
        Chart.LINES,
        action("health"),
        (most("records", "dcmirror.kafka.lag", Format.NUMBER),),
        (Time(), Terms("dcmirror.kafka.partition", "partition", size=50)),
        about="Records not yet read. Growing on one partition: that one has no reader, "
        "or a job that everything waits for.",
    ),
    Panel(
        "phases",
        "Where the time goes",
        Chart.AREAS,
        MIRRORED,
        PHASES,
        (Time(),),
        about="Mean time of each phase of a copy. Pool queue: dCache lets readers "
        "wait. Publish: the mirror's file system is slow.",
    ),
)
