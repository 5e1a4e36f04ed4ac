"""``dcmirror watch`` does its job: events in, verified files out."""

from __future__ import annotations

import os
import signal
import zlib
from pathlib import Path

import pytest
from deployment import Deployment

from dcmirror.testing.fake_dcache import FakeDCache
from helpers import wait_until

RAW = "/pnfs/example.org/data/exp/raw"


def mirrored(deployment: Deployment, count: int, deadline: float = 40.0) -> None:
    """Wait until the catalogue has ``count`` copies."""

    def there() -> bool:
        path = deployment.state / "catalogue.db"
        return path.exists() and len(deployment.copies()) >= count

    wait_until(there, deadline, what=f"{count} copies")


def same_trees(dcache: FakeDCache, deployment: Deployment) -> None:
    """Both sides hold the same files with the same bytes."""
    source = {
        path.removeprefix(RAW + "/"): version.adler32
        for path, version in dcache.files.items()
        if path.startswith(RAW + "/")
    }
    copies = {
        name: zlib.adler32((deployment.mirror / name).read_bytes())
        for name in deployment.files()
    }
    assert copies == source


def test_uploads_arrive_complete_and_verified(
    mirror: Deployment, dcache: FakeDCache
) -> None:
    """Sizes from nothing to a few MiB, odd names, deep directories."""
    running = mirror.watch()
    for number, size in enumerate([0, 1, 1000, 16384, 1 << 20, (3 << 20) + 7]):
        dcache.upload(f"{RAW}/run {number}/ä+%#?;&='\".dat", size=size, seed=number)
    dcache.upload("/pnfs/example.org/data/exp/rawer/not-ours", b"x")
    mirrored(mirror, 6)

    assert running.stop() == 0
    same_trees_without = {n for n in mirror.files() if "not-ours" in n}
    assert same_trees_without == set()
    rows = mirror.copies()
    assert len(rows) == 6
    for name, (size, adler32) in rows.items():
        data = (mirror.mirror / name).read_bytes()
        assert (len(data), zlib.adler32(data)) == (size, adler32)
    assert mirror.parts() == []
    assert mirror.failed_rows() == []


def test_the_log_tells_each_file_with_the_ancestors_tags(
    mirror: Deployment, dcache: FakeDCache
) -> None:
    running = mirror.watch()
    dcache.upload(f"{RAW}/a.dat", size=100_000, seed=1)
    mirrored(mirror, 1)
    running.stop()

    for tag in ("UPLOAD", "COPY_INIT", "COPY_START", "COPY_OVER", "COPY_REPORT"):
        assert running.log.count(f"[{tag}]") == 1, tag
    task = running.says("[UPLOAD]").rpartition("(")[2].rstrip(")")
    assert task in running.says("[COPY_REPORT]")
    assert "Mbps" in running.says("[COPY_REPORT]")


def test_the_same_event_again_fetches_nothing(
    mirror: Deployment, dcache: FakeDCache
) -> None:
    running = mirror.watch()
    dcache.upload(f"{RAW}/a.dat", size=1000, seed=1)
    mirrored(mirror, 1)
    gets = len([r for r in dcache.requests.all() if r.method == "GET"])
    dcache.tell(f"{RAW}/a.dat")
    running.says("already mirrored")
    running.stop()

    assert len([r for r in dcache.requests.all() if r.method == "GET"]) == gets


def test_a_new_upload_of_the_same_path_replaces_the_copy(
    mirror: Deployment, dcache: FakeDCache
) -> None:
    running = mirror.watch()
    dcache.upload(f"{RAW}/a.dat", b"old bytes")
    mirrored(mirror, 1)
    dcache.upload(f"{RAW}/a.dat", b"new and longer bytes")
    path = mirror.mirror / "a.dat"
    wait_until(lambda: path.read_bytes() == b"new and longer bytes", 20)

    assert running.stop() == 0


def test_term_drains_and_a_restart_goes_on(
    mirror: Deployment, dcache: FakeDCache
) -> None:
    running = mirror.watch()
    dcache.upload(f"{RAW}/a.dat", size=1000, seed=1)
    mirrored(mirror, 1)
    assert running.stop() == 0
    dcache.upload(f"{RAW}/b.dat", size=1000, seed=2)
    again = mirror.watch()
    mirrored(mirror, 2)
    assert again.stop() == 0

    assert again.log.count("[UPLOAD]") == 1
    same_trees(dcache, mirror)


def test_killed_workers_are_replaced_and_nothing_is_lost(
    mirror: Deployment, dcache: FakeDCache
) -> None:
    dcache.faults.add("stall-body", f"{RAW}/*", after=1 << 20, seconds=2.0, per_path=1)
    running = mirror.watch()
    running.says("[KAFKA]")
    for number in range(20):
        dcache.upload(f"{RAW}/f{number}", size=3 << 20, seed=number)
    wait_until(lambda: mirror.status().get("transfers"), 20)
    workers = [
        worker["pid"]
        for worker in mirror.status()["workers"]
        if worker["name"].startswith("worker")
    ]
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    mirrored(mirror, 20, 60)

    assert "killed by SIGKILL" in running.log
    assert running.stop() == 0
    same_trees(dcache, mirror)


def test_children_die_with_a_killed_supervisor(
    mirror: Deployment, dcache: FakeDCache
) -> None:
    running = mirror.watch()
    running.says("[KAFKA]")
    dcache.upload(f"{RAW}/a.dat", size=1000, seed=1)
    mirrored(mirror, 1)
    children = [pid for pid, args in running.children().items() if "spawn_main" in args]
    assert len(children) == 3
    running.kill()

    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children), 30)


def test_a_second_watch_on_one_state_directory_is_refused(
    mirror: Deployment, dcache: FakeDCache
) -> None:
    running = mirror.watch()
    running.says("[START]")
    second = mirror.run("watch")

    assert second.returncode == 10
    assert f"pid {running.pid}" in second.stderr
    assert len(second.stderr.strip().splitlines()) == 1
    assert running.stop() == 0


@pytest.mark.parametrize("signals", [[signal.SIGTERM, signal.SIGTERM]])
def test_a_second_term_stops_at_once(
    mirror: Deployment, dcache: FakeDCache, signals: list[int]
) -> None:
    dcache.faults.add("stall-body", f"{RAW}/*", after=1000)
    running = mirror.watch()
    dcache.upload(f"{RAW}/a.dat", size=1 << 20, seed=1)
    wait_until(lambda: mirror.status().get("transfers"), 20)
    running.signal(signal.SIGTERM)
    running.says("stopping")
    running.signal(signal.SIGTERM)

    assert running.process.wait(30) == 143


def test_what_cannot_be_copied_is_a_row_and_replay_tries_it_again(
    mirror: Deployment, dcache: FakeDCache
) -> None:
    dcache.faults.add("flip", f"{RAW}/bad.dat")
    running = mirror.watch()
    dcache.upload(f"{RAW}/bad.dat", size=50_000, seed=1)
    dcache.upload(f"{RAW}/good.dat", size=50_000, seed=2)
    wait_until(mirror.failed_rows, 60)
    assert running.stop() == 0
    (row,) = mirror.failed_rows()

    assert row["class"] == "checksum-mismatch"
    assert row["path"] == f"{RAW}/bad.dat"
    still = mirror.run("replay", timeout=90)
    assert still.returncode == 20
    assert len(mirror.failed_rows()) == 1
    dcache.faults.clear()
    cured = mirror.run("replay")
    assert cured.returncode == 0, cured.stderr
    assert mirror.failed_rows() == []
    same_trees(dcache, mirror)
