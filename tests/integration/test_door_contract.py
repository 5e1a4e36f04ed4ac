"""The door's contract, on the fake dCache in all its shapes."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from typing import Any

import pytest

from contracts.door import DoorContract, DoorUnderTest
from dcmirror.testing.fake_dcache import FakeDCache
from dcmirror.testing.pki import Pki

SHAPES: dict[str, dict[str, Any]] = {
    "redirects": {},
    "redirects-to-http": {"pool_tls": False},
    "relays": {"relays": True},
    "asks-for-no-certificate": {"demand_certificate": False},
}


@pytest.fixture(scope="module", params=SHAPES)
def fake(request: pytest.FixtureRequest, pki: Pki) -> Iterator[FakeDCache]:
    with FakeDCache(pki, **SHAPES[request.param]) as fake:
        yield fake


class TestFakeDoor(DoorContract):
    @pytest.fixture
    def door(self, fake: FakeDCache, pki: Pki) -> DoorUnderTest:
        context = ssl.create_default_context(capath=str(pki.capath))
        stranger = ssl.create_default_context(capath=str(pki.capath))
        context.load_cert_chain(pki.proxy)
        folder = f"{fake.root}/contract"
        fake.site.namespace.make_directory(folder)
        return DoorUnderTest(
            url=fake.url_of(folder),
            context=context,
            stranger=stranger,
            store=lambda name, data: void(fake.upload(f"{folder}/{name}", data)),
        )


def void(_: object) -> None:
    """A pnfsid nobody asked for."""
