"""The table of panels: what went wrong, what waited, and what dCache had to bear."""

from __future__ import annotations

from dcmirror.core.kibana_columns import (
    Chart,
    Format,
    Metric,
    Operation,
    Panel,
    Ratio,
    Terms,
    Time,
    action,
    differs,
    equals,
)
from dcmirror.core.kibana_panels import (
    ATTEMPTS,
    BYTES,
    FAILED,
    GOOD_AT_ZERO,
    MIRRORED,
    RATE,
    STATE,
    count,
    most,
    percentiles,
    total,
)

TROUBLE = (
    Panel(
        "errors",
        "Errors by scope and class",
        Chart.TABLE,
        FAILED,
        (
            count("failed"),
            Metric("files", Operation.UNIQUE, "file.path"),
            most("newest", "@timestamp"),
        ),
        (
            Terms("dcmirror.transfer.error_scope", "scope"),
            Terms("error.type", "class"),
        ),
        about="Whose side it is on, and what it was. dcmirror(1), FAILURE CLASSES, "
        "says what each means.",
    ),
    Panel(
        "retries",
        "Retries by class",
        Chart.BARS,
        action("transfer-retry"),
        (count("retries"),),
        (Time(), Terms("error.type", "class", has_rest=True)),
        about="Attempts that failed and are repeated. not-there-yet is dCache being "
        "slower than its own event.",
    ),
    Panel(
        "http-status",
        "HTTP status of attempts",
        Chart.BARS,
        ATTEMPTS,
        (count("attempts"),),
        (Time(), Terms("http.response.status_code", "status", size=12, has_rest=True)),
        about="The last answer of each attempt; one that got no answer is not here.",
    ),
    Panel(
        "http-status-hosts",
        "HTTP status by host",
        Chart.TABLE,
        action("transfer-finished", "transfer-retry")
        + equals("event.outcome", "failure"),
        (count("failed attempts"), most("newest", "@timestamp")),
        (
            Terms("source.address", "host", size=20),
            Terms("http.response.status_code", "status", size=5),
        ),
        about="Failed attempts that got an answer: who gave it.",
    ),
    Panel(
        "checksum-mismatches",
        "Checksum mismatches",
        Chart.METRIC,
        ATTEMPTS + equals("dcmirror.checksum.match", False),
        (count("attempts"),),
        about="Bytes that were not what dCache promised; nothing of them is in the "
        "mirror. Not zero: ask the pool's administrator.",
        lights=GOOD_AT_ZERO,
    ),
    Panel(
        "rejected",
        "Records rejected",
        Chart.METRIC,
        action("event-rejected"),
        (count("records"),),
        about="Records of the topic that are no dCache events.",
        lights=GOOD_AT_ZERO,
    ),
    Panel(
        "offsets-lost",
        "Offsets lost",
        Chart.METRIC,
        action("offsets-lost"),
        (count("times"),),
        about="Kafka deleted records before they were read. Not zero: run reconcile.",
        lights=GOOD_AT_ZERO,
    ),
    Panel(
        "journal-drops",
        "Events lost",
        Chart.METRIC,
        action("journal-dropped"),
        (total("lines", "dcmirror.spool.dropped"),),
        about="Lines of the journal that could not be written or kept: these "
        "dashboards know less than they should. Files are not concerned.",
        lights=GOOD_AT_ZERO,
    ),
    Panel(
        "skipped",
        "Why jobs and records were skipped",
        Chart.DONUT,
        # A copy has a reason where its size is not what the event said (NFS).
        action("transfer-finished", "event-skipped")
        + equals("event.outcome", "success")
        + differs(STATE, "mirrored"),
        (count("events"),),
        (Terms("event.reason", "reason", size=12),),
    ),
    Panel(
        "holds-over-time",
        "Holds that began",
        Chart.BARS,
        action("hold-began"),
        (count("holds"),),
        (Time(), Terms("dcmirror.hold.kind", "kind")),
    ),
    Panel(
        "holds",
        "Holds by kind and host",
        Chart.TABLE,
        action("hold-began", "hold-ended"),
        (
            count("began", action("hold-began")),
            count("ended", action("hold-ended")),
            total("held", "event.duration", Format.FIELD),
            most("longest", "event.duration"),
            most("newest", "@timestamp"),
        ),
        (
            Terms("dcmirror.hold.kind", "kind"),
            Terms("dcmirror.hold.host", "host", has_rest=True),
        ),
        about="Work of a kind waits until its cause is gone; nothing is charged. More "
        "began than ended: one is on now.",
    ),
    Panel(
        "sources",
        "Sources: what we ask of doors and pools",
        Chart.TABLE,
        ATTEMPTS,
        (
            total("requests", "dcmirror.transfer.requests"),
            total("connections", "dcmirror.transfer.connections"),
            count("attempts"),
            count("mirrored", MIRRORED),
            total("bytes", BYTES, Format.BYTES),
            *percentiles(RATE, 50, fmt=Format.BITS_PER_SECOND),
        ),
        (Terms("source.address", "host", size=25, has_rest=True),),
        about="By the host that sent the data, or that failed. The requests to the "
        "door that led there are in its row.",
    ),
    Panel(
        "requests-over-time",
        "Requests and connections per file",
        Chart.LINES,
        ATTEMPTS,
        (
            Ratio(
                "requests per file",
                total("requests", "dcmirror.transfer.requests"),
                count("files", MIRRORED),
            ),
            Ratio(
                "connections per file",
                total("connections", "dcmirror.transfer.connections"),
                count("files", MIRRORED),
            ),
        ),
        (Time(),),
        about="Our impact on dCache. It rises when attempts fail, and when connections "
        "cannot be kept.",
    ),
)
