"""What answers say in their headers."""

from __future__ import annotations

import pytest

from dcmirror.adapters.webdav import read_headers
from dcmirror.core.http_values import pnfsid_of_etag, retry_after_seconds

PNFSID = "0000A0EB02EBC81140A397FDFE3FF13E5DB4"


def test_headers_of_a_pool() -> None:
    headers = read_headers(
        [
            b"HTTP/1.1 200 OK\r\n",
            b"content-length: 1024\r\n",
            b"DIGEST: adler32=62c6af46\r\n",
            b"Content-Location: https://door/gr\xfc\xdfe\r\n",
            b"\r\n",
        ]
    )

    assert (200, "OK", 1024, 0x62C6AF46) == (
        headers.status,
        headers.reason,
        headers.content_length,
        headers.adler32,
    )


def test_headers_of_a_head_at_the_door() -> None:
    headers = read_headers(
        [
            b"HTTP/1.1 200 OK\r\n",
            f'ETag: "{PNFSID}_-1234"\r\n'.encode(),
            b"Last-Modified: Thu, 23 Jan 2020 16:47:14 GMT\r\n",
            b"Repr-Digest: adler32=1\r\n",
        ]
    )

    assert (PNFSID, 1579798034.0, 1, None) == (
        headers.pnfsid,
        headers.last_modified,
        headers.adler32,
        headers.content_length,
    )


def test_interim_answers_leave_nothing_behind() -> None:
    headers = read_headers(
        [
            b"HTTP/1.1 103 Early Hints\r\n",
            b"Digest: adler32=1\r\n",
            b"\r\n",
            b"HTTP/1.1 404 Not Found\r\n",
        ]
    )

    assert (404, "Not Found", None) == (headers.status, headers.reason, headers.adler32)


def test_other_digest_does_not_hide_the_one_we_want() -> None:
    for lines in (
        [b"Digest: adler32=5", b"Repr-Digest: sha-256=:abc:"],
        [b"Repr-Digest: adler32=5", b"Digest: sha-256=:abc:"],
    ):
        assert 5 == read_headers([b"HTTP/1.1 200", *lines]).adler32


@pytest.mark.parametrize(
    "line",
    [
        b"HTTP/1.1",
        b"HTTP/1.1 abc",
        b"HTTP/1.1 \xff\xfe",
        b"\xff\xfe",
        b"",
        b"Content-Length: -5",
        b"Content-Length: \xb2",
        b"Content-Length: five",
        b"Content-Length: " + b"9" * 5000,
        b"HTTP/1.1 " + b"2" * 5000 + b" OK",
        b"Digest: adler32=\xff",
        b"Last-Modified: yesterday",
        b"Last-Modified: 99 Foo 2020 99:99:99",
        b"ETag: \xff",
    ],
)
def test_garbage_is_absent_not_fatal(line: bytes) -> None:
    headers = read_headers([line, line])

    assert (None, None, None, None) == (
        headers.content_length,
        headers.adler32,
        headers.last_modified,
        headers.pnfsid,
    )


@pytest.mark.parametrize(
    "line",
    [
        b"HTTP/1.1 400 bad dcache-http-uuid=0123",
        b"HTTP/1.1 400 see https://pool/f",
        b"HTTP/1.1 400 \x1b[31mred",
        b"HTTP/1.1 400 " + b"x" * 200,
    ],
)
def test_reason_that_may_hold_a_secret_or_a_trick_is_dropped(line: bytes) -> None:
    assert "" == read_headers([line]).reason


@pytest.mark.parametrize(
    ("etag", "expected"),
    [
        (f'"{PNFSID}_1672531200"', PNFSID),
        (f"{PNFSID}_5", PNFSID),
        (f'W/"{PNFSID}_5"', PNFSID),
        ('"000100000000000000123ABC_77"', "000100000000000000123ABC"),
        ('"5d8c72a5edda8d6a:3239"', None),
        ('"1672531200"', None),
        ("", None),
    ],
)
def test_etag_names_the_file_where_it_is_dcaches(
    etag: str, expected: str | None
) -> None:
    assert expected == pnfsid_of_etag(etag)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("17", 17.0),
        ("Thu, 23 Jan 2020 16:47:14 GMT", 34.0),
        ("Thu, 23 Jan 2020 16:00:00 GMT", 0.0),
        ("soon", None),
        ("-3", None),
    ],
)
def test_retry_after_is_seconds_from_now(
    value: str | None, expected: float | None
) -> None:
    assert expected == retry_after_seconds(value, 1579798000.0)
