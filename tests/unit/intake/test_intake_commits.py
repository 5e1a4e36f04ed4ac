"""The intake, turn by turn: what it commits, and when; the last commit."""

from __future__ import annotations

from kafka import errors

from dcmirror.core.records import Acknowledged, Assigned, IntakeTrouble, Revoked


def test_commit_sends_the_entries_of_the_current_epochs_only(bench):
    bench.consumer.group.update({0: 0, 1: 0})
    bench.join(0, 1)
    epochs = {n.partition: n.epoch for n in bench.notices(Assigned)}

    bench.settle({(0, epochs[0]): 3, (1, 99): 8, (2, 1): 5})

    assert bench.consumer.commits == [{0: 3}]
    assert bench.notices(Acknowledged) == [Acknowledged({0: 3})]


def test_failed_commit_is_not_sent_again_with_old_values(bench):
    bench.consumer.group[0] = 0
    bench.join(0)
    bench.consumer.commit_error = errors.KafkaConnectionError("gone")
    bench.settle({(0, 1): 3})
    assert bench.notices(Acknowledged) == []

    bench.consumer.commit_error = None
    bench.settle({(0, 1): 7})

    assert bench.consumer.commits == [{0: 3}, {0: 7}]
    assert bench.notices(Acknowledged) == [Acknowledged({0: 7})]


def test_commit_that_fails_for_a_rebalance_is_no_trouble(bench):
    bench.consumer.group[0] = 0
    bench.join(0)
    for error in (
        errors.CommitFailedError(errors.RebalanceInProgressError()),
        errors.RebalanceInProgressError(),
        errors.CommitFailedError(errors.UnknownMemberIdError()),
    ):
        bench.consumer.commit_error = error
        bench.settle({(0, 1): 3})

    assert len(bench.consumer.commits) == 3
    assert bench.notices(IntakeTrouble) == []


def test_an_offset_is_never_lowered(bench):
    bench.consumer.group[0] = 5
    bench.consumer.firsts[0] = 5
    bench.join(0)

    bench.settle({(0, 1): 4})

    assert bench.consumer.commits == []


def test_commit_is_made_every_30_s_even_when_nothing_moved(bench):
    bench.consumer.group[0] = 0
    bench.join(0)
    bench.now += 29
    bench.turn()
    assert bench.consumer.commits == []

    bench.now += 2
    bench.turn()

    assert bench.consumer.commits == [{0: 0}]


def test_what_moved_is_committed_within_seconds_without_being_asked(bench):
    bench.consumer.group[0] = 0
    bench.join(0)
    bench.wishes.committables = {(0, 1): 2}
    bench.now += 5.1
    bench.turn()

    assert bench.consumer.commits == [{0: 2}]


def test_revoked_partitions_are_committed_and_told(bench):
    bench.consumer.group.update({0: 0, 1: 0})
    bench.join(0).join(0, 1)
    bench.wishes.committables = {(0, 1): 4, (1, 2): 6}

    bench.join(0)

    assert bench.consumer.commits == [{1: 6}]
    assert bench.notices()[-2:] == [
        Acknowledged({1: 6}),
        Revoked((1,), lost=False, epoch=2),
    ]


def test_failed_commit_on_revoke_does_not_stop_the_rebalance(bench):
    bench.consumer.group[0] = 0
    bench.join(0)
    bench.wishes.committables = {(0, 1): 4}
    bench.consumer.commit_error = errors.CommitFailedError("too late")

    bench.join()

    assert bench.notices(Acknowledged) == []
    assert bench.notices(Revoked) == [Revoked((0,), lost=False, epoch=1)]


def test_nothing_is_committed_after_partitions_were_lost(bench):
    bench.consumer.group[0] = 0
    bench.join(0)
    bench.wishes.committables = {(0, 1): 4}
    bench.consumer.steps.append(bench.consumer.lose)
    bench.turn()

    bench.settle({(0, 1): 4})
    bench.now += 31
    bench.turn()

    assert bench.consumer.commits == []
    assert bench.notices(Revoked) == [Revoked((0,), lost=True, epoch=1)]


def test_entries_of_the_lost_epoch_are_not_committed_in_the_next_one(bench):
    bench.consumer.group[0] = 0
    bench.join(0)
    bench.consumer.steps.append(bench.consumer.lose)
    bench.turn().join(0)

    bench.settle({(0, 1): 4})

    assert bench.consumer.commits == []


def test_end_commits_what_is_settled_and_leaves_the_group(bench):
    bench.consumer.group[0] = 0
    bench.join(0)
    bench.wishes.committables = {(0, 1): 9}

    assert bench.reader.finish()
    assert bench.consumer.commits == [{0: 9}]
    assert bench.consumer.calls[-1] == "close"
    assert bench.notices()[-2:] == [
        Acknowledged({0: 9}),
        Revoked((0,), lost=False, epoch=1),
    ]


def test_last_commit_waits_for_the_rebalance_to_end(bench):
    bench.consumer.group[0] = 0
    bench.join(0)
    bench.wishes.committables = {(0, 1): 9}
    bench.consumer.commit_error = errors.RebalanceInProgressError()

    def end_rebalance() -> None:
        bench.consumer.commit_error = None

    bench.consumer.steps += [lambda: None, end_rebalance]

    assert bench.reader.finish()
    assert bench.consumer.group == {0: 9}


def test_end_does_not_wait_for_a_broker_that_is_away(bench):
    bench.consumer.group[0] = 0
    bench.join(0)
    bench.wishes.committables = {(0, 1): 9}
    bench.consumer.commit_error = errors.KafkaConnectionError("away")

    assert not bench.reader.finish()
    assert "close" in bench.consumer.calls
    assert bench.consumer.commits == [{0: 9}]  # not by the listener again


def test_last_commit_gives_up_after_ten_seconds(bench):
    bench.consumer.group[0] = 0
    bench.join(0)
    bench.wishes.committables = {(0, 1): 9}
    bench.consumer.commit_error = errors.RebalanceInProgressError()
    began = bench.now

    def pass_time() -> None:
        bench.now += 1

    bench.consumer.steps += [pass_time] * 20

    assert not bench.reader.finish()
    assert bench.now - began == 10
