"""What dcmirror relies on in a WebDAV door; holds for the fake and for real ones.

Not collected by itself: a test module subclasses ``DoorContract`` and gives it a
``door`` fixture.
"""

from __future__ import annotations

import http.client
import ssl
import xml.etree.ElementTree as ET
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import quote, unquote, urljoin, urlsplit

import pytest

DAV = "{DAV:}"
ODD_NAMES = (
    "with blank.dat",
    "grüße-日本.dat",
    "p%q+r#s?t&u;v=w.dat",
    "x[y]~z'().dat",
    "a%20b.dat",
)
SIZES = (0, 1, 16384, 65537, 3 * 1024 * 1024 + 1)
PROPFIND = (
    '<?xml version="1.0"?><propfind xmlns="DAV:"><prop>'
    "<getcontentlength/><getlastmodified/><resourcetype/>"
    "</prop></propfind>"
)


@dataclass
class DoorUnderTest:
    """One door, and how to talk to it.

    Args:
        url: of an existing, empty directory; no slash at the end.
        context: TLS with the client's credential.
        stranger: TLS without any.
        store: puts a file below ``url``, by whatever way the server has.
        has_digests: answers ``Want-Digest: adler32``.
        has_propfind: is WebDAV at all.
        refuses_strangers: who shows no certificate gets nothing.
        tells_zero: HEAD has a Content-Length even for an empty file.
        odd_names: those of ``ODD_NAMES`` that it can serve.
    """

    url: str
    context: ssl.SSLContext
    stranger: ssl.SSLContext
    store: Callable[[str, bytes], None]
    has_digests: bool = True
    has_propfind: bool = True
    refuses_strangers: bool = True
    tells_zero: bool = True
    odd_names: tuple[str, ...] = ODD_NAMES

    def url_of(self, name: str) -> str:
        return f"{self.url}/{quote(name)}"


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes
    hops: list[str] = field(default_factory=list)

    @property
    def digest(self) -> int:
        """The Adler-32 of the Digest header, in any of its spellings."""
        for item in self.headers["Digest"].split(","):
            name, _, value = item.strip().partition("=")
            if name.lower() == "adler32":
                return int(value, 16)
        raise AssertionError(f"no adler32 in {self.headers['Digest']!r}")


@contextmanager
def connected(
    url: str, context: ssl.SSLContext
) -> Iterator[http.client.HTTPConnection]:
    parts = urlsplit(url)
    kind = http.client.HTTPConnection
    options = {}
    if parts.scheme == "https":
        kind, options = http.client.HTTPSConnection, {"context": context}
    connection = kind(parts.hostname or "", parts.port, timeout=20, **options)
    try:
        yield connection
    finally:
        connection.close()


def exchange(
    connection: http.client.HTTPConnection,
    method: str,
    url: str,
    headers: dict[str, str] | None = None,
    body: str | None = None,
) -> Answer:
    parts = urlsplit(url)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    connection.request(method, target, body, headers or {})
    response = connection.getresponse()
    return Answer(response.status, response.headers, response.read())


def ask(
    door: DoorUnderTest,
    method: str,
    url: str,
    body: str | None = None,
    **headers: str,
) -> Answer:
    """One request; redirects are followed by hand, the credential stays at the door."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    hops: list[str] = []
    context = door.context
    while True:
        with connected(url, context) as connection:
            answer = exchange(connection, method, url, named, body)
        if answer.status not in (301, 302, 303, 307, 308) or len(hops) > 5:
            answer.hops = hops
            return answer
        url = urljoin(url, answer.headers["Location"])
        hops.append(url)
        context = door.stranger


def bytes_of(size: int) -> bytes:
    return bytes(number * 31 % 251 for number in range(min(size, 65521))) * (
        size // 65521 + 1
    )


def content(size: int) -> bytes:
    return bytes_of(size)[:size]


def sizes_by_name(answer: Answer, base: str) -> dict[str, int | None]:
    """Decoded path -> size of a multistatus; None for directories."""
    found: dict[str, int | None] = {}
    for response in ET.fromstring(answer.body).iter(f"{DAV}response"):
        href = urljoin(base, response.findtext(f"{DAV}href", "").strip())
        found[unquote(urlsplit(href).path).rstrip("/")] = _size(response)
    return found


def _size(response: ET.Element) -> int | None:
    for propstat in response.iter(f"{DAV}propstat"):
        if " 200 " not in f"{propstat.findtext(f'{DAV}status', '')} ":
            continue
        if propstat.find(f"{DAV}prop/{DAV}resourcetype/{DAV}collection") is not None:
            return None
        length = propstat.findtext(f"{DAV}prop/{DAV}getcontentlength")
        if length is not None:
            return int(length)
    return None


class DoorContract:
    """The claims."""

    @pytest.fixture
    def door(self) -> DoorUnderTest:
        raise NotImplementedError

    @pytest.mark.parametrize("size", SIZES)
    def test_get_gives_the_very_bytes(self, door: DoorUnderTest, size: int) -> None:
        door.store(f"get-{size}", content(size))
        answer = ask(door, "GET", door.url_of(f"get-{size}"))

        assert (answer.status, len(answer.body)) == (200, size)
        assert answer.body == content(size)
        assert answer.headers["Content-Length"] == str(size)

    @pytest.mark.parametrize("size", SIZES)
    def test_head_tells_the_size_and_nothing_more(
        self, door: DoorUnderTest, size: int
    ) -> None:
        door.store(f"head-{size}", content(size))
        answer = ask(door, "HEAD", door.url_of(f"head-{size}"))

        told = str(size) if size or door.tells_zero else None
        assert (answer.status, answer.headers["Content-Length"]) == (200, told)
        assert answer.body == b""

    @pytest.mark.parametrize("method", ["HEAD", "GET"])
    @pytest.mark.parametrize("size", SIZES)
    def test_digest_is_the_adler32_of_the_bytes(
        self, door: DoorUnderTest, size: int, method: str
    ) -> None:
        if not door.has_digests:
            pytest.skip("this server has no digests")
        name = f"digest-{method}-{size}"
        door.store(name, content(size))
        answer = ask(door, method, door.url_of(name), Want_Digest="adler32")

        assert answer.digest == zlib.adler32(content(size))

    def test_range_gives_that_part_and_says_which(self, door: DoorUnderTest) -> None:
        data = content(100_000)
        door.store("range", data)
        answer = ask(door, "GET", door.url_of("range"), Range="bytes=1000-1999")

        assert (answer.status, answer.body) == (206, data[1000:2000])
        assert answer.headers["Content-Range"] == "bytes 1000-1999/100000"

    @pytest.mark.parametrize("method", ["HEAD", "GET"])
    def test_missing_file_is_404(self, door: DoorUnderTest, method: str) -> None:
        assert ask(door, method, door.url_of("nowhere")).status == 404

    def test_who_shows_no_certificate_gets_nothing(self, door: DoorUnderTest) -> None:
        if not door.refuses_strangers:
            pytest.skip("this server lets strangers in")
        door.store("secret", b"secret")
        try:
            with connected(door.url, door.stranger) as connection:
                answer = exchange(connection, "GET", door.url_of("secret"))
        except OSError as exc:  # a TLS alert, or what remains of one
            assert not isinstance(exc, TimeoutError)  # noqa: PT017
        else:
            assert answer.status in (400, 401, 403)

    def test_connection_serves_several_requests(self, door: DoorUnderTest) -> None:
        door.store("kept", b"kept")
        with connected(door.url, door.context) as connection:
            first = exchange(connection, "HEAD", door.url_of("kept"))
            kept = connection.sock
            second = exchange(connection, "HEAD", door.url_of("kept"))

            assert (first.status, second.status) == (200, 200)
            assert kept is not None
            assert connection.sock is kept

    @pytest.mark.parametrize("name", ODD_NAMES)
    def test_odd_name_is_served(self, door: DoorUnderTest, name: str) -> None:
        if name not in door.odd_names:
            pytest.skip("a name that this server does not serve")
        door.store(name, name.encode())

        assert ask(door, "GET", door.url_of(name)).body == name.encode()

    def test_propfind_depth_0_tells_of_the_file_alone(
        self, door: DoorUnderTest
    ) -> None:
        if not door.has_propfind:
            pytest.skip("this server is no WebDAV")
        door.store("single", content(77))
        url = door.url_of("single")
        answer = ask(door, "PROPFIND", url, PROPFIND, Depth="0")

        assert answer.status == 207
        assert sizes_by_name(answer, url) == {unquote(urlsplit(url).path): 77}

    def test_propfind_depth_1_lists_names_as_they_are(
        self, door: DoorUnderTest
    ) -> None:
        if not door.has_propfind:
            pytest.skip("this server is no WebDAV")
        for number, name in enumerate(door.odd_names):
            door.store(f"list/{name}", content(number))
        door.store("list/below/file", b"x")
        url = door.url_of("list")
        answer = ask(door, "PROPFIND", f"{url}/", PROPFIND, Depth="1")

        base = unquote(urlsplit(url).path)
        expected: dict[str, int | None] = {base: None, f"{base}/below": None}
        for number, name in enumerate(door.odd_names):
            expected[f"{base}/{name}"] = number
        assert answer.status == 207
        assert sizes_by_name(answer, url) == expected

    def test_propfind_of_nothing_is_404(self, door: DoorUnderTest) -> None:
        if not door.has_propfind:
            pytest.skip("this server is no WebDAV")
        answer = ask(door, "PROPFIND", door.url_of("nowhere"), PROPFIND, Depth="0")

        assert answer.status == 404
