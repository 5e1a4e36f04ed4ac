"""Panels' queries on a real Elasticsearch, on events of every kind with every field.

``tests/e2e/test_kibana_panels.py`` asks about a real run; this one about what no run
shows at once.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from dcmirror.core import elastic_templates as templates
from dcmirror.core.failures import FailureClass
from dcmirror.core.journal_events import JournalEvents, Writer
from dcmirror.core.journal_table import ACTIONS, COMMON, FIELDS
from dcmirror.core.kibana_dashboards import PANELS
from kibana_queries import panel_query, panel_rows, unlimited
from lens_reader import LensReader, agree, lens_objects

if TYPE_CHECKING:
    from servers.elasticsearch import Elasticsearch

Json = dict[str, Any]

SEED = 20261123
EVENTS_OF_EACH = 25
UNTIL = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
SPAN = timedelta(minutes=30)
WORDS = {
    "event.outcome": ("success", "failure"),
    "dcmirror.transfer.state": ("mirrored", "failed", "adopted", "superseded"),
    "dcmirror.transfer.error_scope": ("source", "transfer", "local"),
    "error.type": tuple(each.value for each in FailureClass)[:4],
    "host.name": ("dtn1", "dtn2"),
    "service.node.name": ("main", "other"),
}


def some_value(field: str, number: int, dice: random.Random) -> Any:
    """One that fits the field's type; the same few come again."""
    kind, _ = FIELDS[field]
    if field in WORDS:
        return dice.choice(WORDS[field])
    if kind in ("long", "float"):
        big = 10**9 if field in ("event.duration", "dcmirror.transfer.bytes") else 50
        return dice.randrange(big) if kind == "long" else round(dice.random() * 100, 3)
    if kind == "boolean":
        return dice.random() < 0.5
    return f"{field.rpartition('.')[2]}-{number % 3}"


def some_event(action: str, number: int, dice: random.Random) -> Json:
    """One of an action, in which every other field may be missing."""
    entry = ACTIONS[action]
    event: Json = {}
    for field in sorted(entry.fields | COMMON):
        if FIELDS[field][0] in ("date", "constant_keyword"):
            continue
        if field in entry.fields and dice.random() < 0.2:
            continue
        *parents, leaf = field.split(".")
        place = event
        for parent in parents:
            place = place.setdefault(parent, {})
        place[leaf] = some_value(field, dice.randrange(100), dice)
    # No two at one time: the newest must be one.
    when = UNTIL - SPAN * (number / 10_000) - timedelta(seconds=1)
    event["@timestamp"] = when.isoformat(timespec="milliseconds")
    event["event"]["action"] = action
    return event


@pytest.fixture(scope="module")
def events() -> list[Json]:
    dice = random.Random(SEED)
    numbers = dice.sample(range(10_000), len(ACTIONS) * EVENTS_OF_EACH)
    return [
        some_event(action, numbers.pop(), dice)
        for action in ACTIONS
        for _ in range(EVENTS_OF_EACH)
    ]


@pytest.fixture(scope="module")
def indices(elasticsearch: Elasticsearch, events: list[Json]) -> Iterator[str]:
    with streams(elasticsearch, events) as names:
        yield names


@contextmanager
def streams(elasticsearch: Elasticsearch, events: list[Json]) -> Iterator[str]:
    """Two data streams of our templates with these events."""
    name = elasticsearch.namespace()
    parts = {
        templates.SETTINGS: {"template": {"settings": {}}},
        templates.MAPPINGS: templates.mappings_component("test"),
    }
    for part, body in parts.items():
        elasticsearch.request("PUT", f"_component_template/{name}-{part}", body)
    body = templates.index_template("test") | {
        "index_patterns": [f"logs-dcmirror.*-{name}"],
        "composed_of": [f"{name}-{part}" for part in parts],
        "ignore_missing_component_templates": [],
        "priority": templates.PRIORITY + 1,
    }
    elasticsearch.request("PUT", f"_index_template/{name}", body)
    for dataset in (templates.TRANSFER, templates.HEALTH):
        documents = [
            (str(number), event)
            for number, event in enumerate(events)
            if ACTIONS[event["event"]["action"]].dataset == dataset
        ]
        items = documents and elasticsearch.bulk(f"logs-{dataset}-{name}", documents)
        assert {item["status"] for item in items} <= {201}
    yield f"logs-dcmirror.*-{name}"
    elasticsearch.ask("DELETE", f"_data_stream/*-*-{name}")
    elasticsearch.ask("DELETE", f"_index_template/{name}")
    for part in parts:
        elasticsearch.ask("DELETE", f"_component_template/{name}-{part}")


@pytest.mark.parametrize("name", sorted(PANELS))
def test_a_panel_is_what_plain_python_makes_of_the_events(
    elasticsearch: Elasticsearch, indices: str, events: list[Json], name: str
) -> None:
    panel = unlimited(PANELS[name])
    body = panel_query(panel, (UNTIL - SPAN).isoformat(), UNTIL.isoformat())
    answer = elasticsearch.search(indices, **body)
    rows = panel_rows(panel, answer)
    numbers = [row[number.label] for row in rows for number in panel.numbers]
    reader = LensReader(lens_objects()[f"dcmirror-{name}"], UNTIL)

    agree(panel, rows, reader.rows(events))
    assert any(numbers)
    assert answer["timed_out"] is False


@pytest.mark.parametrize("name", sorted(PANELS))
def test_a_panel_as_it_is_drawn_is_accepted(
    elasticsearch: Elasticsearch, indices: str, name: str
) -> None:
    """With its own sizes, the largest first."""
    panel = PANELS[name]
    body = panel_query(panel, (UNTIL - SPAN).isoformat(), UNTIL.isoformat())
    rows = panel_rows(panel, elasticsearch.search(indices, **body))

    assert rows


# -- daemons --------------------------------------------------------------------------


def a_sample(instance: str, host: str, minutes: float) -> Json:
    """A daemon's health so long ago, as it writes it."""
    at = (UNTIL - timedelta(minutes=minutes)).timestamp()
    events = JournalEvents(Writer(host, 4242, "dcmirror watch", "1.2", instance))
    counts = {"mirrored": 1, "skipped": 2, "failed": 3, "retried": 4}
    return events.health(at, busy=1, total=2, ready=3, waiting=4, counts=counts)


@pytest.fixture(scope="module")
def samples() -> list[Json]:
    """Three hosts share a group, and so an instance; the third died. A second instance
    runs on the first host."""
    return [
        a_sample(instance, host, minutes)
        for instance, host, ages in (
            ("main", "dtn1", (1.5, 0.5)),
            ("main", "dtn2", (1.6, 0.6)),
            ("main", "dtn3", (10.5, 9.5)),
            ("other", "dtn1", (1.4, 0.4)),
        )
        for minutes in ages
    ]


def daemon_rows(server: Elasticsearch, indices: str, name: str) -> list[Json]:
    body = panel_query(PANELS[name], (UNTIL - SPAN).isoformat(), UNTIL.isoformat())
    return panel_rows(PANELS[name], server.search(indices, **body))


def test_daemons_are_told_apart_by_host_and_instance(
    elasticsearch: Elasticsearch, samples: list[Json]
) -> None:
    with streams(elasticsearch, samples) as indices:
        (number,) = daemon_rows(elasticsearch, indices, "daemons")
        table = daemon_rows(elasticsearch, indices, "hosts")

    assert {"daemons": 3, "of those in the time shown": 4} == number
    assert {
        "main on dtn1": 2,
        "main on dtn2": 2,
        "main on dtn3": 0,
        "other on dtn1": 2,
    } == {row["daemon"]: row["in 5 minutes"] for row in table}
