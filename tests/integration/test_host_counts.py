"""What is asked of doors and pools is counted as they themselves see it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dcmirror.core.jobs import AttemptResult, Job, ResultKind
from dcmirror.core.messages import Drain, RunJobs
from dcmirror.testing.fake_dcache import FakeDCache
from helpers import wait_until
from worker_harness import ROOT, Talk, make_job, make_settings, worker_in_thread

if TYPE_CHECKING:
    from dcmirror.testing.pki import Pki

Counts = dict[str, tuple[int, int]]


@pytest.fixture
def dcache(pki: Pki) -> Iterator[FakeDCache]:
    with FakeDCache(pki, pools=2) as fake:
        yield fake


@pytest.fixture
def talk(dcache: FakeDCache, pki: Pki, tmp_path: Path) -> Iterator[Talk]:
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    settings = make_settings(mirror, dcache.door_url, first_byte_seconds=2.0)
    with worker_in_thread(settings, proxy=pki.proxy, capath=pki.capath) as (talk, _):
        yield talk


def upload(dcache: FakeDCache, name: str, size: int = 1000) -> Job:
    pnfsid = dcache.upload(f"{ROOT}/{name}", size=size, seed=len(name))
    return make_job(dcache.door_url, name, size=size, pnfsid=pnfsid)


def ours(results: list[AttemptResult]) -> Counts:
    """Requests and connections by role, as the results have them."""
    requests: Counter[str] = Counter()
    connections: Counter[str] = Counter()
    for result in results:
        assert result.requests == sum(use[2] for use in result.hosts)
        assert result.connections == sum(use[3] for use in result.hosts)
        for _, role, count, opened, _ in result.hosts:
            requests[role] += count
            connections[role] += opened
    return {role: (requests[role], connections[role]) for role in requests}


def theirs(dcache: FakeDCache) -> Counts:
    """The same, as the door and the pools have it."""
    seen = dcache.requests.all()
    found = {}
    for role in ("door", "pool"):
        mine = [one for one in seen if one.server.startswith(role)]
        if mine:
            connections = {(one.server, one.connection) for one in mine}
            found[role] = (len(mine), len(connections))
    return found


Spoil = Callable[[FakeDCache], object]
FAULTS: dict[str, Spoil] = {
    "none": lambda fake: None,
    "status 503": lambda fake: fake.faults.add("status", status=503, per_path=1),
    "status 404": lambda fake: fake.faults.add("status", status=404),
    "short body": lambda fake: fake.faults.add("short-body", count=10, per_path=1),
    "reset body": lambda fake: fake.faults.add("reset-body", after=500, per_path=1),
    "reset": lambda fake: fake.faults.add("reset", per_path=1),
    "flipped byte": lambda fake: fake.faults.add("flip", after=5, per_path=1),
    "late digest": lambda fake: fake.faults.add("digest-missing", per_path=2),
    "back to the door": lambda fake: fake.faults.add("bounce", per_path=1),
    "redirect loop": lambda fake: fake.faults.add("redirect-loop", per_path=3),
    "no word": lambda fake: fake.faults.add("hang-up", times=2),
    "silence": lambda fake: fake.faults.add("stall", seconds=5.0, times=1),
}


@pytest.mark.parametrize("fault", list(FAULTS))
def test_requests_and_connections_are_those_that_door_and_pools_saw(
    talk: Talk, dcache: FakeDCache, fault: str
) -> None:
    FAULTS[fault](dcache)
    jobs = [upload(dcache, f"f{number}") for number in range(8)]

    results = talk.run(*jobs)

    assert {len(each.hosts) for each in results} <= {1, 2, 3}
    assert theirs(dcache) == ours(results)


def test_bytes_are_counted_where_they_came_from(talk: Talk, dcache: FakeDCache) -> None:
    results = talk.run(upload(dcache, "a", size=3 << 20), upload(dcache, "b", size=7))

    door = dcache.door_url.removeprefix("https://")
    got = {(use[1], use[4]) for result in results for use in result.hosts}
    assert {("door", 0), ("pool", 3 << 20), ("pool", 7)} == got
    assert {door} == {
        use[0] for result in results for use in result.hosts if use[1] == "door"
    }


def test_copy_that_is_there_already_costs_the_source_nothing(
    talk: Talk, dcache: FakeDCache
) -> None:
    job = upload(dcache, "a")
    talk.run(job)

    (again,) = talk.run(job)

    assert (ResultKind.ADOPTED, (), 0) == (again.kind, again.hosts, again.requests)


def test_request_that_is_given_up_at_the_end_of_a_drain_is_counted(
    talk: Talk, dcache: FakeDCache
) -> None:
    dcache.faults.add("stall-body", after=100_000, seconds=30.0)
    job = upload(dcache, "a", size=1 << 20)
    talk.send(RunJobs((job,)))
    wait_until(lambda: len(dcache.requests.of(server="pool")) == 1)
    talk.send(Drain(0.2))

    (result,) = talk.wait_for(job)

    assert ResultKind.PARKED is result.kind
    assert {"door": (1, 1), "pool": (1, 1)} == ours([result]) == theirs(dcache)


def test_pools_that_nobody_reaches_get_connections_but_no_requests(
    talk: Talk, dcache: FakeDCache
) -> None:
    dcache.faults.add("pool-refused")

    (result,) = talk.run(upload(dcache, "a"))

    assert ResultKind.FAILED is result.kind
    assert [("door", 1), ("pool", 0)] == [(use[1], use[2]) for use in result.hosts]


@pytest.mark.parametrize("fault", ["reset", "hang-up"])
def test_request_that_went_out_again_on_a_new_connection_counts_twice(
    talk: Talk, dcache: FakeDCache, fault: str
) -> None:
    first = talk.run(upload(dcache, "a"))
    dcache.faults.add(fault, times=1)

    again = talk.run(upload(dcache, "b" * 200))

    assert {"door": (2, 1), "pool": (1, 1)} == ours(again)
    assert theirs(dcache) == ours(first + again)
