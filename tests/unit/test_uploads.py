"""Every kind of message gets the verdict that DESIGN 5.2 gives it."""

from __future__ import annotations

from pathlib import Path

import pytest

from dcmirror.core.events import StorageEvent, parse_event
from dcmirror.core.uploads import Verdict, classify

EVENTS = Path(__file__).parents[1] / "data" / "events"

NAMES = {
    (Verdict.TRIGGER, ""): """
        recorded-transfer-odd-name recorded-transfer-upload recorded-transfer-utf8-name
        recorded-transfer-zero-bytes
        transfer-12.0 transfer-4.1 transfer-billing-path-unknown transfer-date-one-digit
        transfer-date-without-fraction transfer-dcap transfer-escaped-letters
        transfer-escaped-slashes transfer-ftp transfer-initiator-undefined
        transfer-missing-keys transfer-nfs transfer-nfs-path-unknown transfer-odd-types
        transfer-overwrite transfer-path-dotdot transfer-path-latin1
        transfer-path-lone-surrogate transfer-path-newline transfer-srm-upload
        transfer-tpc-pull transfer-xrootd-persist-on-close transfer-zero-bytes
    """,
    (Verdict.NET, ""): """
        recorded-request-upload recorded-request-zero-bytes
        request-6.2-webdav request-ftp request-nfs request-srm-upload
        request-xrootd-persist-on-close
    """,
    (Verdict.COMMIT, ""): "request-srm-putdone request-srm-putdone-renamed-cell",
    (Verdict.HINT, ""): """
        recorded-request-billing-cell
        request-4.1-nfs request-5.2-webdav request-billing-cell-11.2 request-dcap
        request-moverinfo-empty request-tpc-transfermanager
    """,
    (Verdict.NO, "read"): """
        recorded-request-read recorded-transfer-read recorded-transfer-read-aborted
        request-read transfer-read
    """,
    (Verdict.NO, "p2p"): "transfer-p2p",
    (Verdict.NO, "failed"): """
        recorded-request-never-connected recorded-transfer-cut-upload
        recorded-transfer-killed-mover recorded-transfer-never-connected transfer-failed
    """,
    (Verdict.NO, "failed-request"): """
        recorded-request-cut-while-relayed recorded-request-get-of-unfinished-upload
        request-ftp-reply-451 request-srm-abort
    """,
    (Verdict.NO, "not-an-upload"): """
        check-dcap hit-billing-cell recorded-remove-by-door recorded-remove-of-replica
        remove-by-door remove-nfs-billing-cell remove-of-replica remove-srm restore-7.2
        store-5.2 store-7.2 warning-billing-cell
    """,
    (Verdict.NO, "unknown-type"): "unknown-type",
}
EXPECTED = {name: verdict for verdict, names in NAMES.items() for name in names.split()}


def test_every_recorded_or_written_message_has_an_expected_verdict() -> None:
    assert sorted(path.stem for path in EVENTS.glob("*.json")) == sorted(EXPECTED)


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_message_gets_its_verdict(name: str) -> None:
    event = parse_event((EVENTS / f"{name}.json").read_bytes())

    assert EXPECTED[name] == classify(event)


def test_message_of_2019_is_a_hint() -> None:
    event = parse_event((EVENTS.parent / "ancestor-message.json").read_bytes())

    assert classify(event) == (Verdict.HINT, "")


def test_request_without_transfer_path_is_a_hint_and_no_commit() -> None:
    event = StorageEvent(msg_type="request", status_code=0, billing_path="/d/f")

    assert classify(event) == (Verdict.HINT, "")


def test_request_that_is_not_from_a_door_is_no_hint() -> None:
    event = StorageEvent(
        msg_type="request", status_code=0, billing_path="/d/f", cell_type="pool"
    )

    assert classify(event) == (Verdict.NO, "not-a-door")


def test_commit_does_not_ask_for_the_name_of_the_cell() -> None:
    event = StorageEvent(
        msg_type="request",
        status_code=0,
        billing_path="/d/f",
        transfer_path="/upload/1/f",
        cell_type="other",
    )

    assert classify(event) == (Verdict.COMMIT, "")


@pytest.mark.parametrize("msg_type", ["check", "remove", "store", "hit"])
def test_other_types_never_are_hints_or_commits(msg_type: str) -> None:
    event = StorageEvent(
        msg_type=msg_type,
        status_code=0,
        billing_path="/d/f",
        transfer_path="/upload/1/f",
        cell_type="door",
    )

    assert classify(event) == (Verdict.NO, "not-an-upload")


def test_transfer_without_a_direction_is_refused_with_a_reason() -> None:
    event = StorageEvent(msg_type="transfer", status_code=0, billing_path="/d/f")

    assert classify(event) == (Verdict.NO, "no-direction")


def test_transfer_without_a_status_counts_as_failed() -> None:
    event = parse_event(b'{"msgType":"transfer","isWrite":"write"}')

    assert classify(event) == (Verdict.NO, "failed")
