"""Dashboards: whole, true to our templates, and a checker that sees what is not."""

from __future__ import annotations

import ast
import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import dcmirror
from dcmirror.core import kibana_dashboards as tables
from dcmirror.core.elastic_templates import field_tree
from dcmirror.core.failures import FailureClass
from dcmirror.core.holds import HoldKind
from dcmirror.core.jobs import ResultKind
from dcmirror.core.journal_table import ACTIONS, COMMON
from dcmirror.core.kibana_columns import Ratio, Terms
from dcmirror.core.kibana_objects import saved_objects, saved_objects_ndjson
from kibana_checker import WIDTH, Checker, markdown_links
from kibana_fields import Fields, Vocabulary
from kibana_queries import panel_query, panel_rows
from lens_reader import agree, is_percentile

Json = dict[str, Any]

ROOT = Path(__file__).parents[2]
README = (ROOT / "etc/kibana/README.md").read_text()
SINCE, UNTIL = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"


def mapped_types(tree: Json, prefix: str = "") -> dict[str, str]:
    """Dotted names and types of a mapping's properties."""
    found: dict[str, str] = {}
    for name, entry in tree.items():
        if "properties" in entry:
            found |= mapped_types(entry["properties"], f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = entry["type"]
    return found


def emitted_actions() -> set[str]:
    """What the builders name in a call: what the code can say at all."""
    found = set()
    for name in ("journal_transfers", "journal_daemon"):
        path = Path(dcmirror.__file__).parent / f"core/{name}.py"
        for node in ast.walk(ast.parse(path.read_text())):
            arguments = node.args if isinstance(node, ast.Call) else []
            found |= {a.value for a in arguments if isinstance(a, ast.Constant)}
    return found & ACTIONS.keys()


STATES = {kind.value for kind in ResultKind} | {"skipped"}
WORDS = Vocabulary(
    types=mapped_types(field_tree()),
    values={
        "event.action": emitted_actions(),
        "event.outcome": {"success", "failure"},
        "dcmirror.transfer.state": STATES,
        "error.type": {each.value for each in FailureClass},
        "dcmirror.hold.kind": {kind.value for kind in HoldKind},
    },
    has={
        name: entry.fields | COMMON
        for name, entry in ACTIONS.items()
        if name in emitted_actions()
    },
)


def complaints(objects: list[Json]) -> list[str]:
    text = "".join(f"{json.dumps(each)}\n" for each in objects)
    return Checker(WORDS).check(text)


# -- the objects --------------------------------------------------------------------


def test_nothing_is_wrong_with_the_objects() -> None:
    assert Checker(WORDS).check(saved_objects_ndjson()) == []


def test_the_shipped_file_is_what_the_code_makes() -> None:
    shipped = (ROOT / "etc/kibana/dcmirror.ndjson").read_text()

    assert shipped == saved_objects_ndjson()


def test_every_panel_search_and_note_is_on_a_dashboard() -> None:
    """Saved searches may stand alone: they are opened from Discover's list."""
    placed = {
        n for board in tables.DASHBOARDS for row in board.rows for n, _ in row.items
    }

    assert {*tables.PANELS, *tables.NOTES} - placed == set()
    assert placed - {*tables.PANELS, *tables.NOTES, *tables.SEARCHES} == set()


@pytest.mark.parametrize("board", tables.DASHBOARDS, ids=lambda board: board.name)
def test_every_row_of_a_dashboard_is_as_wide_as_it(board: tables.Dashboard) -> None:
    widths = [sum(width for _, width in row.items) for row in board.rows]

    assert widths == [WIDTH] * len(board.rows)


def test_links_between_dashboards_lead_to_dashboards() -> None:
    objects = list(saved_objects())
    boards = {each["id"] for each in objects if each["type"] == "dashboard"}
    links = set(markdown_links(objects))

    assert {target for _, target in links} == boards
    assert {note for note, _ in links} == {f"dcmirror-{name}" for name in tables.NOTES}


def test_every_duration_is_shown_as_a_time() -> None:
    view = next(each for each in saved_objects() if each["type"] == "index-pattern")
    shown = json.loads(view["attributes"]["fieldFormatMap"])
    durations = {"event.duration"} | {
        name
        for name in WORDS.types
        if name.endswith(("_ms", "_s")) or ".phases." in name
    }

    assert {n for n, f in shown.items() if f["id"] == "duration"} == durations
    assert shown["event.duration"]["params"]["inputFormat"] == "nanoseconds"


@pytest.mark.parametrize("name", sorted(tables.PANELS))
def test_every_number_has_a_label_of_its_own_and_every_stack_its_rest(
    name: str,
) -> None:
    panel = tables.PANELS[name]
    labels = [each.label for each in panel.columns().values()]
    stacks = panel.chart.value.endswith("_stacked")
    splits = [b for b in panel.buckets if isinstance(b, Terms)]

    assert len(labels) == len(set(labels))
    if stacks and panel.name != "samples-over-time":
        closed = {"dcmirror.hold.kind"}  # fewer values than the size, always there
        assert all(b.has_rest or b.field in closed for b in splits)


# -- the queries --------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(tables.PANELS))
def test_a_query_names_only_fields_that_the_panel_of_kibana_names(name: str) -> None:
    panel = tables.PANELS[name]
    lens = next(each for each in saved_objects() if each["id"] == f"dcmirror-{name}")
    layer = lens["attributes"]["state"]["datasourceStates"]["formBased"]["layers"]["l1"]
    text = json.dumps(panel_query(panel, SINCE, UNTIL))
    asked = {field for field in WORDS.types if f'"{field}"' in text}
    shown = json.dumps(layer) + lens["attributes"]["state"]["query"]["query"]

    assert {f for f in asked if f not in shown} <= {"@timestamp"}
    assert text.count('"filter"') > sum(isinstance(n, Ratio) for n in panel.numbers)


def test_an_efficiency_is_read_from_its_two_counts() -> None:
    answer = {"aggregations": {"m1X0": {"doc_count": 3}, "m1X1": {"doc_count": 4}}}

    assert panel_rows(tables.PANELS["efficiency"], answer) == [
        {"mirrored of all that ended": 0.75}
    ]


# -- the comparison that the tests of the queries make --------------------------------


ROWS = [{"scope": "source", "class": "gone", "failed": 2, "files": 2, "newest": None}]


def test_rows_that_are_the_same_agree() -> None:
    agree(tables.PANELS["errors"], ROWS, copy.deepcopy(ROWS))


@pytest.mark.parametrize(
    "found",
    [[], ROWS * 2, [ROWS[0] | {"failed": 3}], [ROWS[0] | {"class": "forbidden"}]],
    ids=["a row lost", "a row twice", "another number", "another class"],
)
def test_rows_that_differ_do_not_agree(found: list[Json]) -> None:
    with pytest.raises((AssertionError, ValueError)):
        agree(tables.PANELS["errors"], found, copy.deepcopy(ROWS))


@pytest.mark.parametrize(
    ("value", "is_good"), [(49.0, True), (50.5, True), (52.5, False), (40.0, False)]
)
def test_a_percentile_is_at_most_one_rank_aside(value: float, is_good: bool) -> None:
    assert is_percentile([float(n) for n in range(101)], 50, value) is is_good


# -- the README's alert rules --------------------------------------------------------


def rules() -> list[str]:
    return re.findall(r"^```kql\n(.*?)\n```$", README, re.MULTILINE | re.DOTALL)


def test_there_are_alert_rules_and_one_is_the_dead_mans() -> None:
    assert len(rules()) >= 8
    assert 'event.action: "health"' in rules()


@pytest.mark.parametrize("rule", rules())
def test_an_alert_rule_names_what_the_code_emits(rule: str) -> None:
    fields = Fields(WORDS)
    fields.query({"language": "kuery", "query": rule})

    assert fields.complaints == []


def test_the_readme_names_fields_that_there_are() -> None:
    named = set(
        re.findall(r"`((?:dcmirror|event|host|service|error)\.[\w.]+)`", README)
    )

    assert named - WORDS.types.keys() - {"dcmirror.ndjson"} == set()


def test_the_readme_says_that_no_kibana_has_loaded_the_file() -> None:
    assert "No Kibana has loaded this file yet" in README


# -- the checker ----------------------------------------------------------------------


def attributes(objects: list[Json], name: str) -> Json:
    found: Json = next(o for o in objects if o["id"] == f"dcmirror-{name}")
    attributes: Json = found["attributes"]
    return attributes


def layer_of(objects: list[Json], name: str) -> Json:
    state = attributes(objects, name)["state"]
    layer: Json = state["datasourceStates"]["formBased"]["layers"]["l1"]
    return layer


def column(objects: list[Json], name: str, key: str) -> Json:
    found: Json = layer_of(objects, name)["columns"][key]
    return found


def shown(objects: list[Json], name: str) -> Json:
    found: Json = attributes(objects, name)["state"]["visualization"]
    return found


def edit_panels(
    objects: list[Json], name: str, change: Callable[[list[Json]], Any]
) -> None:
    board = attributes(objects, name)
    panels = json.loads(board["panelsJSON"])
    change(panels)
    board["panelsJSON"] = json.dumps(panels)


def edit_source(objects: list[Json], name: str, **over: Any) -> None:
    meta = attributes(objects, name)["kibanaSavedObjectMeta"]
    meta["searchSourceJSON"] = json.dumps(json.loads(meta["searchSourceJSON"]) | over)


def object_of(objects: list[Json], name: str) -> Json:
    return next(o for o in objects if o["id"] == f"dcmirror-{name}")


def query_of(objects: list[Json], name: str) -> Json:
    found: Json = attributes(objects, name)["state"]["query"]
    return found


MUTATIONS: dict[str, tuple[Callable[[list[Json]], Any], str]] = {
    "the same id twice": (
        lambda o: o.append(copy.deepcopy(o[1])),
        "2 objects have the id",
    ),
    "an unknown type": (
        lambda o: o[1].update(type="canvas"),
        "line 2 is no saved object",
    ),
    "no references": (lambda o: o[1].pop("references"), "line 2 lacks references"),
    "a key too many": (
        lambda o: o[1].update(migrationVersion={}),
        "unknown key migrationVersion",
    ),
    "another age": (
        lambda o: o[1].update(typeMigrationVersion="10.1.0"),
        "typeMigrationVersion is not",
    ),
    "another core": (
        lambda o: o[1].update(coreMigrationVersion="9.0.0"),
        "coreMigrationVersion is not",
    ),
    "an attribute of a later schema": (
        lambda o: attributes(o, "overview").update(sections=[]),
        "forbids the attribute sections",
    ),
    "a dashboard without a title": (
        lambda o: attributes(o, "health").pop("title"),
        "attribute title is missing",
    ),
    "expanded panels, as packages keep them": (
        lambda o: attributes(o, "health").update(panelsJSON=[]),
        "panelsJSON is no str",
    ),
    "a string that holds no JSON": (
        lambda o: attributes(o, "health").update(optionsJSON="{"),
        "optionsJSON holds no JSON",
    ),
    "a lens attribute that is not one": (
        lambda o: attributes(o, "files").update(savedObjectId="x"),
        "forbids the attribute savedObjectId",
    ),
    "a reference to nobody": (
        lambda o: object_of(o, "files")["references"][0].update(id="other"),
        "refers to index-pattern other",
    ),
    "a reference of the wrong type": (
        lambda o: object_of(o, "overview")["references"][1].update(type="search"),
        "not in the file",
    ),
    "a reference that is not used": (
        lambda o: object_of(o, "files")["references"].append(
            {"type": "index-pattern", "id": "dcmirror-logs", "name": "more"}
        ),
        "does not use its reference more",
    ),
    "a layer without its reference": (
        lambda o: object_of(o, "files")["references"].clear(),
        "that it lacks",
    ),
    "a panel without its reference": (
        lambda o: object_of(o, "overview")["references"].pop(3),
        "that it lacks",
    ),
    "a search without its data view": (
        lambda o: edit_source(o, "search-failures", indexRefName="other"),
        "uses the reference other",
    ),
    "a layer that is not there": (
        lambda o: shown(o, "files").update(layerId="l2"),
        "layer l2 is in one half",
    ),
    "an accessor that is not there": (
        lambda o: shown(o, "files").update(metricAccessor="m9"),
        "draws column m9",
    ),
    "a column that nobody draws": (
        lambda o: shown(o, "throughput")["layers"][0]["accessors"].pop(),
        "is not drawn",
    ),
    "a bucket drawn as a number": (
        lambda o: shown(o, "throughput")["layers"][0].update(accessors=["b1"]),
        "drawn in the wrong place",
    ),
    "a part of a formula drawn": (
        lambda o: shown(o, "efficiency").update(metricAccessor="m1X2"),
        "part of a formula",
    ),
    "a column left out of the order": (
        lambda o: layer_of(o, "errors")["columnOrder"].pop(),
        "columnOrder does not list",
    ),
    "numbers before buckets": (
        lambda o: layer_of(o, "errors")["columnOrder"].reverse(),
        "buckets are not first",
    ),
    "a field that no template has": (
        lambda o: column(o, "bytes", "m1").update(sourceField="dcmirror.bytes"),
        "which no template has",
    ),
    "a sum of words": (
        lambda o: column(o, "bytes", "m1").update(sourceField="error.type"),
        "sum cannot take error.type",
    ),
    "terms of a text": (
        lambda o: column(o, "errors", "b2").update(sourceField="error.message"),
        "terms cannot take error.message",
    ),
    "a histogram of a number": (
        lambda o: column(o, "throughput", "b1").update(sourceField="file.size"),
        "date_histogram cannot take file.size",
    ),
    "a field that this event never has": (
        lambda o: column(o, "children-died", "m1").update(
            operationType="sum", sourceField="dcmirror.transfer.bytes"
        ),
        "no event of child-died has dcmirror.transfer.bytes",
    ),
    "a number that says it is a word": (
        lambda o: column(o, "bytes", "m1").update(dataType="string"),
        "is a number, not a string",
    ),
    "an operation that Lens has not": (
        lambda o: column(o, "bytes", "m1").update(operationType="total"),
        "unknown operation total",
    ),
    "a count of a field": (
        lambda o: column(o, "files", "m1").update(sourceField="file.path"),
        "count takes ___records___",
    ),
    "a percentile of 0": (
        lambda o: column(o, "throughput", "m1")["params"].update(percentile=0),
        "percentile 0",
    ),
    "a last value sorted by a word": (
        lambda o: column(o, "hosts", "m3")["params"].update(sortField="host.name"),
        "sorting cannot take host.name",
    ),
    "terms ordered by nothing": (
        lambda o: column(o, "errors", "b1")["params"]["orderBy"].update(columnId="x"),
        "cannot be ordered by x",
    ),
    "a time range that is none": (
        lambda o: column(o, "hosts", "m2").update(reducedTimeRange="5 minutes"),
        "no time 5 minutes",
    ),
    "a part of the time, over time": (
        lambda o: column(o, "throughput", "m1").update(reducedTimeRange="5m"),
        "takes no part of the time over time",
    ),
    "a last value of any document": (
        lambda o: column(o, "hosts", "m3").pop("filter"),
        "may find a document without its field",
    ),
    "a formula that refers to nothing": (
        lambda o: column(o, "efficiency", "m1").update(references=["m1X9"]),
        "column m1 refers to",
    ),
    "a formula with an unknown field": (
        lambda o: column(o, "requests-per-file", "m1")["params"].update(
            formula="sum(dcmirror.requests) / count()"
        ),
        "needs 'dcmirror.requests'",
    ),
    "a formula that we cannot read": (
        lambda o: column(o, "efficiency", "m1")["params"].update(formula="count("),
        "cannot read 'count('",
    ),
    "a division of other parts": (
        lambda o: column(o, "efficiency", "m1X2")["params"]["tinymathAst"].update(
            args=["m1X1", "m1X0"]
        ),
        "computes something else",
    ),
    "two columns of one label": (
        lambda o: column(o, "throughput", "m1").update(label="p95"),
        "one label: p95",
    ),
    "an unknown visualization": (
        lambda o: attributes(o, "files").update(visualizationType="lnsOther"),
        "do not know lnsOther",
    ),
    "an unknown series": (
        lambda o: shown(o, "retries")["layers"][0].update(seriesType="bars"),
        "no series type bars",
    ),
    "a query in another language": (
        lambda o: query_of(o, "files").update(language="lucene"),
        "is no KQL",
    ),
    "a query for an action that nobody emits": (
        lambda o: query_of(o, "files").update(query='event.action: "transfer-done"'),
        "emits no event.action 'transfer-done'",
    ),
    "a query for a state that there is not": (
        lambda o: query_of(o, "files").update(
            query='event.action: "transfer-finished" and dcmirror.transfer.state: "ok"'
        ),
        "emits no dcmirror.transfer.state 'ok'",
    ),
    "a query for an unknown field": (
        lambda o: query_of(o, "files").update(query='event.name: "transfer-finished"'),
        "a query needs 'event.name'",
    ),
    "a query that ends in the middle": (
        lambda o: query_of(o, "files").update(query='event.action: "health" and'),
        "cannot read the query",
    ),
    "a boolean compared with a word": (
        lambda o: query_of(o, "files").update(query='dcmirror.checksum.match: "no"'),
        "compares dcmirror.checksum.match with",
    ),
    "a column's filter on an unknown field": (
        lambda o: column(o, "holds", "m1")["filter"].update(query='hold.kind: "x"'),
        "a query needs 'hold.kind'",
    ),
    "a search for a column that is not there": (
        lambda o: attributes(o, "search-story")["columns"].append("file.folder"),
        "a column needs 'file.folder'",
    ),
    "a search whose events lack a column": (
        lambda o: attributes(o, "search-drops")["columns"].append("file.path"),
        "no event of journal-dropped has file.path",
    ),
    "a search sorted somehow": (
        lambda o: attributes(o, "search-story").update(sort=[["@timestamp", "up"]]),
        "cannot sort by",
    ),
    "panels upon each other": (
        lambda o: edit_panels(o, "overview", lambda p: p[2]["gridData"].update(x=0)),
        "lies upon",
    ),
    "a panel that is too wide": (
        lambda o: edit_panels(o, "overview", lambda p: p[0]["gridData"].update(w=49)),
        "wider than the dashboard",
    ),
    "a panel of no height": (
        lambda o: edit_panels(o, "overview", lambda p: p[0]["gridData"].update(h=0)),
        "impossible place",
    ),
    "a panel under another name": (
        lambda o: edit_panels(o, "overview", lambda p: p[0]["gridData"].update(i="x")),
        "is called x in its grid",
    ),
    "a panel by value": (
        lambda o: edit_panels(
            o, "overview", lambda p: p[0]["embeddableConfig"].update(attributes={})
        ),
        "is by value",
    ),
    "a control of a field that is not there": (
        lambda o: attributes(o, "file")["controlGroupInput"].update(
            panelsJSON=attributes(o, "file")["controlGroupInput"]["panelsJSON"].replace(
                "file.path", "file.paths"
            )
        ),
        "control path needs 'file.paths'",
    ),
    "a format of a field that is not there": (
        lambda o: attributes(o, "logs").update(fieldFormatMap='{"x.y": {}}'),
        "a format needs 'x.y'",
    ),
    "a data view of something else": (
        lambda o: attributes(o, "logs").update(title="filebeat-*"),
        "does not read our data streams",
    ),
    "an empty note": (
        lambda o: attributes(o, "note-file").update(
            visState=json.dumps(
                {"title": "dcmirror: About one file's story", "type": "markdown"}
            )
        ),
        "says nothing",
    ),
}


@pytest.mark.parametrize("name", sorted(MUTATIONS))
def test_the_checker_rejects(name: str) -> None:
    mutate, expected = MUTATIONS[name]
    objects = copy.deepcopy(list(saved_objects()))
    mutate(objects)
    found = complaints(objects)

    assert any(expected in each for each in found), found


def test_the_checker_rejects_a_line_that_is_no_json() -> None:
    found = Checker(WORDS).check(saved_objects_ndjson() + "{\n")

    assert len(found) == 1
    assert "is no JSON" in found[0]


def test_the_checker_rejects_a_last_line_that_does_not_end() -> None:
    found = Checker(WORDS).check(saved_objects_ndjson().rstrip())

    assert found == ["the last line does not end"]
