"""Panels' queries on a real Elasticsearch, on events of every kind with every field.

``tests/e2e/test_kibana_panels.py`` asks about a real run; this one about what no run
shows at once.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from dcmirror.core import elastic_templates as templates
from dcmirror.core.failures import FailureClass
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
        items = elasticsearch.bulk(f"logs-{dataset}-{name}", documents)
        assert {item["status"] for item in items} == {201}
    yield f"logs-dcmirror.*-{name}"
    elasticsearch.remove_namespaces()
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
