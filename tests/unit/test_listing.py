"""What a door's responses say is in a directory."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcmirror.core.listing import Entry, Listing, entry_named
from dcmirror.core.multistatus import Response

DIRECTORY = "/pnfs/exp/raw"
URL = "https://door.example.org:2443/exp/raw/"
PNFSID = "0000A0EB02EBC81140A397FDFE3FF13E5DB4"
CHECKSUMS = "http://www.dcache.org/2013/webdav Checksums"
NAMES = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="/\0\ufffd"),
    min_size=1,
    max_size=30,
).filter(lambda name: name not in (".", ".."))


def response(href: str, *, collection: bool | None = None, **values: str) -> Response:
    properties = {f"DAV: {name}": value for name, value in values.items()}
    return Response(href, None, True, collection, properties)


def entry(href: str, url: str = URL) -> Entry | None:
    return Listing(DIRECTORY, url).entry_of(response(href))


def path(href: str, url: str = URL) -> str | None:
    found = entry(href, url)
    return None if found is None else found.path


def test_a_file_of_dcache() -> None:
    told = response(
        "/exp/raw/f%231",
        getcontentlength="1024",
        getlastmodified="Sun, 06 Nov 1994 08:49:37 GMT",
        getetag=f'"{PNFSID}_784111777"',
    )
    told.properties[CHECKSUMS] = "md5=1B2M2Y8AsgTpgAmY7PhCfg==,adler32=00c6af46"

    assert Listing(DIRECTORY, URL).entry_of(told) == Entry(
        path="/pnfs/exp/raw/f#1",
        is_directory=False,
        size=1024,
        modified=784111777.0,
        pnfsid=PNFSID,
        adler32=0x00C6AF46,
    )


def test_storms_checksum_is_read_too_and_may_be_empty() -> None:
    name = "http://storm.italiangrid.org/2014/webdav Checksum"
    for value, expected in (("adler32=62C6AF46", 0x62C6AF46), ("", None)):
        told = response("/exp/raw/f", getcontentlength="3")
        told.properties[name] = value
        found = Listing(DIRECTORY, URL).entry_of(told)

        assert found is not None
        assert found.adler32 == expected


def test_a_directory_has_no_size_whatever_the_server_says() -> None:
    told = response("/exp/raw/d/", collection=True, getcontentlength="4096")
    found = Listing(DIRECTORY, URL).entry_of(told)

    assert found == Entry(f"{DIRECTORY}/d", True, None, None, None, None)


def test_an_upload_that_is_not_finished_has_no_size() -> None:
    found = entry("/exp/raw/f")

    assert found is not None
    assert (found.size, found.adler32, found.trouble) == (None, None, "")


def test_an_empty_file_needs_no_checksum() -> None:
    found = Listing(DIRECTORY, URL).entry_of(
        response("/exp/raw/f", getcontentlength="0")
    )

    assert found is not None
    assert (found.size, found.adler32) == (0, 1)


@pytest.mark.parametrize("size", ["-1", "1e3", "", " 1", "9" * 5000, "\u0661"])
def test_an_absurd_size_is_none(size: str) -> None:
    found = Listing(DIRECTORY, URL).entry_of(
        response("/exp/raw/f", getcontentlength=size)
    )

    assert found is not None
    assert found.size is None


@pytest.mark.parametrize(
    "date", ["Sun, 99 Nov 0000 08:49:37 GMT", "yesterday", "01 Abc 2020 00:00:00"]
)
def test_an_absurd_date_is_none(date: str) -> None:
    found = Listing(DIRECTORY, URL).entry_of(
        response("/exp/raw/f", getlastmodified=date)
    )

    assert found is not None
    assert found.modified is None


@pytest.mark.parametrize(
    "href",
    [
        "/exp/raw/f",
        "https://door.example.org:2443/exp/raw/f",
        "HTTPS://DOOR.example.ORG:2443/exp/raw/f",
        "f",
        "./f",
        "/exp//raw///f",
        "/%65xp/ra%77/%66",
        "/exp/raw/f/",
    ],
)
def test_one_name_in_many_spellings(href: str) -> None:
    assert path(href) == f"{DIRECTORY}/f"


def test_the_default_port_need_not_be_named() -> None:
    href = "https://door.example.org:443/exp/raw/f"

    assert path(href, "https://door.example.org/exp/raw/") == f"{DIRECTORY}/f"


@pytest.mark.parametrize(
    "href",
    [
        "",
        "/",
        "/exp",
        "/exp/rawhide",
        "/exp/raw/../f",
        "/exp/raw/..",
        "/exp/raw/.",
        "/exp/raw/d/f",
        "/exp/raw/../raw/../f",
        "../f",
        "https://other.example.org:2443/exp/raw/f",
        "http://door.example.org:2443/exp/raw/f",
        "https://door.example.org:2444/exp/raw/f",
        "//other.example.org/exp/raw/f",
        "https://[broken/exp/raw/f",
        "javascript:alert(1)",
    ],
)
def test_what_is_not_in_the_directory_is_no_entry(href: str) -> None:
    listing = Listing(DIRECTORY, URL)

    assert listing.entry_of(response(href)) is None
    assert not listing.has_itself


@pytest.mark.parametrize(
    "href", ["/exp/raw/", "/exp/raw", "/e%78p/raw/", URL, URL[:-1]]
)
def test_the_directory_itself_is_noticed_and_is_no_entry(href: str) -> None:
    listing = Listing(DIRECTORY, URL)

    assert listing.entry_of(response(href, collection=True)) is None
    assert (listing.has_itself, listing.is_directory) == (True, True)


@pytest.mark.parametrize("late", [False, True])
def test_the_root_of_a_server_can_be_listed(late: bool) -> None:
    listing = Listing("/", "https://door.example.org/")
    hrefs = ["/f", "/"] if late else ["/", "/f"]
    found = [listing.entry_of(response(href, collection=True)) for href in hrefs]

    assert [one.path for one in found if one] == ["/f"]
    assert listing.has_itself


@given(NAMES)
def test_any_name_comes_back_from_a_server_that_encodes(name: str) -> None:
    listing = Listing(DIRECTORY, URL)

    for href in (f"/exp/raw/{quote(name, safe='')}", f"{URL}{quote(name)}"):
        found = listing.entry_of(response(href))
        assert found is not None
        assert (found.path, found.trouble) == (f"{DIRECTORY}/{name}", "")


@given(NAMES)
def test_any_name_is_recognised_when_it_was_asked_for(name: str) -> None:
    asked, url = f"{DIRECTORY}/{name}", URL + quote(name, safe="")

    for href in (f"/exp/raw/{quote(name, safe='')}", f"/exp/raw/{name}"):
        if not href.endswith("/"):
            found = entry_named(asked, url, response(href))
            assert found is not None
            assert found.path == asked


def test_an_answer_about_another_name_is_recognised() -> None:
    assert entry_named(f"{DIRECTORY}/a", f"{URL}a", response("/exp/raw/b")) is None


@pytest.mark.parametrize(
    "name", ["a b", "50%", "%zz", "q?x=1", "h#1", "<tag>", "p%41q b"]
)
def test_a_server_that_does_not_encode_names_is_understood(name: str) -> None:
    assert path(f"/exp/raw/{name}") == f"{DIRECTORY}/{name}"


def test_from_the_first_name_that_is_not_encoded_on_none_is() -> None:
    listing = Listing(DIRECTORY, URL)
    found = [
        listing.entry_of(response(f"/exp/raw/{name}")) for name in ("a b", "p%41q")
    ]

    assert [one.path for one in found if one] == [
        f"{DIRECTORY}/a b",
        f"{DIRECTORY}/p%41q",
    ]


def test_a_directory_with_an_odd_name_shows_whether_names_are_encoded() -> None:
    for href, expected in (("/p%41q/%42", "%42"), ("/p%2541q/%42", "B")):
        listing = Listing("/data/p%41q", "https://door/p%2541q/")
        found = listing.entry_of(response(href))

        assert found is not None
        assert found.path == f"/data/p%41q/{expected}"


@pytest.mark.parametrize(
    ("href", "shown", "reason"),
    [
        ("/exp/raw/%E9.dat", "\udce9.dat", "not Unicode"),
        ("/exp/raw/%EF%BF%BD", "\N{REPLACEMENT CHARACTER}", "cannot show"),
        ("/exp/raw/a%2Fb", "a%2Fb", "no file can have"),
        ("/exp/raw/a%00b", "a\0b", "no file can have"),
        ("/exp/raw/%2E%2E", "..", "no file can have"),
    ],
)
def test_a_name_that_cannot_be_used_says_why(
    href: str, shown: str, reason: str
) -> None:
    found = entry(href)

    assert found is not None
    assert found.path == f"{DIRECTORY}/{shown}"
    assert reason in found.trouble


def test_a_name_of_which_nothing_is_said_is_in_trouble() -> None:
    found = Listing(DIRECTORY, URL).entry_of(Response("/exp/raw/f", 403))

    assert found is not None
    assert "403" in found.trouble


def test_a_name_that_vanished_meanwhile_is_no_entry() -> None:
    assert Listing(DIRECTORY, URL).entry_of(Response("/exp/raw/f", 404)) is None


@given(st.text(max_size=40))
def test_no_href_makes_an_entry_outside_the_directory(href: str) -> None:
    found = entry(href)

    assert found is None or found.path.count("/") == DIRECTORY.count("/") + 1
