"""The shipper's contract on the stub."""

from __future__ import annotations

import json

import pytest

from contracts.shipping import Place, ShippingContract
from dcmirror.settings import Elasticsearch
from servers.elastic_stub import ElasticStub


class TestStub(ShippingContract):
    @pytest.fixture(params=[False, True], ids=["plain", "compressed"])
    def place(self, request):
        with ElasticStub(max_bytes=100_000) as stub:
            stub.rule = lambda body: (
                (400, "document_parsing_exception") if b'"unparsable"' in body else None
            )
            yield Place(
                Elasticsearch(urls=(stub.url,), compress=request.param),
                "default",
                lambda: {k: json.loads(v) for k, v in stub.documents.items()},
                lambda event: event | {"unparsable": True},
                most_bytes=100_000,
            )
