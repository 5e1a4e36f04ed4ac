"""``dcmirror reconcile`` is killed and goes on, gives way to a watch, runs in it."""

from __future__ import annotations

import json
import signal
import sqlite3
import zlib
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING

from deployment import Deployment, Running

from dcmirror.testing.fake_dcache import FakeDCache
from helpers import wait_until

if TYPE_CHECKING:
    from servers.kafka import Kafka

RAW = "/pnfs/example.org/data/exp/raw"
OLD = ("--grace", "0s")


def hanging_dry_run(deployment: Deployment, source: FakeDCache) -> Running:
    """It has asked the door, which does not answer."""
    source.upload(f"{RAW}/a", size=1, seed=1)
    source.faults.add("stall", "*", methods=["PROPFIND"], seconds=60.0)
    running = Running(deployment, "reconcile", "--dry-run", *OLD)
    wait_until(lambda: len(source.requests.of("PROPFIND")) > 0, 30, what="a request")
    return running


def count(deployment: Deployment) -> int:
    """Copies in the catalogue so far."""
    return len(deployment.copies())


def test_a_killed_run_goes_on_where_it_was_and_nothing_is_copied_twice(
    deployment: Deployment, source: FakeDCache
) -> None:
    for number in range(20):
        source.populate(f"{RAW}/d{number:02}", 20, seed=100 * number)
    source.faults.add("stall", "*", methods=["GET"], seconds=0.02)
    running = Running(deployment, "reconcile", *OLD)
    wait_until(lambda: count(deployment) > 100, 60, what="copies")
    running.kill()
    at_kill = count(deployment)
    listed = len(source.requests.of("PROPFIND"))
    source.faults.clear()
    done = deployment.run("reconcile", *OLD, "--json")

    assert at_kill < 400
    assert done.returncode == 0, done.stderr
    assert "goes on where an earlier run was interrupted" in done.stderr
    assert len(source.requests.of("PROPFIND")) - listed < 21
    assert deployment.parts() == []
    for path, version in source.files.items():
        data = (deployment.mirror / path.removeprefix(f"{RAW}/")).read_bytes()
        assert (len(data), zlib.adler32(data)) == (version.size, version.adler32)
    fetched = len(source.requests.of("GET", server="pool"))
    assert fetched <= 400 + 2 * 6  # besides what was under way when it was killed

    equal = deployment.run("reconcile", "--dry-run", *OLD, "--json")
    assert equal.returncode == 0, equal.stdout[-2000:]
    assert json.loads(equal.stdout)["files"] == 400


def test_term_ends_it_in_time_and_what_is_under_way_is_finished(
    deployment: Deployment, source: FakeDCache
) -> None:
    source.populate(f"{RAW}/d", 300)
    source.faults.add("stall", "*", methods=["GET"], seconds=0.05)
    running = Running(deployment, "reconcile", *OLD)
    wait_until(lambda: count(deployment) > 10, 60, what="copies")

    assert running.stop(30) == 128 + signal.SIGTERM
    assert "stopped by SIGTERM; the next run goes on from here" in running.log
    assert deployment.parts() == []
    assert 10 < len(deployment.files()) < 300
    assert len(deployment.files()) == count(deployment)
    events = [e["event"]["action"] for e in deployment.journal()]
    assert events.count("reconcile-started") == 1
    assert events.count("reconcile-finished") == 1


def test_int_ends_a_dry_run_at_once_while_the_door_hangs(
    deployment: Deployment, source: FakeDCache
) -> None:
    running = hanging_dry_run(deployment, source)
    running.signal(signal.SIGINT)

    assert running.process.wait(10) == 128 + signal.SIGINT
    assert "stopped by SIGINT" in running.log


def test_two_at_a_time_are_refused_and_the_holder_is_named(
    deployment: Deployment, source: FakeDCache
) -> None:
    running = hanging_dry_run(deployment, source)
    second = deployment.run("reconcile", *OLD)
    running.kill()

    assert second.returncode == 10
    assert f"pid {running.pid}" in second.stderr


def test_files_that_vanish_after_they_were_listed_are_no_failures(
    deployment: Deployment, source: FakeDCache
) -> None:
    for name in ("a", "b"):
        source.upload(f"{RAW}/{name}", size=1000, seed=1)
    source.faults.add("status", f"{RAW}/a", status=404, methods=["GET", "HEAD"])
    done = deployment.run("reconcile", *OLD, "--json")

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["outcomes"] == {"copied": 1, "vanished": 1}
    assert deployment.failed_rows() == []


def test_it_gives_way_to_a_watch_with_work_and_goes_on_after_it(
    deploy: Callable[..., Deployment],
    dcache: FakeDCache,
    kafka: Kafka,
) -> None:
    mirror = deploy(kafka.bootstrap, dcache.door_url, dcache={"maxdownloads": 2})
    dcache.faults.add("stall", f"{RAW}/new*", methods=["GET"], seconds=2.0)
    for number in range(3):
        dcache.upload(f"{RAW}/old{number}", size=100, seed=number, publish=False)
    running = mirror.watch()
    wait_until(lambda: mirror.status().get("jobs"), 60, what="a status")
    for number in range(8):
        dcache.upload(f"{RAW}/new{number}", size=100, seed=number)
    wait_until(lambda: mirror.status()["transfers_total"] > 2, 60, what="a queue")
    done = mirror.run("reconcile", *OLD)
    order = [
        seen.path.removeprefix(f"{RAW}/")
        for seen in dcache.requests.of("GET", server="door")
    ]
    running.stop()

    assert done.returncode == 0, done.stderr
    begun = order.index("old0")
    assert sum(name.startswith("new") for name in order[:begun]) == 8
    assert {f"old{number}" for number in range(3)} <= mirror.files()


def test_watch_runs_one_when_it_is_due_and_tells_its_end(
    deploy: Callable[..., Deployment], dcache: FakeDCache, kafka: Kafka
) -> None:
    mirror = deploy(kafka.bootstrap, dcache.door_url, reconcile={"every_hours": 1.0})
    dcache.upload(f"{RAW}/silent", size=100, seed=1, publish=False)
    first = mirror.watch()
    due = wait_until(lambda: fact(mirror), 60, what="a due time")
    assert first.stop() == 0
    assert "reconcile started" not in first.log
    with closing(sqlite3.connect(mirror.state / "catalogue.db")) as books, books:
        books.execute(
            "UPDATE facts SET value = ? WHERE key = 'reconcile-due'",
            (repr(float(due) - 3700.0),),
        )
    mirror.tables["reconcile"]["grace_minutes"] = 0
    mirror.write()
    second = mirror.watch()
    second.says("reconcile started ([reconcile] every_hours)", 60)
    second.says("reconcile ended: source and mirror agree", 60)

    assert "silent" in mirror.files()
    assert second.stop() == 0


def test_a_reconcile_that_watch_began_dies_with_it(
    deploy: Callable[..., Deployment], dcache: FakeDCache, kafka: Kafka
) -> None:
    mirror = deploy(kafka.bootstrap, dcache.door_url, reconcile={"every_hours": 1e-6})
    dcache.upload(f"{RAW}/a", size=100, seed=1, publish=False)
    dcache.faults.add("stall", "*", methods=["PROPFIND"], seconds=60.0)
    running = mirror.watch()

    def child() -> int:
        found = [p for p, c in running.children().items() if " reconcile" in c]
        return found[0] if found else 0

    pid = wait_until(child, 60, what="a child")
    wait_until(lambda: dcache.requests.of("PROPFIND"), 30, what="a request")
    running.kill()
    wait_until(lambda: not alive(pid), 30, what="the child's end")


def fact(deployment: Deployment) -> str:
    """When a reconcile is due."""
    try:
        rows = deployment.query("SELECT value FROM facts WHERE key = 'reconcile-due'")
    except sqlite3.OperationalError:  # it is being made
        return ""
    return str(rows[0][0]) if rows else ""


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
