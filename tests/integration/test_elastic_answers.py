"""``elastic setup`` against servers that refuse, are others, or take only a part."""

from __future__ import annotations

import base64
import errno
import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from dcmirror import cli
from dcmirror.core.kibana_objects import saved_objects_ndjson
from helpers import in_time
from servers.answering import Answer, AnsweringServer

if TYPE_CHECKING:
    from dcmirror.testing.pki import Pki

VERSION = {"number": "8.19.21", "build_flavor": "default"}
ROOT = {"cluster_name": "site", "version": VERSION}
NO_POLICY = {
    "error": {
        "type": "resource_not_found_exception",
        "reason": "Lifecycle policy not found: logs-dcmirror",
    },
    "status": 404,
}
DONE = Answer(200, {"acknowledged": True})
EMPTY = {
    "GET /": Answer(200, ROOT),
    "GET /_ilm/policy/logs-dcmirror": Answer(404, NO_POLICY),
    "GET /_cluster/health": Answer(200, {"number_of_data_nodes": 3}),
    "PUT /_ilm/policy/logs-dcmirror": DONE,
    "PUT /_component_template/logs-dcmirror@settings": DONE,
    "PUT /_component_template/logs-dcmirror@mappings": DONE,
    "PUT /_index_template/logs-dcmirror": DONE,
}
IMPORT = "POST /api/saved_objects/_import?overwrite=true"
SPACE_IMPORT = "POST /s/storage/api/saved_objects/_import?overwrite=true"
STATUS = "GET /api/status"
OBJECTS = len(saved_objects_ndjson().splitlines())


@pytest.fixture
def server() -> Iterator[AnsweringServer]:
    """An empty cluster, to be spoilt by a test."""
    with AnsweringServer(dict(EMPTY)) as server:
        yield server


@pytest.fixture
def kibana() -> Iterator[AnsweringServer]:
    good = {"success": True, "successCount": OBJECTS}
    answers = {
        STATUS: Answer(200, {"version": {"number": "8.19.0"}}, {}),
        IMPORT: Answer(200, good, {}),
        SPACE_IMPORT: Answer(200, good, {}),
    }
    with AnsweringServer(answers) as server:
        yield server


@pytest.fixture
def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """The command as a user types it; status, and what both streams say."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DCMIRROR_CONFIG", str(tmp_path / "none.toml"))

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        status = cli.run(["elastic", "setup", *map(str, arguments)])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def refusal(run: Callable[..., tuple[int, str, str]], *arguments: str | Path) -> str:
    """The one line on standard error of a run that ends with 15."""
    status, _, err = run(*arguments)
    (line,) = err.splitlines()

    assert status == 15
    return line


@pytest.mark.parametrize("number", ["8.8.2", "7.17.9", "6.8.23"])
def test_an_old_server_is_refused_by_its_version(
    server: AnsweringServer, run: Callable[..., tuple[int, str, str]], number: str
) -> None:
    server.answers["GET /"] = Answer(200, {"version": {"number": number}})

    assert refusal(run, "--url", server.url) == (
        f"dcmirror: Elasticsearch at {server.url} is {number}; "
        "dcmirror needs 8.9 or later"
    )
    assert server.changes == []


def test_a_server_too_old_to_say_its_name_is_refused_by_its_version(
    server: AnsweringServer, run: Callable[..., tuple[int, str, str]]
) -> None:
    server.answers["GET /"] = Answer(200, {"version": {"number": "7.10.2"}}, {})

    assert "is 7.10.2; dcmirror needs 8.9 or later" in refusal(run, "--url", server.url)


def test_opensearch_is_called_opensearch(
    server: AnsweringServer, run: Callable[..., tuple[int, str, str]]
) -> None:
    version = {"number": "2.11.0", "distribution": "opensearch"}
    server.answers["GET /"] = Answer(200, {"version": version}, {})

    assert refusal(run, "--url", server.url) == (
        f"dcmirror: {server.url} is OpenSearch 2.11.0; "
        "dcmirror needs Elasticsearch 8.9 or later"
    )
    assert server.changes == []


def test_some_other_web_server_is_not_elasticsearch(
    server: AnsweringServer, run: Callable[..., tuple[int, str, str]]
) -> None:
    server.answers["GET /"] = Answer(200, {"hello": "world"}, {})

    assert "is not Elasticsearch" in refusal(run, "--url", server.url)


@pytest.mark.parametrize("version", ["8.9.0", "8.19.21", "9.2.1", "10.0.0"])
def test_later_versions_are_welcome(
    server: AnsweringServer, run: Callable[..., tuple[int, str, str]], version: str
) -> None:
    server.answers["GET /"] = Answer(200, {"version": {"number": version}})
    status, out, err = run("--url", server.url, "--no-kibana")

    assert (status, err) == (0, "")
    assert f"Elasticsearch {version} at {server.url}" in out
    assert len(server.changes) == 4


def test_a_missing_privilege_is_named(
    server: AnsweringServer, run: Callable[..., tuple[int, str, str]]
) -> None:
    reason = (
        "action [cluster:admin/ilm/put] is unauthorized for user [ops] with effective "
        "roles [viewer], this action is granted by the cluster privileges "
        "[manage_ilm,manage,all]"
    )
    error = {"type": "security_exception", "reason": reason}
    server.answers["PUT /_ilm/policy/logs-dcmirror"] = Answer(403, {"error": error})

    assert refusal(run, "--url", server.url) == (
        f"dcmirror: Elasticsearch at {server.url} refuses (403): user ops needs the "
        "cluster privilege manage_ilm (or manage, all)"
    )


def test_another_template_that_would_win_stops_before_anything_is_written(
    server: AnsweringServer, run: Callable[..., tuple[int, str, str]]
) -> None:
    body = {"priority": 900, "index_patterns": ["logs-*"], "composed_of": []}
    templates = {"index_templates": [{"name": "site-logs", "index_template": body}]}
    server.answers["GET /_index_template"] = Answer(200, templates)

    assert "index template site-logs claims" in refusal(run, "--url", server.url)
    assert server.changes == []


def test_nobody_at_the_address_is_one_line(
    run: Callable[..., tuple[int, str, str]],
) -> None:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"

        assert refusal(run, "--url", url) == (
            f"dcmirror: Elasticsearch cannot be reached at {url}: "
            "[Errno 111] Connection refused"
        )


def test_a_dry_run_needs_no_server(run: Callable[..., tuple[int, str, str]]) -> None:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        status, out, err = run("--url", url, "--dry-run", "--keep-days", "9")

    assert (status, err) == (0, "")
    assert "# Elasticsearch cannot be reached" in out
    assert out.count("\nPUT _") == 4
    assert '"min_age": "9d"' in out


def test_a_dry_run_only_reads(
    server: AnsweringServer, run: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    key = tmp_path / "key"
    status, out, _ = run("--url", server.url, "--dry-run", "--make-api-key", key)

    assert status == 0
    assert server.changes == []
    assert "\nPOST _security/api_key\n" in out
    assert list(tmp_path.iterdir()) == []


def test_a_dry_runs_words_are_comments_to_kibanas_console(
    server: AnsweringServer, run: Callable[..., tuple[int, str, str]]
) -> None:
    _, out, _ = run("--url", server.url, "--dry-run")
    outside = [line for line in out.splitlines() if line and line[0] not in '{} "']

    assert {line.split()[0] for line in outside} == {"#", "PUT"}


SERVERLESS = {"number": "8.11.0", "build_flavor": "serverless"}


def test_without_lifecycle_management_the_streams_remove_old_events_themselves(
    server: AnsweringServer, run: Callable[..., tuple[int, str, str]]
) -> None:
    missing = {"error": {"type": "api_not_available_exception", "reason": "no"}}
    server.answers["GET /"] = Answer(200, {"version": SERVERLESS})
    server.answers["GET /_ilm/policy/logs-dcmirror"] = Answer(410, missing)
    status, out, _ = run("--url", server.url, "--no-kibana", "--keep-days", "30")
    put = [a for a in server.asked if "@settings" in a.path and a.method == "PUT"]

    assert status == 0
    assert out.startswith("Elasticsearch Serverless at ")
    assert len(server.changes) == 3
    assert b'"lifecycle":{"data_retention":"30d"}' in put[0].body
    assert b"index.lifecycle.name" not in put[0].body


def test_a_key_of_a_key_is_explained(
    server: AnsweringServer, run: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    reason = (
        "creating derived api keys requires an explicit role descriptor that is empty "
        "(has no privileges)"
    )
    error = {"type": "illegal_argument_exception", "reason": reason}
    server.answers["POST /_security/api_key"] = Answer(400, {"error": error})
    key = tmp_path / "key"

    assert "an API key cannot make another" in refusal(
        run, "--url", server.url, "--make-api-key", key
    )
    assert not key.exists()


def test_without_security_there_are_no_keys(
    server: AnsweringServer, run: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    reason = "no handler found for uri [/_security/api_key] and method [POST]"
    server.answers["POST /_security/api_key"] = Answer(400, {"error": reason})
    key = tmp_path / "key"

    assert "has its security off" in refusal(
        run, "--url", server.url, "--make-api-key", key
    )
    assert not key.exists()


def test_a_key_whose_file_cannot_be_written_is_withdrawn(
    server: AnsweringServer,
    run: Callable[..., tuple[int, str, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = {"id": "abc", "encoded": "c2VjcmV0"}
    server.answers["POST /_security/api_key"] = Answer(200, made)
    server.answers["DELETE /_security/api_key"] = DONE

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("dcmirror.adapters.key_file.write_all", full)
    key = tmp_path / "key"
    status, _, err = run("--url", server.url, "--make-api-key", key)

    assert (status, err) == (4, f"dcmirror: {key}: No space left on device\n")
    assert server.changes[-1] == "DELETE /_security/api_key"
    assert json.loads(server.asked[-1].body) == {"ids": ["abc"]}
    assert not key.exists()


def test_a_password_is_taken_from_a_file_the_environment_or_a_terminal(
    server: AnsweringServer,
    run: Callable[..., tuple[int, str, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = tmp_path / "password"
    file.write_text("of-file\n")
    ask = ("--url", server.url, "--no-kibana", "--user", "u", "--dry-run")
    run(*ask, "--password-file", file)
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr("click.prompt", lambda *_, **__: "of-terminal")
    run(*ask)
    monkeypatch.setenv("DCMIRROR_ELASTICSEARCH_PASSWORD", "of-environment")
    run(*ask)
    sent = [a.headers["authorization"] for a in server.asked if a.path == "/"]

    assert [base64.b64decode(each.removeprefix("Basic ")) for each in sent] == [
        b"u:of-file",
        b"u:of-terminal",
        b"u:of-environment",
    ]


def test_a_file_that_exists_is_never_overwritten_by_a_key(
    server: AnsweringServer, run: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    key = tmp_path / "key"
    key.write_text("mine")
    status, _, err = run("--url", server.url, "--make-api-key", key)

    assert (status, err) == (4, f"dcmirror: {key}: exists already; name a new file\n")
    assert key.read_text() == "mine"
    assert server.asked == []


def test_a_key_that_cannot_be_kept_is_not_made(
    server: AnsweringServer, run: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    key = tmp_path / "none" / "key"
    status, _, err = run("--url", server.url, "--make-api-key", key)

    assert (status, err) == (4, f"dcmirror: {key}: No such file or directory\n")
    assert "POST /_security/api_key" not in server.changes


def test_the_dashboards_are_imported_over_what_is_there(
    server: AnsweringServer,
    kibana: AnsweringServer,
    run: Callable[..., tuple[int, str, str]],
    tmp_path: Path,
) -> None:
    status, out, _ = run("--url", server.url, "--kibana", f"{kibana.url}/")
    _, asked = kibana.asked

    assert status == 0
    assert f"imported   {OBJECTS} Kibana objects: {kibana.url}\n" in out
    assert asked.headers["kbn-xsrf"] == "true"
    assert asked.headers["content-type"].startswith("multipart/form-data; boundary=")
    assert b'name="file"; filename="dcmirror.ndjson"' in asked.body
    assert saved_objects_ndjson().encode() in asked.body
    assert list(tmp_path.iterdir()) == []


def test_a_space_is_part_of_the_address(
    server: AnsweringServer,
    kibana: AnsweringServer,
    run: Callable[..., tuple[int, str, str]],
) -> None:
    kibana.answers[STATUS.replace("/api", "/s/storage/api")] = kibana.answers[STATUS]
    status, _, _ = run("--url", server.url, "--kibana", f"{kibana.url}/s/storage")

    assert status == 0
    assert kibana.changes == [SPACE_IMPORT]


def test_kibana_gets_the_same_credential_unless_told_another(
    server: AnsweringServer,
    kibana: AnsweringServer,
    run: Callable[..., tuple[int, str, str]],
    tmp_path: Path,
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_text("Zmlyc3Q=\n")
    second.write_text("c2Vjb25k\n")
    both = ("--url", server.url, "--kibana", kibana.url, "--api-key-file", first)
    run(*both)
    run(*both, "--kibana-api-key-file", second)
    sent = [a.headers.get("authorization") for a in kibana.asked]

    assert sent == ["ApiKey Zmlyc3Q="] * 2 + ["ApiKey c2Vjb25k"] * 2
    assert {a.headers["authorization"] for a in server.asked} == {"ApiKey Zmlyc3Q="}


def test_objects_that_kibana_refuses_are_named(
    server: AnsweringServer,
    kibana: AnsweringServer,
    run: Callable[..., tuple[int, str, str]],
) -> None:
    references = [{"type": "index-pattern", "id": "dcmirror-logs"}]
    errors = [
        {
            "type": "lens",
            "id": "dcmirror-bytes",
            "error": {"type": "missing_references", "references": references},
        },
        {"type": "dashboard", "id": "d", "error": {"type": "unsupported_type"}},
    ]
    partly = {"success": False, "successCount": 3, "errors": errors}
    kibana.answers[IMPORT] = Answer(200, partly, {})

    assert refusal(run, "--url", server.url, "--kibana", kibana.url) == (
        f"dcmirror: Kibana at {kibana.url} took 3 objects and refused 2: "
        "lens dcmirror-bytes: missing_references (index-pattern dcmirror-logs), "
        "dashboard d: unsupported_type"
    )


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "does not know us (401): who are you"),
        (403, "refuses (403): who are you"),
        (404, "has no such address or space (404)"),
        (500, "says 500: who are you"),
    ],
)
def test_kibanas_refusals_are_one_line(
    server: AnsweringServer,
    kibana: AnsweringServer,
    run: Callable[..., tuple[int, str, str]],
    status: int,
    words: str,
) -> None:
    kibana.answers[IMPORT] = Answer(status, {"message": "who are\nyou"}, {})

    assert refusal(run, "--url", server.url, "--kibana", kibana.url) == (
        f"dcmirror: Kibana at {kibana.url} {words}"
    )


def test_an_old_kibana_is_refused_before_the_import(
    server: AnsweringServer,
    kibana: AnsweringServer,
    run: Callable[..., tuple[int, str, str]],
) -> None:
    kibana.answers[STATUS] = Answer(200, {"version": {"number": "8.6.1"}}, {})

    assert refusal(run, "--url", server.url, "--kibana", kibana.url) == (
        f"dcmirror: Kibana at {kibana.url} is 8.6.1; dcmirror needs 8.9 or later"
    )
    assert kibana.changes == []


def test_a_credential_does_not_follow_a_redirect(
    server: AnsweringServer,
    kibana: AnsweringServer,
    run: Callable[..., tuple[int, str, str]],
    tmp_path: Path,
) -> None:
    key = tmp_path / "key"
    key.write_text("c2VjcmV0")
    elsewhere = {"Location": f"{server.url}/login"}
    kibana.answers[STATUS] = Answer(302, {}, elsewhere)
    line = refusal(
        run, "--url", server.url, "--kibana", kibana.url, "--api-key-file", key
    )

    assert f"sends us to {server.url}/login" in line
    assert "/login" not in {each.path for each in server.asked}


def test_something_that_is_not_kibana_is_said_to_be_none(
    server: AnsweringServer,
    kibana: AnsweringServer,
    run: Callable[..., tuple[int, str, str]],
) -> None:
    kibana.answers[STATUS] = Answer(200, b"<html>", {})

    assert "is not Kibana" in refusal(run, "--url", server.url, "--kibana", kibana.url)


def test_without_kibana_a_file_is_written_once(
    server: AnsweringServer, run: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    _, first, _ = run("--url", server.url)
    _, second, _ = run("--url", server.url)
    file = tmp_path / "dcmirror-kibana.ndjson"

    assert "written    Kibana objects in dcmirror-kibana.ndjson: import it" in first
    assert "unchanged  Kibana objects in dcmirror-kibana.ndjson" in second
    assert file.read_text() == saved_objects_ndjson()


def test_a_file_for_the_dashboards_that_cannot_be_written_is_told(
    server: AnsweringServer, run: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    file = tmp_path / "none" / "objects.ndjson"
    status, _, err = run("--url", server.url, "--kibana-file", file)

    why = "cannot be written: No such file or directory"
    assert (status, err) == (4, f"dcmirror: {file}: {why}\n")


def test_a_pipe_for_the_dashboards_stays_one_and_takes_them(
    server: AnsweringServer, run: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    found: list[str] = []
    reader = Thread(target=lambda: found.append(fifo.read_text()), daemon=True)
    reader.start()
    status, _, _ = in_time(lambda: run("--url", server.url, "--kibana-file", fifo))
    reader.join(10)

    assert (status, fifo.is_fifo()) == (0, True)
    assert found == [saved_objects_ndjson()]


def test_nobody_is_led_elsewhere_by_a_file_that_was_there_before(
    server: AnsweringServer, run: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    """In a directory of others, who can guess the name of a temporary file."""
    victim, file = tmp_path / "victim", tmp_path / "objects.ndjson"
    victim.write_text("precious")
    (tmp_path / f".{file.name}.{os.getpid()}").symlink_to(victim)
    status, _, _ = run("--url", server.url, "--kibana-file", file)

    assert (status, file.read_text()) == (0, saved_objects_ndjson())
    assert victim.read_text() == "precious"


def test_what_a_server_calls_itself_commands_no_terminal(
    server: AnsweringServer, run: Callable[..., tuple[int, str, str]]
) -> None:
    server.answers["GET /"] = Answer(200, {**ROOT, "cluster_name": "a\x1b[2J\nb"})
    _, out, _ = run("--url", server.url, "--no-kibana")

    assert "(cluster a\\x1b[2J\\nb)\n" in out


def test_kibanas_certificate_may_be_signed_by_elasticsearchs_ca(
    server: AnsweringServer,
    kibana: AnsweringServer,
    run: Callable[..., tuple[int, str, str]],
    pki: Pki,
) -> None:
    with AnsweringServer(kibana.answers, tls=pki) as secure:
        asked = ("--url", server.url, "--kibana", secure.url)
        line = refusal(run, *asked)
        status, _, _ = run(*asked, "--ca-certs", pki.ca_pem)

    assert f"Kibana cannot be reached at {secure.url}: " in line
    assert "certificate verify failed" in line
    assert status == 0


def test_elasticsearch_behind_an_unknown_ca_names_the_remedy(
    server: AnsweringServer, run: Callable[..., tuple[int, str, str]], pki: Pki
) -> None:
    with AnsweringServer(server.answers, tls=pki) as secure:
        line = refusal(run, "--url", secure.url)
        status, _, _ = run("--url", secure.url, "--ca-certs", pki.ca_pem)

    assert "certificate verify failed" in line
    assert line.endswith("is its CA in [elasticsearch] ca_certs, or in --ca-certs?")
    assert status == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("--url", "elastic.example.org"),
        ("--kibana", "ftp://x"),
        ("--user", "u"),
        ("--password-file", "p"),
        ("--user", "u", "--api-key-file", "k"),
        ("--key-days", "3"),
        ("--keep-days", "0"),
    ],
)
def test_what_makes_no_sense_is_wrong_usage(
    run: Callable[..., tuple[int, str, str]], arguments: tuple[str, ...]
) -> None:
    given = arguments if "--url" in arguments else ("--url", "http://x:1", *arguments)
    status, _, err = run(*given)

    assert (status, "Traceback" in err) == (2, False)


def test_no_address_at_all_names_setting_and_option(
    run: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    path = tmp_path / "dcmirror.toml"
    path.write_text(
        '[kafka]\ntopic = "t"\nservers = ["k:9092"]\nconsumergroup = "g"\n'
        '[dcache]\nurl = "https://d.example.org"\npool = "/"\nfolder = "/raw"\n'
        '[local]\ndownloadfolder = "/data"\n'
    )
    status, _, err = run("--config", path)

    assert (status, err) == (
        4,
        "dcmirror: [elasticsearch] urls is empty; set it, or give --url\n",
    )
