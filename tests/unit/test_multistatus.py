"""Multistatus bodies as they stream in, whole and otherwise."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcmirror.core.multistatus import (
    RESOURCE_TYPE,
    MultistatusError,
    MultistatusReader,
    Response,
)

LENGTH = "DAV: getcontentlength"
WANTED = (RESOURCE_TYPE, LENGTH, "http://www.dcache.org/2013/webdav Checksums")

DCACHE = """<?xml version="1.0" encoding="utf-8" ?>
<d:multistatus xmlns:cs="http://calendarserver.org/ns/" xmlns:d="DAV:"
 xmlns:ns1="http://www.dcache.org/2013/webdav">
 <d:response><d:href>/data/</d:href>
  <d:propstat><d:prop><d:resourcetype><d:collection/></d:resourcetype></d:prop>
   <d:status>HTTP/1.1 200 OK</d:status></d:propstat>
  <d:propstat><d:prop><d:getcontentlength/></d:prop>
   <d:status>HTTP/1.1 404 Not Found</d:status></d:propstat></d:response>
 <d:response><d:href>/data/gr%c3%bc%c3%9fe</d:href>
  <d:propstat><d:prop><d:getcontentlength>1024</d:getcontentlength>
   <ns1:Checksums>adler32=62c6af46</ns1:Checksums></d:prop>
   <d:status>HTTP/1.1 200 OK</d:status></d:propstat>
  <d:propstat><d:prop><d:resourcetype/></d:prop>
   <d:status>HTTP/1.1 404 Not Found</d:status></d:propstat></d:response>
</d:multistatus>
"""

APACHE = """<?xml version="1.0" encoding="utf-8"?>
<D:multistatus xmlns:D="DAV:" xmlns:ns1="http://www.dcache.org/2013/webdav">
<D:response xmlns:lp1="DAV:" xmlns:lp2="http://apache.org/dav/props/">
<D:href>/dav/x</D:href>
<D:propstat><D:prop><lp1:resourcetype/><lp1:getcontentlength>7</lp1:getcontentlength>
</D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat>
<D:propstat><D:prop><ns1:Checksums/></D:prop>
<D:status>HTTP/1.1 404 Not Found</D:status></D:propstat>
</D:response></D:multistatus>
"""


def read(text: str | bytes, step: int = 1 << 20) -> list[Response]:
    """All responses of a body that comes in pieces of ``step`` bytes."""
    data = text.encode() if isinstance(text, str) else text
    reader = MultistatusReader(WANTED)
    found = []
    for start in range(0, len(data), step):
        found += reader.feed(data[start : start + step])
    reader.close()
    return found


def around(inner: str) -> str:
    return f'<d:multistatus xmlns:d="DAV:">{inner}</d:multistatus>'


def test_dcache_says_what_is_a_directory_and_what_has_a_size() -> None:
    directory, file = read(DCACHE)

    assert (directory.href, directory.is_collection, directory.properties) == (
        "/data/",
        True,
        {},
    )
    assert (file.href, file.is_collection) == ("/data/gr%c3%bc%c3%9fe", None)
    assert file.properties == {LENGTH: "1024", WANTED[2]: "adler32=62c6af46"}


def test_namespaces_count_and_prefixes_do_not() -> None:
    (file,) = read(APACHE)

    assert (file.is_collection, file.properties) == (False, {LENGTH: "7"})


@given(st.integers(1, 200))
def test_the_size_of_the_pieces_changes_nothing(step: int) -> None:
    assert read(DCACHE, step) == read(DCACHE)


@given(st.integers(0, len(APACHE.strip()) - 1))
def test_a_body_cut_anywhere_is_an_error(end: int) -> None:
    with pytest.raises(MultistatusError):
        read(APACHE.strip()[:end])


@given(st.binary(max_size=300))
def test_bytes_that_are_no_multistatus_are_an_error(data: bytes) -> None:
    with pytest.raises(MultistatusError):
        read(data)


def test_properties_without_their_status_are_not_taken() -> None:
    body = (
        "<d:response><d:href>/x</d:href><d:propstat><d:prop>"
        "<d:getcontentlength>7</d:getcontentlength></d:prop></d:propstat></d:response>"
    )

    assert read(around(body)) == [Response(href="/x")]


def test_a_response_may_have_a_status_of_its_own() -> None:
    body = (
        "<d:response><d:href>/x</d:href>"
        "<d:status>HTTP/1.1 403 Forbidden</d:status></d:response>"
    )

    (response,) = read(around(body))
    assert (response.status, response.has_properties) == (403, False)


def test_only_the_resource_type_makes_a_collection() -> None:
    body = (
        "<d:response><d:href>/x</d:href><d:propstat><d:prop>"
        "<d:lockdiscovery><d:collection/></d:lockdiscovery><d:resourcetype/>"
        "</d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response>"
    )

    assert [False] == [response.is_collection for response in read(around(body))]


def test_an_href_inside_a_property_names_nothing() -> None:
    body = (
        "<d:response><d:href>/x</d:href><d:propstat><d:prop>"
        "<d:owner><d:href>/users/root</d:href></d:owner>"
        "</d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response>"
    )

    assert ["/x"] == [response.href for response in read(around(body))]


@pytest.mark.parametrize("status", ["", "HTTP/1.1", "HTTP/1.1 " + "9" * 5000, "200"])
def test_an_unreadable_status_is_none(status: str) -> None:
    body = f"<d:response><d:href>/x</d:href><d:status>{status}</d:status></d:response>"

    assert [None] == [response.status for response in read(around(body))]


def test_a_blank_at_the_end_of_a_name_stays_and_layout_goes() -> None:
    body = (
        "<d:response><d:href>/x </d:href></d:response>"
        "<d:response><d:href>\n   /y\n  </d:href></d:response>"
    )

    assert ["/x ", "/y"] == [response.href for response in read(around(body))]


def test_what_xml_cannot_hold_is_shown_as_a_replacement() -> None:
    body = around("<d:response><d:href>/a\x01\udce9</d:href></d:response>")

    (response,) = read(body.encode("utf-8", "surrogateescape"))
    assert response.href == "/a\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize(
    "start",
    [
        '<!DOCTYPE d [<!ENTITY a "aaaa">]>',
        '<!DOCTYPE d SYSTEM "file:///etc/passwd">',
        '<!DOCTYPE d PUBLIC "x" "http://127.0.0.1/evil.dtd">',
    ],
)
def test_document_types_and_their_entities_are_refused(start: str) -> None:
    with pytest.raises(MultistatusError, match="document type"):
        read(start + around(""))


def test_an_entity_that_nobody_declared_is_an_error() -> None:
    with pytest.raises(MultistatusError, match="not XML"):
        read(around("<d:response><d:href>&a;</d:href></d:response>"))


def test_nesting_without_end_is_refused() -> None:
    with pytest.raises(MultistatusError, match="nested"):
        read(around("<d:a>" * 100_000))


@pytest.mark.parametrize("filling", ["<d:a/>", "x", "<!-- x -->", " "])
def test_an_entry_without_end_is_refused(filling: str) -> None:
    start = '<d:multistatus xmlns:d="DAV:"><d:response><d:href>/x'

    with pytest.raises(MultistatusError, match="does not end"):
        read(start + filling * (2_000_000 // len(filling)), 100_000)


def test_a_page_for_people_is_no_multistatus() -> None:
    with pytest.raises(MultistatusError, match="no multistatus"):
        read("<html><body>Please log in</body></html>")
