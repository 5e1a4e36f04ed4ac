"""The door's record waits for the pool's, and each is settled exactly once."""

from __future__ import annotations

from dcmirror.core.jobs import Job, JobKind, Origin
from dcmirror.core.net import NetTable


def job(task: str, pnfsid: str = "P1", partition: int = 0) -> Job:
    """A door's record."""
    origin = Origin("billing", partition, 7)
    return Job(
        task, JobKind.NET, "/d/f", "f", "https://x/f", pnfsid=pnfsid, origin=origin
    )


def test_a_door_record_is_joined_by_the_transfer_of_its_session() -> None:
    net = NetTable()
    waiting = job("a")
    net.wait(waiting, "session", due=30.0)

    assert net.transfer_seen("session", "P1") == waiting
    assert net.due(100.0) == []


def test_a_transfer_that_came_first_joins_the_door_record() -> None:
    net = NetTable()

    assert net.transfer_seen("session", "P1") is None
    assert net.is_joined("session", "P1")
    assert not net.is_joined("session", "P2")


def test_a_door_record_without_session_or_pnfsid_is_never_joined() -> None:
    net = NetTable()
    net.transfer_seen("None", "P1")
    net.transfer_seen("session", "None")

    assert not net.is_joined(None, "P1")
    assert not net.is_joined("session", None)


def test_another_pnfsid_or_no_initiator_joins_nothing() -> None:
    net = NetTable()
    net.wait(job("a"), "session", due=30.0)

    assert net.transfer_seen("session", "P2") is None
    assert net.transfer_seen(None, "P1") is None
    assert len(net) == 1


def test_what_nobody_joined_becomes_due() -> None:
    net = NetTable()
    net.wait(job("a"), "s1", due=30.0)
    net.wait(job("b"), "s2", due=31.0)

    assert net.next_due() == 30.0
    assert [j.task for j in net.due(30.0)] == ["a"]
    assert [j.task for j in net.due(31.0)] == ["b"]
    assert net.next_due() is None


def test_beyond_the_bound_the_oldest_is_looked_at_early() -> None:
    net = NetTable(bound=2)
    early = [net.wait(job(task), f"s{task}", due=30.0) for task in "abc"]

    assert early[:2] == [None, None]
    assert early[2] is not None
    assert early[2].task == "a"
    assert net.transfer_seen("sa", "P1") is None


def test_records_of_a_revoked_partition_are_dropped() -> None:
    net = NetTable()
    net.wait(job("a", partition=0), "s1", due=30.0)
    net.wait(job("b", partition=1), "s2", due=30.0)
    net.drop_partition("billing", 0)

    assert [j.task for j in net.due(100.0)] == ["b"]
