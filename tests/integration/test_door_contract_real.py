"""The door's contract on real servers, so that the fake cannot lie about doors."""

from __future__ import annotations

import ssl
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from contracts.door import ODD_NAMES, DoorContract, DoorUnderTest
from dcmirror.testing.pki import Pki
from servers.apache import Apache
from servers.nginx import Nginx
from servers.xrootd import XRootD


def with_credential(pki: Pki, certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(capath=str(pki.capath))
    context.load_cert_chain(certificate, key)
    return context


def without_credential(pki: Pki) -> ssl.SSLContext:
    return ssl.create_default_context(capath=str(pki.capath))


def storing(
    upload: Callable[[str, bytes], object], directory: str
) -> Callable[[str, bytes], None]:
    def store(name: str, data: bytes) -> None:
        upload(f"/{directory}/{name}", data)

    return store


class TestXRootD(DoorContract):
    """A grid door with a proxy."""

    @pytest.fixture
    def door(self, xrootd: XRootD, pki: Pki) -> DoorUnderTest:
        directory = f"contract-{uuid.uuid4().hex[:8]}"
        return DoorUnderTest(
            url=f"{xrootd.url}/{directory}",
            context=with_credential(pki, pki.proxy, pki.proxy),
            stranger=without_credential(pki),
            store=storing(xrootd.upload, directory),
            # XRootD takes what follows a "?" for options even where it was escaped,
            # and lists names without escaping them: there a "%20" is no blank
            odd_names=tuple(name for name in ODD_NAMES if not {*"?%"} & {*name}),
        )


class TestApache(DoorContract):
    """WebDAV with user certificates; no digests."""

    @pytest.fixture
    def door(self, apache: Apache, pki: Pki) -> DoorUnderTest:
        directory = f"contract-{uuid.uuid4().hex[:8]}"
        return DoorUnderTest(
            url=f"{apache.url}/{directory}",
            context=with_credential(pki, pki.user_cert, pki.user_key),
            stranger=without_credential(pki),
            store=storing(apache.upload, directory),
            has_digests=False,
            tells_zero=False,
        )


class NginxContract(DoorContract):
    """User certificates; neither digests nor WebDAV."""

    def door_at(self, url: str, nginx: Nginx, pki: Pki) -> DoorUnderTest:
        directory = f"contract-{uuid.uuid4().hex[:8]}"
        return DoorUnderTest(
            url=f"{url}/{directory}",
            context=with_credential(pki, pki.user_cert, pki.user_key),
            stranger=without_credential(pki),
            store=storing(nginx.upload, directory),
            has_digests=False,
            has_propfind=False,
        )


class TestNginx(NginxContract):
    """A server that answers itself."""

    @pytest.fixture
    def door(self, nginx: Nginx, pki: Pki) -> DoorUnderTest:
        return self.door_at(nginx.url, nginx, pki)


class TestNginxDoor(NginxContract):
    """A door that sends readers to pools, one of them by way of plain HTTP."""

    @pytest.fixture
    def door(self, nginx_door: Nginx, pki: Pki) -> DoorUnderTest:
        return self.door_at(nginx_door.door_url, nginx_door, pki)
