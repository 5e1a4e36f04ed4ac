"""The journal's vocabulary: every field and every action, once, with its prose.

The builders in ``journal_events`` can emit nothing else; the index template and the man
page of events are made from it.  Names and types are those of the Elastic Common Schema
where it has them, else below ``dcmirror``.
"""

from __future__ import annotations

from dataclasses import dataclass

from dcmirror.core.differences import DifferenceKind
from dcmirror.core.journal_values import VALUES, Value

TRANSFER = "dcmirror.transfer"
HEALTH = "dcmirror.health"

FIELDS: dict[str, tuple[str, str]] = {
    "@timestamp": ("date", "When it happened, UTC."),
    "log.level": ("keyword", "debug, info, warning or error."),
    "message": ("match_only_text", "The event in a sentence."),
    "ecs.version": ("keyword", "Version of the schema."),
    "data_stream.type": ("constant_keyword", "logs"),
    "data_stream.dataset": ("constant_keyword", f"{TRANSFER} or {HEALTH}."),
    "data_stream.namespace": (
        "constant_keyword",
        "default, or [elasticsearch] namespace.",
    ),
    "event.kind": ("keyword", "event, or metric for health."),
    "event.category": ("keyword", "file or process."),
    "event.type": (
        "keyword",
        "creation, deletion, info, start, end, error or denied.",
    ),
    "event.action": ("keyword", "What happened; one of the actions below."),
    "event.outcome": ("keyword", "success, failure or unknown."),
    "event.reason": ("keyword", "Why, in one word or a few."),
    "event.duration": ("long", "Nanoseconds."),
    "event.start": ("date", "When the attempt, or the hold, began."),
    "event.end": ("date", "When it ended."),
    "event.id": ("keyword", "Name of this event; the same in a second copy of it."),
    "event.sequence": (
        "long",
        "Counts the events of a process, in the order in which it told them.",
    ),
    "host.name": ("keyword", "Where dcmirror runs."),
    "process.pid": ("long", "The supervisor's process."),
    "process.name": ("keyword", "dcmirror and its command."),
    "service.name": ("keyword", "dcmirror"),
    "service.version": ("keyword", "Its version."),
    "service.node.name": (
        "keyword",
        "The instance; hosts that share a consumer group may share it.",
    ),
    "dcmirror.daemon": (
        "keyword",
        'The instance and its host, as "main on dtn1": what tells daemons apart.',
    ),
    "file.path": ("keyword", "Path in the namespace, as in dCache's event."),
    "file.name": ("keyword", "Its last component."),
    "file.directory": ("keyword", "What stands before it."),
    "file.size": ("long", "Bytes."),
    "url.full": ("keyword", "The door's URL, without user and query."),
    "url.scheme": ("keyword", "https"),
    "url.domain": ("keyword", "Host of the door."),
    "url.port": ("long", "Port of the door."),
    "url.path": ("keyword", "Path at the door."),
    "http.response.status_code": ("long", "The last answer's status."),
    "source.address": ("keyword", "host:port that sent the data, or that failed."),
    "destination.address": ("keyword", "Host that holds the mirror."),
    "error.type": ("keyword", "Failure class."),
    "error.code": ("keyword", "curl's error number."),
    "error.message": ("match_only_text", "What went wrong."),
    "dcmirror.transfer.id": ("keyword", "UUID of the task, as in the human log."),
    "dcmirror.transfer.kind": (
        "keyword",
        "What made it a job: trigger, net, hint, ...",
    ),
    "dcmirror.transfer.relative": ("keyword", "Path below the mirror."),
    "dcmirror.transfer.attempt": ("long", "Number of the attempt, from 1."),
    "dcmirror.transfer.bytes": ("long", "Bytes received."),
    "dcmirror.transfer.throughput_bps": ("long", "Bits per second while data came."),
    "dcmirror.transfer.total_ms": ("long", "From its acceptance to its outcome."),
    "dcmirror.transfer.queue_ms": ("float", "Wait in the worker before the attempt."),
    "dcmirror.transfer.requests": ("long", "HTTP requests of the attempt."),
    "dcmirror.transfer.connections": ("long", "Connections it had to open."),
    "dcmirror.transfer.state": ("keyword", "mirrored, adopted, failed, skipped, ..."),
    "dcmirror.transfer.step": ("keyword", "copy_init, copy_start, copy_run, ..."),
    "dcmirror.transfer.error_scope": (
        "keyword",
        "Whose side the failure is on: source, destination, transfer or local.",
    ),
    "dcmirror.transfer.phases.connect": ("float", "Milliseconds to connect."),
    "dcmirror.transfer.phases.tls": ("float", "Milliseconds of TLS handshake."),
    "dcmirror.transfer.phases.door": ("float", "Milliseconds until the door answered."),
    "dcmirror.transfer.phases.pool_queue": ("float", "Milliseconds to the first byte."),
    "dcmirror.transfer.phases.data": ("float", "Milliseconds of data."),
    "dcmirror.transfer.phases.checksum": ("float", "Milliseconds of checksum."),
    "dcmirror.transfer.phases.publish": ("float", "Milliseconds to durable and named."),
    "dcmirror.transfer.retry_in_ms": ("long", "Until the next attempt."),
    "dcmirror.transfer.charged": (
        "boolean",
        "Whether it counts against retrytimes.",
    ),
    "dcmirror.checksum.algorithm": ("keyword", "adler32"),
    "dcmirror.checksum.expected": ("keyword", "What the source says, 8 hex digits."),
    "dcmirror.checksum.actual": ("keyword", "What was computed."),
    "dcmirror.checksum.match": ("boolean", "Whether they agree."),
    "dcmirror.dcache.pnfsid": ("keyword", "dCache's id of the file."),
    "dcmirror.dcache.storage_class": ("keyword", "dCache's storage class."),
    "dcmirror.dcache.session": ("keyword", "dCache's session."),
    "dcmirror.dcache.event_type": ("keyword", "msgType of the record."),
    "dcmirror.dcache.door": ("keyword", "Door the file was written through."),
    "dcmirror.dcache.pool": ("keyword", "Pool it was written to."),
    "dcmirror.kafka.topic": ("keyword", "Topic of the record."),
    "dcmirror.kafka.partition": ("long", "Its partition."),
    "dcmirror.kafka.offset": ("long", "Its offset."),
    "dcmirror.kafka.excerpt": ("keyword", "The first bytes of a record, escaped."),
    "dcmirror.kafka.lost_from": ("long", "First offset that is gone."),
    "dcmirror.kafka.lost_to": ("long", "First offset that is still there."),
    "dcmirror.kafka.partitions": ("long", "Partitions concerned."),
    "dcmirror.kafka.lag": ("long", "Records of the partition not yet read."),
    "dcmirror.kafka.lag_total": ("long", "The same, of all partitions it has."),
    "dcmirror.kafka.event_age_ms": ("long", "From dCache's event until now."),
    "dcmirror.hold.kind": ("keyword", "destination, credential, door, pool, ..."),
    "dcmirror.hold.host": ("keyword", "host:port that is held."),
    "dcmirror.hold.open": ("long", "Holds that are on."),
    "dcmirror.hold.active": ("keyword", "Their kinds and hosts."),
    "dcmirror.credential.left_s": ("long", "Seconds until the proxy ends."),
    "dcmirror.worker.id": ("keyword", "Name of the child."),
    "dcmirror.worker.pid": ("long", "Its process."),
    "dcmirror.worker.jobs": ("keyword", "Tasks it had in hand."),
    "dcmirror.worker.busy": ("long", "Transfers that run."),
    "dcmirror.worker.total": ("long", "Transfers that may run."),
    "dcmirror.worker.restarts": ("long", "Children that had to be replaced."),
    "dcmirror.jobs.ready": ("long", "Jobs that could run."),
    "dcmirror.jobs.waiting": ("long", "Jobs that wait for a due time."),
    "dcmirror.jobs.held": ("long", "Jobs that wait for the end of a pool's hold."),
    "dcmirror.jobs.oldest_age_s": (
        "long",
        "For how long the next job has been ready to run.",
    ),
    "dcmirror.counts.mirrored": ("long", "Files mirrored since the start."),
    "dcmirror.counts.skipped": ("long", "Jobs and records skipped since the start."),
    "dcmirror.counts.failed": ("long", "Files failed since the start."),
    "dcmirror.counts.retried": ("long", "Retries since the start."),
    "dcmirror.counts.bytes": ("long", "Bytes mirrored since the start."),
    "dcmirror.cleanup.isolated": (
        "boolean",
        "Whether the source was set apart under a name of its own first.",
    ),
    "dcmirror.cleanup.window_ms": (
        "float",
        "Milliseconds from the last look at the source until DELETE was answered.",
    ),
    "dcmirror.cleanup.deleted": ("long", "Sources deleted in the run."),
    "dcmirror.cleanup.deleted_bytes": ("long", "Their bytes."),
    "dcmirror.cleanup.already_gone": ("long", "Sources that somebody else removed."),
    "dcmirror.cleanup.kept": ("long", "Sources that could not be deleted."),
    "dcmirror.cleanup.parts": ("long", "Left-over parts removed from the mirror."),
    "dcmirror.cleanup.directories": ("long", "Empty source directories removed."),
    "dcmirror.cleanup.requests": ("long", "Requests to the door."),
    "dcmirror.reconcile.whole": (
        "boolean",
        "Whether all of [dcache] folder was compared, not a part or a list.",
    ),
    "dcmirror.reconcile.dry_run": ("boolean", "Whether nothing was to be copied."),
    "dcmirror.reconcile.settled_before": (
        "date",
        "What changed at the source later was left to its event.",
    ),
    "dcmirror.reconcile.directories": ("long", "Directories of the source compared."),
    "dcmirror.reconcile.files": ("long", "Files of the source compared."),
    "dcmirror.reconcile.bytes": ("long", "Their bytes."),
    "dcmirror.reconcile.differences": ("long", "Differences found."),
    "dcmirror.reconcile.remaining": ("long", "Those that are still there."),
    "dcmirror.reconcile.copied": ("long", "Files copied for it."),
    "dcmirror.reconcile.adopted": ("long", "Copies that were there, and right."),
    "dcmirror.reconcile.failed": ("long", "Copies that failed."),
    "dcmirror.reconcile.unlisted": ("long", "Directories not listed, or not whole."),
    "dcmirror.reconcile.requests": ("long", "Requests to the door."),
    **{
        f"dcmirror.reconcile.found.{kind.replace('-', '_')}": (
            "long",
            f"Differences of the kind {kind}.",
        )
        for kind in DifferenceKind
    },
    "dcmirror.audit.offsets": ("long", "Settled offsets that an audit counted."),
    "dcmirror.audit.copies": ("long", "Copies it looked at."),
    "dcmirror.audit.read": ("long", "Copies it read again."),
    "dcmirror.audit.read_bytes": ("long", "Their bytes."),
    "dcmirror.audit.sources": ("long", "Sources it asked the door for."),
    "dcmirror.audit.books_differ": ("long", "Contradictions in the books."),
    "dcmirror.audit.copies_differ": ("long", "Copies missing, damaged or changed."),
    "dcmirror.audit.source_differs": ("long", "Copies that differ from the source."),
    "dcmirror.audit.repaired": ("long", "Of all these, what the audit repaired."),
    "dcmirror.destination.free_bytes": ("long", "Free space below the mirror."),
    "dcmirror.destination.reserved_bytes": ("long", "What running transfers need."),
    "dcmirror.destination.min_free_bytes": ("long", "What is to stay free."),
    "dcmirror.host.role": ("keyword", "door or pool."),
    "dcmirror.host.requests": ("long", "HTTP requests to it since the start."),
    "dcmirror.host.connections": ("long", "Connections opened to it since the start."),
    "dcmirror.host.bytes": ("long", "Bytes received from it since the start."),
    "dcmirror.spool.bytes": ("long", "Size of the journal."),
    "dcmirror.spool.oldest_age_s": ("long", "Age of what is not shipped yet."),
    "dcmirror.spool.behind_bytes": ("long", "What of it is not shipped yet."),
    "dcmirror.spool.state": (
        "keyword",
        "How shipping goes: idle, shipping, retrying or paused.",
    ),
    "dcmirror.spool.dead_letters": ("long", "Lines that were refused for good."),
    "dcmirror.spool.dropped": ("long", "Journal lines lost since the start."),
    **{
        f"dcmirror.spool.dropped_by_kind.{value.kind}": ("long", f"Of them: {doc}.")
        for value, doc in VALUES.items()
    },
}

COMMON = frozenset(
    {
        "@timestamp",
        "log.level",
        "message",
        "ecs.version",
        "data_stream.type",
        "data_stream.dataset",
        "data_stream.namespace",
        "event.kind",
        "event.category",
        "event.type",
        "event.action",
        "event.id",
        "event.sequence",
        "host.name",
        "process.pid",
        "process.name",
        "service.name",
        "service.version",
        "service.node.name",
        "dcmirror.daemon",
    }
)


def _group(prefix: str, *names: str) -> frozenset[str]:
    return frozenset(f"{prefix}{name}" for name in names)


def _below(prefix: str) -> frozenset[str]:
    return frozenset(name for name in FIELDS if name.startswith(prefix))


ORIGIN = _group("dcmirror.kafka.", "topic", "partition", "offset")
FILE = _below("file.") | _group("dcmirror.dcache.", "pnfsid")
JOB = (
    ORIGIN
    | FILE
    | _below("url.")
    | _group("dcmirror.dcache.", "storage_class", "door", "pool")
    | _group("dcmirror.transfer.", "id", "kind", "relative", "attempt")
)
FAILURE = (
    _below("error.")
    | _below("dcmirror.checksum.")
    | _group("dcmirror.transfer.", "error_scope")
    | {"source.address", "http.response.status_code", "event.outcome"}
)
ATTEMPT = (
    _below("dcmirror.transfer.phases.")
    | _below("dcmirror.checksum.")
    | _group("dcmirror.transfer.", "bytes", "throughput_bps", "queue_ms", "state")
    | _group("dcmirror.transfer.", "requests", "connections")
    | _group("event.", "duration", "start", "end", "outcome", "reason")
    | {"source.address", "destination.address", "http.response.status_code"}
)
_RECORD = (
    ORIGIN
    | FILE
    | _group("dcmirror.dcache.", "storage_class", "event_type", "session")
    | {"dcmirror.transfer.id", "event.reason", "event.outcome"}
)
_DELETION = (
    FILE
    | _group("event.", "reason", "outcome")
    | _group("dcmirror.checksum.", "algorithm", "expected")
    | _group("dcmirror.transfer.", "relative")
)
_HOLD = _group("dcmirror.hold.", "kind", "host") | {"event.reason"}
_CHILD = _group("dcmirror.worker.", "id", "jobs")


@dataclass(frozen=True, slots=True)
class Action:
    """One value of event.action, and the fields it may have besides the common ones.

    ``value`` says what is dropped first when the journal is full.
    """

    doc: str
    fields: frozenset[str] = frozenset()
    value: Value = Value.DETAIL
    dataset: str = TRANSFER
    level: str = "info"
    type: str = "info"
    kind: str = "event"
    category: str = "file"


def _daemon(
    doc: str,
    fields: frozenset[str] = frozenset(),
    level: str = "info",
    *,
    value: Value = Value.DETAIL,
    type: str = "info",
    kind: str = "event",
) -> Action:
    return Action(doc, fields, value, HEALTH, level, type, kind, category="process")


ACTIONS: dict[str, Action] = {
    "upload-seen": Action(
        "An upload that is ours was read from Kafka.", JOB, Value.STARTED
    ),
    "event-skipped": Action(
        "A record below the folder that needs no copy; event.reason says why.",
        _RECORD,
        Value.OUTCOME,
    ),
    "event-rejected": Action(
        "A record that is no dCache event.",
        ORIGIN | {"event.reason", "event.outcome", "dcmirror.kafka.excerpt"},
        Value.OUTCOME,
        level="warning",
        type="denied",
    ),
    "transfer-step": Action(
        "One step of a copy, as in the human log.",
        _group("dcmirror.transfer.", "id", "step"),
        Value.STARTED,
        level="debug",
    ),
    "transfer-retry": Action(
        "An attempt failed and another will follow.",
        JOB
        | ATTEMPT
        | FAILURE
        | _group("dcmirror.transfer.", "retry_in_ms", "charged"),
        level="warning",
        type="error",
    ),
    "transfer-parked": Action(
        "An attempt was given back unfinished, uncharged.",
        JOB | ATTEMPT | FAILURE,
    ),
    "transfer-finished": Action(
        "A job ended: mirrored, skipped or failed. One for each job.",
        JOB
        | ATTEMPT
        | FAILURE
        | _group("dcmirror.transfer.", "total_ms")
        | {"dcmirror.kafka.event_age_ms"},
        Value.OUTCOME,
        type="creation",
    ),
    "hold-began": _daemon("Work of a kind waits for a cause to go.", _HOLD, "warning"),
    "hold-ended": _daemon(
        "The cause is gone.", _HOLD | _group("event.", "start", "duration")
    ),
    "child-started": _daemon(
        "A child process runs.", _group("dcmirror.worker.", "id", "pid"), type="start"
    ),
    "child-silent": _daemon(
        "A child does not beat.",
        _group("dcmirror.worker.", "id") | {"event.duration"},
        "warning",
    ),
    "child-died": _daemon(
        "A child process ended; its jobs go back.",
        _CHILD | {"dcmirror.worker.pid", "event.reason"},
        "error",
        type="error",
    ),
    "rebalance": _daemon(
        "Partitions came or went.",
        _group("dcmirror.kafka.", "topic", "partitions") | {"event.reason"},
    ),
    "offsets-lost": _daemon(
        "Kafka no longer has records that were not read; run reconcile.",
        _group("dcmirror.kafka.", "topic", "partition", "lost_from", "lost_to"),
        "error",
        type="error",
    ),
    "intake-trouble": _daemon(
        "Kafka cannot be reached.", frozenset({"event.reason"}), "warning"
    ),
    "intake-recovered": _daemon("Kafka answers again."),
    "source-deleted": Action(
        "A source is gone from the door, deleted by cleanup or (event.reason "
        "already-gone) by somebody else; its copy was proved.",
        _DELETION | _group("dcmirror.cleanup.", "isolated", "window_ms"),
        Value.OUTCOME,
        type="deletion",
    ),
    "source-kept": Action(
        "Cleanup wanted to delete a source and did not; event.reason says why.",
        _DELETION | {"error.message"},
        Value.OUTCOME,
        level="warning",
        type="denied",
    ),
    "cleanup-finished": _daemon(
        "A run of cleanup ended.",
        _group(
            "dcmirror.cleanup.",
            *("deleted", "deleted_bytes", "already_gone", "kept"),
            *("parts", "directories", "requests"),
        )
        | _group("event.", "reason", "outcome", "duration"),
        value=Value.OUTCOME,
        type="end",
    ),
    "reconcile-started": _daemon(
        "Source and mirror are being compared; event.reason says if a killed run is "
        "gone on with.",
        frozenset({"event.reason"}),
        type="start",
    ),
    "reconcile-finished": _daemon(
        "Source and mirror were compared, or (event.reason) not to the end.",
        _below("dcmirror.reconcile.")
        | _group("event.", "reason", "outcome", "start", "duration"),
        value=Value.OUTCOME,
        type="end",
    ),
    "audit-finished": _daemon(
        "An audit ended; its level is error where something is left to do.",
        _below("dcmirror.audit.") | _group("event.", "reason", "outcome", "duration"),
        value=Value.OUTCOME,
        type="end",
    ),
    "watch-started": _daemon(
        "The daemon runs, or another command's engine: process.name tells whose.",
        value=Value.OUTCOME,
        type="start",
    ),
    "watch-stopping": _daemon(
        "It drains.", frozenset({"event.reason", "dcmirror.worker.busy"})
    ),
    "watch-stopped": _daemon(
        "It ends.",
        _group("dcmirror.counts.", "mirrored", "skipped", "failed", "retried")
        | {"event.reason"},
        value=Value.OUTCOME,
        type="end",
    ),
    "configuration-changed": _daemon(
        "HUP was taken, or a credential changed.", frozenset({"event.reason"})
    ),
    "journal-dropped": _daemon(
        "Lines of this journal were lost since the last such event; how many of each "
        "kind. Told once, when all kinds are written again.",
        _below("dcmirror.spool.dropped") | {"event.reason"},
        "error",
        value=Value.OUTCOME,
        type="error",
    ),
    "note": _daemon("Anything else an operator should read."),
    "health": _daemon(
        "What the daemon does now, once a minute.",
        _below("dcmirror.spool.")
        | _below("dcmirror.jobs.")
        | _below("dcmirror.counts.")
        | _below("dcmirror.destination.")
        | _group("dcmirror.worker.", "busy", "total", "restarts")
        | _group("dcmirror.kafka.", "lag", "lag_total", "partition", "topic")
        | _group("dcmirror.hold.", "open", "active")
        | {"dcmirror.credential.left_s"},
        kind="metric",
    ),
    "host-use": _daemon(
        "What one door or pool was asked since the start, once a minute.",
        _below("dcmirror.host.") | {"source.address"},
        kind="metric",
    ),
}

#: Steps that only say how far a transfer is.
PROGRESS_STEPS = frozenset({"copy_run"})


def value_of(action: str, step: str = "") -> Value:
    """What an event is worth; one that nobody knows counts as an outcome."""
    if step in PROGRESS_STEPS:
        return Value.PROGRESS
    entry = ACTIONS.get(action)
    return Value.OUTCOME if entry is None else entry.value
