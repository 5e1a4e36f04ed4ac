"""The fake dCache publishes what the real one does."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from contracts.door import connected
from door_client import Events, Make
from helpers import wait_until

DATA = bytes(range(256)) * 1024


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

    assert set(events.one(kind)) == set(real) - optional
    assert events.one(kind)["cellType"] == cell


def test_pool_and_door_tell_of_one_upload_under_one_transaction(
    make: Make, events: Events
) -> None:
    fake, _ = make()
    pnfsid = fake.upload(f"{fake.root}/grüße", DATA)
    transfer, request = events.one("transfer"), events.one("request")

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
    wait_until(lambda: len(events) == 2, 10)

    assert events.one("transfer")["isWrite"] == "read"
    assert events.one("request")["moverInfo"]["isWrite"] == "read"


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
    transfer = events.one("transfer")

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
    transfer = events.one("transfer")

    assert transfer["transferPath"].startswith("/upload/")
    assert client.get(transfer["billingPath"]).body == b"root"


def test_third_party_copy_is_told_of_without_knowing_the_file(
    make: Make, events: Events
) -> None:
    fake, _ = make()
    fake.upload(f"{fake.root}/a", DATA, protocol="tpc")
    request = events.one("request")

    assert (request["cellName"], request["fileSize"]) == ("RemoteTransferManager", 0)
    assert {"pnfsid", "moverInfo"} & set(request) == set()
    assert events.one("transfer")["protocolInfo"]["protocol"] == (
        "RemoteHttpsDataTransfer"
    )
