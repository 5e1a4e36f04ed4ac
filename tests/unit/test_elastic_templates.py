"""Templates: every field of the journal's table, as Elasticsearch takes it."""

from __future__ import annotations

import json
from fnmatch import fnmatchcase

import pytest

from dcmirror.core import elastic_templates as templates
from dcmirror.core.elastic_plan import field_types
from dcmirror.core.elastic_templates import Request, pretty
from dcmirror.core.journal_table import FIELDS

# Those of Elasticsearch 8.9 that a value of JSON fits without further parameters.
ELASTIC_TYPES = {
    *("boolean", "byte", "constant_keyword", "date", "date_nanos", "double", "float"),
    *("integer", "ip", "keyword", "long", "match_only_text", "short", "text"),
    *("unsigned_long", "version", "wildcard"),
}
LONGEST_TERM = 32766  # bytes; Lucene refuses the whole document beyond it
BYTES_PER_CHARACTER = 4


@pytest.mark.parametrize("kind", sorted({kind for kind, _ in FIELDS.values()}))
def test_every_type_of_the_table_is_one_of_elasticsearch(kind: str) -> None:
    assert kind in ELASTIC_TYPES
    assert templates.TYPES[kind]["type"] == kind


def test_the_mapping_has_every_field_of_the_table_and_no_other() -> None:
    body = templates.mappings_component("1.2")
    types = field_types(body["template"]["mappings"]["properties"])

    assert types == {name: kind for name, (kind, _) in FIELDS.items()}


def test_no_field_is_also_the_parent_of_one() -> None:
    parents = {name.rpartition(".")[0] for name in FIELDS}

    assert set() == parents & set(FIELDS)


def test_unknown_fields_are_kept_and_not_mapped() -> None:
    mappings = templates.mappings_component("1.2")["template"]["mappings"]

    assert (mappings["dynamic"], mappings["date_detection"]) == (False, False)


def test_a_long_text_is_not_indexed_rather_than_refused() -> None:
    keyword = templates.TYPES["keyword"]

    assert keyword["ignore_above"] * BYTES_PER_CHARACTER <= LONGEST_TERM


def test_a_bad_value_spoils_its_field_only_but_a_bad_time_the_event() -> None:
    settings = templates.settings_component("1.2")["template"]["settings"]

    assert settings["index.mapping.ignore_malformed"] is True
    assert templates.field_tree()["@timestamp"]["ignore_malformed"] is False


def test_all_fields_fit_below_the_limit() -> None:
    """Objects count too."""
    settings = templates.settings_component("1.2")["template"]["settings"]
    parents = {
        ".".join(name.split(".")[:depth])
        for name in FIELDS
        for depth in range(1, name.count(".") + 1)
    }

    assert len(FIELDS) + len(parents) < settings["index.mapping.total_fields.limit"] / 2


def test_one_template_serves_both_data_streams() -> None:
    """A constant with a value would refuse the documents of the other dataset."""
    body = templates.index_template("1.2")
    names = templates.stream_names("production")
    tree = templates.field_tree()["data_stream"]["properties"]

    for name in names:
        assert any(fnmatchcase(name, each) for each in body["index_patterns"])
        assert fnmatchcase(name, templates.STREAMS)
    assert {"type": "constant_keyword"} == tree["dataset"] == tree["namespace"]


def test_streams_of_others_are_not_ours() -> None:
    patterns = templates.index_template("1.2")["index_patterns"]
    others = ("logs-dcmirrors.transfer-x", "logs-generic-default", "logs-dcmirror-x")

    assert not [o for o in others for p in patterns if fnmatchcase(o, p)]


def test_our_template_outranks_that_of_elasticsearch() -> None:
    assert templates.index_template("1.2")["priority"] > 100


def test_everything_says_who_made_it_and_with_which_version() -> None:
    expected = {"managed_by": "dcmirror", "version": "1.2"}

    for body in (
        templates.mappings_component("1.2"),
        templates.settings_component("1.2"),
        templates.index_template("1.2"),
        templates.lifecycle_policy("1.2")["policy"],
    ):
        assert body["_meta"] == expected


def test_the_lifecycle_keeps_a_year() -> None:
    phases = templates.lifecycle_policy("1.2")["policy"]["phases"]

    assert phases["hot"]["actions"]["rollover"]["max_age"] == "30d"
    assert phases["delete"]["min_age"] == "365d"


def test_who_keeps_a_week_begins_a_new_index_each_week() -> None:
    phases = templates.lifecycle_policy("1.2", 7)["policy"]["phases"]

    assert phases["hot"]["actions"]["rollover"]["max_age"] == "7d"


def test_without_lifecycle_management_the_data_stream_removes_old_events() -> None:
    template = templates.settings_component("1", has_ilm=False, retention="9d")[
        "template"
    ]

    assert template["lifecycle"] == {"data_retention": "9d"}
    assert "index.lifecycle.name" not in template["settings"]


def test_the_key_may_add_events_and_nothing_else() -> None:
    body = templates.api_key("dcmirror-dtn1", None).body or {}

    assert body["role_descriptors"] == {
        "dcmirror_writer": {
            "cluster": [],
            "indices": [
                {
                    "names": ["logs-dcmirror.*-*"],
                    "privileges": ["auto_configure", "create_doc"],
                }
            ],
        }
    }
    assert "expiration" not in body


def test_a_key_may_expire() -> None:
    assert (templates.api_key("k", 30).body or {})["expiration"] == "30d"


def test_a_request_reads_as_in_kibanas_console() -> None:
    request = Request("PUT", "_ilm/policy/x", {"policy": {"a": 1}})

    assert request.console == 'PUT _ilm/policy/x\n{"policy": {"a": 1}}'
    assert Request("POST", "x/_rollover").console == "POST x/_rollover"


def test_long_json_is_broken_and_stays_the_same_json() -> None:
    body = templates.mappings_component("1.2")
    text = pretty(body)

    assert json.loads(text) == body
    assert max(len(line) for line in text.splitlines()) <= 80
    assert len(text.splitlines()) < 2 * len(FIELDS)
