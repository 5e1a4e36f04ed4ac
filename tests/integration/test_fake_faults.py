"""The fake dCache misbehaves as it is told to."""

from __future__ import annotations

import http.client
import time
import zlib

import pytest

from contracts.door import connected
from dcmirror.testing.fake_dcache import FakeDCache
from dcmirror.testing.pki import Pki
from door_client import Client, Make

DATA = bytes(range(256)) * 1024


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
