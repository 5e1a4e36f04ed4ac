"""The intake, turn by turn: where a partition begins, and where it goes on."""

from __future__ import annotations

import pytest
from kafka import errors
from kafka.structs import OffsetAndMetadata

from dcmirror.core.records import Assigned, OffsetsLost
from intake_bench import tp


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

    assert bench.notices(OffsetsLost) == [OffsetsLost(0, 1, 2, 10)]
    assert bench.batches() == [[(0, 10, 1), (0, 11, 1)]]


def test_a_log_that_begins_anew_begins_a_new_epoch_that_honours_nothing(bench):
    bench.consumer.group[0] = 50
    bench.consumer.logs[0] = [b"a"]

    bench.join(0).turn(2)

    assert bench.notices()[1:] == [
        Assigned(0, 1, 50, 50),
        OffsetsLost(0, 1, 50, 0),
        Assigned(0, 2, None, 0),
    ]
    assert bench.batches() == [[(0, 0, 2)]]
    bench.settle({(0, 1): 50, (0, 2): 1})
    assert bench.consumer.commits == [{0: 1}]


def test_truncated_log_is_read_again_from_where_it_differs(bench):
    bench.consumer.group[0] = 3
    bench.consumer.logs[0] = [b"a", b"b", b"c"]
    bench.join(0)

    def truncated() -> None:
        raise errors.LogTruncationError({tp(0): OffsetAndMetadata(1, "", 2)})

    bench.consumer.steps.append(truncated)
    bench.turn(2)

    assert bench.notices(OffsetsLost) == [OffsetsLost(0, 1, 3, 1)]
    assert bench.batches() == [[(0, 1, 2), (0, 2, 2)]]
