"""The intake, turn by turn: errors of the library, and how they are told."""

from __future__ import annotations

import pytest
from kafka import errors
from kafka.structs import MemberState

from dcmirror.adapters.kafka_errors import SourceBroken, SourceFatal
from dcmirror.core.records import IntakeTrouble
from intake_bench import TOPIC, raising


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (errors.FencedInstanceIdError(), "group_instance_id"),
        (errors.TopicAuthorizationFailedError({TOPIC}), "not allowed to read topic"),
        (errors.GroupAuthorizationFailedError("group"), "not allowed to use consumer"),
        (errors.SaslAuthenticationFailedError("bad password"), "bad password"),
        (errors.UnsupportedCodecError("lz4"), "compression is not installed"),
        (errors.InvalidSessionTimeoutError(), "InvalidSessionTimeout"),
    ],
)
def test_errors_that_no_retry_cures_are_fatal_and_say_why(bench, error, words):
    bench.consumer.steps.append(raising(error))

    with pytest.raises(SourceFatal, match=words):
        bench.turn()


def test_fenced_member_is_noticed_at_a_commit(bench):
    bench.consumer.group[0] = 0
    bench.join(0)
    bench.consumer.commit_error = errors.FencedInstanceIdError()
    bench.now += 31

    with pytest.raises(SourceFatal, match="another instance has joined"):
        bench.turn()


@pytest.mark.parametrize(
    "error",
    [
        ValueError("bad varint"),
        errors.CorruptRecordError("crc"),
        errors.KafkaError("User rebalance callback throws an error"),
    ],
)
def test_error_after_which_poll_would_hang_needs_another_consumer(bench, error):
    bench.consumer.steps.append(raising(error))

    with pytest.raises(SourceBroken):
        bench.turn()


def test_retriable_errors_of_poll_are_told_once_and_reading_goes_on(bench):
    bench.consumer.group[0] = 0
    bench.join(0)
    for _ in range(3):
        bench.consumer.steps.append(raising(errors.KafkaConnectionError("away")))
    bench.turn(3)
    bench.consumer.logs[0] = [b"a"]
    bench.turn()

    told = [notice.text for notice in bench.notices(IntakeTrouble)]
    assert len(told) == 2
    assert "away" in told[0]
    assert told[1] == ""
    assert bench.batches() == [[(0, 0, 1)]]


def test_missing_heartbeats_are_told_and_so_is_their_return(bench):
    bench.consumer.group[0] = 0
    bench.join(0)
    bench.source.connection_reason = lambda since: "refused"
    bench.consumer.heartbeat_age = 20
    bench.now += 30
    bench.turn()
    bench.consumer.heartbeat_age = 1
    bench.now += 3
    bench.turn()

    told = [notice.text for notice in bench.notices(IntakeTrouble)]
    assert told == ["no heartbeat to the broker for 20 s: refused", ""]


def test_a_rebalance_that_outlives_a_poll_is_gone_on_with(bench):
    """kafka-python forgets it where the leader rejoins for new partitions."""
    bench.turn()
    bench.consumer.state = MemberState.REBALANCING
    bench.turn()
    bench.consumer.state = MemberState.STABLE
    bench.turn()

    assert bench.consumer.calls == ["poll", "rejoin", "poll", "poll"]


@pytest.mark.parametrize("answers", [True, False])
def test_member_that_is_stuck_needs_another_consumer_if_a_broker_answers(
    bench, answers
):
    bench.source.is_reachable = lambda seconds: answers
    bench.consumer.group[0] = 0
    bench.join(0)
    bench.consumer.heartbeat_age = 70
    bench.now += 70

    if answers:
        with pytest.raises(SourceBroken, match="no heartbeat to the broker for 70 s"):
            bench.turn()
    else:
        bench.turn()
        assert len(bench.notices(IntakeTrouble)) == 1


def test_lag_is_what_the_log_holds_beyond_our_position(bench):
    bench.consumer.group[0] = 0
    bench.join(0)
    bench.wishes.is_paused = True
    bench.consumer.logs[0] = [b"a", b"b"]
    bench.now += 3
    bench.turn()

    assert bench.reader.lag == {0: 2}
