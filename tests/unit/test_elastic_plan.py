"""What a cluster lacks: only what differs is written, and what a site chose stays."""

from __future__ import annotations

from typing import Any

import pytest

from dcmirror.core import elastic_templates as templates
from dcmirror.core.elastic_plan import (
    Choices,
    Installed,
    Step,
    Stream,
    flat_settings,
    plan,
    rivals,
)
from dcmirror.core.journal_table import FIELDS

NOW = Choices("1.2.0")
STREAM = "logs-dcmirror.transfer-default"


def as_read(body: dict[str, Any]) -> dict[str, Any]:
    """A component as Elasticsearch gives it back: nested, and all values text."""
    template = dict(body["template"])
    if "settings" in template:
        nested: dict[str, Any] = {}
        for name, value in flat_settings(template["settings"]).items():
            *parents, leaf = name.split(".")
            place = nested
            for parent in parents:
                place = place.setdefault(parent, {})
            place[leaf] = value
        template["settings"] = nested
    if "lifecycle" in template:
        template["lifecycle"] = {"enabled": True, **template["lifecycle"]}
    return {**body, "template": template}


def cluster(version: str = "1.2.0", **over: Any) -> Installed:
    """One in which a dcmirror of that version ran its setup."""
    has_ilm = over.get("has_ilm", True)
    settings = templates.settings_component(version, has_ilm=has_ilm)
    template = {
        **templates.index_template(version),
        "data_stream": {"hidden": False, "allow_custom_routing": False},
    }
    values: dict[str, Any] = {
        "policy": templates.lifecycle_policy(version)["policy"] if has_ilm else None,
        "components": {
            templates.SETTINGS: as_read(settings),
            templates.MAPPINGS: as_read(templates.mappings_component(version)),
        },
        "index_templates": {templates.NAME: template},
    }
    return Installed(**(values | over))


def due(steps: list[Step]) -> list[Step]:
    return [step for step in steps if step.requests]


def only(steps: list[Step]) -> Step:
    (step,) = due(steps)
    return step


def test_an_empty_cluster_gets_everything_parts_first() -> None:
    steps = plan(Installed(), NOW)

    assert [step.verb for step in steps] == ["created"] * 4
    assert [(r.method, r.path) for step in steps for r in step.requests] == [
        ("PUT", "_ilm/policy/logs-dcmirror"),
        ("PUT", "_component_template/logs-dcmirror@settings"),
        ("PUT", "_component_template/logs-dcmirror@mappings"),
        ("PUT", "_index_template/logs-dcmirror"),
    ]


def test_a_second_run_has_nothing_to_do() -> None:
    steps = plan(cluster(streams=(Stream(STREAM, templates.field_tree()),)), NOW)

    assert due(steps) == []
    assert {step.verb for step in steps} == {"unchanged"}


def test_defaults_that_elasticsearch_adds_are_no_difference() -> None:
    there = cluster()
    policy = there.policy or {}
    policy["phases"]["hot"]["min_age"] = "0ms"
    policy["phases"]["delete"]["actions"]["delete"]["delete_searchable_snapshot"] = True

    assert due(plan(there, NOW)) == []


def test_a_field_that_the_template_lacks_is_named() -> None:
    there = cluster()
    mappings = there.components[templates.MAPPINGS]["template"]["mappings"]
    del mappings["properties"]["message"]
    step = only(plan(there, NOW))

    assert step.line == (
        "changed    component template logs-dcmirror@mappings: new: message"
    )


def test_a_setting_that_somebody_changed_is_put_right_and_named() -> None:
    there = cluster()
    index = there.components[templates.SETTINGS]["template"]["settings"]["index"]
    index["mapping"]["total_fields"]["limit"] = "40"

    assert only(plan(there, NOW)).detail == (
        "index.mapping.total_fields.limit 40 -> 500"
    )


def test_an_older_dcmirrors_templates_are_renewed() -> None:
    steps = plan(cluster("1.1.9"), NOW)

    assert {step.detail for step in due(steps)} == {"of 1.1.9, now of 1.2.0"}
    assert len(due(steps)) == 3


def test_a_newer_dcmirrors_templates_are_left() -> None:
    """Its fields would be taken from the daemons that run it already."""
    steps = plan(cluster("1.10.0"), NOW)

    assert due(steps) == []
    assert [step.verb for step in steps] == ["unchanged", "left", "left", "left"]
    assert steps[1].detail == "a newer dcmirror made it, 1.10.0"


def test_a_template_by_hand_under_our_name_is_replaced() -> None:
    there = cluster()
    del there.index_templates[templates.NAME]["_meta"]

    assert only(plan(there, NOW)).what == "index template logs-dcmirror"


def test_the_retention_of_the_site_stays_without_a_word() -> None:
    there = cluster(policy=templates.lifecycle_policy("1.0", 90)["policy"])
    steps = plan(there, NOW)

    assert due(steps) == []
    assert steps[0].detail == "deletes after 90d"


def test_a_new_retention_changes_the_delete_phase_only() -> None:
    policy = templates.lifecycle_policy("1.0")["policy"]
    policy["phases"]["warm"] = {"min_age": "7d", "actions": {"readonly": {}}}
    step = only(plan(cluster(policy=policy), Choices("1.2.0", keep_days=730)))
    (request,) = step.requests
    phases = (request.body or {})["policy"]["phases"]

    assert step.detail == "deletes after 730d, was 365d"
    assert phases["delete"]["min_age"] == "730d"
    assert phases["warm"] == policy["phases"]["warm"]
    assert phases["hot"] == policy["phases"]["hot"]


def test_a_short_retention_shortens_the_life_of_an_index_too() -> None:
    """Else events of a month would go at once, a month late."""
    step = only(plan(cluster(), Choices("1.2.0", keep_days=7)))
    (request,) = step.requests
    rollover = (request.body or {})["policy"]["phases"]["hot"]["actions"]["rollover"]

    assert rollover == {"max_age": "7d", "max_primary_shard_size": "50gb"}


def test_a_policy_that_never_deletes_is_the_sites_own_affair() -> None:
    policy = templates.lifecycle_policy("1.0")["policy"]
    del policy["phases"]["delete"]
    steps = plan(cluster(policy=policy), NOW)

    assert (due(steps), steps[0].detail) == ([], "never deletes")


def test_replicas_once_chosen_stay_chosen() -> None:
    settings = templates.settings_component("1.2.0", replicas=0)
    there = cluster()
    components = {**there.components, templates.SETTINGS: as_read(settings)}
    there = cluster(components=components, data_nodes=1)

    assert due(plan(there, NOW)) == []
    assert only(plan(there, Choices("1.2.0", replicas=2))).detail == (
        "index.number_of_replicas 0 -> 2"
    )


def test_other_replicas_are_given_to_data_streams_that_exist() -> None:
    stream = Stream(STREAM, templates.field_tree(), replicas=1)
    steps = plan(cluster(streams=(stream,)), Choices("1.2.0", replicas=0))
    step = due(steps)[-1]

    assert step.detail == "replicas 1 -> 0"
    assert [(r.method, r.path, r.body) for r in step.requests] == [
        ("PUT", f"{STREAM}/_settings", {"index.number_of_replicas": 0})
    ]


def test_a_cluster_of_one_node_is_told_how_to_be_green() -> None:
    advice = plan(cluster(data_nodes=1), NOW)[-1]

    assert (advice.verb, advice.requests) == ("note", ())
    assert "--replicas 0" in advice.detail
    assert plan(cluster(data_nodes=3), NOW)[-1].verb == "unchanged"


def without(*names: str) -> dict[str, Any]:
    kept = {name: entry for name, entry in FIELDS.items() if name not in names}
    return templates.field_tree(kept)


def test_a_data_stream_learns_new_fields_and_only_those() -> None:
    tree = without("message", "dcmirror.kafka.lag")
    step = only(plan(cluster(streams=(Stream(STREAM, tree),)), NOW))
    (request,) = step.requests

    assert step.detail == "new: message, dcmirror.kafka.lag"
    assert (request.method, request.path) == (
        "PUT",
        f"{STREAM}/_mapping?write_index_only=true",
    )
    assert request.body == {
        "properties": {
            "message": {"type": "match_only_text"},
            "dcmirror": {
                "properties": {"kafka": {"properties": {"lag": {"type": "long"}}}}
            },
        }
    }


@pytest.mark.parametrize(("field", "kind"), [("url", "keyword"), ("message", "long")])
def test_a_field_of_another_type_needs_a_rollover(field: str, kind: str) -> None:
    tree = templates.field_tree() | {field: {"type": kind}}
    there = cluster(streams=(Stream(STREAM, tree),))
    step = plan(there, NOW)[-1]

    assert (step.verb, step.requests, step.needs_attention) == ("old", (), True)
    assert "--rollover" in step.line


def test_a_data_stream_made_before_our_template_needs_a_rollover() -> None:
    there = cluster(streams=(Stream(STREAM, templates.field_tree(), is_ours=False),))
    step = only(plan(there, Choices("1.2.0", rolls_over=True)))

    assert [(r.method, r.path) for r in step.requests] == [
        ("POST", f"{STREAM}/_rollover")
    ]


def test_kinds_that_queries_treat_alike_are_no_difference() -> None:
    tree = templates.field_tree()
    tree["message"] = {"type": "text"}
    tree["data_stream"]["properties"]["type"] = {"type": "keyword"}

    assert due(plan(cluster(streams=(Stream(STREAM, tree),)), NOW)) == []


def test_without_lifecycle_management_the_streams_own_is_used() -> None:
    steps = plan(Installed(has_ilm=False), NOW)
    body = steps[0].requests[0].body or {}

    assert len(steps) == 3
    assert body["template"]["lifecycle"] == {"data_retention": "365d"}


def test_its_retention_stays_until_another_is_asked_for() -> None:
    settings = templates.settings_component("1.2.0", has_ilm=False, retention="90d")
    there = cluster(has_ilm=False)
    there = cluster(
        has_ilm=False,
        components={**there.components, templates.SETTINGS: as_read(settings)},
        streams=(Stream(STREAM, templates.field_tree(), retention="90d"),),
    )
    changed = due(plan(there, Choices("1.2.0", keep_days=30)))

    assert due(plan(there, NOW)) == []
    assert [step.detail for step in changed] == ["retention 90d -> 30d"] * 2
    assert changed[1].requests[0].path == f"_data_stream/{STREAM}/_lifecycle"


@pytest.mark.parametrize(
    ("priority", "pattern", "expected"),
    [
        (500, "logs-*", ["other"]),
        (501, "logs-dcmirror.health-*", ["other"]),
        (499, "logs-*", []),
        (900, "metrics-*", []),
        (900, "logs-*-staging", []),
    ],
)
def test_a_template_that_would_win_over_ours_is_found(
    priority: int, pattern: str, expected: list[str]
) -> None:
    other = {"priority": priority, "index_patterns": [pattern]}
    there = Installed(index_templates={"other": other, templates.NAME: other})

    assert rivals(there, "default") == expected
