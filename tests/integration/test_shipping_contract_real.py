"""The shipper's contract on a real Elasticsearch, so that the stub cannot lie."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from contracts.shipping import ShippingContract, ship, total
from dcmirror.adapters.dead_letters import DeadLetters
from dcmirror.core.elastic_templates import api_key
from dcmirror.testing.pki import make_pki
from elastic_place import install_templates, real_place, settings_of
from helpers import wait_until
from servers.elasticsearch import start_local
from servers.ladder import Ladder

KEY_NAME = "dcmirror-contract"
MOST_BYTES = 1024 * 1024

pytestmark = pytest.mark.timeout(300)


class TestReal(ShippingContract):
    @pytest.fixture
    def place(self, elasticsearch):
        install_templates(elasticsearch)
        return real_place(elasticsearch, settings_of(elasticsearch))


@pytest.fixture(scope="module")
def secure(pki):
    """A server with TLS, users and a small limit of requests."""
    server = Ladder(dict(os.environ)).climb(
        "elasticsearch",
        local=lambda: start_local(
            {"http.max_content_length": "1mb"}, tls=pki, password="right secret"
        ),
    )
    install_templates(server)
    yield server
    server.close()


class TestSecure(ShippingContract):
    """With the least rights that ship, over TLS, and requests of 1 MiB at most."""

    @pytest.fixture
    def place(self, secure, tmp_path):
        return real_place(secure, with_key(secure, tmp_path), MOST_BYTES)

    def test_a_revoked_key_pauses_and_the_next_one_goes_on(
        self, place, sink, secure, tmp_path
    ):
        ship(sink, [place.line(1)])
        secure.request("DELETE", "_security/api_key", {"name": KEY_NAME})
        wait_until(lambda: sink.ship([place.line(2)]).needs_help)
        receipt = sink.ship([place.line(2)])

        assert "security_exception" in receipt.trouble
        with_key(secure, tmp_path)
        assert sink.is_cured()
        assert (1, 0, 0) == total(ship(sink, receipt.rest))
        assert [1, 2] == place.numbers()

    def test_a_foreign_stream_is_not_ours_to_write(self, place, sink):
        stream = {"type": "logs", "dataset": "other", "namespace": place.namespace}
        receipt = sink.ship([place.line(1, data_stream=stream)])

        assert receipt.needs_help
        assert receipt.trouble.startswith("HTTP 403 security_exception")

    def test_a_wrong_ca_is_told(self, place, letters, tmp_path):
        other = make_pki(tmp_path / "other")
        place.settings = replace(place.settings, ca_certs=other.ca_pem)
        receipt = place.sink(letters).ship([place.line(1)])

        assert "certificate verify failed" in receipt.trouble
        assert 1 == len(receipt.rest)


def with_key(server, tmp_path):
    """Settings with a key of ours, as ``dcmirror elastic setup`` makes it."""
    request = api_key(KEY_NAME, None)
    made = server.request(request.method, request.path, request.body)
    path = tmp_path / "key"
    path.write_text(f"{made['encoded']}\n")
    return settings_of(server, api_key_file=path)


class TestPlain:
    """What a person may do to the server."""

    @pytest.fixture
    def place(self, elasticsearch):
        install_templates(elasticsearch)
        return real_place(elasticsearch, settings_of(elasticsearch))

    @pytest.fixture
    def sink(self, place, tmp_path):
        yield place.sink(DeadLetters(tmp_path / "dead-letters.ndjson"))
        place.close()

    def test_a_block_on_writing_is_waited_for(self, place, sink, elasticsearch):
        ship(sink, [place.line(1)])
        stream = f"logs-dcmirror.transfer-{place.namespace}"
        blocked = {"index.blocks.write": True}
        elasticsearch.request("PUT", f"{stream}/_settings", blocked)
        receipt = sink.ship([place.line(2)])

        assert receipt.needs_help
        assert "cluster_block_exception" in receipt.trouble
        blocked["index.blocks.write"] = False
        elasticsearch.request("PUT", f"{stream}/_settings", blocked)
        assert (1, 0, 0) == total(ship(sink, receipt.rest))
        assert [1, 2] == place.numbers()

    def test_the_flood_stage_is_waited_for(self, place, sink, elasticsearch):
        ship(sink, [place.line(1)])
        stream = f"logs-dcmirror.transfer-{place.namespace}"
        full = {"index.blocks.read_only_allow_delete": True}
        elasticsearch.request("PUT", f"{stream}/_settings", full)
        receipt = sink.ship([place.line(2)])

        assert 1 == len(receipt.rest)
        assert not receipt.needs_help
        full["index.blocks.read_only_allow_delete"] = None
        elasticsearch.request("PUT", f"{stream}/_settings", full)
        assert (1, 0, 0) == total(ship(sink, receipt.rest))

    def test_a_pipeline_that_is_missing_ends_no_line(self, place, sink, elasticsearch):
        """The server blames each document with a 400 of its own."""
        ship(sink, [place.line(1)])
        stream = f"logs-dcmirror.transfer-{place.namespace}"
        pipeline = {"index.default_pipeline": "gone"}
        elasticsearch.request("PUT", f"{stream}/_settings", pipeline)
        receipt = sink.ship([place.line(2), place.line(3)])

        assert (0, 2, 0) == (receipt.taken, len(receipt.rest), receipt.dead)
        assert "HTTP 400" in receipt.trouble
        assert "pipeline" in receipt.trouble
        pipeline["index.default_pipeline"] = None
        elasticsearch.request("PUT", f"{stream}/_settings", pipeline)
        assert (2, 0, 0) == total(ship(sink, receipt.rest))
        assert [1, 2, 3] == place.numbers()

    def test_no_index_is_made_where_no_stream_can_be(self, place, sink, elasticsearch):
        """It would have our stream's name, and `elastic setup` could not help."""
        stream = {"type": "logs", "dataset": "zz", "namespace": place.namespace}
        line = place.line(1, data_stream=stream)
        receipt = sink.ship([line])

        assert [line] == list(receipt.rest)
        assert receipt.needs_help
        assert "dcmirror elastic setup" in receipt.trouble
        status, _ = elasticsearch.ask("GET", f"logs-zz-{place.namespace}")
        assert 404 == status
