"""The worker process: messages, beats, drains and deaths."""

from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dcmirror.core.failures import FailureClass
from dcmirror.core.jobs import Job, ResultKind
from dcmirror.core.messages import (
    CredentialChanged,
    DestinationState,
    Drain,
    ProbeDestination,
    ProbeSource,
    Ready,
    RunJobs,
    SourceState,
)
from dcmirror.processes.worker_attempts import descriptors_for
from dcmirror.testing.fake_dcache import FakeDCache
from helpers import wait_until
from worker_harness import (
    ROOT,
    Talk,
    drain,
    make_job,
    make_settings,
    worker_in_thread,
    worker_process,
)

if TYPE_CHECKING:
    from dcmirror.testing.pki import Pki

MIB = 1024 * 1024


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    path = tmp_path / "mirror"
    path.mkdir()
    return path


@pytest.fixture
def dcache(pki: Pki) -> Iterator[FakeDCache]:
    with FakeDCache(pki) as fake:
        yield fake


@pytest.fixture
def process(dcache: FakeDCache, pki: Pki, mirror: Path) -> Iterator[tuple[Talk, Any]]:
    settings = make_settings(mirror, dcache.door_url)
    with worker_process(settings, proxy=pki.proxy, capath=pki.capath) as pair:
        yield pair


def upload(dcache: FakeDCache, name: str, **options: Any) -> Job:
    options = {"size": 1000, "seed": 1} | options
    pnfsid = dcache.upload(f"{ROOT}/{name}", **options)
    return make_job(dcache.door_url, name, size=options["size"], pnfsid=pnfsid)


def parts(mirror: Path) -> list[str]:
    return [path.name for path in mirror.rglob("*.part")]


def hear(talk: Talk, predicate: Any, deadline: float = 15.0) -> None:
    """Listen until something is so."""

    def heard() -> Any:
        talk.listen(0.05)
        return predicate()

    wait_until(heard, deadline, what="the worker's word")


def test_worker_says_ready_works_and_leaves_with_zero(
    process: tuple[Talk, Any], dcache: FakeDCache, mirror: Path
) -> None:
    talk, child = process
    jobs = [upload(dcache, f"d{n % 3}/f{n}", size=n * 1000, seed=n) for n in range(30)]

    results = talk.run(*jobs)

    (ready,) = talk.others
    assert isinstance(ready, Ready)
    assert child.pid == ready.pid
    assert {ResultKind.MIRRORED} == {result.kind for result in results}
    assert 30 == len([path for path in mirror.rglob("*") if path.is_file()])
    assert 0 == drain(talk, child)


def test_idle_worker_beats_with_the_space_that_is_left(
    process: tuple[Talk, Any], mirror: Path
) -> None:
    talk, _ = process
    hear(talk, lambda: len(talk.reports) >= 3)

    room = os.statvfs(mirror)
    assert room.f_blocks * room.f_frsize == talk.reports[0].total_bytes
    assert talk.reports[0].free_bytes is not None
    assert 0 < talk.reports[0].free_bytes <= room.f_blocks * room.f_frsize


def test_beat_shows_where_each_transfer_hangs(
    process: tuple[Talk, Any], dcache: FakeDCache
) -> None:
    talk, _ = process
    waiting = upload(dcache, "waiting")
    flowing = upload(dcache, "flowing", size=MIB)
    dcache.faults.add("stall", f"{ROOT}/waiting")
    dcache.faults.add("stall-body", f"{ROOT}/flowing", after=200_000)
    talk.send(RunJobs((waiting, flowing)))

    def seen() -> dict[str, tuple[str, int]]:
        return {
            one.task: (one.phase, one.bytes_received)
            for report in talk.reports[-1:]
            for one in report.progress
        }

    hear(talk, lambda: seen().get(flowing.task, ("", 0))[1] >= 180_000)
    assert ("door", 0) == seen()[waiting.task]
    assert "data" == seen()[flowing.task][0]
    assert seen()[flowing.task][1] <= 220_000
    hear(talk, lambda: talk.texts("copy_run"))
    assert "flowing.part" in talk.texts("copy_run")[0]


def test_stream_that_hangs_delays_no_other(
    process: tuple[Talk, Any], dcache: FakeDCache
) -> None:
    talk, _ = process
    hanging = upload(dcache, "hanging")
    dcache.faults.add("stall", f"{ROOT}/hanging")
    talk.send(RunJobs((hanging,)))

    results = talk.run(*[upload(dcache, f"f{n}") for n in range(20)])

    assert {ResultKind.MIRRORED} == {result.kind for result in results}
    assert hanging.task not in talk.results


def test_drain_parks_what_waits_and_at_its_deadline_what_runs(
    process: tuple[Talk, Any], dcache: FakeDCache, mirror: Path
) -> None:
    talk, child = process
    dcache.faults.add("stall-body", after=100)
    jobs = [upload(dcache, f"f{n}") for n in range(5)]
    talk.send(RunJobs(tuple(jobs)))
    wait_until(lambda: len(parts(mirror)) == 2, what="two parts")

    began = time.monotonic()
    assert 0 == drain(talk, child, seconds=0.5)

    assert time.monotonic() - began < 15
    assert {ResultKind.PARKED} == {talk.results[job.task].kind for job in jobs}
    assert [] == parts(mirror)


def test_drain_parks_what_waits_for_a_digest_or_a_stream(
    dcache: FakeDCache, pki: Pki, mirror: Path
) -> None:
    settings = make_settings(mirror, dcache.door_url)
    jobs = [upload(dcache, f"f{n}", digest=False) for n in range(4)]
    with worker_in_thread(
        settings,
        proxy=pki.proxy,
        capath=pki.capath,
        streams=1,
        digest_ladder=(0.0, 30.0),
    ) as (talk, worker):
        talk.send(RunJobs(tuple(jobs)))
        wait_until(
            lambda: len(worker.attempts.sleeping) == 4, what="four waiting copies"
        )
        talk.send(Drain(0.0))
        talk.wait_for(*jobs)

    assert {ResultKind.PARKED} == {one.kind for one in talk.results.values()}
    assert [] == parts(mirror)


def test_drain_lets_running_copies_finish(
    process: tuple[Talk, Any], dcache: FakeDCache, mirror: Path
) -> None:
    talk, child = process
    dcache.faults.add("stall-body", after=100, seconds=1.0)
    job = upload(dcache, "file")
    talk.send(RunJobs((job,)))
    wait_until(lambda: parts(mirror), what="a part")

    assert 0 == drain(talk, child, seconds=30.0)

    assert ResultKind.MIRRORED is talk.results[job.task].kind


def test_job_that_arrives_during_a_drain_is_parked(
    process: tuple[Talk, Any], dcache: FakeDCache, mirror: Path
) -> None:
    talk, child = process
    dcache.faults.add("stall-body", f"{ROOT}/slow", after=100, seconds=1.0)
    slow, late = upload(dcache, "slow"), upload(dcache, "late")
    talk.send(RunJobs((slow,)))
    wait_until(lambda: parts(mirror), what="a part")
    talk.send(Drain(30.0))
    talk.send(RunJobs((late,)))

    assert 0 == drain(talk, child, seconds=30.0)

    assert ResultKind.PARKED is talk.results[late.task].kind
    assert ResultKind.MIRRORED is talk.results[slow.task].kind


def test_term_is_a_drain(
    process: tuple[Talk, Any], dcache: FakeDCache, mirror: Path
) -> None:
    talk, child = process
    dcache.faults.add("stall-body", after=100, seconds=1.0)
    job = upload(dcache, "file")
    talk.send(RunJobs((job,)))
    wait_until(lambda: parts(mirror), what="a part")

    os.kill(child.pid, signal.SIGTERM)
    talk.wait_for(job)
    child.join(10)

    assert (0, ResultKind.MIRRORED) == (child.exitcode, talk.results[job.task].kind)


def test_int_is_ignored(process: tuple[Talk, Any], dcache: FakeDCache) -> None:
    talk, child = process
    os.kill(child.pid, signal.SIGINT)

    assert ResultKind.MIRRORED is talk.run_one(upload(dcache, "file")).kind


def test_worker_whose_supervisor_is_gone_removes_its_parts_and_leaves(
    process: tuple[Talk, Any], dcache: FakeDCache, mirror: Path
) -> None:
    talk, child = process
    dcache.faults.add("stall-body", after=100)
    talk.send(RunJobs((upload(dcache, "file"),)))
    wait_until(lambda: parts(mirror), what="a part")

    talk.to_worker.close()
    child.join(10)

    assert (0, []) == (child.exitcode, parts(mirror))


def test_part_of_a_killed_worker_is_taken_over_by_the_next(
    process: tuple[Talk, Any], dcache: FakeDCache, pki: Pki, mirror: Path
) -> None:
    talk, child = process
    dcache.faults.add("stall-body", after=100)
    job = upload(dcache, "file")
    talk.send(RunJobs((job,)))
    wait_until(lambda: parts(mirror), what="a part")
    child.kill()
    child.join(10)
    dcache.faults.clear()

    settings = make_settings(mirror, dcache.door_url)
    with worker_process(settings, proxy=pki.proxy, capath=pki.capath) as (next_talk, _):
        result = next_talk.run_one(job)

    assert ResultKind.MIRRORED is result.kind
    assert [] == parts(mirror)


def test_destination_is_probed_with_a_write(
    process: tuple[Talk, Any], mirror: Path
) -> None:
    talk, _ = process

    def answers() -> list[DestinationState]:
        return [one for one in talk.others if isinstance(one, DestinationState)]

    talk.send(ProbeDestination())
    hear(talk, lambda: len(answers()) == 1)
    mirror.rmdir()
    talk.send(ProbeDestination())
    hear(talk, lambda: len(answers()) == 2)

    assert [True, False] == [answer.ok for answer in answers()]
    assert answers()[1].reason


def test_source_is_probed_by_asking_for_the_folder(
    process: tuple[Talk, Any], dcache: FakeDCache
) -> None:
    talk, _ = process
    upload(dcache, "file")

    def answers() -> list[SourceState]:
        return [one for one in talk.others if isinstance(one, SourceState)]

    talk.send(ProbeSource())
    hear(talk, lambda: len(answers()) == 1)
    dcache.faults.add("status", methods="PROPFIND", status=403, times=1)
    talk.send(ProbeSource())
    hear(talk, lambda: len(answers()) == 2)

    door = dcache.door_url.removeprefix("https://")
    assert SourceState(True, "", ((door, "door", 1, 1, 0),)) == answers()[0]
    assert ((door, "door", 1, 0, 0),) == answers()[1].hosts
    assert not answers()[1].ok
    assert "HTTP 403" in answers()[1].reason
    # the handle that asked is fit for copies again
    result = talk.run(*[upload(dcache, f"f{n}") for n in range(4)])
    assert {ResultKind.MIRRORED} == {one.kind for one in result}


def test_changed_credential_means_new_connections(
    process: tuple[Talk, Any], dcache: FakeDCache, pki: Pki
) -> None:
    talk, _ = process
    talk.run(upload(dcache, "a"))
    before = {one.connection for one in dcache.requests.of(server="door")}
    pki.make_proxy()
    dcache.requests.clear()

    talk.send(CredentialChanged())
    talk.run(upload(dcache, "b"))

    after = {one.connection for one in dcache.requests.of(server="door")}
    assert not before & after


def test_waiting_for_a_digest_occupies_no_stream(
    dcache: FakeDCache, pki: Pki, mirror: Path
) -> None:
    settings = make_settings(mirror, dcache.door_url)
    slow = [upload(dcache, f"slow{n}", digest=False) for n in range(6)]
    with worker_in_thread(
        settings,
        proxy=pki.proxy,
        capath=pki.capath,
        streams=1,
        digest_ladder=(0.0, 3.0),
    ) as (talk, _):
        began = time.monotonic()
        results = talk.run(*slow, upload(dcache, "quick"))
        elapsed = time.monotonic() - began

    assert {ResultKind.MIRRORED} == {result.kind for result in results}
    assert results[-1].ended_at < min(result.ended_at for result in results[:-1])
    assert elapsed < 12  # one after the other they take 18 s


def test_name_that_changes_under_a_copy_is_looked_at_again(
    dcache: FakeDCache, pki: Pki, mirror: Path
) -> None:
    settings = make_settings(mirror, dcache.door_url)
    job = upload(dcache, "file")
    dcache.faults.add("stall-body", after=100, seconds=1.0, times=1)
    with worker_in_thread(settings, proxy=pki.proxy, capath=pki.capath) as (talk, _):
        talk.send(RunJobs((job,)))
        wait_until(lambda: parts(mirror), what="a part")
        (mirror / "file").write_bytes(b"somebody else's")

        assert ResultKind.AGAIN is talk.wait_for(job)[0].kind
        assert ResultKind.MIRRORED is talk.run_one(job).kind
    assert [] == parts(mirror)


def test_failed_sync_is_the_destinations_and_leaves_nothing(
    dcache: FakeDCache, pki: Pki, mirror: Path
) -> None:
    def broken(fd: int) -> None:
        raise OSError(5, "Input/output error")

    settings = make_settings(mirror, dcache.door_url, sync="file")
    with worker_in_thread(settings, proxy=pki.proxy, capath=pki.capath) as (
        talk,
        worker,
    ):
        worker.publisher._calls = replace(worker.publisher._calls, fsync=broken)
        failure = talk.run_one(upload(dcache, "file")).failure

    assert failure is not None
    assert FailureClass.DESTINATION is failure.failure_class
    assert [] == [path for path in mirror.rglob("*") if path.is_file()]


def test_worker_of_ten_streams_stays_small(
    dcache: FakeDCache, pki: Pki, mirror: Path
) -> None:
    settings = make_settings(mirror, dcache.door_url)
    with worker_process(settings, proxy=pki.proxy, capath=pki.capath, streams=10) as (
        talk,
        child,
    ):
        talk.run(*[upload(dcache, f"f{n}", size=3 * MIB, seed=n) for n in range(20)])
        rollup = Path(f"/proc/{child.pid}/status").read_text()

    kilobytes = int(rollup.split("VmRSS:")[1].split()[0])
    # under 45 MiB by itself; a process spawned from a test imports pytest as well
    assert kilobytes < 60 * 1024


def test_worker_imports_nothing_that_it_does_not_need(
    process: tuple[Talk, Any],
) -> None:
    _, child = process
    maps = Path(f"/proc/{child.pid}/maps").read_text()

    for name in ("cryptography", "_rust.abi3", "kafka", "_sqlite3"):
        assert name not in maps


def test_worker_may_open_all_that_the_host_allows(
    dcache: FakeDCache, pki: Pki, mirror: Path
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, hard - 1), hard))
    try:
        settings = make_settings(mirror, dcache.door_url)
        with worker_process(settings, proxy=pki.proxy, capath=pki.capath) as pair:
            limits = resource.prlimit(pair[1].pid, resource.RLIMIT_NOFILE)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    assert (hard, hard) == limits


def test_worker_needs_no_more_descriptors_than_are_reckoned_for_its_streams(
    dcache: FakeDCache, pki: Pki, mirror: Path
) -> None:
    streams = 30
    dcache.faults.add("trickle", count=20_000)
    jobs = [upload(dcache, f"d{n}/f", size=300_000, seed=n) for n in range(streams)]
    settings = make_settings(mirror, dcache.door_url)
    with worker_process(
        settings, proxy=pki.proxy, capath=pki.capath, streams=streams
    ) as (talk, process):
        talk.send(RunJobs(tuple(jobs)))
        most = 0

        def are_all_under_way() -> bool:
            nonlocal most
            talk.listen(0.02)
            most = max(most, len(os.listdir(f"/proc/{process.pid}/fd")))
            return most > 3 * streams

        wait_until(are_all_under_way, 20, what="three descriptors for each stream")

    assert most <= descriptors_for(streams)


def test_files_outlive_a_limit_of_descriptors_that_is_too_low(
    dcache: FakeDCache,
    pki: Pki,
    mirror: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    dcache.faults.add("trickle", count=50_000)
    jobs = [upload(dcache, f"f{n}", size=100_000, seed=n) for n in range(40)]
    settings = make_settings(mirror, dcache.door_url)
    with worker_process(settings, proxy=pki.proxy, capath=pki.capath, streams=40) as (
        talk,
        process,
    ):
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (80, 80))
        results = talk.run(*jobs, deadline=60)
        is_alive = process.is_alive()
        again = talk.run_one(replace(jobs[0], task="again"))

    kinds = {result.kind for result in results}
    assert {ResultKind.MIRRORED, ResultKind.BUSY} == kinds, results
    assert is_alive
    assert again.kind in (ResultKind.MIRRORED, ResultKind.ADOPTED)
    assert "Traceback" not in capfd.readouterr().err
