"""``elastic setup`` on a real Elasticsearch: what it installs works, and only that."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dcmirror import cli
from dcmirror.core.elastic_plan import field_types
from dcmirror.core.journal_events import ACTIONS, FIELDS, JournalEvents, Writer, render
from dcmirror.core.journal_table import TRANSFER

if TYPE_CHECKING:
    from servers.elasticsearch import LocalElasticsearch

pytestmark = pytest.mark.timeout(300)

Run = Callable[..., tuple[int, str, str]]

STREAM = "logs-dcmirror.transfer-setup"
HEALTH = "logs-dcmirror.health-setup"
NAMES = ("logs-dcmirror@mappings", "logs-dcmirror@settings", "logs-dcmirror@custom")
AT = 1_764_000_000.25
WRITER = Writer("dtn1", 4242, "dcmirror watch", "1.2", "main", "setup")

SAMPLES: dict[str, Any] = {
    "boolean": True,
    "date": "2026-11-23T09:00:00.000Z",
    "double": 0.5,
    "float": 0.5,
    "ip": "192.0.2.7",
    "keyword": "some text",
    "long": 3_000_000_000,
    "match_only_text": "a sentence",
}


@pytest.fixture
def server(secure_elasticsearch: LocalElasticsearch) -> Iterator[LocalElasticsearch]:
    """One without anything of ours, before and after."""
    clean(secure_elasticsearch)
    yield secure_elasticsearch
    clean(secure_elasticsearch)


def clean(server: LocalElasticsearch) -> None:
    server.ask("DELETE", "_data_stream/logs-dcmirror.*")
    server.ask("DELETE", "_index_template/logs-dcmirror")
    for name in NAMES:
        server.ask("DELETE", f"_component_template/{name}")
    server.ask("DELETE", "_ilm/policy/logs-dcmirror")


@pytest.fixture
def run(
    server: LocalElasticsearch,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """The command as an administrator types it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DCMIRROR_CONFIG", str(tmp_path / "none.toml"))
    password = tmp_path / "password"
    password.write_text(f"{server.password}\n")
    always = ["--url", server.url, "--ca-certs", str(server.ca), "--no-kibana"]
    user = ["--user", server.user, "--password-file", str(password)]

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        who = [] if "--api-key-file" in arguments or "--user" in arguments else user
        given = [*always, *who, *map(str, arguments)]
        status = cli.run(["elastic", "setup", *given])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def verbs(out: str) -> list[str]:
    """The first word of each line below that of the server."""
    return [line[:11].strip() for line in out.splitlines()[1:]]


def add(server: LocalElasticsearch, stream: str, *events: Any) -> list[Any]:
    return server.bulk(stream, [(f"{n}", event) for n, event in enumerate(events)])


def every_event() -> list[dict[str, Any]]:
    """One event for each action, with every field that it may have."""
    maker = JournalEvents(WRITER)
    return [
        maker.make(
            name, AT, "all", {f: SAMPLES[FIELDS[f][0]] for f in sorted(action.fields)}
        )
        for name, action in ACTIONS.items()
    ]


def test_an_empty_cluster_becomes_ready_and_a_second_run_changes_nothing(
    run: Run,
) -> None:
    first = run()
    second = run()

    assert (first[0], verbs(first[1]), first[2]) == (0, ["created"] * 4 + ["note"], "")
    assert (second[0], verbs(second[1])) == (0, ["unchanged"] * 4 + ["note"])


def test_a_new_data_stream_has_exactly_our_fields(
    server: LocalElasticsearch, run: Run
) -> None:
    run()
    answer = server.request("POST", f"_index_template/_simulate_index/{STREAM}")
    template = answer["template"]
    types = field_types(template["mappings"]["properties"])

    assert set(types) == set(FIELDS)
    assert template["mappings"]["dynamic"] == "false"
    assert template["settings"]["index"]["lifecycle"]["name"] == "logs-dcmirror"
    assert template["settings"]["index"]["mapping"]["ignore_malformed"] == "true"


def test_every_event_with_every_field_is_taken_and_can_be_found(
    server: LocalElasticsearch, run: Run
) -> None:
    run()
    events = every_event()
    for stream in (STREAM, HEALTH):
        dataset = stream.removeprefix("logs-").removesuffix("-setup")
        ours = [e for e in events if e["data_stream"]["dataset"] == dataset]
        items = add(server, stream, *(json.loads(render(e)) for e in ours))

        assert {item["status"] for item in items} == {201}, items
        assert server.count(stream) == len(ours)
        assert server.count(stream, {"exists": {"field": "_ignored"}}) == 0
    found = search_each(server, set(FIELDS))
    used = {name for action in ACTIONS.values() for name in action.fields}
    assert set() == used - found


def search_each(server: LocalElasticsearch, names: set[str]) -> set[str]:
    """The fields by which some document can be found."""
    filters = {name: {"exists": {"field": name}} for name in names}
    answer = server.search(
        "logs-dcmirror.*-setup",
        size=0,
        aggs={"each": {"filters": {"filters": filters}}},
    )
    buckets = answer["aggregations"]["each"]["buckets"]
    return {name for name, bucket in buckets.items() if bucket["doc_count"]}


def test_a_field_that_is_no_number_spoils_itself_only(
    server: LocalElasticsearch, run: Run
) -> None:
    run()
    event = every_event()[0]
    event["file"] = {"size": "large", "path": "/pnfs/x"}
    (item,) = add(server, STREAM, event)

    assert item["status"] == 201
    assert server.count(STREAM, {"term": {"_ignored": "file.size"}}) == 1
    assert server.count(STREAM, {"term": {"file.path": "/pnfs/x"}}) == 1


def test_a_text_too_long_to_be_indexed_is_kept(
    server: LocalElasticsearch, run: Run
) -> None:
    run()
    event = every_event()[0]
    event["event"]["reason"] = "ü" * 40_000
    (item,) = add(server, STREAM, event)
    (found,) = server.documents(STREAM)

    assert item["status"] == 201
    assert len(found["_source"]["event"]["reason"]) == 40_000


def test_an_unknown_field_is_kept_and_not_mapped(
    server: LocalElasticsearch, run: Run
) -> None:
    run()
    event = {**every_event()[0], "later": {"field": 1}}
    add(server, STREAM, event)
    (found,) = server.documents(STREAM)
    mapping = server.request("GET", f"{STREAM}/_mapping")

    assert found["_source"]["later"] == {"field": 1}
    assert "later" not in json.dumps(mapping)


def test_choices_are_kept_and_given_to_what_exists(
    server: LocalElasticsearch, run: Run
) -> None:
    run()
    add(server, STREAM, every_event()[0])
    _, changed, _ = run("--keep-days", "30", "--replicas", "0")
    _, after, _ = run()
    policy = server.request("GET", "_ilm/policy/logs-dcmirror")
    health = server.request("GET", f"_cluster/health/{STREAM}")

    assert "changed    lifecycle policy logs-dcmirror: deletes after 30d" in changed
    assert f"changed    data stream {STREAM}: replicas 1 -> 0" in changed
    assert verbs(after) == ["unchanged"] * 5
    phases = policy["logs-dcmirror"]["policy"]["phases"]
    assert phases["delete"]["min_age"] == "30d"
    assert health["status"] == "green"


def spoil(server: LocalElasticsearch, *fields: str) -> None:
    """As an older dcmirror would have left it: without some fields."""
    name = "_component_template/logs-dcmirror@mappings"
    (found,) = server.request("GET", name)["component_templates"]
    body = found["component_template"]
    for field in fields:
        place = body["template"]["mappings"]["properties"]
        *parents, leaf = field.split(".")
        for parent in parents:
            place = place[parent]["properties"]
        del place[leaf]
    body["_meta"]["version"] = "0.0.1"
    server.request("PUT", name, body)


def test_a_data_stream_of_an_older_version_learns_the_new_fields(
    server: LocalElasticsearch, run: Run
) -> None:
    run()
    spoil(server, "message", "dcmirror.kafka.lag")
    add(server, STREAM, every_event()[0])
    _, out, _ = run()
    _, again, _ = run()
    mapping = server.request("GET", f"{STREAM}/_mapping")
    (index,) = mapping.values()

    assert f"changed    data stream {STREAM}: new: message, dcmirror.kafka.lag" in out
    assert verbs(again) == ["unchanged"] * 5 + ["note"]
    assert set(FIELDS) == set(field_types(index["mappings"]["properties"]))


def test_a_data_stream_that_was_there_first_is_rolled_over_on_request(
    server: LocalElasticsearch, run: Run
) -> None:
    """Somebody shipped before setup, and the server guessed the types."""
    guess = {
        "index_patterns": ["logs-dcmirror.*-*"],
        "priority": 1,
        "data_stream": {},
    }
    server.request("PUT", "_index_template/guess", guess)
    add(server, STREAM, every_event()[0])
    _, told, _ = run()
    _, rolled, _ = run("--rollover")
    _, after, _ = run("--rollover")
    stream = server.request("GET", f"_data_stream/{STREAM}")["data_streams"][0]
    server.ask("DELETE", f"_data_stream/{STREAM}")
    server.ask("DELETE", "_index_template/guess")

    assert f"old        data stream {STREAM}: " in told
    assert "; --rollover begins a new index" in told
    assert f"renewed    data stream {STREAM}: " in rolled
    assert verbs(after)[-2:] == ["unchanged", "note"]
    assert len(stream["indices"]) == 2


def test_the_sites_own_settings_join_ours(server: LocalElasticsearch, run: Run) -> None:
    run()
    own = {"template": {"settings": {"index.codec": "best_compression"}}}
    server.request("PUT", "_component_template/logs-dcmirror@custom", own)
    answer = server.request("POST", f"_index_template/_simulate_index/{STREAM}")
    _, out, _ = run()

    assert answer["template"]["settings"]["index"]["codec"] == "best_compression"
    assert verbs(out) == ["unchanged"] * 4 + ["note"]


def with_key(
    server: LocalElasticsearch, key: str, method: str, path: str, body: Any = None
) -> tuple[int, Any]:
    return server.ask(method, path, body, headers={"Authorization": f"ApiKey {key}"})


def test_the_key_can_add_events_and_nothing_else(
    server: LocalElasticsearch, run: Run, tmp_path: Path
) -> None:
    file = tmp_path / "key"
    status, out, _ = run("--make-api-key", file, "--key-days", "2")
    key = file.read_text().strip()
    event = every_event()[0]
    made, _ = with_key(server, key, "POST", f"{STREAM}/_create/a", event)

    assert (status, made) == (0, 201)
    assert file.stat().st_mode & 0o777 == 0o600
    assert key not in out
    assert "for 2 days" in out
    other = "logs-other.dataset-setup"
    (stream,) = server.request("GET", f"_data_stream/{STREAM}")["data_streams"]
    index = stream["indices"][0]["index_name"]
    for method, path, body in (
        ("GET", f"{STREAM}/_search", None),
        ("GET", f"{STREAM}/_count", None),
        ("DELETE", f"{index}/_doc/a", None),
        ("POST", f"{other}/_create/a", event),
        ("DELETE", f"_data_stream/{STREAM}", None),
        ("POST", f"{STREAM}/_rollover", None),
        ("PUT", f"{STREAM}/_mapping", {"properties": {"x": {"type": "long"}}}),
        ("PUT", "_index_template/logs-dcmirror", {"index_patterns": ["x"]}),
        ("GET", "_cluster/health", None),
    ):
        refused, answer = with_key(server, key, method, path, body)
        assert (refused, path, answer["error"]["type"]) == (
            403,
            path,
            "security_exception",
        )
    assert server.count(STREAM) == 1


def test_the_keys_id_is_told_and_can_be_withdrawn(
    server: LocalElasticsearch, run: Run, tmp_path: Path
) -> None:
    file = tmp_path / "key"
    _, out, _ = run("--make-api-key", file)
    key_id = out.partition(": id ")[2].split(",")[0]
    found = server.request("GET", f"_security/api_key?id={key_id}")["api_keys"][0]
    server.request("DELETE", "_security/api_key", {"ids": [key_id]})
    status, _ = with_key(
        server, file.read_text().strip(), "GET", "_security/_authenticate"
    )

    assert found["metadata"] == {"managed_by": "dcmirror"}
    assert "expiration" not in found
    assert status == 401


def test_the_daemons_own_key_is_told_what_it_lacks(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "key"
    run("--make-api-key", file)
    status, _, err = run("--api-key-file", file)

    assert status == 15
    assert "refuses (403): API key id " in err
    assert "needs the cluster privilege read_ilm (or manage_ilm, manage, all)" in err


def test_a_wrong_password_is_one_line(run: Run, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("wrong")
    status, out, err = run("--user", "admin", "--password-file", wrong)

    assert (status, out) == (15, "")
    assert err.endswith(
        "does not know us (401): "
        "unable to authenticate user [admin] for REST request [/]\n"
    )


def test_a_dry_run_on_an_empty_cluster_can_be_typed_by_hand(
    server: LocalElasticsearch, run: Run
) -> None:
    """What it prints does what it would have done."""
    _, out, _ = run("--dry-run")
    before, _ = server.ask("GET", "_index_template/logs-dcmirror")
    lines = [line for line in out.splitlines() if not line.startswith("#")]
    for part in "\n".join(lines).split("\n\n"):
        head, _, body = part.strip().partition("\n")
        method, path = head.split(" ")
        server.request(method, path, json.loads(body))
    _, after, _ = run()

    assert before == 404
    assert verbs(after) == ["unchanged"] * 4 + ["note"]


def test_the_datasets_are_told_apart(server: LocalElasticsearch, run: Run) -> None:
    """One template, two streams, and a constant that differs between them."""
    run()
    events = {e["data_stream"]["dataset"]: e for e in every_event()}
    for dataset, event in events.items():
        add(server, f"logs-{dataset}-setup", event)
    query = {"term": {"data_stream.dataset": TRANSFER}}

    assert len(events) == 2
    assert server.count("logs-dcmirror.*-setup", query) == 1
