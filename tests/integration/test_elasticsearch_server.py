"""The Elasticsearch the other tests stand on does what they believe it does."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from helpers import wait_until
from servers.elasticsearch import Elasticsearch, Refused

if TYPE_CHECKING:
    from dcmirror.testing.pki import Pki
    from servers.elasticsearch import LocalElasticsearch

pytestmark = pytest.mark.timeout(300)

TEMPLATE = {
    "index_patterns": ["shimtest-*"],
    "priority": 500,
    "data_stream": {},
    "template": {"mappings": {"properties": {"n": {"type": "long"}}}},
}


def document(n: Any) -> dict[str, Any]:
    return {"@timestamp": "2025-03-04T05:06:07Z", "n": n}


@pytest.fixture
def stream(elasticsearch: Elasticsearch) -> str:
    """A data stream of the test's own, not there yet."""
    elasticsearch.request("PUT", "_index_template/shimtest", TEMPLATE)
    return f"shimtest-server-{elasticsearch.namespace()}"


def test_the_same_id_is_created_once(elasticsearch: Elasticsearch, stream: str) -> None:
    first = elasticsearch.bulk(stream, [("a", document(1)), ("b", document(2))])
    second = elasticsearch.bulk(stream, [("a", document(1)), ("c", document("three"))])

    assert [201, 201] == [item["status"] for item in first]
    assert [409, 400] == [item["status"] for item in second]
    assert elasticsearch.count(stream) == 2
    found = {hit["_id"]: hit["_source"]["n"] for hit in elasticsearch.documents(stream)}
    assert found == {"a": 1, "b": 2}


def test_a_stream_nobody_made_has_no_documents(elasticsearch: Elasticsearch) -> None:
    missing = f"shimtest-missing-{elasticsearch.namespace()}"

    assert elasticsearch.count(missing) == 0
    assert list(elasticsearch.documents(missing)) == []


def test_streams_and_policies_can_be_asked_for(
    elasticsearch: Elasticsearch, stream: str
) -> None:
    elasticsearch.bulk(stream, [("a", document(1))])
    policy = {"phases": {"delete": {"min_age": "9d", "actions": {"delete": {}}}}}
    path = f"_ilm/policy/{stream}"
    elasticsearch.request("PUT", path, {"policy": policy})

    streams = elasticsearch.request("GET", f"_data_stream/{stream}")["data_streams"]
    stored = elasticsearch.request("GET", path)[stream]["policy"]
    elasticsearch.request("DELETE", path)
    elasticsearch.remove_namespaces()

    assert [(stream, "shimtest")] == [(s["name"], s["template"]) for s in streams]
    assert stored["phases"]["delete"]["min_age"] == "9d"
    with pytest.raises(Refused, match="404"):
        elasticsearch.request("GET", path)
    assert elasticsearch.count(stream) == 0


def test_documents_outlive_a_kill_of_the_server(
    private_elasticsearch: Callable[..., LocalElasticsearch],
) -> None:
    server = private_elasticsearch()
    server.request("PUT", "_index_template/shimtest", TEMPLATE)
    server.bulk("shimtest-kept", [(str(n), document(n)) for n in range(100)])

    server.kill9()
    with pytest.raises(OSError, match="refused"):
        server.ask("GET", "/", timeout=5)
    server.start()

    assert server.count("shimtest-kept") == 100
    again = server.bulk("shimtest-kept", [("99", document(99)), ("100", document(100))])
    assert [409, 201] == [item["status"] for item in again]


def test_a_server_with_tls_and_users_takes_who_may_come(
    private_elasticsearch: Callable[..., LocalElasticsearch], pki: Pki
) -> None:
    """And freezes and thaws."""
    server = private_elasticsearch(tls=pki, password="s e:c/ret")
    stranger = Elasticsearch(server.url, ca=pki.ca_pem)
    nobody = Elasticsearch(server.url)
    key = server.request("POST", "_security/api_key", {"name": "k"})["encoded"]
    authorization = {"Authorization": f"ApiKey {key}"}

    assert server.url.startswith("https://localhost:")
    assert server.request("GET", "/")["version"]["number"].startswith("8.")
    assert stranger.ask("GET", "/")[0] == 401
    assert stranger.ask("GET", "/", headers=authorization)[0] == 200
    with pytest.raises(OSError, match="certificate verify failed"):
        nobody.ask("GET", "/")

    server.freeze()
    with pytest.raises(OSError, match="timed out"):
        server.ask("GET", "/", timeout=0.5)
    server.thaw()
    assert wait_until(server.is_ready)
