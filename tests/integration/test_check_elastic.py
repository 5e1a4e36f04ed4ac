"""What ``check`` says of Elasticsearch: warnings only, each with its remedy."""

from __future__ import annotations

import socket
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dcmirror import __version__, cli
from dcmirror.commands.check_elastic import check_elastic
from dcmirror.commands.check_report import Finding, Result, exit_status
from dcmirror.core import elastic_templates as templates
from dcmirror.errors import ExitStatus
from dcmirror.settings import Elasticsearch
from servers.answering import Answer, AnsweringServer

if TYPE_CHECKING:
    from servers.elasticsearch import LocalElasticsearch

STREAMS = templates.stream_names("default")
RIGHTS = "POST /_security/user/_has_privileges"
BLOCKS = (
    "GET /logs-dcmirror.*-*/_settings/index.blocks.*"
    "?flat_settings=true&expand_wildcards=all"
)
FORBIDDEN = Answer(403, {"error": {"type": "security_exception", "reason": "no"}})


def rights(**granted: bool) -> Answer:
    return Answer(200, {"index": dict.fromkeys(STREAMS, granted)})


def component(name: str, body: dict[str, Any]) -> Answer:
    entry = {"name": name, "component_template": body}
    return Answer(200, {"component_templates": [entry]})


def good_answers() -> dict[str, Answer]:
    """A cluster with the templates of this version."""
    version = __version__
    template = {"name": templates.NAME}
    template["index_template"] = templates.index_template(version)  # type: ignore
    policy = {"logs-dcmirror": templates.lifecycle_policy(version)}
    return {
        "GET /": Answer(200, {"version": {"number": "9.1.0"}, "cluster_name": "x"}),
        RIGHTS: rights(auto_configure=True, create_doc=True),
        "GET /_ilm/policy/logs-dcmirror": Answer(200, policy),
        "GET /_component_template/logs-dcmirror@settings": component(
            templates.SETTINGS, templates.settings_component(version)
        ),
        "GET /_component_template/logs-dcmirror@mappings": component(
            templates.MAPPINGS, templates.mappings_component(version)
        ),
        "GET /_index_template": Answer(200, {"index_templates": [template]}),
    }


def findings(server: AnsweringServer | str, **settings: Any) -> list[Finding]:
    url = server if isinstance(server, str) else server.url
    found = list(check_elastic(Elasticsearch(urls=(url,), **settings), {}, 3.0))

    assert exit_status(found) == ExitStatus.DONE
    return found


def lines(found: list[Finding]) -> list[str]:
    return [each.line for each in found]


def bad(found: list[Finding]) -> str:
    (line,) = [each.line for each in found if each.result is not Result.OK]
    return line


def test_nothing_is_said_where_nothing_is_shipped() -> None:
    assert list(check_elastic(Elasticsearch(), {}, 1.0)) == []


def test_a_good_cluster_gives_a_line_for_each_thing() -> None:
    with AnsweringServer(good_answers()) as server:
        assert lines(findings(server)) == [
            f"OK    Elasticsearch: Elasticsearch 9.1.0 at {server.url}",
            "OK    Elasticsearch rights: we may add events",
            "OK    Elasticsearch templates: as this version wants them",
        ]
        assert server.changes == [RIGHTS]


def test_a_server_that_is_down_is_a_warning_since_transfers_go_on() -> None:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"

        assert lines(findings(url)) == [
            f"WARN  Elasticsearch: Elasticsearch cannot be reached at {url}: "
            "[Errno 111] Connection refused; the journal keeps the events meanwhile"
        ]


def test_a_server_that_never_answers_is_given_up() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        settings = Elasticsearch(urls=(url,))
        (found,) = check_elastic(settings, {}, 0.2)

    assert found.result is Result.WARN
    assert "timed out" in found.text


def test_a_key_file_that_is_missing_is_a_warning(tmp_path: Path) -> None:
    found = findings("http://127.0.0.1:9", api_key_file=tmp_path / "none")

    assert f"{tmp_path}/none: cannot read the credential" in bad(found)


def expiring(server: AnsweringServer, seconds: float) -> None:
    who = {"authentication_type": "api_key", "api_key": {"id": "abc", "name": "k"}}
    key = {"id": "abc", "expiration": round((time.time() + seconds) * 1000)}
    server.answers["GET /_security/_authenticate"] = Answer(200, who)
    server.answers["GET /_security/api_key?id=abc"] = Answer(200, {"api_keys": [key]})


def test_a_key_that_expires_soon_is_a_warning() -> None:
    with AnsweringServer(good_answers()) as server:
        expiring(server, 3 * 86400 + 7300)

        assert bad(findings(server)) == (
            "WARN  Elasticsearch rights: we may add events, but the key is good for "
            "3 d 2 h only; make a key: `dcmirror elastic setup --make-api-key FILE`"
        )


def test_a_key_that_is_good_for_long_says_for_how_long() -> None:
    with AnsweringServer(good_answers()) as server:
        expiring(server, 90 * 86400 + 60)

        assert "the key is good for 90 d 0 h" in lines(findings(server))[1]


def test_a_server_without_security_needs_no_rights() -> None:
    answers = good_answers()
    reason = "no handler found for uri [/_security/user/_has_privileges]"
    answers[RIGHTS] = Answer(400, {"error": reason})
    with AnsweringServer(answers) as server:
        assert lines(findings(server))[1] == (
            "OK    Elasticsearch rights: everybody may write there: its security is off"
        )


def test_one_address_of_two_that_is_down_is_no_warning() -> None:
    with AnsweringServer(good_answers()) as server, closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{taken.getsockname()[1]}"
        settings = Elasticsearch(urls=(dead, server.url))
        found = list(check_elastic(settings, {}, 3.0))

    assert [each.result for each in found] == [Result.OK] * 3


def test_what_we_may_not_do_is_named_with_the_remedy() -> None:
    answers = good_answers()
    answers[RIGHTS] = rights(auto_configure=True, create_doc=False)
    with AnsweringServer(answers) as server:
        assert bad(findings(server)) == (
            f"WARN  Elasticsearch rights: we lack create_doc on {STREAMS[0]}, "
            f"create_doc on {STREAMS[1]}; "
            "make a key: `dcmirror elastic setup --make-api-key FILE`"
        )


def test_a_credential_that_is_not_known_is_told_once() -> None:
    answers = good_answers()
    error = {"type": "security_exception", "reason": "expired"}
    for name in answers:
        answers[name] = Answer(401, {"error": error})
    with AnsweringServer(answers) as server:
        assert "does not know us (401): expired" in bad(findings(server))


def test_templates_that_are_missing_or_old_want_a_setup() -> None:
    answers = good_answers()
    del answers["GET /_index_template"]
    old = templates.mappings_component("0.0.1")
    del old["template"]["mappings"]["properties"]["message"]
    answers["GET /_component_template/logs-dcmirror@mappings"] = component(
        templates.MAPPINGS, old
    )
    with AnsweringServer(answers) as server:
        assert bad(findings(server)) == (
            "WARN  Elasticsearch templates: component template logs-dcmirror@mappings "
            "(not up to date), index template logs-dcmirror (missing); "
            "run `dcmirror elastic setup`"
        )


def test_a_rival_template_is_named() -> None:
    answers = good_answers()
    (ours,) = answers["GET /_index_template"].body["index_templates"]
    body = {"priority": 600, "index_patterns": ["logs-*"]}
    theirs = {"name": "site", "index_template": body}
    answers["GET /_index_template"] = Answer(200, {"index_templates": [ours, theirs]})
    with AnsweringServer(answers) as server:
        assert "site claims our data streams too" in bad(findings(server))


def test_a_full_disk_over_there_is_a_warning() -> None:
    answers = good_answers()
    blocks = {"index.blocks.read_only_allow_delete": "true"}
    index = ".ds-logs-dcmirror.transfer-default-2026.11.23-000001"
    answers[BLOCKS] = Answer(200, {index: {"settings": blocks}})
    with AnsweringServer(answers) as server:
        assert bad(findings(server)).startswith(
            f"WARN  Elasticsearch space: {index} takes nothing more"
        )


def test_a_key_that_may_only_add_is_as_it_should_be() -> None:
    answers = dict.fromkeys(good_answers(), FORBIDDEN)
    answers[RIGHTS] = rights(auto_configure=True, create_doc=True)
    with AnsweringServer(answers) as server:
        assert lines(findings(server)) == [
            f"OK    Elasticsearch: {server.url} knows us",
            "OK    Elasticsearch rights: we may add events",
            "OK    Elasticsearch templates: not for our eyes; "
            "an administrator sees them",
        ]


@pytest.mark.timeout(300)
def test_setup_satisfies_check_on_a_real_server(
    secure_elasticsearch: LocalElasticsearch,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = secure_elasticsearch
    monkeypatch.setenv("DCMIRROR_CONFIG", str(tmp_path / "none.toml"))
    password, key = tmp_path / "password", tmp_path / "key"
    password.write_text(server.password)
    server.ask("DELETE", "_index_template/logs-dcmirror")
    admin = {"username": server.user, "password_file": password}
    who = ["--url", server.url, "--user", server.user, "--ca-certs", str(server.ca)]
    new_key = ["--make-api-key", str(key), "--key-days", "90"]
    arguments = [*who, "--password-file", str(password), *new_key]
    before = findings(server.url, ca_certs=server.ca, **admin)
    ended = cli.run(["elastic", "setup", *arguments, "--no-kibana"])
    after = findings(server.url, ca_certs=server.ca, **admin)
    daemon = findings(server.url, ca_certs=server.ca, api_key_file=key)

    assert ended == 0
    assert "(missing)" in bad(before)
    assert {each.result for each in (*after, *daemon)} == {Result.OK}
    assert "the key is good for 89 d 23 h" in daemon[1].text
    assert [each.name for each in daemon] == [each.name for each in after]


@pytest.mark.timeout(300)
def test_a_flood_stage_block_is_seen_on_a_real_server(
    secure_elasticsearch: LocalElasticsearch, tmp_path: Path
) -> None:
    server = secure_elasticsearch
    stream = f"logs-dcmirror.transfer-{server.namespace()}"
    template = templates.index_template("0") | {"composed_of": []}
    server.request("PUT", "_index_template/logs-dcmirror", template)
    (item,) = server.bulk(stream, [("a", {"@timestamp": "2026-11-23T09:00:00Z"})])
    block = {"index.blocks.read_only_allow_delete": True}
    server.request("PUT", f"{stream}/_settings", block)
    password = tmp_path / "password"
    password.write_text(server.password)
    found = findings(
        server.url,
        ca_certs=server.ca,
        username=server.user,
        password_file=password,
    )
    server.request("DELETE", f"_data_stream/{stream}")
    server.request("DELETE", "_index_template/logs-dcmirror")

    assert item["status"] == 201
    assert [f.name for f in found if "takes nothing more" in f.text] == [
        "Elasticsearch space"
    ]
