"""The doors the other tests stand on do what they believe they do."""

from __future__ import annotations

import http.client
import ssl
import zlib
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from helpers import wait_until
from servers.xrootd import keep_digest

if TYPE_CHECKING:
    from pathlib import Path

    from dcmirror.testing.pki import Pki
    from servers.apache import Apache
    from servers.nginx import Nginx
    from servers.xrootd import XRootD


def get(
    url: str, pki: Pki, credential: Path | None = None, key: Path | None = None
) -> http.client.HTTPResponse:
    """GET by Python's own client, which shares nothing with ours."""
    context = ssl.create_default_context(cafile=str(pki.ca_pem))
    if credential:
        context.load_cert_chain(credential, key)
    split = urlsplit(url)
    assert split.hostname
    door = http.client.HTTPSConnection(
        split.hostname, split.port, timeout=20, context=context
    )
    try:
        door.request("GET", split.path, headers={"Want-Digest": "adler32"})
        response = door.getresponse()
        response.read()
        return response
    finally:
        door.close()


def test_xrootd_knows_the_user_by_the_proxy(xrootd: XRootD, pki: Pki) -> None:
    xrootd.upload("/own/file", b"bytes")

    answer = get(f"{xrootd.url}/own/file", pki, pki.proxy)

    assert 200 == answer.status
    assert f"adler32={zlib.adler32(b'bytes'):08x}" == answer.getheader("Digest")
    assert "login as tester" in xrootd.log


def test_xrootd_believes_the_digest_that_is_kept(xrootd: XRootD, pki: Pki) -> None:
    """And makes none of its own, which would hide a record it cannot read."""
    target = xrootd.upload("/own/kept", b"bytes")
    keep_digest(target, 0x1234ABCD)

    answer = get(f"{xrootd.url}/own/kept", pki, pki.proxy)

    assert "adler32=1234abcd" == answer.getheader("Digest")


@pytest.mark.parametrize("who", ["nobody", "a stranger"])
def test_xrootd_lets_nobody_else_in(xrootd: XRootD, pki: Pki, who: str) -> None:
    xrootd.upload("/own/secret", b"bytes")
    stranger = pki.make_user("A Stranger")
    proxy = pki.make_proxy(user=stranger, path=pki.directory / "x509up-stranger")

    credential = proxy if who == "a stranger" else None
    answer = get(f"{xrootd.url}/own/secret", pki, credential)

    assert 200 != answer.status


def test_nginx_demands_a_client_certificate(nginx: Nginx, pki: Pki) -> None:
    nginx.upload("/own/file", b"bytes")

    known = get(f"{nginx.url}/own/file", pki, pki.user_cert, pki.user_key)
    unknown = get(f"{nginx.url}/own/file", pki)

    assert (200, 400) == (known.status, unknown.status)


def test_the_nginx_door_sends_readers_to_a_pool_with_an_id(
    nginx_door: Nginx, pki: Pki
) -> None:
    nginx_door.upload("/own/file-1", b"bytes")

    answer = get(f"{nginx_door.door_url}/own/file-1", pki, pki.user_cert, pki.user_key)

    assert 302 == answer.status
    assert "dcache-http-uuid=" in (answer.getheader("Location") or "")


def test_apache_knows_the_user_by_the_certificate(apache: Apache, pki: Pki) -> None:
    apache.upload("/own/a file", b"bytes")

    answer = get(f"{apache.url}/own/a%20file", pki, pki.user_cert, pki.user_key)

    assert 200 == answer.status
    # a line is written after its answer has left
    line = "GET /own/a file 200 CN=Test User,DC=dcmirror,DC=org"
    wait_until(lambda: line in apache.requests, 10)


def test_apache_lets_nobody_else_in(apache: Apache, pki: Pki) -> None:
    apache.upload("/own/secret", b"bytes")

    with pytest.raises(OSError):  # noqa: PT011 - an alert, or a reset after it
        get(f"{apache.url}/own/secret", pki)


def test_apache_forbids_what_is_called_so(apache: Apache, pki: Pki) -> None:
    apache.upload("/own/forbidden/file", b"bytes")
    url = f"{apache.url}/own/forbidden/file"

    assert 403 == get(url, pki, pki.user_cert, pki.user_key).status
