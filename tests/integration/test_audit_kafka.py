"""What a real broker says of gaps, and that asking it disturbs nobody."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import Producer

from dcmirror import config
from dcmirror.adapters.catalogue import Catalogue, Position, SettleBatch
from dcmirror.adapters.kafka_offsets import asking
from dcmirror.adapters.segments import seal, segment_name
from dcmirror.commands.audit import AuditOptions, audit
from dcmirror.commands.audit_report import Form
from dcmirror.core.findings import Summary
from dcmirror.core.journal_events import JournalEvents, Writer, render
from dcmirror.core.ledger import Span
from dcmirror.errors import IntakeError
from helpers import wait_until

if TYPE_CHECKING:
    from servers.kafka import Kafka

CONFIG = """\
[kafka]
topic = "{topic}"
servers = ["{bootstrap}"]
consumergroup = "{group}"
[dcache]
url = "https://127.0.0.1:9/data"
pool = "/pnfs/example.org/data"
folder = "/exp/raw"
[local]
downloadfolder = "{home}/mirror"
[state]
directory = "{home}/state"
"""


class Group:
    """A consumer group on a topic of its own, and the books of its one instance."""

    def __init__(self, kafka: Kafka, home: Path) -> None:
        self.kafka = kafka
        self.topic = kafka.create_topic()
        self.name = f"g-{uuid.uuid4().hex[:8]}"
        self.config = home / "dcmirror.toml"
        (home / "state").mkdir()
        (home / "mirror").mkdir()
        self.config.write_text(
            CONFIG.format(
                topic=self.topic, bootstrap=kafka.bootstrap, group=self.name, home=home
            )
        )
        self.catalogue = Catalogue(home / "state" / "catalogue.db")
        self.catalogue.assign(self.topic, 0, 1, None, 0)

    def settle(self, *ranges: tuple[int, int], acknowledged: int = 0) -> None:
        """Everything in these ranges is not ours."""
        spans = tuple(
            Span(self.topic, 0, 1, first, last, {"not-ours": last - first + 1})
            for first, last in ranges
        )
        end = ranges[-1][1] + 1
        self.catalogue.settle(
            SettleBatch(
                spans=spans,
                positions={(self.topic, 0): Position(1, end, acknowledged)},
            )
        )

    def transactions(self, *values: tuple[bytes, ...]) -> None:
        """One transaction for each tuple, its marker written when this returns."""
        producer = Producer(
            {
                "bootstrap.servers": self.kafka.bootstrap,
                "transactional.id": self.name,
            }
        )
        producer.init_transactions(30)
        end = self.kafka.end_offsets(self.topic)[0]
        for each in values:
            producer.begin_transaction()
            for value in each:
                producer.produce(self.topic, value)
            producer.commit_transaction(30)
            end += len(each) + 1
            # the broker answers a commit before the marker is in the log
            wait_until(self._ends_at(end))

    def reconcile(self, settled_before: float) -> None:
        """The journal of two that compared everything there was then."""
        events = JournalEvents(Writer("dtn1", 1, "dcmirror reconcile", "1.0", "x"))
        summary = Summary(
            is_complete=True,
            is_dry=False,
            is_whole=True,
            started=settled_before,
            settled_before=settled_before,
        )
        again = replace(summary, started=settled_before + 60)
        lines = [
            render(events.reconcile_finished(each.started + 9, each, ""))
            for each in (summary, again)
        ]
        path = self.config.parent / "state" / "journal"
        path.mkdir(exist_ok=True)
        name = segment_name("20260101T000000Z-00000000000000aa", 1)
        (path / name).write_bytes(b"".join(map(seal, lines)))

    def _ends_at(self, offset: int) -> Callable[[], bool]:
        return lambda: self.kafka.end_offsets(self.topic)[0] == offset

    def commit(self, offset: int) -> None:
        """As the daemon does."""
        from confluent_kafka import Consumer, TopicPartition

        consumer = Consumer(
            {"bootstrap.servers": self.kafka.bootstrap, "group.id": self.name}
        )
        at = TopicPartition(self.topic, 0, offset)
        consumer.commit(offsets=[at], asynchronous=False)
        consumer.close()


@pytest.fixture
def group(kafka: Kafka, tmp_path: Path) -> Group:
    return Group(kafka, tmp_path)


@pytest.fixture
def run(group: Group, capsys: pytest.CaptureFixture[str]) -> Callable[[], Any]:
    def audited() -> Any:
        options = AuditOptions(
            settings=config.load(group.config, {}), now=time.time(), form=Form.JSON
        )
        status = audit(options)
        document = json.loads(capsys.readouterr().out)
        assert document["status"] == status
        notes = {each["kind"]: each["text"] for each in document["notes"]}
        details = [each["detail"] for each in document["findings"]]
        return int(status), details, notes

    return audited


def test_records_without_an_outcome_are_a_gap(group, run) -> None:
    group.kafka.produce(group.topic, [b"x"] * 20)
    group.settle((0, 4), (8, 19))
    group.commit(20)

    status, details, _ = run()

    assert status == 22
    assert len(details) == 1
    assert "offsets 5-7 have records" in details[0]


@pytest.mark.parametrize(("after", "is_cured"), [(-60.0, False), (3600.0, True)])
def test_a_gap_is_told_until_everything_was_reconciled(
    group, run, after: float, is_cured: bool
) -> None:
    group.kafka.produce(group.topic, [b"x"] * 20)
    group.settle((0, 4), (8, 19))
    group.commit(20)
    assert run()[0] == 22
    group.reconcile(time.time() + after)

    status, details, notes = run()

    assert (status, len(details)) == ((0, 0) if is_cured else (22, 1))
    assert ("5-7" in notes.get("reconciled", "")) is is_cured


def test_only_what_lies_below_the_committed_offset_is_judged(group, run) -> None:
    group.kafka.produce(group.topic, [b"x"] * 20)
    group.settle((0, 4), (8, 19))
    group.commit(5)

    assert run()[:2] == (0, [])


def test_markers_of_transactions_are_no_records(group, run) -> None:
    group.transactions((b"x", b"y"), (b"x", b"y"), (b"x", b"y"))
    group.kafka.produce(group.topic, [b"z"])
    group.settle((0, 1), (3, 4), (6, 7), (9, 9))
    group.commit(10)

    status, details, notes = run()

    assert (status, details) == (0, [])
    assert "2, 5, 8" in notes["no-records"]


def test_a_marker_at_the_very_end_is_no_record(group, run) -> None:
    group.transactions((b"x",))
    group.settle((0, 0))
    group.commit(2)
    group.catalogue.settle(
        SettleBatch(
            spans=(Span(group.topic, 0, 1, 0, 0, {"not-ours": 1}),),
            positions={(group.topic, 0): Position(1, 2, 2)},
        )
    )

    status, details, notes = run()

    assert (status, details) == (0, [])
    assert notes["no-records"].count("offsets 1:") == 1


def test_what_has_expired_is_said_to_have_expired(group, run) -> None:
    group.kafka.produce(group.topic, [b"x"] * 20)
    group.settle((0, 4), (8, 19))
    group.commit(20)
    group.kafka.delete_records(group.topic, 0, 10)

    status, details, notes = run()

    assert (status, details) == (0, [])
    assert "5-7" in notes["expired"]


def test_a_group_that_somebody_set_back_is_told(group, run) -> None:
    group.kafka.produce(group.topic, [b"x"] * 20)
    group.settle((0, 19), acknowledged=20)
    group.commit(3)

    status, details, notes = run()

    assert (status, details) == (0, [])
    assert "set back to 3" in notes["reset"]


def test_asking_never_joins_the_group(group) -> None:
    group.kafka.produce(group.topic, [b"x"] * 5)
    group.commit(2)
    settings = config.load(group.config, {}).kafka

    with asking(settings) as offsets:
        state = offsets.state(0)
        has = offsets.has_records(0, 3, 4, time.monotonic() + 20)
        assert group.kafka.members(group.name) == 0

    assert (state.committed, state.begin, state.end) == (2, 0, 5)
    assert has is True
    assert group.kafka.committed(group.name, group.topic) == {0: 2}


def test_a_broker_that_is_away_is_said_to_be_away(tmp_path) -> None:
    path = tmp_path / "dcmirror.toml"
    path.write_text(
        CONFIG.format(topic="t", bootstrap="127.0.0.1:9", group="g", home=tmp_path)
    )
    settings = config.load(path, {}).kafka

    with pytest.raises(IntakeError, match=r"127\.0\.0\.1:9: "), asking(settings):
        pass
