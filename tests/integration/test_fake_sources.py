"""The fake dCache lists and deletes, and misbehaves as both sides' tests need it."""

from __future__ import annotations

import http.client
import xml.etree.ElementTree as ET
import zlib
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from contracts.door import DAV, Answer, connected
from dcmirror.testing.fake_client import RemoteDCache
from dcmirror.testing.fake_dcache import FakeDCache
from dcmirror.testing.fake_site import Deletion
from door_client import Client, Events, Make
from helpers import wait_until

BODY = (
    '<?xml version="1.0"?><propfind xmlns="DAV:"><prop><getcontentlength/>'
    "<quota-available-bytes/><quota-used-bytes/>"
    '<Checksums xmlns="http://www.dcache.org/2013/webdav"/></prop></propfind>'
)


def propfind(client: Client, path: str, depth: int = 1) -> Answer:
    return client.at_door("PROPFIND", path, BODY, Depth=str(depth))


def names(answer: Answer) -> list[str]:
    """Decoded paths of the entries, the directory itself first."""
    hrefs = [href.text or "" for href in ET.fromstring(answer.body).iter(f"{DAV}href")]
    return [unquote(urlsplit(href).path) for href in hrefs]


@pytest.fixture
def three(make: Make) -> tuple[FakeDCache, Client, str]:
    """A directory with three files, and its path."""
    fake, client = make()
    fake.populate(f"{fake.root}/d", 3, size=10)
    return fake, client, f"{fake.root}/d"


Three = tuple[FakeDCache, Client, str]


# What is there


def test_populated_files_have_bytes_and_sums_of_their_own(
    make: Make, events: Events
) -> None:
    fake, client = make()
    paths = fake.populate(f"{fake.root}/many", 300, size=500, seed=3)
    sums = {version.adler32 for version in fake.files.values()}

    assert paths == sorted(fake.files)
    assert len(sums) == 300
    assert zlib.adler32(client.get(paths[7]).body) == fake.files[paths[7]].adler32
    assert events.parsed == client_reads(events)


def client_reads(events: Events) -> list[dict[str, object]]:
    """The records of what the client itself has read: nobody told of an upload."""
    return [event for event in events.parsed if event.get("isWrite") is not True]


def test_the_same_seed_populates_with_the_same_bytes(make: Make) -> None:
    found = []
    for seed in (5, 5, 6):
        fake, _ = make()
        fake.populate(fake.root, 10, seed=seed)
        found.append([version.adler32 for version in fake.files.values()])

    assert found[0] == found[1] != found[2]


@pytest.mark.parametrize("count", [999, 1000, 1001, 2500])
def test_listing_of_any_length_has_every_name_once(make: Make, count: int) -> None:
    fake, client = make()
    paths = fake.populate(f"{fake.root}/d", count, size=1)
    answer = propfind(client, f"{fake.root}/d")

    assert ["/d/", *(path.removeprefix(fake.root) for path in paths)] == names(answer)
    assert (answer.headers["Transfer-Encoding"] == "chunked") == (count > 999)


def test_replaced_file_is_another_one_of_the_same_size(three: Three) -> None:
    fake, _, folder = three
    path = f"{folder}/file-000001.dat"
    before = fake.files[path]
    fake.replace(path)
    after = fake.files[path]

    assert (before.size, after.size) == (10, 10)
    assert before.pnfsid != after.pnfsid
    assert before.adler32 != after.adler32


def test_quota_is_told_of_a_directory_and_of_those_below(make: Make) -> None:
    fake, client = make()
    fake.upload(f"{fake.root}/kept/below/file", b"x", publish=False)
    fake.set_quota(f"{fake.root}/kept", 5000, 700)
    asked = ("", "/kept", "/kept/below", "/kept/below/file")
    told = {name: quotas(client, f"{fake.root}{name}") for name in asked}

    assert told == {
        "": [],
        "/kept": ["5000", "700"],
        "/kept/below": ["5000", "700"],
        "/kept/below/file": [],
    }


def quotas(client: Client, path: str) -> list[str]:
    entries = ET.fromstring(propfind(client, path, 0).body).iter()
    return [item.text for item in entries if "quota" in item.tag and item.text]


# Listings that are wrong


@pytest.mark.parametrize("count", [3, 3000])
def test_cut_listing_ends_before_its_length(make: Make, count: int) -> None:
    fake, client = make()
    fake.populate(f"{fake.root}/d", count)
    fake.faults.add("listing-cut")

    with pytest.raises((http.client.IncompleteRead, OSError)):
        propfind(client, f"{fake.root}/d")


@pytest.mark.parametrize("kind", ["listing-unclosed", "listing-garbage"])
@pytest.mark.parametrize("after", [0, 400])
def test_malformed_listing_is_good_http_and_no_xml(
    three: Three, kind: str, after: int
) -> None:
    fake, client, folder = three
    fake.faults.add(kind, after=after, times=1)
    answer = propfind(client, folder)

    assert answer.status == 207
    with pytest.raises(ET.ParseError):
        names(answer)
    assert len(names(propfind(client, folder))) == 4


@pytest.mark.parametrize(
    ("options", "left"),
    [
        ({"kind": "listing-lacks"}, ["0", "1"]),
        ({"kind": "listing-lacks", "count": 2}, ["0"]),
        ({"kind": "listing-lacks", "count": 99}, []),
        ({"kind": "listing-lacks", "names": "*1.dat"}, ["0", "2"]),
        ({"kind": "listing-empty"}, []),
    ],
)
def test_listing_lacks_what_it_is_told_to(
    three: Three, options: dict[str, object], left: list[str]
) -> None:
    fake, client, folder = three
    fake.faults.add(**options)  # type: ignore[arg-type]
    own, *entries = names(propfind(client, folder))

    assert own == "/d/"
    assert [name[-5] for name in entries] == left


def test_foreign_entry_comes_last(three: Three) -> None:
    fake, client, folder = three
    fake.faults.add("listing-foreign")

    assert "/etc/passwd" in names(propfind(client, folder))[-1]


# What changes meanwhile


def test_directory_vanishes_between_its_listing_and_the_descent(make: Make) -> None:
    fake, client = make()
    fake.upload(f"{fake.root}/d/below/file", b"x", publish=False)
    fake.faults.add("vanish", "*/below")

    assert names(propfind(client, f"{fake.root}/d")) == ["/d/", "/d/below/"]
    assert propfind(client, f"{fake.root}/d/below").status == 404
    assert names(propfind(client, f"{fake.root}/d")) == ["/d/"]


@pytest.mark.parametrize("method", ["HEAD", "DELETE", "PROPFIND"])
def test_adversary_acts_when_the_request_has_arrived(three: Three, method: str) -> None:
    fake, client, folder = three
    path, seen = f"{folder}/file-000001.dat", []
    first = fake.files[path].pnfsid
    with fake.before(method, lambda path: seen.append(fake.replace(path))):
        answer = client.at_door(method, path, Depth="0")
    second = fake.files[path].pnfsid if method != "DELETE" else seen[0]

    assert seen == [second] != [first]
    assert second in (answer.headers["ETag"] or answer.body.decode() or second)
    assert [gone.pnfsid for gone in fake.deletions] == [second] * (method == "DELETE")
    client.at_door(method, path, Depth="0")
    assert len(seen) == 1


def test_replacement_at_the_last_moment_is_what_is_deleted(three: Three) -> None:
    fake, client, folder = three
    path = f"{folder}/file-000001.dat"
    fake.faults.add("replace", path)
    first = fake.files[path]
    client.at_door("DELETE", path)

    (gone,) = fake.deletions
    assert (gone.path, gone.size) == (path, first.size)
    assert gone.pnfsid != first.pnfsid
    assert gone.adler32 != first.adler32


def test_replacement_after_the_look_is_not_what_was_seen(three: Three) -> None:
    fake, client, folder = three
    path = f"{folder}/file-000001.dat"
    first = fake.files[path].pnfsid
    fake.faults.add("replace-after", path, times=1, publish=True)
    seen = client.at_door("HEAD", path).headers["ETag"]

    assert first in seen
    wait_until(lambda: fake.files[path].pnfsid != first, 10)


def test_replacement_is_told_of_when_that_is_wanted(
    three: Three, events: Events
) -> None:
    fake, _, folder = three
    fake.replace(f"{folder}/file-000001.dat")
    silent = [event for event in events.parsed if event["msgType"] == "transfer"]
    fake.replace(f"{folder}/file-000001.dat", publish=True)

    assert silent == []
    assert events.one("transfer")["billingPath"] == f"{folder}/file-000001.dat"


def test_renamed_directory_takes_everything_along(make: Make) -> None:
    fake, client = make()
    for name in ("d/a", "d/sub/b", "taken/c"):
        fake.upload(f"{fake.root}/{name}", b"x", publish=False)
    fake.site.namespace.make_directory(f"{fake.root}/d/hollow")
    onto = client.at_door(
        "MOVE", f"{fake.root}/d", Destination=fake.url_of(f"{fake.root}/taken")
    )
    answer = client.at_door(
        "MOVE", f"{fake.root}/d", Destination=fake.url_of(f"{fake.root}/new")
    )

    assert (onto.status, answer.status) == (412, 201)
    assert names(propfind(client, fake.root)) == ["/", "/new/", "/taken/"]
    below = ["/new/", "/new/a", "/new/hollow/", "/new/sub/"]
    assert names(propfind(client, f"{fake.root}/new")) == below
    assert f"{fake.root}/new/sub/b" in fake.files


# DELETE


def test_deletions_tell_what_is_really_gone(make: Make) -> None:
    fake, client = make()
    path = f"{fake.root}/a"
    pnfsid = fake.upload(path, b"hello", digest=False, publish=False)
    client.at_door("DELETE", f"{fake.root}/absent")
    client.at_door("DELETE", path)

    assert fake.deletions == [Deletion(path, pnfsid, 5, zlib.adler32(b"hello"))]


@pytest.mark.parametrize(("method", "status"), [("DELETE", 204), ("MOVE", 201)])
def test_door_claims_to_have_done_it_and_has_not(
    three: Three, method: str, status: int
) -> None:
    fake, client, folder = three
    path = f"{folder}/file-000001.dat"
    fake.faults.add("keep", methods=(method,))
    target = fake.url_of(f"{folder}/elsewhere")

    assert client.at_door(method, path, Destination=target).status == status
    assert path in fake.files
    assert fake.deletions == []


def test_answer_is_lost_and_the_file_is_gone(three: Three) -> None:
    fake, client, folder = three
    path = f"{folder}/file-000001.dat"
    fake.faults.add("lose-answer", times=1)

    with pytest.raises((OSError, http.client.RemoteDisconnected)):
        client.at_door("DELETE", path)
    assert [gone.path for gone in fake.deletions] == [path]
    assert client.at_door("DELETE", path).status == 404


def test_answer_stalls_after_the_file_is_gone(three: Three) -> None:
    fake, client, folder = three
    path = f"{folder}/file-000001.dat"
    fake.faults.add("stall-answer", seconds=60)
    with connected(fake.door_url, client.context) as connection:
        connection.request("DELETE", "/d/file-000001.dat")
        wait_until(lambda: path not in fake.files, 10)

        assert [gone.path for gone in fake.deletions] == [path]
        assert fake.requests.of("DELETE")[0].status == 0


@pytest.mark.parametrize("status", [403, 423, 429, 503])
@pytest.mark.parametrize("method", ["DELETE", "HEAD", "PROPFIND"])
def test_status_faults_hit_the_method_that_they_name(
    three: Three, method: str, status: int
) -> None:
    fake, client, folder = three
    path = f"{folder}/file-000001.dat"
    fake.faults.add("status", status=status, retry_after="7", methods=method, times=1)
    answer = client.at_door(method, path)

    assert (answer.status, answer.headers["Retry-After"]) == (status, "7")
    assert client.at_door(method, path).status in (200, 204, 207)


def test_process_of_its_own_does_all_that_too(tmp_path: Path) -> None:
    with RemoteDCache(tmp_path) as remote:
        remote.populate(f"{remote.root}/d", 5, size=3)
        first = remote.files()
        paths = sorted(first)
        new = remote.replace(paths[0])
        remote.move(paths[1], f"{remote.root}/d/moved")
        remote.set_quota(remote.root, 10, 20)
        second = remote.files()

        assert second[paths[0]]["pnfsid"] == new != first[paths[0]]["pnfsid"]
        assert second[f"{remote.root}/d/moved"] == first[paths[1]]
        assert remote.deletions() == []
