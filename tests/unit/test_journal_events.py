"""Journal events: only what the table knows, in the names and units of ECS."""

from __future__ import annotations

import inspect
import json
import math
import re
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcmirror.core.deletion import Keep, Kept
from dcmirror.core.differences import DifferenceKind
from dcmirror.core.events import StorageEvent
from dcmirror.core.failures import Failure, FailureClass
from dcmirror.core.findings import Impact, Summary
from dcmirror.core.jobs import (
    AttemptResult,
    CopyRecord,
    Job,
    JobKind,
    Origin,
    ResultKind,
    Step,
)
from dcmirror.core.journal_audit import AuditCounts
from dcmirror.core.journal_cleanup import CleanupTally
from dcmirror.core.journal_daemon import DaemonState
from dcmirror.core.journal_events import (
    ACTIONS,
    FIELDS,
    JournalEvents,
    Writer,
    render,
)
from dcmirror.core.journal_table import COMMON
from dcmirror.core.journal_values import Value

AT = 1_579_801_634.5678
TASK = "f9c82897-0976-ed88-61d8-0db305308527"
ORIGIN = Origin("billing", 3, 4711)
EVENTS = JournalEvents(Writer("dtn1", 4242, "dcmirror watch", "1.2", "main"))

COPY = CopyRecord(
    relative="a/b.tar",
    path="/pnfs/x/a/b.tar",
    pnfsid="0000AB",
    size=1_000_000,
    adler32=0xDEADBEEF,
    verified=True,
    mtime_ns=1,
    copied_at=AT,
)
SOURCE = (COPY.path, COPY.pnfsid, COPY.size, COPY.adler32)
PHASES = ("queued", "connect", "tls", "door", "pool_queue", "data", "checksum")


def job(**over):
    values = {
        "task": TASK,
        "kind": JobKind.TRIGGER,
        "path": "/pnfs/x/a/b.tar",
        "relative": "a/b.tar",
        "url": "https://user:secret@door.example.org:2880/x/a/b.tar?authz=TOKEN#f",
        "size": 1_000_000,
        "pnfsid": "0000AB",
        "event_time": AT - 2.5,
        "accepted_at": AT - 2.0,
        "origin": ORIGIN,
        "door": "webdav-1",
        "pool": "pool_7",
        "storage_class": "lsst:raw@osm",
        "attempt": 2,
    }
    return Job(**(values | over))


def result(kind=ResultKind.MIRRORED, **over):
    values = {
        "task": TASK,
        "kind": kind,
        "started_at": AT - 0.5,
        "ended_at": AT - 0.25,
        "copy": COPY,
        "bytes_received": 1_000_000,
        "requests": 2,
        "connections": 1,
        "door_host": "door.example.org:2880",
        "pool_host": "pool.example.org:20001",
        "http_status": 200,
        "reason": "size_differs_from_event",
        "phases": dict.fromkeys((*PHASES, "publish"), 100.0),
    }
    return AttemptResult(**(values | over))


FAILURE = Failure(
    FailureClass.CHECKSUM,
    "digest differs at https://pool:1/x?id=SECRET (tried twice)",
    host="pool.example.org:20001",
    http_status=206,
    curl_code=18,
    received=12,
    adler32_expected=1,
    adler32_computed=0xDEADBEEF,
)
COUNTS = {"mirrored": 1, "skipped": 2, "failed": 3, "retried": 4}
KINDS = {value.kind: 1 + value for value in Value}
RECORD = StorageEvent(
    msg_type="transfer",
    is_write=True,
    is_p2p=False,
    status_code=0,
    pnfsid="0000AB",
    billing_path="/pnfs/x/a/b.tar",
    transfer_path="/pnfs/x/a/b.tar",
    file_size=7,
    session="door:x",
    initiator=None,
    cell_type="pool",
    storage_info="lsst:raw@osm",
    event_time=AT,
    has_mover=False,
)
STATE = DaemonState(
    held=1,
    oldest_age_s=2.5,
    restarts=3,
    holds=("pool p:1",),
    free_bytes=4,
    reserved_bytes=5,
    min_free_bytes=6,
    spool_bytes=7,
    behind_bytes=8,
    spool_age_s=9.5,
    shipping="idle",
    dead_letters=10,
    dropped=KINDS,
)

# Each builder with everything that it can be given.
FULL = {
    "upload_seen": (AT, job()),
    "event_skipped": (
        (AT, ORIGIN, "excluded"),
        {"task": TASK, "event": RECORD, "event_id": "e"},
    ),
    "event_rejected": (
        (AT, ORIGIN, "not JSON"),
        {"excerpt": "\\x00"},
    ),
    "transfer_step": (Step(TASK, "copy_init", AT, "Creating destination file"),),
    "transfer_retry": (
        (AT, job(), FAILURE),
        {"delay": 3.0, "result": result(ResultKind.FAILED)},
    ),
    "transfer_parked": (
        (AT, job(), "hold"),
        {"failure": FAILURE, "result": result(ResultKind.PARKED)},
    ),
    "transfer_finished": (
        (AT, job(), result()),
        {
            "failure": FAILURE,
            "failure_class": FailureClass.GONE,
            "reason": "r",
            "event_id": "e",
        },
    ),
    "hold_began": (AT, "door", "door:2880", "connection refused"),
    "hold_ended": (AT, "door", "door:2880", "connection refused", 61.5),
    "child_started": (AT, "worker 1", 17),
    "child_silent": (AT, "worker 1", 61.0),
    "child_died": (AT, "worker 1", "killed by SIGKILL", [TASK], 17),
    "rebalance": (AT, "billing", [2, 0], "assigned"),
    "offsets_lost": (AT, "billing", 0, 10, 99),
    "intake_trouble": (AT, "no broker answers"),
    "watch_started": (AT, "dcmirror 1.2 started"),
    "watch_stopping": (AT, "drain", 4),
    "watch_stopped": (AT, "drained", COUNTS),
    "configuration_changed": (AT, "proxy renewed"),
    "journal_dropped": (AT, KINDS, "disk full"),
    "note": (AT, "set aside", "warning"),
    "health": (
        (AT,),
        {
            "busy": 1,
            "total": 10,
            "ready": 2,
            "waiting": 3,
            "counts": COUNTS | {"bytes": 5},
            "topic": "billing",
            "partition": 0,
            "lag": 5,
            "lag_total": 6,
            "holds": 1,
            "credential_left": 3.5,
            "state": STATE,
        },
    ),
    "host_use": (AT, "pool:1", "pool", 3, 2, 1000),
    "source_deleted": (
        (AT, "a/b.tar", SOURCE),
        {"reason": "deleted", "apart": True, "window": 0.004},
    ),
    "source_kept": (AT, "a/b.tar", SOURCE, Keep(Kept.REPLACED, "another pnfsid")),
    "audit_finished": (AT, AuditCounts(9, 8, 7, 6, 5, 1, 2, 3, 2), 4.0, "done"),
    "reconcile_started": ((AT, "compares the source"), {"is_resumed": True}),
    "reconcile_finished": (
        AT,
        Summary(
            is_complete=True,
            is_dry=False,
            directories=2,
            files=9,
            found=dict.fromkeys(DifferenceKind, 1),
            impact=Impact(3, 4, 2.0),
        ),
        "stopped by SIGTERM",
    ),
    "cleanup_finished": (AT, CleanupTally(deleted=2, deleted_bytes=9), 4.0, "stopped"),
}


def call(name, arguments):
    if len(arguments) == 2 and isinstance(arguments[1], dict):
        return getattr(EVENTS, name)(*arguments[0], **arguments[1])
    return getattr(EVENTS, name)(*arguments)


def flat(document, prefix=""):
    found = {}
    for name, value in document.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = value
    return found


def builders():
    return {
        name
        for name, _ in inspect.getmembers(JournalEvents, inspect.isfunction)
        if not name.startswith("_") and name not in ("make", "compose", "step_line")
    }


def test_every_builder_is_tried_here():
    assert set(FULL) == builders()


@pytest.mark.parametrize("name", sorted(FULL))
def test_a_builder_emits_only_what_the_table_has(name):
    found = flat(call(name, FULL[name]))
    action = ACTIONS[found["event.action"]]

    assert found.keys() <= FIELDS.keys()
    assert found.keys() <= action.fields | COMMON
    assert COMMON - {"event.id"} <= found.keys()


def test_an_action_or_field_that_the_table_lacks_cannot_be_emitted():
    with pytest.raises(KeyError):
        EVENTS.make("file-eaten", AT, "", {})
    with pytest.raises(ValueError, match=r"upload-seen has no field file\.colour"):
        EVENTS.make("upload-seen", AT, "", {"file.colour": "red"})
    with pytest.raises(ValueError, match="hold-began has no field"):
        EVENTS.make("hold-began", AT, "", {"file.path": "/p"})


def test_every_action_of_the_table_has_a_builder():
    emitted = {call(name, FULL[name])["event"]["action"] for name in FULL}
    emitted |= {EVENTS.intake_trouble(AT, "")["event"]["action"]}

    assert emitted == ACTIONS.keys()


def test_every_field_of_every_action_is_emitted_by_some_builder():
    """Full input fills all that the table promises; nothing there is a dead letter."""
    documents = [call(name, FULL[name]) for name in FULL]
    documents += [
        EVENTS.intake_trouble(AT, ""),
        EVENTS.transfer_finished(AT, job(), result(), event_id="e"),
    ]
    emitted = {}
    for document in documents:
        found = flat(document)
        emitted.setdefault(found["event.action"], set()).update(found)
    unused = {
        name: sorted(action.fields - emitted[name]) for name, action in ACTIONS.items()
    }

    assert {name: fields for name, fields in unused.items() if fields} == {}


#: What a value of each type looks like in JSON; each may come as a list of them too.
TYPES = {
    "long": lambda value: type(value) is int and -(2**63) <= value < 2**63,
    "float": lambda value: type(value) in (int, float) and math.isfinite(value),
    "boolean": lambda value: type(value) is bool,
    "date": lambda value: datetime.fromisoformat(value).tzinfo is not None,
    "keyword": lambda value: type(value) is str,
    "constant_keyword": lambda value: type(value) is str,
    "match_only_text": lambda value: type(value) is str,
}


@pytest.mark.parametrize("name", sorted(FULL))
def test_a_rendered_event_has_the_types_that_the_table_says(name):
    found = flat(json.loads(render(call(name, FULL[name]))))
    wrong = {
        field: value
        for field, value in found.items()
        for one in (value if isinstance(value, list) else [value])
        if not TYPES[FIELDS[field][0]](one)
    }

    assert wrong == {}
    assert {kind for kind, _ in FIELDS.values()} == TYPES.keys()


TEXT = st.text(st.characters(), max_size=40) | st.sampled_from(
    [
        "a\n2026/01/01 00:00:00 [COPY_OVER] forged",
        "\x1b[2K\x1b]0;title\x07",
        "\u202egpj.exe\u2066\u2028\u2029\ufeff",
        "\ud800\udcff",
        '"},"crc":"00000000"}',
        "\x7f\x9b\x85\0",
        "\U0001f600",
        "x" * 9000,
    ]
)
TIMES = st.floats(0, 4e9)


@given(st.builds(Step, task=TEXT, name=TEXT, at=TIMES, text=TEXT))
def test_a_step_is_the_same_by_its_template_and_by_the_table(step):
    line = EVENTS.step_line(step)
    by_table = EVENTS.transfer_step(step)
    by_table["event"]["sequence"] -= 1

    assert json.loads(line) == json.loads(render(by_table))
    assert line.isascii()
    assert line.isprintable()


def test_a_writer_with_odd_names_spoils_no_template():
    odd = Writer('h"\\\n', 1, '"message":""', "1970-01-01T00:00:00.000Z", "é")
    events = JournalEvents(odd)
    step = Step(TASK, "copy_init", AT, "begin")

    document = json.loads(events.step_line(step))
    by_table = events.transfer_step(step)
    by_table["event"]["sequence"] -= 1
    assert document == json.loads(render(by_table))


def test_events_of_one_millisecond_keep_the_order_in_which_they_were_told():
    events = JournalEvents(Writer("dtn1", 1, "dcmirror watch", "1", "main"))
    step = Step(TASK, "copy_init", AT, "begin")
    lines = [
        render(events.upload_seen(AT, job())),
        events.step_line(step),
        events.step_line(step),
        render(events.transfer_finished(AT, job(), result())),
    ]

    told = [json.loads(line)["event"]["sequence"] for line in lines]
    assert told == sorted(set(told))


def test_the_namespace_is_the_one_that_is_set():
    writer = Writer("dtn1", 1, "dcmirror watch", "1", "main", namespace="lsst")
    event = JournalEvents(writer).note(AT, "x")

    assert event["data_stream"] == {
        "type": "logs",
        "dataset": "dcmirror.health",
        "namespace": "lsst",
    }


def test_daemons_of_one_instance_are_told_apart_by_their_hosts():
    writers = [Writer(host, 1, "dcmirror watch", "1", "main") for host in ("a", "b")]
    events = [JournalEvents(writer).note(AT, "x") for writer in writers]

    assert ["main on a", "main on b"] == [e["dcmirror"]["daemon"] for e in events]
    assert {"main"} == {e["service"]["node"]["name"] for e in events}


def test_one_event_does_not_change_another():
    """Documents share what is the same in all of them."""
    first = EVENTS.transfer_finished(AT, job(), result(), event_id="e-1")
    before = render(first)
    EVENTS.transfer_finished(AT + 1, job(task="other"), None, reason="joined")
    EVENTS.hold_ended(AT, "door", "d:1", "refused", 3.0)

    assert render(first) == before


def test_the_table_is_consistent():
    used = COMMON.union(*(action.fields for action in ACTIONS.values()))

    assert used <= FIELDS.keys()
    assert FIELDS.keys() - used == set()
    assert all(doc.endswith(".") for doc in (a.doc for a in ACTIONS.values()))
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", action) for action in ACTIONS)
    assert {action.level for action in ACTIONS.values()} <= {
        "debug",
        "info",
        "warning",
        "error",
    }


def test_a_finished_copy_has_what_the_dashboards_ask():
    event = EVENTS.transfer_finished(AT, job(), result(), event_id="e-1")
    found = flat(event)

    assert found["@timestamp"] == "2020-01-23T17:47:14.567Z"
    assert found["event.outcome"] == "success"
    assert found["event.duration"] == 250_000_000
    assert found["event.id"] == "e-1"
    assert found["data_stream.dataset"] == "dcmirror.transfer"
    assert found["dcmirror.transfer.state"] == "mirrored"
    assert found["dcmirror.transfer.bytes"] == 1_000_000
    assert found["dcmirror.transfer.throughput_bps"] == 80_000_000
    assert found["dcmirror.transfer.queue_ms"] == 100.0
    assert found["dcmirror.transfer.phases.pool_queue"] == 100.0
    assert found["dcmirror.kafka.event_age_ms"] == 2500
    assert found["dcmirror.checksum.match"] is True
    assert found["source.address"] == "pool.example.org:20001"
    assert found["dcmirror.dcache.storage_class"] == "lsst:raw@osm"


def test_a_failed_transfer_says_whose_side_it_is_on():
    failure = Failure(FailureClass.NOT_THERE, "404", host="door:2880", http_status=404)
    event = EVENTS.transfer_finished(
        AT,
        job(),
        result(ResultKind.FAILED, copy=None),
        failure=failure,
        failure_class=FailureClass.GONE,
    )
    found = flat(event)

    assert found["event.outcome"] == "failure"
    assert found["error.type"] == "gone"
    assert found["dcmirror.transfer.error_scope"] == "source"
    assert found["source.address"] == "door:2880"
    assert found["http.response.status_code"] == 404
    assert found["log.level"] == "error"


def test_a_mismatch_shows_both_checksums():
    found = flat(EVENTS.transfer_retry(AT, job(), FAILURE, delay=3.0))

    assert found["dcmirror.checksum.match"] is False
    assert found["dcmirror.checksum.expected"] == "00000001"
    assert found["dcmirror.checksum.actual"] == "deadbeef"
    assert found["dcmirror.transfer.retry_in_ms"] == 3000


def test_an_unverified_copy_claims_no_match():
    unverified = COPY.__class__(
        **{n: getattr(COPY, n) for n in COPY.__slots__} | {"verified": False}
    )
    found = flat(EVENTS.transfer_finished(AT, job(), result(copy=unverified)))

    assert "dcmirror.checksum.match" not in found
    assert found["dcmirror.checksum.actual"] == "deadbeef"


def test_a_skipped_job_needs_no_attempt():
    found = flat(EVENTS.transfer_finished(AT, job(), None, reason="joined"))

    assert found["dcmirror.transfer.state"] == "skipped"
    assert found["event.outcome"] == "success"
    assert found["event.reason"] == "joined"


def test_no_secret_of_a_url_reaches_the_journal():
    for name in FULL:
        line = render(call(name, FULL[name]))
        assert not re.search("secret|TOKEN|SECRET", line), name
    found = flat(EVENTS.upload_seen(AT, job()))

    assert found["url.full"] == "https://door.example.org:2880/x/a/b.tar"
    assert found["url.domain"] == "door.example.org"
    assert found["url.port"] == 2880


def test_a_url_that_is_none_spoils_nothing():
    found = flat(EVENTS.upload_seen(AT, job(url="https://[::1:x/")))

    assert found["file.path"] == "/pnfs/x/a/b.tar"
    assert "url.full" not in found


@pytest.mark.parametrize(
    "name", ["a\nb", "a\x1b[31m", "a\u202eb", "a\x9bb", "\ud800\udcff", "ü", "\0"]
)
def test_a_line_is_ascii_json_whatever_a_name_contains(name):
    line = render(EVENTS.upload_seen(AT, job(path=f"/pnfs/{name}")))

    assert line.isascii()
    assert line.isprintable()
    json.loads(line)["file"]["path"].encode()


def test_an_endless_text_is_cut():
    line = render(EVENTS.upload_seen(AT, job(path="/" + "x" * 100_000)))

    assert len(line) < 60_000


def test_what_is_unknown_is_left_out():
    bare = Job(
        task=TASK, kind=JobKind.REPLAY, path="/p", relative="p", url="https://d/p"
    )
    odd = result(
        copy=None,
        bytes_received=0,
        http_status=None,
        phases={"data": float("nan"), "warp": 1.0},
    )
    found = flat(EVENTS.transfer_finished(AT, bare, odd))

    assert None not in found.values()
    assert "dcmirror.kafka.topic" not in found
    assert "dcmirror.transfer.throughput_bps" not in found
    assert not any(name.startswith("dcmirror.transfer.phases.") for name in found)
