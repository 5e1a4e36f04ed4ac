"""Named histories of jobs, told to the engine as the supervisor would tell them."""

from __future__ import annotations

import dataclasses

import pytest

from dcmirror.core.entries import State
from dcmirror.core.events import StorageEvent
from dcmirror.core.failures import Failure, FailureClass
from dcmirror.core.holds import SOURCE_STREAK, HoldKey, HoldKind
from dcmirror.core.jobs import (
    AttemptResult,
    CopyRecord,
    Job,
    JobKind,
    Origin,
    Progress,
    ResultKind,
)
from dcmirror.core.refusals import MOST_REFUSALS
from dcmirror.core.retry import RetryPolicy
from dcmirror.errors import BooksError
from engine_history import DOOR, WORKER, History

DESTINATION = HoldKey(HoldKind.DESTINATION)


@pytest.fixture
def history() -> History:
    """An engine with one worker of 16 streams."""
    return History()


def test_a_mirrored_file_is_settled_with_its_copy(history: History) -> None:
    history.offer("a")
    history.hand_out()
    history.end("a", ResultKind.MIRRORED, bytes_received=10)

    assert history.settler.kinds == {"a": "mirrored"}
    assert history.settler.settled[0].copy is not None
    assert history.engine.tally.bytes_mirrored == 10
    assert history.engine.dispatcher.entries == {}


def test_a_copy_that_the_books_know_is_a_skip(history: History) -> None:
    history.known["a"] = CopyRecord("a", "/d/a", "P", 10, 1, True, 5, 1.0)
    history.offer("a")
    history.hand_out()
    history.end("a", ResultKind.ADOPTED, requests=0)

    assert history.settler.kinds == {"a": "skipped:already-mirrored"}
    assert history.settler.settled[0].copy is None


def test_a_copy_that_is_not_settled_yet_is_a_skip_too(history: History) -> None:
    """The same event came twice, and the first copy is not in the catalogue yet."""
    job = Job("a", JobKind.TRIGGER, "/d/a", "a", "https://x/a", size=10)
    for task in ("a", "again"):
        history.engine.offer(dataclasses.replace(job, task=task))
    history.hand_out()
    history.end("a", ResultKind.MIRRORED)
    history.hand_out()
    assert history.engine.dispatcher.entries["again"].job.known is not None
    copy = history.settler.settled[0].copy
    history.end("again", ResultKind.ADOPTED, requests=0, copy=copy)

    assert history.settler.kinds == {
        "a": "mirrored",
        "again": "skipped:already-mirrored",
    }
    assert history.engine.tally.mirrored == 1


def test_a_copy_that_only_the_mirror_knows_gets_its_row(history: History) -> None:
    """A kill between rename and settling: the next start adopts what is there."""
    history.offer("a")
    history.hand_out()
    history.end("a", ResultKind.ADOPTED, requests=0)

    assert history.settler.kinds == {"a": "mirrored"}
    assert history.settler.settled[0].copy is not None


def test_a_transient_failure_is_retried_up_to_retrytimes(history: History) -> None:
    history.offer("a")
    for _ in range(3):
        assert history.hand_out() == ["a"]
        history.fail("a", FailureClass.TRANSIENT)
        history.wait(20.0)

    assert history.settler.kinds == {"a": "failed"}
    assert history.engine.tally.retries == 2


def refused_again_and_again(history: History, times: int, *others: str) -> None:
    """The probe is good each time, and the others are written after it."""
    for _ in range(times):
        history.hand_out()
        history.wait(1.0)
        history.fail("a", FailureClass.DESTINATION)
        history.engine.hold_desk.end(DESTINATION, history.now)
        history.wait(1.0)
        history.offer(*others)
        handed = history.hand_out()
        history.wait(1.0)
        for task in set(handed) - {"a"}:
            history.end(task, ResultKind.MIRRORED)
        history.wait(500.0)


def test_a_held_class_is_never_charged(history: History) -> None:
    """Fifty attempts end for a full disk; the first attempt is still the first."""
    history.offer("a")
    for _ in range(50):
        assert history.hand_out() == ["a"]
        history.fail("a", FailureClass.DESTINATION)
        assert DESTINATION in history.engine.holds
        history.engine.hold_desk.end(DESTINATION, history.now)
        history.wait(500.0)

    assert history.engine.dispatcher.entries["a"].job.attempt == 1
    assert history.settler.settled == []


def test_a_full_destination_stops_all_dispatch_and_is_said_once(
    history: History,
) -> None:
    history.offer("a", "b", "c")
    history.hand_out()
    history.fail("a", FailureClass.DESTINATION)
    history.fail("b", FailureClass.DESTINATION)
    history.wait(5.0)

    assert history.hand_out() == []
    assert history.story.told.count("hold_began") == 1
    history.engine.hold_desk.end(DESTINATION, history.now)
    assert sorted(history.hand_out()) == ["a", "b"]
    assert history.story.told.count("hold_ended") == 1


def test_a_door_that_is_down_is_probed_by_one_job(history: History) -> None:
    history.offer("a", "b", "c")
    history.hand_out()
    for task in "abc":
        history.fail(task, FailureClass.HOST)

    assert history.hand_out() == []
    history.wait(2.0)
    probe = history.hand_out()
    assert len(probe) == 1
    assert history.hand_out() == []
    history.fail(probe[0], FailureClass.HOST)
    history.wait(3.9)
    assert history.hand_out() == []
    history.wait(0.2)
    probe = history.hand_out()
    history.end(probe[0], ResultKind.MIRRORED)
    assert len(history.hand_out()) == 2


def test_a_pool_that_is_down_stops_only_its_own_files(history: History) -> None:
    history.offer("a", "b")
    history.hand_out()
    history.fail("a", FailureClass.HOST, host="pool:1")
    history.end("b", ResultKind.MIRRORED)
    history.offer("c")

    assert history.state("a") is State.HELD
    assert history.hand_out() == ["c"]
    history.wait(2.0)
    assert history.hand_out() == ["a"]
    history.end("a", ResultKind.MIRRORED, pool_host="pool:1")
    assert len(history.engine.holds) == 0


def test_a_refused_certificate_stops_dispatch_until_a_probe_succeeds(
    history: History,
) -> None:
    history.offer("a", "b")
    history.hand_out()
    history.fail("a", FailureClass.CREDENTIAL, http_status=401)
    history.fail("b", FailureClass.CREDENTIAL, http_status=401)
    history.wait(29.0)
    assert history.hand_out() == []
    history.wait(1.0)
    probe = history.hand_out()
    assert len(probe) == 1
    history.fail(probe[0], FailureClass.TRANSIENT, http_status=503)

    assert len(history.engine.holds) == 0


def test_a_probe_that_asked_nobody_proves_nothing(history: History) -> None:
    """The mirror had the file already: the door was not asked."""
    history.offer("a", "b")
    history.hand_out()
    history.fail("a", FailureClass.HOST)
    history.wait(2.0)
    probe = history.hand_out()
    history.end(probe[0], ResultKind.ADOPTED, requests=0)

    assert HoldKey(HoldKind.DOOR, DOOR) in history.engine.holds


def test_a_due_probe_without_a_job_does_not_keep_the_loop_busy(
    history: History,
) -> None:
    history.offer("a")
    history.hand_out()
    history.fail("a", FailureClass.HOST)
    history.engine.drop_partition("billing", 0)
    history.wait(2.0)
    history.hand_out()

    due = history.engine.holds.next_probe()
    assert due is not None
    assert due > history.now


def test_ten_forbidden_files_hold_the_source_and_burn_nothing(history: History) -> None:
    tasks = [f"t{n}" for n in range(SOURCE_STREAK)]
    history.offer(*tasks)
    history.hand_out()
    for task in tasks:
        history.fail(task, FailureClass.FORBIDDEN)

    assert history.settler.settled == []
    assert history.engine.hold_desk.source_key in history.engine.holds
    assert history.hand_out() == []


def test_after_a_source_hold_each_file_is_settled_as_it_ends(history: History) -> None:
    tasks = [f"t{n}" for n in range(SOURCE_STREAK)]
    history.offer(*tasks)
    history.hand_out()
    for task in tasks:
        history.fail(task, FailureClass.FORBIDDEN)
    history.engine.hold_desk.end(history.engine.hold_desk.source_key, history.now)
    assert sorted(history.hand_out()) == sorted(tasks)
    for task in tasks:
        history.fail(task, FailureClass.FORBIDDEN)

    assert set(history.settler.kinds.values()) == {"failed"}
    assert len(history.engine.holds) == 0


def test_a_success_in_between_settles_the_forbidden_ones(history: History) -> None:
    history.offer("bad", "good")
    history.hand_out()
    history.fail("bad", FailureClass.FORBIDDEN)
    assert history.settler.settled == []
    history.wait(5.0)
    history.end("good", ResultKind.MIRRORED)

    assert history.settler.kinds == {"bad": "failed", "good": "mirrored"}


def test_a_forbidden_file_is_settled_after_ten_minutes(history: History) -> None:
    history.offer("bad")
    history.hand_out()
    history.fail("bad", FailureClass.FORBIDDEN)
    history.wait(599.0)
    assert history.settler.settled == []
    history.wait(1.0)

    assert history.settler.kinds == {"bad": "failed"}


def test_only_the_file_that_dies_alone_twice_is_poison(history: History) -> None:
    history.offer("poison", "fine")
    history.hand_out()
    history.engine.worker_died(WORKER, history.now, history.now)
    number = WORKER
    for _ in range(4):
        number += 1
        history.engine.dispatcher.seat(number, streams=16)
        out = history.hand_out()
        if out == ["fine"]:
            result = AttemptResult("fine", ResultKind.PARKED, 0.0, 1.0)
            history.engine.take_result(number, result, history.now, history.now)
        history.engine.worker_died(number, history.now, history.now)

    assert history.settler.kinds == {"poison": "failed"}
    assert history.engine.tally.failures == {"poison": 1}


def test_a_live_part_of_somebody_else_is_waited_for_uncharged(history: History) -> None:
    history.offer("a")
    history.hand_out()
    history.end("a", ResultKind.BUSY)
    history.wait(29.0)
    assert history.hand_out() == []
    history.wait(1.0)

    assert history.hand_out() == ["a"]
    assert history.engine.dispatcher.entries["a"].job.attempt == 1


def test_a_name_that_changed_under_us_is_tried_again_uncharged(
    history: History,
) -> None:
    history.offer("a")
    history.hand_out()
    history.end("a", ResultKind.AGAIN)
    history.wait(1.0)

    assert history.hand_out() == ["a"]
    assert history.engine.dispatcher.entries["a"].job.attempt == 1


def test_a_result_of_a_worker_that_was_buried_is_ignored(history: History) -> None:
    history.offer("a")
    history.hand_out()
    history.engine.worker_died(WORKER, history.now, history.now)
    history.end("a", ResultKind.MIRRORED)

    assert history.settler.settled == []
    assert history.state("a") is State.READY


def test_failures_of_a_revoked_partition_go_to_its_new_owner(history: History) -> None:
    history.offer("runs", "waits")
    history.hand_out()
    history.end("waits", ResultKind.BUSY)
    history.engine.drop_partition("billing", 0)
    assert list(history.engine.dispatcher.entries) == ["runs"]
    history.fail("runs", FailureClass.REMOVED)

    assert history.settler.settled == []
    assert history.engine.dispatcher.entries == {}


def test_a_good_copy_of_a_revoked_partition_is_recorded(history: History) -> None:
    history.offer("runs")
    history.hand_out()
    history.engine.drop_partition("billing", 0)
    history.end("runs", ResultKind.MIRRORED)

    assert history.settler.kinds == {"runs": "mirrored"}


def test_a_partition_that_comes_back_takes_its_running_job_over(
    history: History,
) -> None:
    history.offer("runs", origin=Origin("billing", 0, 7, epoch=1))
    history.hand_out()
    history.engine.drop_partition("billing", 0)
    history.offer("runs", origin=Origin("billing", 0, 7, epoch=2))
    history.end("runs", ResultKind.MIRRORED)

    origin = history.settler.settled[0].origin
    assert origin is not None
    assert origin.epoch == 2


def test_another_file_at_the_same_offset_is_another_job(history: History) -> None:
    """A topic that was deleted and made anew has the same offsets again."""
    task = "f9c82897-0976-ed88-61d8-0db305308527"
    history.offer(task)
    history.hand_out()
    job = Job(task, JobKind.TRIGGER, "/d/other", "other", "https://x/other", size=1)
    history.engine.offer(job)

    paths = sorted(e.job.path for e in history.engine.dispatcher.entries.values())
    assert paths == ["/d/f9c82897-0976-ed88-61d8-0db305308527", "/d/other"]


def test_a_disk_that_is_nearly_full_holds_before_it_is_full(history: History) -> None:
    history = History(min_free=100)
    history.engine.space.free_bytes = 105
    history.offer("a", size=10)

    assert history.hand_out() == []
    assert DESTINATION in history.engine.holds
    assert not history.engine.space.is_enough()
    history.engine.space.free_bytes = 200
    assert history.engine.space.is_enough()


def test_a_refused_body_is_waited_for_until_it_fits() -> None:
    """Its event told no size; the source did, and nobody asks again before."""
    history = History(min_free=100)
    history.engine.space.learn(1000, 10_000)
    history.offer("a", size=None)
    assert history.hand_out() == ["a"]
    history.fail("a", FailureClass.DESTINATION, needed=5000)

    assert DESTINATION in history.engine.holds
    assert not history.engine.space.is_enough()
    history.engine.space.learn(5100, None)
    assert history.engine.space.is_enough()
    history.engine.hold_desk.end(DESTINATION, history.now)
    assert history.hand_out() == ["a"]
    assert history.engine.dispatcher.entries["a"].job.size is None


def test_a_refused_body_that_never_fits_is_a_row_and_holds_nothing() -> None:
    history = History(min_free=100)
    history.engine.space.learn(1000, 10_000)
    history.offer("a", size=None)
    history.offer("b")
    history.hand_out()
    history.fail("a", FailureClass.DESTINATION, needed=9_901)

    assert history.settler.kinds == {"a": "failed"}
    assert history.engine.tally.failures == {"destination": 1}
    assert len(history.engine.holds) == 0


def test_a_refused_file_lets_the_others_go_first_the_next_time(
    history: History,
) -> None:
    history.offer("a")
    for _ in range(2):
        assert history.hand_out() == ["a"]
        history.fail("a", FailureClass.DESTINATION)
        history.engine.hold_desk.end(DESTINATION, history.now)
        history.wait(5.0)
    history.offer("b")

    assert history.hand_out() == ["b"]


def test_a_file_that_is_refused_while_others_are_written_holds_nothing(
    history: History,
) -> None:
    history.offer("a")
    refused_again_and_again(history, 2, "b", "c")
    began = history.story.told.count("hold_began")
    refused_again_and_again(history, 5, "d")

    assert history.story.told.count("hold_began") == began
    assert history.engine.dispatcher.entries["a"].job.attempt == 1


def test_a_file_that_is_refused_while_others_are_written_is_a_row_in_the_end(
    history: History,
) -> None:
    history.offer("a")
    refused_again_and_again(history, 2 * MOST_REFUSALS, "b")

    assert history.settler.kinds == {"a": "failed", "b": "mirrored"}
    assert history.engine.tally.failures == {"destination": 1}


def test_a_clock_that_is_set_back_blames_no_file_for_a_full_disk(
    history: History,
) -> None:
    history.offer("a", "b")
    history.hand_out()
    history.end("b", ResultKind.MIRRORED, started_at=history.now + 86400)
    for _ in range(2 * MOST_REFUSALS):
        history.wait(1.0)
        history.fail("a", FailureClass.DESTINATION)
        history.engine.hold_desk.end(DESTINATION, history.now)
        history.wait(500.0)
        history.hand_out()

    assert history.settler.kinds == {"b": "mirrored"}


def test_what_a_source_announces_is_reserved(history: History) -> None:
    history.engine.space.free_bytes = 100
    history.offer("a", size=None)
    history.offer("b", size=60)
    history.engine.dispatcher.hand_out_one("a", history.now)
    history.engine.progress["a"] = Progress("a", "data", 10, 60, 0.0)

    assert history.engine.space.reserved_bytes() == 50
    assert history.hand_out() == []
    history.engine.progress["a"] = Progress("a", "checksum", 60, 60, 0.0)
    assert history.engine.space.reserved_bytes() == 0


def test_what_runs_has_reserved_its_space(history: History) -> None:
    history = History(min_free=0)
    history.engine.space.free_bytes = 100
    history.offer("a", "b", size=60)
    assert history.hand_out() == ["a"]
    history.engine.progress["a"] = Progress("a", "data", 50, 60, 0.0)

    assert history.hand_out() == ["b"]


def test_intake_pauses_at_the_bound_and_goes_on_at_half_of_it() -> None:
    history = History(max_jobs=10)
    history.offer(*[f"t{n}" for n in range(10)])
    assert history.engine.is_full
    history.hand_out()
    for number in range(5):
        history.end(f"t{number}", ResultKind.MIRRORED)

    assert history.engine.has_room


def test_beyond_the_bound_of_waiting_jobs_the_oldest_fail() -> None:
    history = History(max_waiting=2)
    history.offer("a", "b", "c")
    history.hand_out()
    for task in "abc":
        history.end(task, ResultKind.BUSY)
        history.now += 1
    history.wait(0.0)

    assert history.settler.kinds == {"a": "failed"}
    assert history.engine.tally.failures == {"overflow": 1}


def test_nothing_is_handed_out_while_stopping(history: History) -> None:
    history.offer("a")
    history.engine.is_stopping = True

    assert history.hand_out() == []


def test_nothing_is_begun_while_it_gives_way_to_more_urgent_work(
    history: History,
) -> None:
    history.offer("a")
    history.engine.is_yielding = True
    assert history.hand_out() == []
    history.engine.is_yielding = False

    assert history.hand_out() == ["a"]


@pytest.mark.parametrize(
    ("kind", "settled"),
    [(JobKind.RECONCILE, "skipped:vanished"), (JobKind.REPLAY, "failed")],
)
def test_a_file_that_only_a_listing_showed_may_vanish(
    kind: JobKind, settled: str
) -> None:
    history = History(policy=RetryPolicy(1.0, 2, 0.0, 0.0), suspects_source=False)
    url = f"https://{DOOR}/a"
    history.engine.offer(Job("a", kind, "/d/a", "a", url, accepted_at=history.now))
    for _ in range(20):
        history.wait(60.0)
        if history.hand_out():
            history.fail("a", FailureClass.NOT_THERE, http_status=404)

    assert history.settler.kinds == {"a": settled}


def test_a_parked_job_is_the_next_one(history: History) -> None:
    history.offer("a", "b")
    history.hand_out()
    history.end("b", ResultKind.PARKED)
    history.offer("c")

    assert history.hand_out() == ["b", "c"]


def test_ten_timeouts_in_a_row_open_the_breaker(history: History) -> None:
    tasks = [f"t{n}" for n in range(10)]
    history.offer(*tasks)
    history.hand_out()
    for task in tasks:
        history.fail(task, FailureClass.TRANSIENT, curl_code=28)

    assert HoldKey(HoldKind.DOOR, DOOR) in history.engine.holds


@pytest.mark.parametrize(
    ("failure_class", "more"),
    [
        (FailureClass.NOT_THERE, {"http_status": 404}),
        (FailureClass.TRANSIENT, {"http_status": 503}),
        (FailureClass.CHECKSUM, {"received": 10}),
        (FailureClass.TRANSIENT, {"curl_code": 18, "http_status": 200}),
    ],
)
def test_timeouts_with_a_bad_answer_in_between_are_not_in_a_row(
    history: History, failure_class: FailureClass, more: dict[str, int]
) -> None:
    tasks = [f"t{n}" for n in range(10)]
    history.offer(*tasks, "answered")
    history.hand_out()
    for task in tasks[:9]:
        history.fail(task, FailureClass.TRANSIENT, curl_code=28)
    history.fail("answered", failure_class, **more)
    history.fail(tasks[9], FailureClass.TRANSIENT, curl_code=28)

    assert len(history.engine.holds) == 0


def test_a_door_that_sends_us_to_a_silent_pool_has_answered(history: History) -> None:
    tasks = [f"t{n}" for n in range(11)]
    history.offer(*tasks)
    history.hand_out()
    for task in tasks[:9]:
        history.fail(task, FailureClass.TRANSIENT, curl_code=28)
    failure = Failure(FailureClass.TRANSIENT, "late", host="pool:1", curl_code=28)
    history.end(tasks[9], ResultKind.FAILED, failure=failure, pool_host="pool:1")
    history.fail(tasks[10], FailureClass.TRANSIENT, curl_code=28)

    assert len(history.engine.holds) == 0


def test_a_pool_that_stalls_in_the_body_has_not_answered(history: History) -> None:
    """Its headers came, and then nothing: that is a timeout like any other."""
    tasks = [f"t{n}" for n in range(10)]
    history.offer(*tasks)
    history.hand_out()
    for task in tasks:
        late = Failure(
            FailureClass.TRANSIENT,
            "stalled",
            host="pool:1",
            curl_code=28,
            http_status=200,
            received=5,
        )
        history.end(task, ResultKind.FAILED, failure=late, pool_host="pool:1")

    assert HoldKey(HoldKind.POOL, "pool:1") in history.engine.holds


class LockedBooks(dict[str, CopyRecord]):
    """A catalogue that cannot be read."""

    def __contains__(self, name: object) -> bool:
        raise BooksError("the catalogue is locked")


def test_jobs_that_were_chosen_but_not_sent_are_handed_out_again(
    history: History,
) -> None:
    history.offer("a", "b")
    history.known = LockedBooks()
    with pytest.raises(BooksError):
        history.hand_out()
    history.known = {}

    assert history.hand_out() == ["a", "b"]


def test_a_probe_that_was_chosen_but_not_sent_is_made_again(history: History) -> None:
    history.offer("a")
    history.hand_out()
    history.fail("a", FailureClass.CREDENTIAL)
    history.wait(31)
    history.known = LockedBooks()
    with pytest.raises(BooksError):
        history.hand_out()
    history.known = {}
    history.wait(2)

    assert history.hand_out() == ["a"]


def test_a_hold_for_want_of_space_ends_when_the_next_file_fits() -> None:
    history = History(min_free=1000)
    history.engine.space.free_bytes = 1015
    history.offer("a", size=20)
    history.hand_out()

    assert DESTINATION in history.engine.holds
    assert not history.engine.space.is_enough()  # 15 bytes: more than is missing
    history.engine.space.free_bytes = 1020
    assert history.engine.space.is_enough()


def test_another_min_free_is_obeyed_at_once() -> None:
    history = History(min_free=1000)
    history.engine.space.free_bytes = 1000
    history.offer("a")
    history.hand_out()
    history.engine.replan(dataclasses.replace(history.engine.plan, min_free=10), 1.0)

    assert history.engine.space.is_enough()


def test_a_pools_hold_ends_with_the_last_file_that_waits_for_it(
    history: History,
) -> None:
    history.offer("a")
    history.hand_out()
    history.fail("a", FailureClass.HOST, host="pool:1")
    history.engine.drop_partition("billing", 0)
    history.wait(2.0)
    history.hand_out()

    assert len(history.engine.holds) == 0


def test_a_dead_workers_job_of_a_revoked_partition_is_forgotten(
    history: History,
) -> None:
    history.offer("runs")
    history.hand_out()
    history.engine.drop_partition("billing", 0)
    history.engine.worker_died(WORKER, history.now, history.now)

    assert history.engine.dispatcher.entries == {}


def test_a_hold_of_days_is_an_alert_said_once(history: History) -> None:
    history.offer("a")
    history.hand_out()
    history.fail("a", FailureClass.DESTINATION)
    history.engine.hold_desk.alert(history.now + 3 * 86400)
    assert "note" not in history.story.told
    history.engine.hold_desk.alert(history.now + 4 * 86400)
    history.engine.hold_desk.alert(history.now + 5 * 86400)

    assert history.story.told.count("note") == 1


def test_an_unsafe_path_without_billing_path_has_its_row_all_the_same(
    history: History,
) -> None:
    event = StorageEvent(msg_type="transfer", transfer_path="/d/../etc/passwd")
    failure = Failure(FailureClass.UNSAFE_PATH, "two dots")
    origin = Origin("billing", 0, 7)
    history.engine.endings.event_refused("a", origin, event, failure, history.now)

    assert history.settler.settled[0].row == "row of /d/../etc/passwd"
