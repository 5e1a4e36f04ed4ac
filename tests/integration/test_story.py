"""What is told reaches the journal and the human log, and breaks on nothing."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from dcmirror.adapters import shipping_report
from dcmirror.adapters.human_log import HumanLog
from dcmirror.adapters.journal import Journal
from dcmirror.adapters.shipping_report import ShippingReport
from dcmirror.core.dispatch import Dispatcher
from dcmirror.core.events import StorageEvent
from dcmirror.core.failures import Failure, FailureClass
from dcmirror.core.holds import HoldBook, HoldKey, HoldKind
from dcmirror.core.jobs import AttemptResult, Job, JobKind, Origin, ResultKind, Step
from dcmirror.core.journal_values import Value
from dcmirror.core.retry import Retry
from dcmirror.core.tally import Tally
from dcmirror.processes.story import Story
from foreign_words import FOREIGN

NAME = "/d/odd\n2026/01/01 [COPY_OVER] forged \x1b[31m"
JOB = Job(
    "task", JobKind.TRIGGER, NAME, "odd", "https://x/odd", origin=Origin("t", 0, 7)
)
FAILURE = Failure(FailureClass.GONE, "HTTP 404", host="x:443", http_status=404)
RESULT = AttemptResult("task", ResultKind.FAILED, 1.0, 2.0, failure=FAILURE)


class Told:
    """A story, and what it left on disk."""

    def __init__(self, home: Path, **options: Any) -> None:
        self.home = home
        self.journal = Journal(home / "journal", 1 << 24, 1 << 20)
        log = HumanLog(home / "log", "debug")
        self.story = Story(
            self.journal,
            log,
            "watch",
            mirror=Path("/data/mirror"),
            instance="main",
            **options,
        )

    def events(self) -> list[dict[str, Any]]:
        """The journal."""
        self.story.flush()
        self.story.close()
        found = []
        for segment in sorted((self.home / "journal").glob("*-*-*.ndjson")):
            found += [json.loads(line) for line in segment.read_text().splitlines()]
        return found

    def lines_as_written(self) -> str:
        """The human log, byte for byte."""
        self.story.flush_log()
        return (self.home / "log").read_bytes().decode()

    def lines(self) -> list[str]:
        """The human log."""
        self.story.flush_log()
        return (self.home / "log").read_text().splitlines()


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Told]:
    """A story that was not begun."""
    made = Told(tmp_path)
    yield made
    made.story.close()


def test_health_has_one_sample_and_one_for_each_partition(told: Told) -> None:
    tally = Tally(
        mirrored=3, failed=1, retries=2, skipped={"left": 4}, covered={"joined": 9}
    )
    told.story.health(Dispatcher(), tally, 10, {0: 5, 1: 0}, "billing")
    whole, first, second = told.events()

    assert whole["event"]["action"] == "health"
    assert whole["dcmirror"]["counts"] == {
        "mirrored": 3,
        "skipped": 4,
        "failed": 1,
        "retried": 2,
        "bytes": 0,
    }
    assert (first["dcmirror"]["kafka"]["lag"], second["dcmirror"]["kafka"]["lag"]) == (
        5,
        0,
    )


def test_no_name_forges_a_line_or_commands_a_terminal(told: Told) -> None:
    told.story.upload(JOB)
    told.story.retry(JOB, FAILURE, Retry(1.0, charged=True), RESULT)
    told.story.failed(JOB, FailureClass.GONE, FAILURE, RESULT, 3.0)
    told.story.skipped(JOB, "superseded")
    told.story.disowned(JOB, RESULT)
    told.story.steps([Step("task", "copy_over", 1.0, NAME)])
    lines = told.lines()

    assert len(lines) == 6
    assert not any("\x1b" in line for line in lines)
    assert all(line.startswith("20") and line.endswith("(task)") for line in lines)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(name=FOREIGN, said=FOREIGN, task=FOREIGN, host=FOREIGN)
def test_nothing_that_others_wrote_forges_a_line_or_an_escape(
    tmp_path_factory: pytest.TempPathFactory,
    name: str,
    said: str,
    task: str,
    host: str,
) -> None:
    """Whatever stands in a path, an error, a UUID or a host: one line each."""
    told = Told(tmp_path_factory.mktemp("told"))
    story, origin = told.story, Origin(said, 0, 7)
    job = Job(task, JobKind.TRIGGER, name, name, f"https://x/{name}", origin=origin)
    failure = Failure(FailureClass.GONE, said, host=host)
    result = AttemptResult(
        task,
        ResultKind.FAILED,
        1.0,
        2.0,
        failure=failure,
        pool_host=host,
        reason=said,
    )
    event = StorageEvent(msg_type=said, billing_path=name, session=said)
    hold = HoldBook("x:443").begin(HoldKey(HoldKind.POOL, host), said, 1.0)
    assert hold is not None
    outbox = [
        story.failed(job, FailureClass.GONE, failure, result, 3.0)[0],
        story.skipped(job, said),
        story.skipped_event(task, origin, event, said, said),
        story.mirrored(job, replace(result, failure=None), is_old=False),
    ]
    story.upload(job)
    story.retry(job, failure, Retry(1.0, charged=True), result)
    story.disowned(job, result)
    story.steps([Step(task, said, 1.0, name)])
    story.hold_began(hold)
    story.hold_ended(hold, 5.0)
    story.child_died(name, said, [job])
    story.garbage(origin, said, name)
    story.intake_trouble(said)
    story.running([task])
    story.reconfigured(said)
    story.note(said)
    story.flush()
    lines = told.lines_as_written()
    segments = sorted((told.home / "journal").glob("*-*-*.ndjson"))
    journal = b"".join(segment.read_bytes() for segment in segments)
    story.close()

    assert lines.count("\n") == 15
    kinds = {unicodedata.category(character) for character in lines.replace("\n", "")}
    assert not kinds & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert len(lines.splitlines()) == 15
    assert journal.count(b"\n") == 11
    assert re.fullmatch(rb"[\n\x20-\x7e]*", journal)
    for text in [*journal.decode().splitlines(), *(each.line for each in outbox)]:
        assert text.isascii()
        assert text.isprintable()
        assert json.loads(text)["event"]["action"]


def test_a_skipped_record_without_billing_path_is_told_by_the_other(
    told: Told,
) -> None:
    event = StorageEvent(msg_type="transfer", transfer_path="/d/f")
    line = told.story.skipped_event("task", Origin("t", 0, 7), event, "excluded", "*")
    document = json.loads(line.line)

    assert document["file"]["path"] == "/d/f"
    assert document["message"] == "skipped (excluded) /d/f"
    assert "[SKIP] /d/f: excluded * (task)" in told.lines()[0]


def test_every_kind_of_trouble_can_be_told(told: Told) -> None:
    story = told.story
    hold = HoldBook("x:443").begin(HoldKey(HoldKind.POOL, "pool:1"), "refused", 1.0)
    assert hold is not None
    story.hold_began(hold)
    story.hold_ended(hold, 5.0)
    story.child_started("worker 1", 17)
    story.child_died("worker 1", "killed by SIGKILL", [JOB])
    story.child_is_silent("worker 1", 120.0)
    story.assigned("t", 0, 1, 7)
    story.revoked("t", [0, 1], lost=True)
    story.offsets_lost("t", 0, 5, 9)
    story.intake_trouble("broker away")
    story.intake_trouble("")
    story.garbage(Origin("t", 0, 7), "not JSON", "xx")
    story.running(["task"])
    story.draining(1, 60.0)
    story.stopped(Tally())
    story.reconfigured("reloaded: [filter] rules")
    story.note("anything")
    actions = [event["event"]["action"] for event in told.events()]

    assert actions == [
        "hold-began",
        "hold-ended",
        "child-started",
        "child-died",
        "child-silent",
        "rebalance",
        "rebalance",
        "offsets-lost",
        "intake-trouble",
        "intake-recovered",
        "event-rejected",
        "watch-stopping",
        "watch-stopped",
        "configuration-changed",
        "note",
    ]


def test_the_end_of_a_trouble_that_was_never_told_is_not_told(told: Told) -> None:
    told.story.intake_trouble("")

    assert told.events() == []


def test_what_was_lost_is_told_once_when_it_is_over(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    trouble: list[str | None] = ["journal: No space left on device"]
    monkeypatch.setattr(Journal, "trouble", property(lambda _: trouble[0]))
    for _ in range(3):
        told.journal.give_up(Value.PROGRESS, 2)
        told.journal.give_up(Value.STARTED)
        told.story.flush()
    trouble[0] = None
    for _ in range(3):
        told.story.flush()
    (event,) = told.events()

    assert event["event"]["action"] == "journal-dropped"
    assert event["event"]["reason"] == "journal: No space left on device"
    assert event["dcmirror"]["spool"] == {
        "dropped": 9,
        "dropped_by_kind": {"progress": 6, "started": 3},
    }
    said = [line.split("] ")[1] for line in told.lines()]
    assert said == [
        "journal: No space left on device; events are lost (SYSTEM)",
        "journal lines were lost: 6 progress, 3 started (SYSTEM)",
    ]


def test_what_was_lost_is_told_at_the_end_even_if_it_is_not_over(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Journal, "trouble", property(lambda _: "journal: full"))
    told.journal.give_up(Value.DETAIL)
    told.story.close()
    (event,) = told.events()

    assert event["dcmirror"]["spool"]["dropped_by_kind"] == {"detail": 1}


def test_the_spool_is_in_the_sample_of_health(tmp_path: Path) -> None:
    report = ShippingReport(
        pid=1,
        name="logger",
        at=1.0,
        sink="elasticsearch",
        state="retrying",
        behind_bytes=4096,
        oldest_age_s=61.5,
        dead_letters=2,
    )
    shipping_report.write(tmp_path / "shipper.json", report)
    made = Told(tmp_path, shipping=tmp_path / "shipper.json")
    made.story.health(Dispatcher(), Tally(), 10, {}, "billing")
    (event,) = made.events()

    spool = event["dcmirror"]["spool"]
    assert spool.pop("bytes") >= 0
    assert spool == {
        "behind_bytes": 4096,
        "oldest_age_s": 61,
        "state": "retrying",
        "dead_letters": 2,
        "dropped": 0,
    }
    made.story.close()
