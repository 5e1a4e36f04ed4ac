"""parse_event understands every producer and survives what no producer sends."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcmirror.core.events import StorageEvent, parse_event
from dcmirror.core.uploads import classify
from dcmirror.errors import EventDecodeError

DATA = Path(__file__).parents[1] / "data"
PATH = "/pnfs/example.org/data/exp/run7/a.h5"
PNFSID = "0000A1B2C3D4E5F60718293A4B5C6D7E8F90"

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
KEYS = """
    date cellName cellType status session initiator isWrite isP2p pnfsid fileSize
    filesize billingPath transferPath storageInfo protocolInfo moverInfo msgType
"""
keys = st.sampled_from(sorted(set(KEYS.split())))
records = st.dictionaries(keys, json_values).flatmap(
    lambda record: st.sampled_from(["request", "transfer", "remove", None]).map(
        lambda kind: record if kind is None else {**record, "msgType": kind}
    )
)


def event_of(name: str) -> StorageEvent:
    return parse_event((DATA / "events" / f"{name}.json").read_bytes())


def parse(**record: object) -> StorageEvent:
    return parse_event(json.dumps(record).encode())


def epoch(*date: int) -> float:
    return datetime(*date, tzinfo=UTC).timestamp()  # type: ignore[misc,arg-type]


def test_transfer_is_read_whole() -> None:
    expected = StorageEvent(
        msg_type="transfer",
        is_write=True,
        is_p2p=False,
        status_code=0,
        pnfsid=PNFSID,
        billing_path=PATH,
        transfer_path=PATH,
        file_size=1048576,
        session="pool:pool_a@poolDomain:1777886553401-12",
        initiator="door:WebDAV-door1@webdavDomain:AAYx1:171",
        cell_type="pool",
        storage_info="exp:raw@osm",
        event_time=epoch(2026, 5, 4, 9, 22, 33, 401000),
        has_mover=False,
        door="WebDAV-door1",
        pool="pool_a",
    )

    assert expected == event_of("transfer-12.0")


def test_request_with_mover_takes_the_direction_from_it() -> None:
    event = event_of("request-6.2-webdav")

    assert event.has_mover
    assert event.is_write is True
    assert (event.door, event.pool) == ("WebDAV-door1", "pool_a")


def test_request_session_is_the_initiator_of_its_transfer() -> None:
    assert event_of("request-6.2-webdav").session == event_of("transfer-12.0").initiator


def test_request_without_mover_has_no_direction() -> None:
    event = event_of("request-5.2-webdav")

    assert not event.has_mover
    assert event.is_write is None


def test_message_of_2019_is_read() -> None:
    event = parse_event((DATA / "ancestor-message.json").read_bytes())

    assert event.msg_type == "request"
    assert event.path == "/pnfs/in2p3.fr/data/doma/testWebdav"
    assert event.file_size == 119936222
    assert event.pnfsid == "00004F0AF7BEAE5A4CBEBF0FBF036D01F4C4"
    assert event.event_time == epoch(2019, 7, 9, 9, 11, 57, 24000)


def test_every_recorded_line_is_read() -> None:
    lines = (DATA / "dcache-11.2.5-events.ndjson").read_bytes().splitlines()
    events = [parse_event(line) for line in lines]

    assert len(events) == 48
    assert {"request", "transfer", "remove"} == {event.msg_type for event in events}
    assert all(event.event_time and event.pnfsid for event in events)


@pytest.mark.parametrize(
    ("date", "expected"),
    [
        ("2026-05-04T09:22:33Z", epoch(2026, 5, 4, 9, 22, 33)),
        ("2026-05-04T09:22:33.4Z", epoch(2026, 5, 4, 9, 22, 33, 400000)),
        ("2026-05-04T09:22:33.40Z", epoch(2026, 5, 4, 9, 22, 33, 400000)),
        ("2026-05-04T09:22:33.401Z", epoch(2026, 5, 4, 9, 22, 33, 401000)),
        ("2026-05-04T11:22:33.4+02:00", epoch(2026, 5, 4, 9, 22, 33, 400000)),
        ("2018-06-04T09:22:33.401", epoch(2018, 6, 4, 9, 22, 33, 401000)),
        ("yesterday", None),
        ("0001-01-01T00:00:00+23:59", epoch(1, 1, 1) - 86340),
        ("", None),
        (1777886553, None),
        (None, None),
    ],
)
def test_date_has_zero_to_three_digits_and_perhaps_an_offset(
    date: object, expected: float | None
) -> None:
    assert expected == parse(date=date).event_time


@pytest.mark.parametrize("path", ["Unknown", "N/A", "", None, 17, ["/a"]])
def test_unknown_path_is_none(path: object) -> None:
    event = parse(msgType="transfer", billingPath=path, transferPath=path)

    assert event.billing_path is None
    assert event.path is None


def test_unknown_billing_path_falls_back_on_the_transfer_path() -> None:
    assert event_of("transfer-billing-path-unknown").path == PATH
    assert not event_of("transfer-billing-path-unknown").is_temporary


def test_srm_upload_is_temporary_and_named_by_its_billing_path() -> None:
    event = event_of("transfer-srm-upload")

    assert event.is_temporary
    assert event.path == PATH


def test_zero_is_a_size_in_a_transfer_only() -> None:
    assert event_of("transfer-zero-bytes").file_size == 0
    assert event_of("request-tpc-transfermanager").file_size is None


@pytest.mark.parametrize(
    ("size", "expected"),
    [(7, 7), (7.0, 7), ("7", 7), (-1, None), (True, None), (2**63, None), ({}, None)],
)
def test_size_is_a_number_that_a_database_holds(
    size: object, expected: int | None
) -> None:
    assert expected == parse(msgType="transfer", fileSize=size).file_size


def test_size_of_a_hit_is_in_lower_case() -> None:
    assert event_of("hit-billing-cell").file_size == 1048576


def test_undefined_initiator_is_none() -> None:
    event = event_of("transfer-initiator-undefined")

    assert (event.initiator, event.door) == (None, None)


def test_missing_pnfsid_is_none() -> None:
    assert event_of("request-tpc-transfermanager").pnfsid is None


def test_odd_types_are_read_as_far_as_they_make_sense() -> None:
    event = event_of("transfer-odd-types")

    assert (event.status_code, event.file_size, event.is_p2p) == (0, 1048576, False)
    assert (event.session, event.storage_info) == (None, None)


@pytest.mark.parametrize(
    "name", ["transfer-path-latin1", "transfer-path-lone-surrogate"]
)
def test_path_that_is_no_unicode_is_escaped_and_says_so(name: str) -> None:
    event = event_of(name)

    assert event.unencodable
    assert event.path is not None
    assert "\\" in event.path
    assert event.path.encode()


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b"17",
        b"null",
        b'"text"',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"fileSize":' + b"9" * 5000 + b"}",
        '{"msgType":"transfer"}'.encode("utf-16"),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_what_is_no_json_object_is_a_decode_error(value: bytes | None) -> None:
    with pytest.raises(EventDecodeError):
        parse_event(value)


@given(st.binary(max_size=200))
def test_no_bytes_make_it_crash(value: bytes) -> None:
    try:
        classify(parse_event(value))
    except EventDecodeError:
        return


@given(records | json_values)
def test_no_json_makes_it_crash(record: object) -> None:
    value = json.dumps(record).encode()
    if not isinstance(record, dict):
        with pytest.raises(EventDecodeError):
            parse_event(value)
        return
    event = parse_event(value)

    texts = [getattr(event, name) for name in StorageEvent.__dataclass_fields__]
    assert all(text.encode() for text in texts if isinstance(text, str) and text)
    assert classify(event)[0].value
