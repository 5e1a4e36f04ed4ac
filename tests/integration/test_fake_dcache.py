"""The fake dCache's door and pools do what the real ones were seen to do."""

from __future__ import annotations

import ssl
import time
import zlib
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from contracts.door import connected, exchange
from dcmirror.testing.fake_client import RemoteDCache
from dcmirror.testing.lines import CallFailed
from dcmirror.testing.pki import Pki
from door_client import Client, Events, Make
from helpers import wait_until

DATA = bytes(range(256)) * 1024


def test_redirect_serves_one_request(make: Make) -> None:
    fake, client = make()
    fake.upload(f"{fake.root}/a", DATA)
    location = client.location(f"{fake.root}/a")

    assert client.at_pool(location).body == DATA
    again = client.at_pool(location)
    assert (again.status, again.headers["Location"]) == (
        307,
        fake.url_of(f"{fake.root}/a"),
    )


def test_head_at_the_pool_uses_the_redirect_up(make: Make) -> None:
    fake, client = make()
    fake.upload(f"{fake.root}/a", DATA)
    location = client.location(f"{fake.root}/a")

    assert client.at_pool(location, "HEAD").headers["Content-Length"] == str(len(DATA))
    assert client.at_pool(location).status == 307


def test_pool_knows_no_invented_redirect(make: Make) -> None:
    fake, client = make()
    fake.upload(f"{fake.root}/a", DATA)
    base = client.location(f"{fake.root}/a").partition("?")[0]

    assert client.at_pool(f"{base}?dcache-http-uuid=0-0").status == 400
    assert client.at_pool(base).status == 400


@pytest.mark.parametrize(
    ("tls", "shape"), [(True, ("https", "localhost")), (False, ("http", "127.0.0.1"))]
)
def test_pools_are_named_with_tls_and_numbered_without(
    make: Make, tls: bool, shape: tuple[str, str]
) -> None:
    fake, client = make(pool_tls=tls)
    fake.upload(f"{fake.root}/a", DATA)
    parts = urlsplit(client.location(f"{fake.root}/a"))

    assert shape == (parts.scheme, parts.hostname)


def test_pool_answers_without_etag_and_door_with_the_pnfsid(make: Make) -> None:
    fake, client = make()
    pnfsid = fake.upload(f"{fake.root}/a", DATA)
    pool = client.get(f"{fake.root}/a", Want_Digest="adler32")
    door = client.at_door("HEAD", f"{fake.root}/a", Want_Digest="adler32")

    digest = f"adler32={zlib.adler32(DATA):08x}"
    assert (pool.headers["ETag"], pool.headers["Digest"]) == (None, digest)
    assert door.headers["ETag"].startswith(f'"{pnfsid}_')
    assert door.headers["Digest"] == digest


def test_unfinished_upload_has_no_length_and_cannot_be_read(
    make: Make, events: Events
) -> None:
    fake, client = make()
    path = f"{fake.root}/growing"
    fake.begin(path)
    head = client.at_door("HEAD", path, Want_Digest="adler32")

    assert (head.status, head.headers["Content-Length"]) == (200, None)
    assert head.headers["Digest"] is None
    assert client.at_door("GET", path).status == 500
    assert events.one("request")["status"]["code"] == 10022
    fake.finish(path, DATA)
    assert client.get(path).body == DATA


def test_cut_upload_can_be_seen_but_not_read(make: Make, events: Events) -> None:
    fake, client = make()
    fake.cut(f"{fake.root}/broken", b"half", declared=8)

    assert (
        client.at_door("HEAD", f"{fake.root}/broken").headers["Content-Length"] == "4"
    )
    assert client.at_door("GET", f"{fake.root}/broken").status == 500
    assert {10004} == {event["status"]["code"] for event in events.parsed}


def test_uploaded_bytes_come_back_and_are_told_of(make: Make, events: Events) -> None:
    fake, client = make()
    path = f"{fake.root}/new/dir/put.dat"
    answer = client.at_door("PUT", path, "some text")

    assert (answer.status, client.get(path).body) == (201, b"some text")
    told = {"write", "read"}
    wait_until(
        lambda: {e["isWrite"] for e in events.parsed if "isWrite" in e} == told, 10
    )


def test_cut_put_leaves_nothing_behind(make: Make, events: Events) -> None:
    fake, client = make()
    url = fake.url_of(f"{fake.root}/cut")
    with connected(url, client.context) as connection:
        connection.putrequest("PUT", "/cut")
        connection.putheader("Content-Length", "1000")
        connection.endheaders(b"only this")
    deadline = time.monotonic() + 10
    while not events and time.monotonic() < deadline:
        client.at_door("HEAD", f"{fake.root}/other")

    assert events.one("request")["status"]["code"] == 10011
    assert client.at_door("HEAD", f"{fake.root}/cut").status == 404


def test_move_keeps_the_file_and_tells_nobody(make: Make, events: Events) -> None:
    fake, client = make()
    pnfsid = fake.upload(f"{fake.root}/a", DATA, publish=False)
    target = fake.url_of(f"{fake.root}/b")

    assert client.at_door("MOVE", f"{fake.root}/a", Destination=target).status == 201
    assert {f"{fake.root}/b": pnfsid} == {
        path: version.pnfsid for path, version in fake.files.items()
    }
    assert [] == events
    assert client.at_door("MOVE", f"{fake.root}/b", Destination=target).status == 412


def test_delete_of_a_directory_takes_everything(make: Make, events: Events) -> None:
    fake, client = make()
    for name in ("a", "b", "sub/c"):
        fake.upload(f"{fake.root}/dir/{name}", b"x", publish=False)

    assert client.at_door("DELETE", f"{fake.root}/dir").status == 204
    assert {} == fake.files
    doors = [event for event in events.parsed if event["cellType"] == "door"]
    assert sorted(event["billingPath"].rpartition("/")[2] for event in doors) == [
        *"abc"
    ]


def test_door_knows_the_user_behind_the_proxy(make: Make, pki: Pki) -> None:
    fake, client = make()
    fake.upload(f"{fake.root}/a", DATA)
    client.get(f"{fake.root}/a")
    door, pool = fake.requests.of("GET")

    assert (door.server, door.who) == ("door", pki.user_dn)
    assert (pool.server[:4], pool.who) == ("pool", None)
    assert fake.requests.counters["door GET 302"] == 1


def test_unmapped_user_gets_401_and_three_of_those_block_everybody(
    make: Make, pki: Pki, tmp_path: Path
) -> None:
    fake, client = make(blocks=True)
    mallory = pki.make_user("Mallory")
    fake.unmapped.add("/DC=org/DC=dcmirror/CN=Mallory")
    proxy = pki.make_proxy(path=tmp_path / "x509", user=mallory)
    other = Client(fake, pki, proxy)
    fake.upload(f"{fake.root}/a", DATA)
    seen = [other.at_door("HEAD", f"{fake.root}/a").status for _ in range(3)]

    assert [401, 401, 401] == seen
    assert client.at_door("HEAD", f"{fake.root}/a").status == 429


def test_without_certificate_tls_fails_or_the_door_says_401(make: Make) -> None:
    fake, client = make()
    lax, _ = make(demand_certificate=False)
    with (
        connected(fake.door_url, client.stranger) as connection,
        pytest.raises(OSError),  # noqa: PT011 - an alert, or a reset after it
    ):
        exchange(connection, "HEAD", fake.door_url)

    with connected(lax.door_url, client.stranger) as connection:
        assert exchange(connection, "HEAD", f"{lax.door_url}/").status == 401


def test_expired_proxy_is_refused(make: Make, pki: Pki, tmp_path: Path) -> None:
    fake, _ = make()
    expired = Client(fake, pki, pki.make_proxy(-60, tmp_path / "old"))

    with pytest.raises(OSError):  # noqa: PT011
        expired.at_door("HEAD", f"{fake.root}/a")


def test_expired_host_certificate_is_shown_for_a_while(make: Make, pki: Pki) -> None:
    fake, client = make()
    with (
        fake.host_certificate(*pki.make_host("late", lifetime_seconds=-60)),
        pytest.raises(ssl.SSLCertVerificationError, match="expired"),
    ):
        client.at_door("HEAD", f"{fake.root}/a")

    assert client.at_door("HEAD", f"{fake.root}/a").status == 404


def test_get_waits_for_a_free_mover_and_then_gives_up(make: Make) -> None:
    fake, client = make(pools=1, mover_slots=1, mover_seconds=1.0)
    fake.upload(f"{fake.root}/a", DATA)
    first = client.location(f"{fake.root}/a")

    assert client.at_door("GET", f"{fake.root}/a").status == 500
    assert client.at_pool(first).body == DATA
    assert client.at_door("GET", f"{fake.root}/a").status == 302


def test_redirect_that_nobody_follows_ends_in_10006(make: Make, events: Events) -> None:
    fake, client = make(connect_seconds=0.0)
    fake.upload(f"{fake.root}/a", DATA, publish=False)
    client.location(f"{fake.root}/a")
    client.at_door("HEAD", f"{fake.root}/a")

    assert [10006, 10006] == [event["status"]["code"] for event in events.parsed]


def test_process_of_its_own_serves_counts_and_leaves(tmp_path: Path) -> None:
    with RemoteDCache(tmp_path, mode="billing") as remote:
        stored = remote.upload(f"{remote.root}/a", b"hello")
        remote.add_fault("status", status=404, methods=["HEAD"])
        context = ssl.create_default_context(capath=str(remote.capath))
        context.load_cert_chain(remote.proxy)
        url = f"{remote.door_url}/a"
        with connected(url, context) as connection:
            assert exchange(connection, "HEAD", url).status == 404

        assert remote.fired() == {"status": 1}
        # the request is entered after its answer has left
        assert wait_until(lambda: remote.counters().get("door HEAD 404") == 1, 10)
        assert remote.files() == {f"{remote.root}/a": stored}
        assert [seen["who"] for seen in remote.requests("HEAD")] == [remote.user_dn]


def test_process_of_its_own_says_what_it_cannot_do(tmp_path: Path) -> None:
    with RemoteDCache(tmp_path, plain_pools=True) as remote:
        with pytest.raises(CallFailed, match="no-such-fault"):
            remote.add_fault("no-such-fault")

        assert remote.fired() == {}
