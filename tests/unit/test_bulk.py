"""Bulk requests: what is sent for a line, and what the answer means for it."""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcmirror.core.bulk import (
    Fate,
    Refusal,
    Streams,
    WholeFate,
    ceiling,
    document_id,
    fate_of,
    first_reason,
    judge,
    shortened,
    whole_fate,
)
from dcmirror.core.journal_document import render
from dcmirror.core.journal_table import FIELDS

FATES = [
    (200, "", Fate.TAKEN),
    (201, "", Fate.TAKEN),
    (409, "version_conflict_engine_exception", Fate.DUPLICATE),
    (429, "es_rejected_execution_exception", Fate.RETRY),
    (429, "circuit_breaking_exception", Fate.RETRY),
    # flood stage: it goes when there is space
    (429, "cluster_block_exception", Fate.RETRY),
    (503, "unavailable_shards_exception", Fate.RETRY),
    (500, "null_pointer_exception", Fate.FAULT),
    (502, "", Fate.FAULT),
    (401, "security_exception", Fate.PAUSE),
    (403, "security_exception", Fate.PAUSE),
    # index.blocks.write: somebody set it, and will take it away
    (403, "cluster_block_exception", Fate.PAUSE),
    (404, "index_not_found_exception", Fate.PAUSE),
    (400, "index_closed_exception", Fate.PAUSE),
    # the cluster has its most shards: no stream can be made
    (400, "validation_exception", Fate.PAUSE),
    (400, "document_parsing_exception", Fate.DEAD),
    (400, "mapper_parsing_exception", Fate.DEAD),
    (400, "illegal_argument_exception", Fate.DEAD),
    (400, "", Fate.DEAD),
    (413, "", Fate.DEAD),
    (405, "", Fate.DEAD),
]


@pytest.mark.parametrize(("status", "kind", "fate"), FATES)
def test_an_item_is_done_or_comes_again_or_is_set_aside(status, kind, fate):
    assert fate == fate_of(status, kind)


WHOLE = [
    (429, "es_rejected_execution_exception", "", WholeFate.RETRY),
    (500, "", "", WholeFate.RETRY),
    (502, "", "<html>bad gateway", WholeFate.RETRY),
    (503, "", "", WholeFate.RETRY),
    (413, "", "", WholeFate.HALVE),
    (400, "x_content_parse_exception", "unexpected byte", WholeFate.HALVE),
    (400, "illegal_argument_exception", "Malformed action", WholeFate.HALVE),
    # from what stands between us and Elasticsearch, which always gives a type
    (400, "", "", WholeFate.PAUSE),
    (400, "", "<html>plain HTTP request sent to HTTPS port", WholeFate.PAUSE),
    (
        400,
        "illegal_argument_exception",
        "request [/_bulk] contains unrecognized parameter: [require_data_stream]",
        WholeFate.PLAIN,
    ),
    (400, "media_type_header_exception", "", WholeFate.PAUSE),
    (401, "security_exception", "", WholeFate.PAUSE),
    (403, "security_exception", "", WholeFate.PAUSE),
    (404, "", "", WholeFate.PAUSE),
    (405, "", "", WholeFate.PAUSE),
    (301, "", "", WholeFate.PAUSE),
    (200, "not_elasticsearch", "", WholeFate.PAUSE),
]


@pytest.mark.parametrize(("status", "kind", "reason", "fate"), WHOLE)
def test_a_refused_request_says_what_to_do(status, kind, reason, fate):
    assert fate == whole_fate(status, kind, reason)


def item(status, kind=None, **more):
    error = {"error": {"type": kind, "reason": f"{kind}\n why"}} if kind else {}
    return {"create": {"status": status, **error, **more}}


def test_items_are_sorted_by_their_place():
    items = [
        item(201),
        item(409, "version_conflict_engine_exception"),
        item(400, "document_parsing_exception"),
        item(429, "es_rejected_execution_exception"),
        item(201, failure_store="used"),
        item(500, "boom"),
        item(201, failure_store="not_enabled"),
    ]
    verdict = judge({"errors": True, "items": items}, 7)

    assert verdict is not None
    assert (4, 1, 1) == (verdict.taken, verdict.duplicates, verdict.diverted)
    assert [2] == [why.index for why in verdict.of(Fate.DEAD)]
    assert [3] == [why.index for why in verdict.of(Fate.RETRY)]
    assert [Refusal(5, 500, "boom", "boom why")] == verdict.of(Fate.FAULT)
    assert [] == verdict.of(Fate.PAUSE)


@pytest.mark.parametrize(
    "answer",
    [
        None,
        [],
        "text",
        {},
        {"items": None},
        {"items": [item(201)]},
        {"items": [item(201)] * 3},
        {"items": [item(201), {}]},
        {"items": [item(201), {"create": {}}]},
        {"items": [item(201), {"create": None}]},
        {"items": [item(201), {"create": {"status": "x"}}]},
        {"items": [item(201), {"create": {"status": 400, "error": "text"}}]},
    ],
)
def test_an_answer_that_does_not_fit_takes_nothing(answer):
    assert judge(answer, 2) is None


def test_an_id_is_of_the_segment_and_the_line():
    expected = hashlib.sha256(b"w-00000001.ndjson:17").hexdigest()[:32].encode()

    assert expected == document_id("w-00000001.ndjson", 17)


def document(**over):
    stream = {"type": "logs", "dataset": "dcmirror.transfer", "namespace": "default"}
    return {"@timestamp": "t", "data_stream": stream | over, "message": "m"}


def test_the_stream_is_what_the_line_says():
    streams = Streams()
    found = [
        streams.of(render(event).encode())
        for event in (
            document(),
            document(dataset="dcmirror.health"),
            document(),
            {"first": 1, **document(namespace="site_2")},
        )
    ]

    assert found == [
        b"logs-dcmirror.transfer-default",
        b"logs-dcmirror.health-default",
        b"logs-dcmirror.transfer-default",
        b"logs-dcmirror.transfer-site_2",
    ]


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"data_stream":{}}',
        b'{"data_stream":{"type":"logs","dataset":3,"namespace":"x"}}',
        b'{"data_stream":{"type":"logs","dataset":"a\\"b","namespace":"x"}}',
        b'{"data_stream":{"type":"logs"',
        b'{"data_stream":"logs"}',
    ],
)
def test_a_line_without_a_stream_has_none(body):
    streams = Streams()
    streams.of(render(document()).encode())

    assert streams.of(body) is None


TEXT = st.text(st.sampled_from('"data_stream":{}\\,typelogsé\n') | st.characters())


@given(before=TEXT, after=TEXT, key=TEXT)
def test_no_text_in_a_line_passes_for_its_stream(before, after, key):
    """The bytes are searched, not parsed; what a file name holds must not matter."""
    trap = '"data_stream":{"type":"logs","dataset":"trap","namespace":"x"}'
    event = {
        "a": before + trap,
        f"k{key}": {"b": trap},
        **document(),
        "message": after + trap,
    }

    assert b"logs-dcmirror.transfer-default" == Streams().of(render(event).encode())


def test_no_other_field_is_named_like_the_stream():
    named = [name for name in FIELDS if "data_stream" in name.split(".")[1:]]

    assert [] == named
    assert {"data_stream.type", "data_stream.dataset", "data_stream.namespace"} == {
        name for name in FIELDS if name.startswith("data_stream")
    }


def test_a_long_line_loses_its_prose_and_nothing_else():
    long = {
        **document(),
        "message": "m" * 5000,
        "error": {"message": "e" * 9000, "type": "t"},
        "event": {"reason": "r" * 700},
    }
    short = json.loads(shortened(json.dumps(long).encode()))

    assert {len(short["message"]), len(short["error"]["message"])} == {500}
    assert 500 == len(short["event"]["reason"])
    assert "t" == short["error"]["type"]
    assert document()["data_stream"] == short["data_stream"]


def test_a_line_that_cannot_be_shortened_says_so():
    line = json.dumps({"file": {"path": "p" * 9000}}, separators=(",", ":")).encode()
    once = shortened(json.dumps({"message": "m" * 9000}).encode())

    assert shortened(line) is None
    assert shortened(once) is None


@pytest.mark.parametrize(
    ("attempt", "seconds"), [(1, 0.5), (2, 1.0), (5, 8.0), (9, 15.0), (10**6, 15.0)]
)
def test_pauses_grow_to_a_bound(attempt, seconds):
    assert seconds == ceiling(attempt, 0.5, 15.0)


def test_many_refusals_are_told_by_the_first():
    one = Refusal(3, 404, "index_not_found_exception", "no such index")
    two = Refusal(4, 429, "es_rejected", "full")

    assert "HTTP 429 es_rejected: full" == first_reason([two])
    assert first_reason([one, two]).endswith(
        "(run `dcmirror elastic setup`) (and 1 more)"
    )
