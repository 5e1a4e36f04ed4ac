"""Holds that are on together: each is still probed, and none keeps the loop busy."""

from __future__ import annotations

import pytest

from dcmirror.core.diagnosis import CURL_CERTIFICATE
from dcmirror.core.failures import FailureClass
from dcmirror.core.holds import HoldKey, HoldKind
from dcmirror.core.jobs import Job, JobKind, ResultKind
from engine_history import DOOR, WORKER, History

POOL = "pool:1"
DOOR_HOLD = HoldKey(HoldKind.DOOR, DOOR)
CREDENTIAL_HOLD = HoldKey(HoldKind.CREDENTIAL)
SOURCE_HOLD = HoldKey(HoldKind.SOURCE, DOOR)
TIB = 1 << 40


@pytest.fixture
def history() -> History:
    return History()


def next_probe(history: History, most: int = 200) -> list[str]:
    """Seconds go by until something is handed out."""
    for _ in range(most):
        history.wait(1)
        if chosen := history.hand_out():
            return chosen
    raise AssertionError(f"no probe within {most} s")


def kinds(history: History) -> set[HoldKind]:
    return {hold.key.kind for hold in history.engine.holds.all()}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (FailureClass.HOST, FailureClass.CREDENTIAL),
        (FailureClass.CREDENTIAL, FailureClass.HOST),
    ],
)
def test_a_door_that_returns_with_another_trouble_is_probed_on(
    history: History, first: FailureClass, second: FailureClass
) -> None:
    history.offer("a", "b", "c")
    for task in history.hand_out():
        history.fail(task, first)
    (probe,) = next_probe(history)
    history.fail(probe, second)
    mirrored: set[str] = set()
    while len(mirrored) < 3:
        for task in next_probe(history):
            history.end(task, ResultKind.MIRRORED)
            mirrored.add(task)

    assert {"a", "b", "c"} == mirrored
    assert set() == kinds(history)


def test_a_door_that_refuses_us_is_not_down(history: History) -> None:
    history.offer("a")
    history.hand_out()
    history.fail("a", FailureClass.HOST)
    history.fail(*next_probe(history), FailureClass.CREDENTIAL)

    assert {HoldKind.CREDENTIAL} == kinds(history)


def test_a_proxy_that_cannot_be_read_says_nothing_of_the_door(history: History) -> None:
    history.offer("a")
    history.hand_out()
    history.fail("a", FailureClass.HOST)
    (probe,) = next_probe(history)
    history.fail(probe, FailureClass.CREDENTIAL, curl_code=CURL_CERTIFICATE)

    assert {HoldKind.CREDENTIAL, HoldKind.DOOR} == kinds(history)


def test_nothing_is_probed_while_somebody_has_to_act_first(history: History) -> None:
    """A proxy that ran out has no date: the door would refuse each probe."""
    history.offer("a", "b")
    history.hand_out()
    history.fail("a", FailureClass.HOST)
    history.fail("b", FailureClass.CREDENTIAL)
    credential = history.engine.holds.get(CREDENTIAL_HOLD)
    assert credential is not None
    credential.probe_at = float("inf")
    for _ in range(200):
        history.wait(1)
        assert [] == history.hand_out()
    history.engine.holds.probe_now(CREDENTIAL_HOLD, history.now)

    assert len(next_probe(history)) == 1


def test_a_probe_that_another_hold_hides_keeps_nobody_busy(history: History) -> None:
    history.offer("a", "b")
    history.hand_out()
    history.fail("a", FailureClass.HOST, host=POOL)
    history.fail("b", FailureClass.DESTINATION)
    destination = history.engine.holds.get(HoldKey(HoldKind.DESTINATION))
    assert destination is not None
    for _ in range(100):
        history.wait(1)
        destination.probe_at = history.now + 30
        assert [] == history.hand_out()
        due = history.engine.holds.next_probe()
        assert due is not None
        assert due > history.now


def test_a_source_without_a_job_to_ask_with_is_asked_once_a_minute(
    history: History,
) -> None:
    history.engine.hold_desk.begin(SOURCE_HOLD, "ten files", history.now)
    history.wait(60)
    history.hand_out()

    assert history.engine.holds.next_probe() == history.now + 60


def test_a_pool_is_probed_by_whoever_is_next_on_its_path(history: History) -> None:
    """Two partitions may bring the events of one path in the wrong order."""
    for task, event_time in (("late", 2000.0), ("early", 1990.0)):
        history.engine.offer(
            Job(
                task, JobKind.TRIGGER, "/d/f", "f", "https://x/f", event_time=event_time
            )
        )
        history.hand_out()
        history.fail(task, FailureClass.HOST, host=POOL)

    assert ["early"] == next_probe(history)


def test_a_probe_whose_worker_died_is_made_again(history: History) -> None:
    history.offer("a", "b")
    history.hand_out()
    history.fail("a", FailureClass.HOST)
    next_probe(history)
    history.engine.worker_died(WORKER, history.now, history.now)
    history.engine.dispatcher.seat(WORKER, streams=16)

    assert 1 == len(next_probe(history))


def test_files_that_never_fit_stop_no_other_and_have_their_rows(
    history: History,
) -> None:
    forged = [f"forged-{number}" for number in range(20)]
    history.engine.space.learn(TIB, TIB)
    history.offer(*forged, size=1000 * TIB)
    history.offer("a", "b")
    history.hand_out()
    history.wait(1)

    assert ["a", "b"] == history.hand_out()
    assert dict.fromkeys(forged, "failed") == history.settler.kinds
    assert set() == kinds(history)


def test_a_file_that_never_fits_leaves_no_hold_behind(history: History) -> None:
    history.offer("a")
    history.hand_out()
    history.engine.space.learn(TIB, TIB)
    history.offer("forged", size=1000 * TIB)
    history.hand_out()
    history.fail("a", FailureClass.DESTINATION)
    history.wait(1)

    assert {"forged": "failed"} == history.settler.kinds
    assert history.engine.space.is_enough()


def test_a_total_that_shrinks_burns_no_file(history: History) -> None:
    """A pool that several file systems share: what the others take is gone for us."""
    history.engine.space.learn(TIB, TIB)
    history.engine.space.learn(0, TIB // 100)
    history.offer("a", size=TIB // 2)
    history.hand_out()
    history.wait(1)

    assert {HoldKind.DESTINATION} == kinds(history)
    assert {} == history.settler.kinds


def test_a_disk_smaller_than_what_is_to_stay_free_holds(history: History) -> None:
    history.engine.space.keep_free(2 * TIB)
    history.engine.space.learn(TIB, TIB)
    history.offer("a")
    history.hand_out()
    history.wait(1)

    assert {HoldKind.DESTINATION} == kinds(history)
    assert {} == history.settler.kinds


def test_a_file_that_fits_later_waits(history: History) -> None:
    history.engine.space.learn(TIB // 2, TIB)
    history.offer("large", size=TIB - 1)
    history.hand_out()
    history.wait(1)

    assert {HoldKind.DESTINATION} == kinds(history)
    assert {} == history.settler.kinds
