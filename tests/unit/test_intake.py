"""The intake, turn by turn, with a scripted consumer in place of KafkaConsumer."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from kafka import errors
from kafka.cluster import ClusterMetadata
from kafka.coordinator.base import BaseCoordinator
from kafka.structs import (
    ConsumerGroupMetadata,
    MemberState,
    OffsetAndMetadata,
    TopicPartition,
)

from dcmirror.adapters.kafka_errors import (
    SourceBroken,
    SourceFatal,
    SourceUnreachable,
)
from dcmirror.adapters.kafka_source import KafkaSource
from dcmirror.core.epochs import Epochs
from dcmirror.core.records import (
    Acknowledged,
    Assigned,
    Closed,
    Connected,
    Fatal,
    IntakeTrouble,
    OffsetsLost,
    Revoked,
)
from dcmirror.processes.intake import Intake
from dcmirror.processes.intake_outlet import Outlet, Troubles, Wishes
from dcmirror.processes.intake_reader import Reader, Rebalancing
from dcmirror.processes.intake_timing import Timing
from dcmirror.settings import DCache, Kafka, Local, Settings

TOPIC = "billing"
AT_ONCE = Timing(hand_over=0, retry=0, reconnect_first=0, reconnect_most=0)


def tp(partition: int) -> TopicPartition:
    return TopicPartition(TOPIC, partition)


def drive(coroutine: Any) -> None:
    """Run a coroutine that only awaits what is done already."""
    with pytest.raises(StopIteration):
        coroutine.send(None)


class Answer:
    """The future of a commit that is answered at once."""

    def __init__(self, error: Exception | None) -> None:
        self._error = error

    def __await__(self) -> Iterator[None]:
        if self._error is not None:
            raise self._error
        return iter(())


@dataclass
class FakeConsumer:
    """A broker's log and a group, as one member sees them."""

    logs: dict[int, list[bytes]] = field(default_factory=lambda: defaultdict(list))
    firsts: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    group: dict[int, int] = field(default_factory=dict)
    steps: list[Callable[[], None]] = field(default_factory=list)
    commits: list[dict[int, int]] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    commit_error: Exception | None = None
    heartbeat_age: float = 0.0
    config: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.at: dict[int, int] = {}
        self.stopped: set[int] = set()
        self._cluster = SimpleNamespace(cluster_id="cluster-1")
        self.state = MemberState.STABLE
        self._coordinator = SimpleNamespace(
            request_rejoin=lambda: self.calls.append("rejoin")
        )

    def make(self, **config: Any) -> FakeConsumer:
        self.config = config
        return self

    # the group

    def join(self, *partitions: int) -> None:
        """A cooperative rebalance: only what really moves is told."""
        added = set(partitions) - set(self.at)
        revoked = set(self.at) - set(partitions)
        for number in revoked:
            del self.at[number]
            self.stopped.discard(number)
        for number in added:
            self.at[number] = self.group.get(number, 0)
        if revoked:
            drive(self.listener.on_partitions_revoked({tp(n) for n in revoked}))
        if added:
            drive(self.listener.on_partitions_assigned({tp(n) for n in added}))

    def lose(self) -> None:
        lost = {tp(number) for number in self.at}
        drive(self.listener.on_partitions_lost(lost))
        self.at.clear()
        self.stopped.clear()

    # KafkaConsumer's methods

    def subscribe(self, topics: list[str], listener: Any) -> None:
        assert topics == [TOPIC]
        self.listener = listener

    def group_metadata(self) -> Any:
        return ConsumerGroupMetadata(group_id="group", state=self.state)

    def poll(self, timeout_ms: float) -> dict[TopicPartition, list[Any]]:
        self.calls.append("poll")
        if self.steps:
            self.steps.pop(0)()
        found = {}
        for number in set(self.at) - self.stopped:
            records = self._records(number)
            if records:
                found[tp(number)] = records
                self.at[number] = records[-1].offset + 1
        return found

    def _records(self, number: int) -> list[Any]:
        at, first = self.at[number], self.firsts[number]
        if not first <= at <= first + len(self.logs[number]):
            raise errors.OffsetOutOfRangeError({tp(number): at})
        return [
            SimpleNamespace(offset=at + index, value=value)
            for index, value in enumerate(self.logs[number][at - first :])
        ]

    def assignment(self) -> set[TopicPartition]:
        return {tp(number) for number in self.at}

    def paused(self) -> set[TopicPartition]:
        return {tp(number) for number in self.stopped}

    def pause(self, *partitions: TopicPartition) -> None:
        self.stopped |= {p.partition for p in partitions}

    def resume(self, *partitions: TopicPartition) -> None:
        self.stopped -= {p.partition for p in partitions}

    def committed(self, partition: TopicPartition, timeout_ms: float) -> int | None:
        return self.group.get(partition.partition)

    def beginning_offsets(self, partitions: list[Any], timeout_ms: float) -> Any:
        return {p: self.firsts[p.partition] for p in partitions}

    def end_offsets(self, partitions: list[Any], timeout_ms: float) -> Any:
        return {p: self.highwater(p) for p in partitions}

    def highwater(self, partition: TopicPartition) -> int:
        return self.firsts[partition.partition] + len(self.logs[partition.partition])

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self.at[partition.partition] = offset

    def commit(self, offsets: dict[Any, OffsetAndMetadata], timeout_ms: float) -> None:
        self.calls.append("commit")
        wanted = {p.partition: o.offset for p, o in offsets.items()}
        self.commits.append(wanted)
        if self.commit_error is not None:
            raise self.commit_error
        self.group.update(wanted)

    def commit_async(self, offsets: dict[Any, OffsetAndMetadata]) -> Answer:
        try:
            self.commit(offsets, 0)
        except errors.KafkaError as exc:
            return Answer(exc)
        return Answer(None)

    def metrics(self, raw: bool) -> dict[Any, Any]:
        name = SimpleNamespace(name="last-heartbeat-seconds-ago")
        return {_Hashable(name.name): SimpleNamespace(value=lambda: self.heartbeat_age)}

    def close(self, autocommit: bool, timeout_ms: float) -> None:
        self.calls.append("close")
        if self.at:
            drive(self.listener.on_partitions_revoked(self.assignment()))
        self.at.clear()


@dataclass(frozen=True)
class _Hashable:
    name: str


class Bench:
    """One reader, with everything around it in reach."""

    def __init__(self, kafka: Kafka, timing: Timing = AT_ONCE) -> None:
        self.now = 1000.0
        self.consumer = FakeConsumer()
        self.fd = os.eventfd(0, os.EFD_NONBLOCK)
        self.outlet = Outlet(self.fd)
        self.wishes = Wishes()
        self.epochs = Epochs(1)
        self.rebalancing = Rebalancing(self.epochs, self.outlet, self.wishes)
        self.troubles = Troubles(self.outlet.notify, timing.trouble)
        self.source = KafkaSource(kafka, "id", self.rebalancing, self.consumer.make)
        self.reader = Reader(
            self.source,
            kafka.start,
            self.epochs,
            self.outlet,
            self.wishes,
            self.troubles,
            timing,
            lambda: self.now,
            lambda: None,
        )

    def turn(self, times: int = 1) -> Bench:
        for _ in range(times):
            self.reader.turn()
        return self

    def join(self, *partitions: int) -> Bench:
        self.consumer.steps.append(lambda: self.consumer.join(*partitions))
        return self.turn()

    def notices(self, kind: type | None = None) -> list[Any]:
        return [n for n in self.outlet.notices if kind is None or isinstance(n, kind)]

    def batches(self) -> list[list[tuple[int, int, int]]]:
        """(partition, offset, epoch) of each record, batch by batch."""
        found = []
        while (batch := self.outlet.take()[1]) is not None:
            found.append([(r.partition, r.offset, r.epoch) for r in batch.records])
        return found

    def close(self) -> None:
        self.outlet.close()
        os.close(self.fd)


KAFKA = Kafka(topic=TOPIC, servers=("127.0.0.1:1",), consumergroup="group")


@pytest.fixture
def make_bench() -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def make(**options: Any) -> Bench:
        timing = options.pop("timing", AT_ONCE)
        made.append(Bench(replace(KAFKA, **options), timing))
        return made[-1]

    yield make
    for bench in made:
        bench.close()


@pytest.fixture
def bench(make_bench: Callable[..., Bench]) -> Bench:
    return make_bench()


# records and epochs


def test_epoch_and_start_are_told_before_the_first_batch_of_the_epoch(bench):
    bench.consumer.group[0] = 1
    bench.consumer.logs[0] = [b"a", b"b", b"c"]

    bench.join(0).turn()

    notices, batch = bench.outlet.take()
    assert notices == [Connected("cluster-1"), Assigned(0, 1, 1, 1)]
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
    assert bench.notices() == []


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

    assert bench.outlet.take()[1].records[0].value is None


# the full queue


def fill(bench: Bench) -> None:
    bench.consumer.group[0] = 0
    bench.join(0)
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


# commits


def settle(bench: Bench, entries: dict[tuple[int, int], int]) -> None:
    bench.wishes.committables = entries
    bench.wishes.is_commit_asked = True
    bench.now += 2
    bench.turn()


def test_commit_sends_the_entries_of_the_current_epochs_only(bench):
    bench.consumer.group.update({0: 0, 1: 0})
    bench.join(0, 1)
    epochs = {n.partition: n.epoch for n in bench.notices(Assigned)}

    settle(bench, {(0, epochs[0]): 3, (1, 99): 8, (2, 1): 5})

    assert bench.consumer.commits == [{0: 3}]
    assert bench.notices(Acknowledged) == [Acknowledged({0: 3})]


def test_failed_commit_is_not_sent_again_with_old_values(bench):
    bench.consumer.group[0] = 0
    bench.join(0)
    bench.consumer.commit_error = errors.KafkaConnectionError("gone")
    settle(bench, {(0, 1): 3})
    assert bench.notices(Acknowledged) == []

    bench.consumer.commit_error = None
    settle(bench, {(0, 1): 7})

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
        settle(bench, {(0, 1): 3})

    assert len(bench.consumer.commits) == 3
    assert bench.notices(IntakeTrouble) == []


def test_an_offset_is_never_lowered(bench):
    bench.consumer.group[0] = 5
    bench.consumer.firsts[0] = 5
    bench.join(0)

    settle(bench, {(0, 1): 4})

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
    assert bench.notices()[-2:] == [Acknowledged({1: 6}), Revoked((1,), lost=False)]


def test_failed_commit_on_revoke_does_not_stop_the_rebalance(bench):
    bench.consumer.group[0] = 0
    bench.join(0)
    bench.wishes.committables = {(0, 1): 4}
    bench.consumer.commit_error = errors.CommitFailedError("too late")

    bench.join()

    assert bench.notices(Acknowledged) == []
    assert bench.notices(Revoked) == [Revoked((0,), lost=False)]


def test_nothing_is_committed_after_partitions_were_lost(bench):
    bench.consumer.group[0] = 0
    bench.join(0)
    bench.wishes.committables = {(0, 1): 4}
    bench.consumer.steps.append(bench.consumer.lose)
    bench.turn()

    settle(bench, {(0, 1): 4})
    bench.now += 31
    bench.turn()

    assert bench.consumer.commits == []
    assert bench.notices(Revoked) == [Revoked((0,), lost=True)]


def test_entries_of_the_lost_epoch_are_not_committed_in_the_next_one(bench):
    bench.consumer.group[0] = 0
    bench.join(0)
    bench.consumer.steps.append(bench.consumer.lose)
    bench.turn().join(0)

    settle(bench, {(0, 1): 4})

    assert bench.consumer.commits == []


# where reading begins


@pytest.mark.parametrize(("start", "offset"), [("earliest", 2), ("latest", 4)])
def test_first_start_is_found_by_the_setting_and_committed_at_once(
    make_bench, start, offset
):
    bench = make_bench(start=start)
    bench.consumer.firsts[0] = 2
    bench.consumer.logs[0] = [b"a", b"b"]

    bench.join(0)

    assert bench.notices(Assigned) == [Assigned(0, 1, None, offset)]
    assert bench.consumer.commits == [{0: offset}]


def test_partition_without_an_offset_waits_while_the_group_rebalances(bench):
    bench.consumer.commit_error = errors.RebalanceInProgressError()
    bench.join(0)
    assert bench.notices(Assigned) == []

    bench.consumer.commit_error = None
    bench.turn()

    assert bench.notices(Assigned) == [Assigned(0, 1, None, 0)]


def test_no_reset_policy_is_given_to_the_consumer_and_no_deserializer(bench):
    config = bench.consumer.config

    assert config["auto_offset_reset"] == "none"
    assert config["enable_auto_commit"] is False
    assert not {name for name in config if "deserializer" in name}
    assert config["partition_assignment_strategy"][0].__name__ == (
        "CooperativeStickyAssignor"
    )


def test_missing_position_of_a_new_partition_is_no_error(bench):
    def no_offset() -> None:
        bench.consumer.join(0)
        raise errors.NoOffsetForPartitionError(tp(0))

    bench.consumer.steps.append(no_offset)
    bench.turn()

    assert bench.notices(Assigned) == [Assigned(0, 1, None, 0)]


def test_lost_offsets_are_told_and_reading_goes_on_at_the_oldest(bench):
    bench.consumer.group[0] = 2
    bench.consumer.logs[0] = [b"a", b"b"]
    bench.join(0)
    bench.consumer.firsts[0] = 10

    bench.turn(2)

    assert bench.notices(OffsetsLost) == [OffsetsLost(0, 2, 10)]
    assert bench.batches() == [[(0, 10, 1), (0, 11, 1)]]


def test_a_log_that_begins_anew_begins_a_new_epoch_that_honours_nothing(bench):
    bench.consumer.group[0] = 50
    bench.consumer.logs[0] = [b"a"]

    bench.join(0).turn(2)

    assert bench.notices()[1:] == [
        Assigned(0, 1, 50, 50),
        OffsetsLost(0, 50, 0),
        Assigned(0, 2, None, 0),
    ]
    assert bench.batches() == [[(0, 0, 2)]]
    settle(bench, {(0, 1): 50, (0, 2): 1})
    assert bench.consumer.commits == [{0: 1}]


def test_truncated_log_is_read_again_from_where_it_differs(bench):
    bench.consumer.group[0] = 3
    bench.consumer.logs[0] = [b"a", b"b", b"c"]
    bench.join(0)

    def truncated() -> None:
        raise errors.LogTruncationError({tp(0): OffsetAndMetadata(1, "", 2)})

    bench.consumer.steps.append(truncated)
    bench.turn(2)

    assert bench.notices(OffsetsLost) == [OffsetsLost(0, 3, 1)]
    assert bench.batches() == [[(0, 1, 2), (0, 2, 2)]]


# errors


def raising(error: Exception) -> Callable[[], None]:
    def step() -> None:
        raise error

    return step


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


# the end


def test_end_commits_what_is_settled_and_leaves_the_group(bench):
    bench.consumer.group[0] = 0
    bench.join(0)
    bench.wishes.committables = {(0, 1): 9}

    assert bench.reader.finish()
    assert bench.consumer.commits == [{0: 9}]
    assert bench.consumer.calls[-1] == "close"
    assert bench.notices()[-2:] == [Acknowledged({0: 9}), Revoked((0,), lost=False)]


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


# the thread


@pytest.fixture
def run_intake() -> Iterator[Callable[..., Intake]]:
    fds: list[int] = []

    def run(connector: Any, steps: int = 0) -> Intake:
        fds.append(os.eventfd(0, os.EFD_NONBLOCK))
        settings = Settings(
            kafka=KAFKA,
            dcache=DCache(url="https://door.example.org/", pool="/", folder="/x"),
            local=Local(downloadfolder=Path("/nowhere")),
        )
        intake = Intake(
            settings, "id", fds[-1], timing=AT_ONCE, connector=connector, first_epoch=5
        )
        intake_box.append(intake)
        intake.run()
        return intake

    intake_box: list[Intake] = []
    run.box = intake_box  # type: ignore[attr-defined]
    yield run
    for fd in fds:
        os.close(fd)


def last(intake: Intake) -> Any:
    return intake.take()[0][-1]


def test_twenty_failed_constructions_are_fatal(run_intake):
    tried = []

    def connector(events: Any, beat: Any) -> KafkaSource:
        tried.append(1)

        def fails(**config: Any) -> Any:
            raise errors.KafkaTimeoutError("Unable to bootstrap")

        return KafkaSource(KAFKA, "id", events, fails)

    intake = run_intake(connector)

    assert len(tried) == 20
    assert "gave up after 20 Kafka consumers" in last(intake).text


def test_no_construction_is_counted_while_no_broker_answers(run_intake):
    tried = []

    def connector(events: Any, beat: Any) -> KafkaSource:
        tried.append(1)
        if len(tried) > 100:
            run_intake.box[0].stop(final=True)
        raise SourceUnreachable("no broker answers: h:1: Connection refused")

    intake = run_intake(connector)

    notices, _ = intake.take()
    assert notices == [
        IntakeTrouble("no broker answers: h:1: Connection refused"),
        Closed(committed=True),
    ]


def test_another_consumer_is_made_after_one_that_broke(run_intake):
    consumers: list[FakeConsumer] = []

    def connector(events: Any, beat: Any) -> KafkaSource:
        consumer = FakeConsumer(group={0: 0})
        consumer.steps.append(lambda: consumer.join(0))
        consumers.append(consumer)
        if len(consumers) == 1:
            consumer.steps.append(raising(ValueError("bad varint")))
        else:
            consumer.steps.append(lambda: run_intake.box[0].stop(final=True))
        return KafkaSource(KAFKA, "id", events, consumer.make)

    intake = run_intake(connector)

    notices, _ = intake.take()
    assert consumers[0].calls[-1] == "close"
    assert [n for n in notices if not isinstance(n, Connected)] == [
        Assigned(0, 5, 0, 0),
        IntakeTrouble("the Kafka consumer failed: ValueError: bad varint"),
        Revoked((0,), lost=False),
        IntakeTrouble(""),
        Assigned(0, 6, 0, 0),
        Revoked((0,), lost=False),
        Closed(committed=True),
    ]


def test_consumers_that_break_again_and_again_are_fatal(run_intake):
    consumers: list[FakeConsumer] = []

    def connector(events: Any, beat: Any) -> KafkaSource:
        consumer = FakeConsumer()
        consumer.steps.append(raising(errors.CorruptRecordError("crc")))
        consumers.append(consumer)
        return KafkaSource(KAFKA, "id", events, consumer.make)

    intake = run_intake(connector)

    assert len(consumers) == 20
    assert isinstance(last(intake), Fatal)


def test_fatal_is_told_before_the_consumer_is_closed(run_intake):
    consumer = FakeConsumer(group={0: 0})
    consumer.steps += [
        lambda: consumer.join(0),
        raising(errors.FencedInstanceIdError()),
    ]

    intake = run_intake(
        lambda events, beat: KafkaSource(KAFKA, "id", events, consumer.make)
    )

    kinds = [type(notice) for notice in intake.take()[0]]
    assert kinds == [Connected, Assigned, Fatal, Revoked]


def test_trouble_is_told_when_it_begins_each_minute_and_when_all_is_well():
    told: list[str] = []
    troubles = Troubles(lambda notice: told.append(notice.text), 60)
    troubles.put("poll", "", 0)
    troubles.put("poll", "away", 1)
    troubles.put("commit", "cannot commit", 2)
    troubles.put("poll", "still away", 30)
    troubles.put("poll", "still away", 62)
    troubles.put("poll", "", 63)
    assert told == ["away", "still away"]

    troubles.put("commit", "", 64)
    troubles.put("poll", "away again", 65)

    assert told == ["away", "still away", "", "away again"]


def test_library_has_the_private_names_that_we_use():
    assert callable(BaseCoordinator.request_rejoin)
    assert ClusterMetadata().cluster_id is None


def test_intake_wakes_the_loop_for_notices_and_batches(bench):
    bench.consumer.group[0] = 0
    bench.join(0)
    assert os.eventfd_read(bench.fd) == 2
    bench.consumer.logs[0] = [b"a"]

    bench.turn()

    assert os.eventfd_read(bench.fd) == 1
