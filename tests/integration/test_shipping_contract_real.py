"""The shipper's contract on a real Elasticsearch, so that the stub cannot lie."""

from __future__ import annotations

import pytest

from contracts.shipping import ShippingContract
from elastic_place import install_templates, real_place, settings_of


class TestReal(ShippingContract):
    @pytest.fixture
    def place(self, elasticsearch):
        install_templates(elasticsearch)
        return real_place(elasticsearch, settings_of(elasticsearch))
