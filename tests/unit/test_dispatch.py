"""The dispatcher hands out each job once, in order, to a worker that has room."""

from __future__ import annotations

import pytest

from dcmirror.core.dispatch import Dispatcher
from dcmirror.core.entries import SMALL_AHEAD, SMALL_BYTES, State
from dcmirror.core.holds import HoldKey, HoldKind
from dcmirror.core.jobs import Job, JobKind


def job(task: str, relative: str | None = None, **over: object) -> Job:
    """A job for its own destination, unless told otherwise."""
    name = relative or task
    fields: dict[str, object] = {"size": 10, "accepted_at": 100.0}
    fields.update(over)
    return Job(task, JobKind.TRIGGER, f"/d/{name}", name, f"https://x/{name}", **fields)  # type: ignore[arg-type]


def handed(dispatcher: Dispatcher, now: float = 0.0) -> list[str]:
    """The tasks that are handed out now."""
    return [entry.job.task for entry, _ in dispatcher.hand_out(now)]


@pytest.fixture
def dispatcher() -> Dispatcher:
    """One worker with two streams."""
    made = Dispatcher()
    made.seat(1, streams=2)
    return made


def test_jobs_go_out_in_the_order_in_which_they_came(dispatcher: Dispatcher) -> None:
    for task in "abc":
        dispatcher.add(job(task))

    assert handed(dispatcher) == ["a", "b", "c"]


def test_large_jobs_are_not_queued_behind_running_ones(dispatcher: Dispatcher) -> None:
    """A large file ahead in a worker's queue would wait while others are idle."""
    for task in "abc":
        dispatcher.add(job(task, size=SMALL_BYTES + 1))

    assert handed(dispatcher) == ["a", "b"]
    assert dispatcher.count(State.READY) == 1


def test_a_small_job_is_not_queued_behind_a_large_one(dispatcher: Dispatcher) -> None:
    dispatcher.add(job("big", size=None))
    dispatcher.add(job("a"))
    dispatcher.add(job("b"))

    assert handed(dispatcher) == ["big", "a"]


def test_small_jobs_are_handed_out_ahead_up_to_a_bound(dispatcher: Dispatcher) -> None:
    for number in range(SMALL_AHEAD + 5):
        dispatcher.add(job(f"t{number}"))

    assert len(handed(dispatcher)) == SMALL_AHEAD


def test_jobs_for_one_destination_run_one_after_another(dispatcher: Dispatcher) -> None:
    """In order of event time, however they arrived."""
    dispatcher.add(job("late", "same", event_time=20.0))
    dispatcher.add(job("early", "same", event_time=10.0))

    assert handed(dispatcher) == ["early"]
    dispatcher.remove("early")
    assert handed(dispatcher) == ["late"]


def test_a_running_job_is_not_overtaken_by_an_earlier_event(
    dispatcher: Dispatcher,
) -> None:
    dispatcher.add(job("late", "same", event_time=20.0))
    handed(dispatcher)
    dispatcher.add(job("early", "same", event_time=10.0))

    assert handed(dispatcher) == []
    dispatcher.remove("late")
    assert handed(dispatcher) == ["early"]


def test_a_waiting_job_goes_out_when_it_is_due(dispatcher: Dispatcher) -> None:
    entry = dispatcher.add(job("a"))
    handed(dispatcher)
    dispatcher.wait_until(entry, due=50.0, now=1.0)

    assert dispatcher.next_due() == 50.0
    assert dispatcher.due(49.9) == []
    assert dispatcher.due(50.0) == [entry]
    assert handed(dispatcher) == ["a"]
    assert dispatcher.next_due() is None


def test_a_waiting_job_does_not_count_against_the_bound(dispatcher: Dispatcher) -> None:
    entry = dispatcher.add(job("a"))
    dispatcher.add(job("b"))
    dispatcher.wait_until(entry, due=50.0, now=1.0)

    assert dispatcher.load == 1


def test_the_longest_waiting_jobs_are_named_beyond_the_bound(
    dispatcher: Dispatcher,
) -> None:
    for number in range(5):
        entry = dispatcher.add(job(f"t{number}"))
        dispatcher.wait_until(entry, due=100.0, now=float(number))

    over = dispatcher.longest_waiting(beyond=3)

    assert [entry.job.task for entry in over] == ["t0", "t1"]


def test_jobs_of_a_held_pool_wait_and_go_first_when_it_ends(
    dispatcher: Dispatcher,
) -> None:
    key = HoldKey(HoldKind.POOL, "pool:1")
    held = [dispatcher.add(job(task)) for task in "ab"]
    for entry in held:
        dispatcher.hold(entry, key)
    dispatcher.add(job("c"))

    assert handed(dispatcher) == ["c"]
    dispatcher.release(key, 0.0)
    assert handed(dispatcher) == ["a", "b"]


def test_the_jobs_of_a_dead_worker_run_alone_afterwards(dispatcher: Dispatcher) -> None:
    """A worker holds several streams, so its death accuses all of them."""
    for task in "abc":
        dispatcher.add(job(task))
    handed(dispatcher)
    accused = dispatcher.unseat(1, 0.0)
    dispatcher.seat(2, streams=2)

    assert sorted(entry.job.task for entry in accused) == ["a", "b", "c"]
    assert handed(dispatcher) == ["a"]
    assert handed(dispatcher) == []
    dispatcher.remove("a")
    assert handed(dispatcher) == ["b"]


def test_only_who_is_alone_in_a_dying_worker_is_counted(dispatcher: Dispatcher) -> None:
    for task in "ab":
        dispatcher.add(job(task))
    handed(dispatcher)
    dispatcher.unseat(1, 0.0)
    deaths_together = [e.deaths_alone for e in dispatcher.entries.values()]
    dispatcher.seat(2, streams=2)
    handed(dispatcher)
    dispatcher.unseat(2, 0.0)

    assert deaths_together == [0, 0]
    assert dispatcher.entries["a"].deaths_alone == 1
    assert dispatcher.entries["b"].deaths_alone == 0


def test_other_workers_go_on_while_a_suspect_runs_alone() -> None:
    dispatcher = Dispatcher()
    dispatcher.seat(1, streams=1)
    dispatcher.add(job("suspect"))
    handed(dispatcher)
    dispatcher.unseat(1, 0.0)
    dispatcher.seat(2, streams=1)
    dispatcher.seat(3, streams=1)
    dispatcher.add(job("other"))

    out = {entry.job.task: worker for entry, worker in dispatcher.hand_out(0.0)}

    assert set(out) == {"suspect", "other"}
    assert len(set(out.values())) == 2


def test_nothing_is_handed_out_that_the_destination_cannot_take(
    dispatcher: Dispatcher,
) -> None:
    dispatcher.add(job("a", size=60))
    dispatcher.add(job("b", size=60))

    pairs = dispatcher.hand_out(0.0, space=100)

    assert [entry.job.task for entry, _ in pairs] == ["a"]
    assert dispatcher.short_of == 20


def test_a_provisional_failure_holds_up_no_newer_upload(dispatcher: Dispatcher) -> None:
    entry = dispatcher.add(job("old", "same", event_time=1.0))
    dispatcher.add(job("new", "same", event_time=2.0))
    handed(dispatcher)
    dispatcher.suspend(entry)

    assert handed(dispatcher) == ["new"]


def test_the_same_task_is_taken_in_once(dispatcher: Dispatcher) -> None:
    first = dispatcher.add(job("a"))
    second = dispatcher.add(job("a"))

    assert first is second
    assert handed(dispatcher) == ["a"]


def test_counts_add_up_whatever_happens(dispatcher: Dispatcher) -> None:
    entries = [dispatcher.add(job(f"t{n}")) for n in range(6)]
    handed(dispatcher)
    dispatcher.wait_until(entries[0], 5.0, 1.0)
    dispatcher.hold(entries[1], HoldKey(HoldKind.POOL, "p:1"))
    dispatcher.suspend(entries[2])
    dispatcher.ready_again(entries[3])
    dispatcher.remove("t4")

    counts = {state: dispatcher.count(state) for state in State}
    assert sum(counts.values()) == len(dispatcher.entries) == 5
    assert counts[State.OUT] == 1


def test_a_worker_that_leaves_gets_nothing_more(dispatcher: Dispatcher) -> None:
    dispatcher.seat(2, streams=1)
    dispatcher.close(1)
    dispatcher.add(job("a"))
    dispatcher.add(job("b", size=None))

    assert [worker for _, worker in dispatcher.hand_out(0.0)] == [2]
    assert dispatcher.count(State.READY) == 1


def test_a_suspect_is_not_given_to_a_worker_that_leaves() -> None:
    dispatcher = Dispatcher()
    dispatcher.seat(1, streams=1)
    dispatcher.add(job("suspect"))
    handed(dispatcher)
    dispatcher.unseat(1, 0.0)
    dispatcher.seat(2, streams=1)
    dispatcher.close(2)

    assert handed(dispatcher) == []
    dispatcher.seat(3, streams=1)
    assert handed(dispatcher) == ["suspect"]
