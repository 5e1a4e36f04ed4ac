"""Books that cannot be written hold everything; nothing is settled meanwhile (G1)."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from chaos import (
    IMPATIENT,
    RAW,
    classes,
    copied,
    ended_well,
    given_up,
    remount,
    small_disk,
    told_once,
)
from deployment import Deployment

from dcmirror.testing.fake_dcache import FakeDCache
from helpers import wait_until

if TYPE_CHECKING:
    from servers.kafka import Kafka

MIB = 1 << 20


def test_a_full_state_directory_holds_and_nothing_is_lost(
    deploy: Callable[..., Deployment], dcache: FakeDCache, kafka: Kafka, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "state", "24m") as disk:
        mirror = deploy(
            kafka.bootstrap, dcache.door_url, state={"directory": str(disk)}
        )
        mirror.variables.update(IMPATIENT)
        running = mirror.watch()
        dcache.upload(f"{RAW}/a.dat", size=1000, seed=1)
        copied(mirror, "a.dat")
        (disk / "ballast").write_bytes(b"")
        fill(disk / "ballast")
        for number in range(20):
            dcache.upload(f"{RAW}/{number}.dat", size=1000, seed=number)
        running.says("[HOLD] books")
        committed = kafka.committed(f"g-{mirror.tables['kafka']['topic']}")
        assert sum(committed.values()) < dcache.site.billing.published
        (disk / "ballast").unlink()
        copied(mirror, *(f"{number}.dat" for number in range(20)))

        told_once(running, "books")
        assert mirror.failed_rows() == []
        wait_until(lambda: all_committed(kafka, mirror), 30)
        ended_well(running)


def all_committed(kafka: Kafka, mirror: Deployment) -> bool:
    """Whether everything is settled, the records of dcmirror's own reads too."""
    topic = mirror.tables["kafka"]["topic"]
    committed = kafka.committed(f"g-{topic}")
    ends = kafka.end_offsets(topic)
    return all(committed.get(partition, 0) == end for partition, end in ends.items())


def fill(path: Path) -> None:
    """Every byte that the disk has."""
    try:
        with path.open("ab", buffering=0) as file:
            while True:
                file.write(b"x" * 4096)
    except OSError:
        return


def test_a_catalogue_that_somebody_locks_holds(
    mirror: Deployment, dcache: FakeDCache
) -> None:
    mirror.variables.update(IMPATIENT)
    running = mirror.watch()
    dcache.upload(f"{RAW}/a.dat", size=1000, seed=1)
    copied(mirror, "a.dat")
    with closing(sqlite3.connect(mirror.state / "catalogue.db")) as database:
        database.execute("BEGIN EXCLUSIVE")
        dcache.upload(f"{RAW}/b.dat", size=1000, seed=2)
        assert "catalogue" in running.says("[HOLD] books")
    copied(mirror, "b.dat")

    told_once(running, "books")
    ended_well(running)


def test_a_failed_csv_that_cannot_be_written_holds(
    deploy: Callable[..., Deployment], dcache: FakeDCache, kafka: Kafka, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "rows", "4m") as disk:
        path = disk / "failed.csv"
        mirror = deploy(
            kafka.bootstrap,
            dcache.door_url,
            local={"failedtasksfile": str(path)},
            dcache={"retrytimes": 0},
        )
        mirror.variables.update(IMPATIENT)
        dcache.faults.add("flip", f"{RAW}/bad", after=1)
        running = mirror.watch()
        dcache.upload(f"{RAW}/good", size=1000, seed=1)
        copied(mirror, "good")
        remount(disk, "ro")
        dcache.upload(f"{RAW}/bad", size=1000, seed=1)
        assert "failed.csv" in running.says("[HOLD] books")
        remount(disk, "rw")
        given_up(mirror)

        assert classes(mirror) == {"bad": "checksum-mismatch"}
        told_once(running, "books")
        ended_well(running)


def test_a_failed_csv_that_is_not_ours_is_moved_aside(
    mirror: Deployment, dcache: FakeDCache
) -> None:
    mirror.state.mkdir()
    (mirror.state / "failed.csv").write_text("my,own,list\n1,2,3\n")
    running = mirror.watch()
    line = running.says("moved to")
    running.says("[START]")
    ended_well(running)
    (aside,) = mirror.state.glob("failed.csv.not-ours-*")

    assert str(aside) in line
    assert aside.read_text() == "my,own,list\n1,2,3\n"


def test_a_broken_catalogue_ends_the_start_with_one_line(
    mirror: Deployment, dcache: FakeDCache
) -> None:
    mirror.state.mkdir()
    (mirror.state / "catalogue.db").write_bytes(b"no database at all\n" * 100)
    done = mirror.run("watch")

    assert done.returncode not in (0, 1)
    assert "catalogue.db" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("name", ["nowhere/failed.csv", "a-directory"])
def test_a_place_where_no_failed_csv_can_be_ends_the_start_as_check_does(
    deploy: Callable[..., Deployment], name: str, tmp_path: Path
) -> None:
    (tmp_path / "a-directory").mkdir()
    path = str(tmp_path / name)
    mirror = deploy(
        "127.0.0.1:1", "https://127.0.0.1:1", local={"failedtasksfile": path}
    )
    done = mirror.run("watch")

    assert done.returncode == 4
    assert f"[local] failedtasksfile = {path}: " in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert mirror.run("check").returncode == 4


def test_a_file_in_the_place_of_the_journal_ends_the_start_with_one_line(
    mirror: Deployment,
) -> None:
    mirror.state.mkdir()
    (mirror.state / "journal").write_text("no directory\n")
    done = mirror.run("watch")

    assert done.returncode == 13
    assert f"journal {mirror.state / 'journal'}: Not a directory" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_status_and_events_tell_of_the_hold_while_books_are_held(
    deploy: Callable[..., Deployment], dcache: FakeDCache, kafka: Kafka, tmp_path: Path
) -> None:
    """Who reads them need not read the log, and no alert comes only when it is over."""
    with small_disk(tmp_path / "rows", "4m") as disk:
        mirror = deploy(
            kafka.bootstrap,
            dcache.door_url,
            local={"failedtasksfile": str(disk / "failed.csv")},
            dcache={"retrytimes": 0},
        )
        dcache.faults.add("flip", f"{RAW}/bad", after=1)
        running = mirror.watch()
        running.says("[KAFKA]")
        remount(disk, "ro")
        dcache.upload(f"{RAW}/bad", size=1000, seed=1)
        running.says("[HOLD] books")

        def held() -> list[str]:
            return [hold["kind"] for hold in mirror.status().get("holds", [])]

        wait_until(lambda: held() == ["books"], 30)
        wait_until(lambda: "hold-began" in actions(mirror), 30)
        assert json.loads((mirror.state / "status.json").read_text())["unsettled"] >= 1
        remount(disk, "rw")
        ended_well(running)


def test_a_required_journal_that_is_full_holds_and_a_stop_is_still_a_good_end(
    deploy: Callable[..., Deployment], dcache: FakeDCache, kafka: Kafka, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    state.mkdir()
    with small_disk(state / "journal", "2m") as disk:
        mirror = deploy(
            kafka.bootstrap,
            dcache.door_url,
            state={"directory": str(state)},
            journal={"required": True, "min_free": 0},
        )
        mirror.variables.update(IMPATIENT)
        running = mirror.watch()
        running.says("[KAFKA]")
        fill(disk / "ballast")
        for number in range(20):
            dcache.upload(f"{RAW}/{number}.dat", size=1000, seed=number)
        running.says("[HOLD] books")
        ended_well(running)

        assert "work waits" in running.log
        assert "events are lost" not in running.log
        assert mirror.status()["ended"]["error"] is None
        (disk / "ballast").unlink()
        again = mirror.watch()
        copied(mirror, *(f"{number}.dat" for number in range(20)))
        wait_until(lambda: all_committed(kafka, mirror), 30)
        ended_well(again)
        assert finished(mirror) == 20


def actions(mirror: Deployment) -> set[str]:
    """What the journal tells of."""
    return {event["event"]["action"] for event in mirror.journal()}


def finished(mirror: Deployment) -> int:
    """The files of whose outcome the journal tells."""
    return len(
        {
            event["file"]["path"]
            for event in mirror.journal()
            if event["event"]["action"] == "transfer-finished"
        }
    )
