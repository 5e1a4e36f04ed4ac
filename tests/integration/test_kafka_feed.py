"""From a scripted consumer to jobs: what is read is never overtaken by bad news."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from dcmirror.adapters.catalogue import Catalogue
from dcmirror.core.filters import Rules
from dcmirror.core.ledger import Ledgers
from dcmirror.core.paths import PathMap
from dcmirror.core.plan import Planner
from dcmirror.processes.kafka_feed import KafkaFeed
from dcmirror.processes.reception import Reception
from engine_history import History
from helpers import make_event
from intake_bench import KAFKA, TOPIC, Bench

#: What makes an event a hint that there was an upload, or the door's record of one.
HINT: dict[str, Any] = {"msgType": "request", "cellType": "door"}
REQUEST = HINT | {"moverInfo": {"isWrite": "write"}}


def upload(number: int) -> bytes:
    path = f"/x/f{number}"
    pnfsid = f"{number:036X}"
    return make_event(billingPath=path, transferPath=path, pnfsid=pnfsid)


class Site:
    """A reader, and behind its outlet the feed, the reception and an engine."""

    def __init__(self, home: Path) -> None:
        self.bench = Bench(KAFKA)
        self.history = History()
        self.ledgers = Ledgers(TOPIC)
        self.catalogue = Catalogue(home / "catalogue.db")
        reception = Reception(
            self.history.engine,
            Planner(
                PathMap("https://door/", "/", "/x"), Rules.parse(("exclude *.tmp",))
            ),
            self.catalogue,
            self.ledgers,
            task_space=uuid.UUID(int=1),
            net_seconds=30.0,
            requests_without_mover="auto",
        )
        self.feed = KafkaFeed(
            cast(Any, self.bench.outlet),
            self.bench.fd,
            reception,
            self.history.engine,
        )

    def read(self, *numbers: int) -> None:
        """An upload for each of them arrives, a batch of its own for each."""
        for number in numbers:
            self.bench.consumer.logs[0].append(upload(number))
            self.bench.turn()

    def begin_log(self, first: int, *numbers: int) -> None:
        """Retention, or a topic made anew, left only these uploads."""
        self.bench.consumer.firsts[0] = first
        self.bench.consumer.logs[0] = [upload(number) for number in numbers]

    def read_record(self, **members: Any) -> None:
        """Any record arrives."""
        self.bench.consumer.logs[0].append(make_event(**members))
        self.bench.turn()

    def take(self) -> None:
        """The loop takes what is there, and the thread goes on, again and again."""
        for _ in range(12):
            self.feed.take(self.history.now, self.history.now)
            self.bench.turn()

    @property
    def paths(self) -> list[str]:
        entries = self.history.engine.dispatcher.entries.values()
        return [entry.job.path for entry in entries]

    def close(self) -> None:
        self.bench.close()
        self.catalogue.close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    made.bench.consumer.group[0] = 0
    made.bench.join(0)
    yield made
    made.close()


@pytest.mark.parametrize("waiting", [1, 3, 4])
def test_records_read_before_a_gap_become_jobs(site: Site, waiting: int) -> None:
    """While the loop takes nothing, retention passes what is read; behind the Assigned
    three batches fill the queue, and a fourth is in hand."""
    site.read(*range(waiting))
    site.begin_log(50, 50, 51)
    site.bench.turn(3)

    site.take()

    expected = [f"/x/f{number}" for number in (*range(waiting), 50, 51)]
    assert site.paths == expected
    assert site.history.story.told.count("offsets_lost") == 1
    assert site.ledgers.committables() == {(0, 1): 0}


@pytest.mark.parametrize("waiting", [2, 4])
def test_records_read_before_the_log_was_made_anew_become_jobs(
    site: Site, waiting: int
) -> None:
    site.read(*range(waiting))
    site.begin_log(0, 90)
    site.bench.turn(3)

    site.take()

    expected = [f"/x/f{number}" for number in (*range(waiting), 90)]
    assert site.paths == expected
    assert site.ledgers.committables() == {(0, 2): 0}


def test_what_a_revocation_overtakes_is_over(site: Site) -> None:
    """Neither the Assigned nor the gap behind it may bring the partition back."""
    site.read(0, 1)
    site.begin_log(50, 50)
    site.bench.turn(2)
    site.bench.consumer.steps.append(site.bench.consumer.lose)
    site.bench.turn()

    site.take()

    assert site.paths == []
    assert site.ledgers.committables() == {}
    assert {"assigned", "offsets_lost"}.isdisjoint(site.history.story.told)


def test_a_partition_that_comes_back_begins_anew(site: Site) -> None:
    site.read(0, 1)
    site.bench.consumer.steps.append(site.bench.consumer.lose)
    site.bench.turn()
    site.bench.join(0)

    site.take()

    assert site.paths == ["/x/f0", "/x/f1"]
    assert site.ledgers.committables() == {(0, 2): 0}


def test_a_drain_drops_a_gap_with_the_records_before_it(site: Site) -> None:
    """Told alone it would make them count as settled."""
    site.read(*range(5))
    assert site.bench.outlet.has_in_hand
    site.bench.wishes.is_draining = True
    site.begin_log(50, 50)

    def gone() -> None:
        site.bench.consumer.stopped.clear()

    site.bench.consumer.steps.append(gone)
    site.take()

    assert "offsets_lost" not in site.history.story.told
    assert site.paths == ["/x/f0", "/x/f1", "/x/f2"]


def test_what_another_record_covers_is_no_skip_for_nobody_is_told(site: Site) -> None:
    """The door's record before its pool's and behind it, and one that only hints."""
    for number, order in enumerate((("pool", "door"), ("door", "pool"))):
        upload = {"billingPath": f"/x/f{number}", "pnfsid": f"{number:036X}"}
        kinds = {
            "pool": {"initiator": f"door:{number}"},
            "door": REQUEST | {"session": f"door:{number}"},
        }
        for kind in order:
            site.read_record(**upload, **kinds[kind])
    site.read_record(billingPath="/x/hint", **HINT)
    site.read_record(billingPath="/x/removed.tmp")
    site.take()
    tally, told = site.history.engine.tally, site.history.story.told

    assert {"joined": 2, "hint-ignored": 1} == tally.covered
    assert {"excluded": 1} == tally.skipped
    assert 1 == tally.counts()["skipped"]
    assert (0, 1) == (told.count("skipped"), told.count("skipped_event"))
    assert ["/x/f0", "/x/f1"] == site.paths
    assert 4 == len(site.history.settler.settled)
