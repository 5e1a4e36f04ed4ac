"""The table of panels: one file's story, and the health of the daemons."""

from __future__ import annotations

from dcmirror.core.kibana_columns import (
    Chart,
    Format,
    Light,
    Metric,
    Operation,
    Panel,
    Terms,
    Time,
    action,
)
from dcmirror.core.kibana_panels import (
    ATTEMPTS,
    BLUE,
    GREEN,
    GREY,
    PHASES,
    RED,
    count,
    total,
)

HEALTH = action("health")
# Neither the host nor the instance alone tells daemons apart: hosts may share the work
# of one instance, and a host may have several.
_DAEMON = "dcmirror.daemon"
_BY_DAEMON = Terms(_DAEMON, "daemon", size=50, ascending=True)
_CHILDREN = action("child-died", "child-silent")


def _date(label: str, operation: Operation) -> Metric:
    return Metric(label, operation, "@timestamp", format=Format.FIELD)


def _last(label: str, field: str, fmt: Format = Format.NUMBER) -> Metric:
    return Metric(label, Operation.LAST, field, format=fmt)


def _peak(label: str, field: str, fmt: Format = Format.NUMBER) -> Metric:
    return Metric(label, Operation.MAX, field, format=fmt)


STORY = (
    Panel(
        "tasks",
        "Tasks",
        Chart.TABLE,
        action("upload-seen", "transfer-retry", "transfer-parked", "transfer-finished"),
        (
            _date("newest", Operation.MAX),
            _date("first seen", Operation.MIN),
            _peak("attempts", "dcmirror.transfer.attempt"),
            count("retries", action("transfer-retry")),
            count("ended", action("transfer-finished")),
            total("bytes received", "dcmirror.transfer.bytes", Format.BYTES),
            _last("state", "dcmirror.transfer.state", Format.FIELD),
        ),
        (
            Terms("file.path", "file", size=20),
            Terms("dcmirror.transfer.id", "task", size=20),
        ),
        about="Every upload of the chosen files; a new upload is a new task, a replay "
        "is not.",
    ),
    Panel(
        "attempts",
        "Where each attempt's time went",
        Chart.TABLE,
        ATTEMPTS,
        (
            *PHASES,
            total("bytes", "dcmirror.transfer.bytes", Format.BYTES),
            total("requests", "dcmirror.transfer.requests"),
        ),
        (
            Terms("dcmirror.transfer.id", "task", size=10),
            Terms("dcmirror.transfer.attempt", "attempt", size=20, ascending=True),
        ),
        about="A phase that is missing was not reached.",
    ),
)

DAEMON = (
    Panel(
        "daemons",
        "Daemons that reported in the last 5 minutes",
        Chart.METRIC,
        HEALTH,
        (
            Metric("daemons", Operation.UNIQUE, _DAEMON, recent="5m"),
            Metric("of those in the time shown", Operation.UNIQUE, _DAEMON),
        ),
        about="The dead man's signal. Zero: nothing runs, or nothing reaches "
        "Elasticsearch; whatever else is green here is old. Fewer than in the time "
        "shown: the table below says which are silent.",
        lights=(Light(None, RED), Light(1, GREEN)),
    ),
    Panel(
        "newest-sample",
        "Newest sign of life",
        Chart.METRIC,
        HEALTH,
        (_date("health event", Operation.MAX),),
        about="A healthy daemon writes one each minute.",
    ),
    Panel(
        "children-died",
        "Child processes that died",
        Chart.METRIC,
        action("child-died"),
        (count("deaths"),),
        about="A worker is started anew and its jobs go back. Many: look for the OOM "
        "killer, and at the saved search of the daemons' own events.",
        lights=(Light(None, GREEN), Light(1, RED)),
    ),
    Panel(
        "credential-left",
        "Least time left of a credential",
        Chart.METRIC,
        HEALTH,
        (
            Metric(
                "until the proxy ends",
                Operation.MIN,
                "dcmirror.credential.left_s",
                recent="5m",
                format=Format.FIELD,
            ),
        ),
        about="Renew the proxy in time; dcmirror takes the new file by itself.",
        lights=(Light(None, RED), Light(21_600, GREEN)),
    ),
    Panel(
        "hosts",
        "Daemons, as last reported",
        Chart.TABLE,
        HEALTH,
        (
            _date("newest sample", Operation.MAX),
            Metric("in 5 minutes", Operation.COUNT, recent="5m"),
            _last("busy", "dcmirror.worker.busy"),
            _last("of", "dcmirror.worker.total"),
            _last("ready", "dcmirror.jobs.ready"),
            _last("next for", "dcmirror.jobs.oldest_age_s", Format.FIELD),
            _last("waiting", "dcmirror.jobs.waiting"),
            _last("holds", "dcmirror.hold.open"),
            _last("lag", "dcmirror.kafka.lag_total"),
            _last("credential", "dcmirror.credential.left_s", Format.FIELD),
            _last("free", "dcmirror.destination.free_bytes", Format.BYTES),
            _last("shipping", "dcmirror.spool.state", Format.FIELD),
            _last("unshipped", "dcmirror.spool.behind_bytes", Format.BYTES),
            _last("since", "dcmirror.spool.oldest_age_s", Format.FIELD),
            _last("events lost", "dcmirror.spool.dropped"),
        ),
        (_BY_DAEMON,),
        about="A row whose newest sample is older than two minutes is a dead daemon, "
        "or one whose logger cannot ship.",
    ),
    Panel(
        "transfers-running",
        "Transfers that run",
        Chart.LINES,
        HEALTH,
        (
            _peak("running", "dcmirror.worker.busy"),
            _peak("of", "dcmirror.worker.total"),
        ),
        (Time(), _BY_DAEMON),
        about="Always at the limit with jobs ready: raise maxdownloads.",
    ),
    Panel(
        "jobs-over-time",
        "Jobs ready and waiting",
        Chart.LINES,
        HEALTH,
        (
            _peak("ready", "dcmirror.jobs.ready"),
            _peak("waiting for a due time", "dcmirror.jobs.waiting"),
        ),
        (Time(), _BY_DAEMON),
    ),
    Panel(
        "lag-total",
        "Kafka lag by daemon",
        Chart.LINES,
        HEALTH,
        (_peak("records", "dcmirror.kafka.lag_total"),),
        (Time(), _BY_DAEMON),
    ),
    Panel(
        "spool-over-time",
        "Journal on the host's disk",
        Chart.LINES,
        HEALTH,
        (
            _peak("all", "dcmirror.spool.bytes", Format.BYTES),
            _peak("not yet shipped", "dcmirror.spool.behind_bytes", Format.BYTES),
        ),
        (Time(), _BY_DAEMON),
        about="It grows while Elasticsearch is away, and this panel shows it only when "
        "Elasticsearch is back.",
    ),
    Panel(
        "spool-age",
        "Age of the oldest event not yet shipped",
        Chart.LINES,
        HEALTH,
        (_peak("age", "dcmirror.spool.oldest_age_s", Format.FIELD),),
        (Time(), _BY_DAEMON),
    ),
    Panel(
        "free-space",
        "Free space below the mirror",
        Chart.LINES,
        HEALTH,
        (
            Metric(
                "free",
                Operation.MIN,
                "dcmirror.destination.free_bytes",
                format=Format.BYTES,
            ),
            _peak("is to stay", "dcmirror.destination.min_free_bytes", Format.BYTES),
        ),
        (Time(), _BY_DAEMON),
        about="Where the lines meet, a hold begins.",
    ),
    Panel(
        "oldest-job",
        "For how long the next job has been ready",
        Chart.LINES,
        HEALTH,
        (_peak("age", "dcmirror.jobs.oldest_age_s", Format.FIELD),),
        (Time(), _BY_DAEMON),
        about="How long an upload waits for its turn. It falls to nothing when there "
        "is no backlog.",
    ),
    Panel(
        "hosts-asked",
        "What doors and pools were asked since the daemon's start",
        Chart.TABLE,
        action("host-use"),
        (
            _peak("requests", "dcmirror.host.requests"),
            _peak("connections", "dcmirror.host.connections"),
            _peak("bytes", "dcmirror.host.bytes", Format.BYTES),
        ),
        (
            _BY_DAEMON,
            Terms("dcmirror.host.role", "role"),
            Terms("source.address", "host asked", size=50),
        ),
        about="Our impact on dCache, by the host that bears it.",
    ),
    Panel(
        "credential-over-time",
        "Time left of the credential",
        Chart.LINES,
        HEALTH,
        (
            Metric(
                "left",
                Operation.MIN,
                "dcmirror.credential.left_s",
                format=Format.FIELD,
            ),
        ),
        (Time(), _BY_DAEMON),
        about="A saw: each tooth is a renewal. A line that only falls is a renewal "
        "that does not happen.",
    ),
    Panel(
        "samples-over-time",
        "Health events",
        Chart.BARS,
        HEALTH,
        (count("samples"),),
        (Time(), _BY_DAEMON),
        about="A gap is a time without a daemon, or without its events.",
    ),
    Panel(
        "children",
        "Child processes: deaths and silences",
        Chart.TABLE,
        _CHILDREN,
        (
            count("died", action("child-died")),
            count("silent", action("child-silent")),
            _date("newest", Operation.MAX),
        ),
        (_BY_DAEMON, Terms("dcmirror.worker.id", "child", size=20)),
    ),
    Panel(
        "daemon-events",
        "What the daemons did",
        Chart.BARS,
        action(
            "watch-started",
            "watch-stopping",
            "watch-stopped",
            "rebalance",
            "intake-trouble",
            "intake-recovered",
            "configuration-changed",
            "child-died",
        ),
        (
            count("started", action("watch-started"), GREEN),
            count("stopped", action("watch-stopped"), GREY),
            count("rebalance", action("rebalance"), BLUE),
            count("Kafka away", action("intake-trouble"), RED),
            count("child died", action("child-died"), "#d36086"),
            count("reconfigured", action("configuration-changed"), "#9170b8"),
        ),
        (Time(),),
    ),
)
