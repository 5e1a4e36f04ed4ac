"""The intake, turn by turn: records, their epochs, and a queue that is full."""

from __future__ import annotations

from dcmirror.core.records import Assigned, Connected
from intake_bench import Bench


def test_epoch_and_start_are_told_before_the_first_batch_of_the_epoch(bench):
    bench.consumer.group[0] = 1
    bench.consumer.logs[0] = [b"a", b"b", b"c"]

    bench.join(0).turn()

    notices, _ = bench.outlet.take()
    assert notices == [Connected("cluster-1"), Assigned(0, 1, 1, 1)]
    notices, batch = bench.outlet.take()
    assert notices == []
    assert [tuple(record) for record in batch.records] == [
        (0, 1, 1, b"b"),
        (0, 2, 1, b"c"),
    ]


def test_records_fetched_while_the_epoch_began_are_read_again(bench):
    """They may have been fetched at the position of the epoch before."""
    bench.consumer.logs[0] = [b"a"]
    bench.consumer.group[0] = 0
    bench.join(0).turn()
    assert bench.batches() == [[(0, 0, 1)]]

    def come_back() -> None:
        bench.consumer.lose()
        bench.consumer.join(0)

    bench.consumer.steps.append(come_back)
    bench.turn(2)

    assert bench.batches() == [[(0, 0, 2)]]


def test_a_partition_that_stays_over_a_rebalance_keeps_its_epoch(bench):
    bench.consumer.group.update({0: 0, 1: 0})
    bench.join(0).join(0, 1)
    bench.consumer.logs[0] = [b"a"]
    bench.consumer.logs[1] = [b"b"]
    bench.turn()

    assert sorted(bench.batches()[0]) == [(0, 0, 1), (1, 0, 2)]


def test_tombstones_are_handed_over(bench):
    bench.consumer.group[0] = 0
    bench.consumer.logs[0] = [None]
    bench.join(0).turn()

    bench.outlet.take()
    assert bench.outlet.take()[1].records[0].value is None


def fill(bench: Bench) -> None:
    bench.consumer.group[0] = 0
    bench.join(0)
    bench.outlet.take()  # the Assigned
    for number in range(5):
        bench.consumer.logs[0].append(b"%d" % number)
        bench.turn()


def test_full_queue_pauses_everything_and_polls_on_with_the_batch_in_hand(bench):
    fill(bench)
    assert bench.outlet.batches.full()
    assert bench.outlet.has_in_hand
    bench.consumer.logs[0].append(b"5")
    polls = bench.consumer.calls.count("poll")

    bench.turn(3)

    assert bench.consumer.stopped == {0}
    assert bench.consumer.calls.count("poll") == polls + 3
    assert bench.consumer.at[0] == 5


def test_nothing_is_lost_or_reordered_when_the_queue_was_full(bench):
    fill(bench)
    bench.consumer.logs[0].append(b"5")
    bench.turn(3)

    taken = bench.batches()
    bench.turn(3)
    taken += bench.batches()

    assert [offset for batch in taken for _, offset, _ in batch] == [0, 1, 2, 3, 4, 5]
    assert bench.consumer.stopped == set()


def test_new_assignment_is_paused_too_while_the_queue_is_full(bench):
    fill(bench)
    bench.consumer.group[1] = 0
    bench.consumer.logs[1] = [b"x"]

    bench.join(0, 1).turn()

    assert bench.consumer.stopped == {0, 1}
    bench.batches()
    bench.turn(2)
    assert bench.batches()[-1] == [(1, 0, 2)]


def test_pause_keeps_polling_and_resume_goes_on(bench):
    bench.consumer.group[0] = 0
    bench.join(0)
    bench.wishes.is_paused = True
    bench.consumer.logs[0] = [b"a"]
    bench.turn(3)
    assert bench.batches() == []
    assert bench.consumer.calls.count("poll") == 4

    bench.wishes.is_paused = False
    bench.turn()

    assert bench.batches() == [[(0, 0, 1)]]


def test_draining_hands_nothing_over_and_forgets_what_is_in_hand(bench):
    fill(bench)
    bench.wishes.is_draining = True
    bench.consumer.logs[0].append(b"5")

    bench.turn(2)

    assert not bench.outlet.has_in_hand
    assert len(bench.batches()) == 4
