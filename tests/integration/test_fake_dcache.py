"""The fake dCache does what the real one was seen to do, and what it is told to."""

from __future__ import annotations

import http.client
import json
import ssl
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from contracts.door import Answer, connected, exchange
from dcmirror.testing.fake_client import RemoteDCache
from dcmirror.testing.fake_dcache import FakeDCache
from dcmirror.testing.pki import Pki

DATA = bytes(range(256)) * 1024


class Client:
    """Talks to one fake; the connections are its own and closed at the end."""

    def __init__(self, fake: FakeDCache, pki: Pki, proxy: Path | None = None) -> None:
        self.fake = fake
        self.context = ssl.create_default_context(capath=str(pki.capath))
        self.stranger = ssl.create_default_context(capath=str(pki.capath))
        self.context.load_cert_chain(proxy or pki.proxy)

    def at_door(
        self, method: str, path: str, body: str | None = None, **headers: str
    ) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        url = self.fake.url_of(path)
        with connected(url, self.context) as connection:
            return exchange(connection, method, url, named, body)

    def at_pool(self, url: str, method: str = "GET", **headers: str) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        with connected(url, self.stranger) as connection:
            return exchange(connection, method, url, named)

    def location(self, path: str) -> str:
        answer = self.at_door("GET", path)
        assert answer.status == 302
        return answer.headers["Location"]

    def get(self, path: str, **headers: str) -> Answer:
        return self.at_pool(self.location(path), **headers)


class Events(list[bytes]):
    """What was published, as a publish callable."""

    __call__ = list.append

    @property
    def parsed(self) -> list[dict[str, Any]]:
        return [json.loads(value) for value in self]

    def take(self) -> list[dict[str, Any]]:
        taken = self.parsed
        self.clear()
        return taken


Make = Callable[..., tuple[FakeDCache, Client]]


@pytest.fixture
def events() -> Events:
    return Events()


@pytest.fixture
def make(pki: Pki, events: Events) -> Iterator[Make]:
    started = []

    def start(**options: Any) -> tuple[FakeDCache, Client]:
        fake = FakeDCache(pki, publish=events, **options)
        fake.start()
        started.append(fake)
        return fake, Client(fake, pki)

    yield start
    for fake in started:
        fake.stop()


def one(events: Events, kind: str) -> dict[str, Any]:
    (found,) = [event for event in events.parsed if event["msgType"] == kind]
    return found


# The door and the pools


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
    assert one(events, "request")["status"]["code"] == 10022
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
    assert {event["isWrite"] for event in events.parsed if "isWrite" in event} == {
        "write",
        "read",
    }


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

    assert one(events, "request")["status"]["code"] == 10011
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
    fake, client = make(pools=1, mover_slots=1, mover_seconds=0.05)
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


# What is published


def recorded() -> list[dict[str, Any]]:
    file = Path(__file__).parent.parent / "data" / "dcache-11.2.5-events.ndjson"
    return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.mark.parametrize(("kind", "cell"), [("transfer", "pool"), ("request", "door")])
def test_records_have_the_members_of_recorded_ones(
    make: Make, events: Events, kind: str, cell: str
) -> None:
    fake, _ = make()
    fake.upload(f"{fake.root}/a", DATA)
    real = next(
        event
        for event in recorded()
        if event["msgType"] == kind and not event["status"]["code"]
    )
    optional = {"writeActive", "writeIdle", "readActive", "readIdle"}

    assert set(one(events, kind)) == set(real) - optional
    assert one(events, kind)["cellType"] == cell


def test_pool_and_door_tell_of_one_upload_under_one_transaction(
    make: Make, events: Events
) -> None:
    fake, _ = make()
    pnfsid = fake.upload(f"{fake.root}/grüße", DATA)
    transfer, request = one(events, "transfer"), one(events, "request")

    assert transfer["initiator"] == request["session"]
    assert transfer["session"] == request["moverInfo"]["session"]
    assert {pnfsid} == {transfer["pnfsid"], request["pnfsid"]}
    assert transfer["billingPath"] == f"{fake.root}/grüße"
    assert (transfer["isWrite"], transfer["fileSize"]) == ("write", len(DATA))


def test_order_of_the_two_records_is_not_fixed(make: Make, events: Events) -> None:
    fake, _ = make()
    orders = set()
    for number in range(20):
        fake.upload(f"{fake.root}/{number}", b"x")
        orders.add(tuple(event["msgType"] for event in events.take()))

    assert {("transfer", "request"), ("request", "transfer")} == orders


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("services", [("request", True), ("transfer", False)]),
        ("billing", [("request", False), ("transfer", False)]),
        ("doors", [("request", True)]),
        ("ancestor", [("request", False)]),
        (
            "both",
            [
                ("request", False),
                ("request", True),
                ("transfer", False),
                ("transfer", False),
            ],
        ),
    ],
)
def test_mode_decides_who_publishes(
    make: Make, events: Events, mode: str, expected: list[tuple[str, bool]]
) -> None:
    fake, _ = make(mode=mode)
    fake.upload(f"{fake.root}/a", DATA)
    shape = sorted((event["msgType"], "moverInfo" in event) for event in events.parsed)

    assert expected == shape


def test_own_reads_come_back_as_events(make: Make, events: Events) -> None:
    fake, client = make()
    fake.upload(f"{fake.root}/a", DATA, publish=False)
    client.get(f"{fake.root}/a")

    assert one(events, "transfer")["isWrite"] == "read"
    assert one(events, "request")["moverInfo"]["isWrite"] == "read"


def test_aborted_read_is_told_with_code_666(make: Make, events: Events) -> None:
    fake, client = make()
    fake.upload(f"{fake.root}/big", size=50_000_000, publish=False)
    url = client.location(f"{fake.root}/big")
    with connected(url, client.stranger) as connection:
        parts = urlsplit(url)
        connection.request("GET", f"{parts.path}?{parts.query}")
        connection.getresponse().read(10)
    deadline = time.monotonic() + 10
    while len(events) < 2 and time.monotonic() < deadline:
        client.at_door("HEAD", f"{fake.root}/big")

    assert [666, 666] == [event["status"]["code"] for event in events.parsed]


def test_overwrite_makes_another_pnfsid_and_nfs_keeps_it(
    make: Make, events: Events
) -> None:
    fake, client = make()
    first = fake.upload(f"{fake.root}/a", b"one")
    second = fake.upload(f"{fake.root}/a", b"two", protocol="nfs")
    events.clear()
    third = fake.rewrite_nfs(f"{fake.root}/a", b"three")

    assert first != second
    assert (second, b"three") == (third, client.get(f"{fake.root}/a").body)
    assert one_write(events)["fileSize"] == 5


def one_write(events: Events) -> dict[str, Any]:
    (found,) = [event for event in events.parsed if event.get("isWrite") == "write"]
    return found


def test_srm_upload_is_told_before_it_is_there(make: Make, events: Events) -> None:
    fake, client = make()
    path = f"{fake.root}/srm/file"
    temporary = fake.upload_srm(path, b"grid")
    transfer = one(events, "transfer")

    assert (path, temporary) == (transfer["billingPath"], transfer["transferPath"])
    assert client.at_door("HEAD", path).status == 404
    events.clear()
    fake.commit_srm(path, temporary)
    assert client.get(path).body == b"grid"
    commit = events.parsed[0]
    assert (commit["cellName"], commit["status"]["code"]) == ("SrmManager", 0)
    assert "moverInfo" not in commit


def test_aborted_srm_upload_never_appears(make: Make, events: Events) -> None:
    fake, client = make()
    temporary = fake.upload_srm(f"{fake.root}/a", b"grid")
    fake.abort_srm(f"{fake.root}/a", temporary)

    assert events.parsed[-1]["status"]["code"] == 666
    assert client.at_door("HEAD", f"{fake.root}/a").status == 404


def test_persist_on_close_is_in_place_when_it_is_told(
    make: Make, events: Events
) -> None:
    fake, client = make()
    fake.upload_persist_on_close(f"{fake.root}/a", b"root")
    transfer = one(events, "transfer")

    assert transfer["transferPath"].startswith("/upload/")
    assert client.get(transfer["billingPath"]).body == b"root"


def test_third_party_copy_is_told_of_without_knowing_the_file(
    make: Make, events: Events
) -> None:
    fake, _ = make()
    fake.upload(f"{fake.root}/a", DATA, protocol="tpc")
    request = one(events, "request")

    assert (request["cellName"], request["fileSize"]) == ("RemoteTransferManager", 0)
    assert {"pnfsid", "moverInfo"} & set(request) == set()
    assert one(events, "transfer")["protocolInfo"]["protocol"] == (
        "RemoteHttpsDataTransfer"
    )


# Faults


@pytest.mark.parametrize("status", [401, 403, 404, 410, 429, 500, 503])
def test_status_comes_so_often_and_then_all_is_well(make: Make, status: int) -> None:
    fake, client = make()
    fake.upload(f"{fake.root}/a", DATA)
    fake.faults.add("status", "*/a", status=status, retry_after="2", times=2)
    answers = [client.at_door("GET", f"{fake.root}/a") for _ in range(3)]

    assert [status, status, 302] == [answer.status for answer in answers]
    assert answers[0].headers["Retry-After"] == "2"


def test_fault_hits_every_path_once(make: Make) -> None:
    fake, client = make()
    for name in "ab":
        fake.upload(f"{fake.root}/{name}", DATA)
    fake.faults.add("status", status=404, per_path=1)
    seen = [client.at_door("GET", f"{fake.root}/{name}").status for name in "abab"]

    assert [404, 404, 302, 302] == seen


def test_probable_faults_strike_the_same_requests_for_the_same_seed(
    make: Make,
) -> None:
    seen = []
    for _ in range(2):
        fake, client = make(seed=7)
        fake.faults.add("status", probability=0.5, methods=("HEAD",))
        asked = [f"{fake.root}/{number}" for number in range(20)]
        seen.append([client.at_door("HEAD", path).status for path in asked])

    assert seen[0] == seen[1]
    assert {404, 500} == set(seen[0])


@pytest.mark.parametrize("kind", ["reset", "hang-up"])
def test_door_leaves_without_an_answer(make: Make, kind: str) -> None:
    fake, client = make()
    fake.upload(f"{fake.root}/a", DATA)
    fake.faults.add(kind, times=1)

    with pytest.raises((OSError, http.client.RemoteDisconnected)):
        client.at_door("GET", f"{fake.root}/a")
    assert client.get(f"{fake.root}/a").body == DATA


def test_door_redirects_where_it_is_told(make: Make) -> None:
    fake, client = make()
    path = f"{fake.root}/a"
    fake.upload(path, DATA)
    fake.faults.add("redirect-loop", times=1)
    fake.faults.add("redirect-to", url="ftp://elsewhere.example.org/a", times=1)
    fake.faults.add("pool-refused", times=1)

    assert client.location(path) == fake.url_of(path)
    assert client.location(path) == "ftp://elsewhere.example.org/a"
    with pytest.raises(ConnectionRefusedError):
        client.get(path)


def test_short_body_ends_before_its_length(make: Make) -> None:
    fake, client = make()
    fake.upload(f"{fake.root}/a", DATA)
    fake.faults.add("short-body", count=1000)

    with pytest.raises((http.client.IncompleteRead, OSError)):
        client.get(f"{fake.root}/a")


def test_reset_in_the_body_is_a_reset(make: Make) -> None:
    fake, client = make(pool_tls=False)
    fake.upload(f"{fake.root}/a", size=10_000_000)
    fake.faults.add("reset-body", after=5_000_000)

    with pytest.raises((ConnectionResetError, http.client.IncompleteRead)):
        client.get(f"{fake.root}/a")


@pytest.mark.parametrize("after", [0, 70_000, 10**9])
def test_one_byte_is_flipped_and_the_digest_is_the_true_one(
    make: Make, after: int
) -> None:
    fake, client = make()
    fake.upload(f"{fake.root}/a", DATA)
    fake.faults.add("flip", after=after)
    answer = client.get(f"{fake.root}/a", Want_Digest="adler32")
    wrong = [
        at
        for at, pair in enumerate(zip(answer.body, DATA, strict=True))
        if len({*pair}) > 1
    ]

    assert [min(after, len(DATA) - 1)] == wrong
    assert answer.headers["Digest"] == f"adler32={zlib.adler32(DATA):08x}"


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("digest-missing", None),
        ("digest-unpadded", "adler32=62007b"),
        ("digest-upper", "adler32=0062007B"),
        ("digest-wrong", "adler32=5a385a21"),
    ],
)
def test_digest_is_spelled_as_the_fault_wants(
    make: Make, kind: str, expected: str | None
) -> None:
    fake, client = make()
    fake.upload(f"{fake.root}/a", b"z ")
    fake.set_digest(f"{fake.root}/a", 0x0062007B)
    fake.faults.add(kind)
    answer = client.get(f"{fake.root}/a", Want_Digest="adler32")

    assert expected == answer.headers["Digest"]


@pytest.mark.parametrize("kind", ["stall", "stall-body"])
def test_stalled_answer_goes_on_after_its_time(make: Make, kind: str) -> None:
    fake, client = make()
    fake.upload(f"{fake.root}/a", DATA)
    fake.faults.add(kind, seconds=0.2, after=1000)
    begun = time.monotonic()

    assert client.get(f"{fake.root}/a").body == DATA
    assert time.monotonic() - begun >= 0.2


def test_trickle_is_slow(make: Make) -> None:
    fake, client = make()
    fake.upload(f"{fake.root}/a", b"abc")
    fake.faults.add("trickle", count=2)
    begun = time.monotonic()

    assert client.get(f"{fake.root}/a").body == b"abc"
    assert time.monotonic() - begun >= 1.0


def test_pool_sends_the_client_back_to_the_door(make: Make) -> None:
    fake, client = make()
    fake.upload(f"{fake.root}/a", DATA)
    fake.faults.add("bounce", times=1)
    answer = client.get(f"{fake.root}/a")

    assert (answer.status, answer.headers["Location"]) == (
        307,
        fake.url_of(f"{fake.root}/a"),
    )


def test_stop_ends_what_stalls(make: Make, pki: Pki) -> None:
    fake = FakeDCache(pki)
    fake.start()
    client = Client(fake, pki)
    fake.upload(f"{fake.root}/a", DATA)
    fake.faults.add("stall")
    url = fake.url_of(f"{fake.root}/a")
    with connected(url, client.context) as connection:
        connection.request("GET", "/a")
        begun = time.monotonic()
        fake.stop()

        assert time.monotonic() - begun < 5


# In a process of its own


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
        assert remote.counters()["door HEAD 404"] == 1
        assert remote.files() == {f"{remote.root}/a": stored}
        assert [seen["who"] for seen in remote.requests("HEAD")] == [remote.user_dn]
