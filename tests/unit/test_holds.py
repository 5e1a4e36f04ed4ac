"""Causes are held, probed and released; a suspected source burns no files."""

from __future__ import annotations

import pytest

from dcmirror.core.failures import FailureClass
from dcmirror.core.holds import (
    SOURCE_STREAK,
    TIMEOUTS_THAT_OPEN,
    HoldBook,
    HoldKey,
    HoldKind,
    Provisional,
    SourceSuspicion,
)

DOOR = "door:443"
POOL = HoldKey(HoldKind.POOL, "pool:1")


@pytest.fixture
def book() -> HoldBook:
    """No hold is on."""
    return HoldBook(DOOR)


def test_a_hold_begins_once_and_keeps_its_first_cause(book: HoldBook) -> None:
    first = book.begin(POOL, "refused", now=1.0)
    second = book.begin(POOL, "something else", now=2.0)

    assert first is not None
    assert second is None
    assert (first.cause, first.since) == ("refused", 1.0)


def test_probes_come_later_and_later_up_to_a_cap(book: HoldBook) -> None:
    book.begin(POOL, "refused", now=0.0)
    pauses = []
    for _ in range(10):
        due = book.next_probe()
        assert due is not None
        book.probe_failed(POOL, now=due)
        pauses.append((book.next_probe() or 0.0) - due)

    assert pauses[:3] == [4.0, 8.0, 16.0]
    assert pauses[-1] == 60.0


def test_a_hold_under_probe_asks_for_no_second_one(book: HoldBook) -> None:
    hold = book.begin(POOL, "refused", now=0.0)
    assert hold is not None
    hold.probing = "task"

    assert book.next_probe() is None


@pytest.mark.parametrize(
    ("failure_class", "host", "expected"),
    [
        (FailureClass.DESTINATION, None, HoldKey(HoldKind.DESTINATION)),
        (FailureClass.CREDENTIAL, DOOR, HoldKey(HoldKind.CREDENTIAL)),
        (FailureClass.HOST, DOOR, HoldKey(HoldKind.DOOR, DOOR)),
        (FailureClass.HOST, "pool:1", POOL),
        (FailureClass.TRANSIENT, DOOR, None),
        (FailureClass.GONE, DOOR, None),
    ],
)
def test_each_held_class_has_its_hold(
    book: HoldBook,
    failure_class: FailureClass,
    host: str | None,
    expected: HoldKey | None,
) -> None:
    assert book.key_for(failure_class, host) == expected


def test_a_pools_hold_does_not_stop_everybody(book: HoldBook) -> None:
    book.begin(POOL, "refused", now=0.0)

    assert book.global_holds() == []


def test_timeouts_in_a_row_open_the_breaker_and_an_answer_resets_them(
    book: HoldBook,
) -> None:
    for _ in range(TIMEOUTS_THAT_OPEN - 1):
        assert not book.timed_out("pool:1")
    book.answered("pool:1")
    for _ in range(TIMEOUTS_THAT_OPEN - 1):
        assert not book.timed_out("pool:1")

    assert book.timed_out("pool:1")


def failure(number: int, at: float = 10.0, relative: str | None = None) -> Provisional:
    """A forbidden file."""
    name = relative or f"f{number}"
    return Provisional(f"t{number}", name, FailureClass.FORBIDDEN, at, at)


def test_ten_different_files_that_fail_alike_are_a_streak() -> None:
    suspicion = SourceSuspicion()
    seen = [suspicion.failed(failure(number)) for number in range(SOURCE_STREAK)]

    assert seen[:-1] == [None] * (SOURCE_STREAK - 1)
    assert seen[-1] == [f"t{number}" for number in range(SOURCE_STREAK)]
    assert len(suspicion) == 0


def test_one_file_that_fails_ten_times_is_no_streak() -> None:
    suspicion = SourceSuspicion()
    seen = [suspicion.failed(failure(n, relative="same")) for n in range(20)]

    assert seen == [None] * 20


def test_a_success_that_began_after_the_first_failure_clears_them() -> None:
    suspicion = SourceSuspicion()
    suspicion.failed(failure(1, at=10.0))
    suspicion.failed(failure(2, at=30.0))

    assert suspicion.succeeded(started_at=9.0) == []
    assert suspicion.succeeded(started_at=20.0) == ["t1", "t2"]


def test_failures_are_settled_after_their_patience() -> None:
    suspicion = SourceSuspicion(patience=600.0)
    suspicion.failed(failure(1, at=0.0))
    suspicion.failed(failure(2, at=100.0))

    assert suspicion.expired(now=599.0) == []
    assert suspicion.expired(now=600.0) == ["t1"]
    assert suspicion.everything() == ["t2"]
