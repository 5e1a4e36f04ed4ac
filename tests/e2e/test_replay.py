"""``dcmirror replay`` tries failures again, and loses no row whatever happens."""

from __future__ import annotations

import csv
import json
import os
import pty
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest
from deployment import Deployment, Running
from rows import RAW, names, row, write_rows

from dcmirror.adapters.failed_csv import FailedRow
from dcmirror.testing.fake_dcache import FakeDCache
from helpers import wait_until


def test_rows_whose_files_are_there_now_leave_the_file(
    deployment: Deployment, source: FakeDCache
) -> None:
    for name in ("a", "b"):
        source.upload(f"{RAW}/{name}", size=1000, seed=1)
    write_rows(deployment, row("a"), row("b"))
    done = deployment.run("replay")

    assert done.returncode == 0, done.stderr
    assert names(deployment) == []
    assert deployment.files() == {"a", "b"}
    assert set(deployment.copies()) == {"a", "b"}
    assert "2 of 2 done" in done.stderr


def test_what_fails_again_stays_as_one_row_with_the_new_reason(
    deployment: Deployment, source: FakeDCache
) -> None:
    source.upload(f"{RAW}/good", size=1000, seed=1)
    source.upload(f"{RAW}/bad", size=1000, seed=1)
    source.faults.add("status", f"{RAW}/bad", status=403)
    write_rows(deployment, row("bad"), row("good"), row("bad"))
    done = deployment.run("replay")

    assert done.returncode == 20, done.stderr
    (left,) = deployment.failed_rows()
    assert left["path"] == f"{RAW}/bad"
    assert left["task"] == "task-bad"
    assert left["class"] == "forbidden"
    assert left["http_status"] == "403"
    assert float(left["time"].replace("Z", "").split("-")[0]) >= 2000


def test_a_good_copy_outranks_its_failure_row_without_a_request(
    deployment: Deployment, source: FakeDCache
) -> None:
    pnfsid = source.upload(f"{RAW}/a", size=1000, seed=1)
    write_rows(deployment, row("a"))
    assert deployment.run("replay").returncode == 0
    asked = len(source.requests.all())
    again = FailedRow(
        time=1e9,
        task="another",
        path=f"{RAW}/a",
        url="",
        failure_class="gone",
        error="a row that a kill left behind",
        size=1000,
        pnfsid=pnfsid,
    )
    write_rows(deployment, again)
    done = deployment.run("replay")

    assert done.returncode == 0, done.stderr
    assert len(source.requests.all()) == asked


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--class", "forbidden"), ["a", "sub/c"]),
        (("--under", f"{RAW}/sub"), ["a", "b"]),
        (("--since", "1d"), ["b", "sub/c"]),
        (("--limit", "1"), ["b", "sub/c"]),
    ],
)
def test_only_the_chosen_rows_are_tried(
    deployment: Deployment,
    source: FakeDCache,
    options: tuple[str, ...],
    expected: list[str],
) -> None:
    """Row b is forbidden, row sub/c lies deeper, row a is fresh and comes first."""
    for name in ("a", "b", "sub/c"):
        source.upload(f"{RAW}/{name}", size=10, seed=1)
    write_rows(
        deployment, row("a", at=time.time()), row("b", "forbidden"), row("sub/c")
    )
    done = deployment.run("replay", *options)

    assert done.returncode == 20, done.stderr
    assert names(deployment) == expected


def test_a_dry_run_tells_and_changes_nothing(
    deployment: Deployment, source: FakeDCache
) -> None:
    book = write_rows(deployment, row("a"), row("b", "forbidden"))
    before = book.path.read_bytes()
    done = deployment.run("replay", "--dry-run")

    assert done.returncode == 0, done.stderr
    assert [line.split("\t")[:2] for line in done.stdout.splitlines()] == [
        ["gone", f"{RAW}/a"],
        ["forbidden", f"{RAW}/b"],
    ]
    assert book.path.read_bytes() == before
    assert deployment.files() == set()
    assert source.requests.all() == []


@pytest.mark.parametrize("exists", [True, False])
def test_an_empty_or_missing_file_is_nothing_to_do(
    deployment: Deployment, exists: bool
) -> None:
    if exists:
        (deployment.state / "failed.csv").touch()
    done = deployment.run("replay")

    assert done.returncode == 0, done.stderr


def test_a_line_that_is_no_row_stops_no_other_and_is_not_forgotten(
    deployment: Deployment, source: FakeDCache
) -> None:
    for name in ("a", "b"):
        source.upload(f"{RAW}/{name}", size=1000, seed=1)
    book = write_rows(deployment, row("a"), replace(row("b"), size=10**30))
    done = deployment.run("replay")

    assert done.returncode == 20, done.stderr
    assert "1 lines are no whole rows" in done.stderr
    assert "1 of 1 done" in done.stderr
    assert deployment.files() == {"a"}
    assert str(10**30) in book.torn_path.read_text()


def test_a_file_of_torn_lines_alone_does_not_end_well(deployment: Deployment) -> None:
    write_rows(deployment, replace(row("b"), size=-5))
    done = deployment.run("replay", "--json")

    assert done.returncode == 20, done.stderr
    assert (json.loads(done.stdout)["rows"], json.loads(done.stdout)["torn"]) == (0, 1)


def test_a_name_that_is_mistyped_is_told(deployment: Deployment) -> None:
    done = deployment.run("replay", "/no/such/failed.csv", "--json")

    assert done.returncode == 0
    assert "/no/such/failed.csv: no such file" in done.stderr
    assert json.loads(done.stdout)["remain"] == 0


def test_a_file_that_is_not_ours_is_refused_with_its_line(
    deployment: Deployment, tmp_path: Path
) -> None:
    path = tmp_path / "other.csv"
    path.write_text("name,size\nx,1\n")
    done = deployment.run("replay", str(path))

    assert done.returncode == 4
    assert f"{path}" in done.stderr
    assert "1" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert path.read_text() == "name,size\nx,1\n"
    assert not path.with_name("other.csv.lock").exists()


def test_a_row_outside_the_folder_is_left_as_it_is(deployment: Deployment) -> None:
    elsewhere = FailedRow(
        time=1e9,
        task="t",
        path="/somewhere/else",
        url="",
        failure_class="gone",
        error="it failed",
    )
    write_rows(deployment, elsewhere)
    done = deployment.run("replay")

    assert done.returncode == 20
    assert "not below [dcache] folder" in done.stderr
    assert len(deployment.failed_rows()) == 1


def slow_replay(deployment: Deployment, source: FakeDCache, count: int) -> Running:
    """A replay of files each of which takes a while."""
    source.faults.add("stall", f"{RAW}/*", seconds=0.5)
    for number in range(count):
        source.upload(f"{RAW}/f{number}", size=1000, seed=number)
    write_rows(deployment, *(row(f"f{number}") for number in range(count)))
    return Running(deployment, "replay")


def test_a_replay_that_is_killed_loses_no_row(
    deployment: Deployment, source: FakeDCache
) -> None:
    running = slow_replay(deployment, source, 30)
    wait_until(lambda: len(deployment.files()) > 3, 30)
    running.kill()
    listed = set(names(deployment))

    assert listed >= {f"f{n}" for n in range(30)} - deployment.files()
    source.faults.clear()
    done = deployment.run("replay")
    assert done.returncode == 0, done.stderr
    assert names(deployment) == []
    assert len(deployment.files()) == 30


def test_an_interrupted_replay_keeps_what_it_did_not_do(
    deployment: Deployment, source: FakeDCache
) -> None:
    running = slow_replay(deployment, source, 30)
    wait_until(lambda: len(deployment.files()) > 3, 30)
    running.signal(signal.SIGINT)

    assert running.process.wait(30) == 130
    left = set(names(deployment))
    assert left == {f"f{n}" for n in range(30)} - deployment.files()
    assert left


def test_rows_that_watch_appends_meanwhile_stay(
    deployment: Deployment, source: FakeDCache
) -> None:
    running = slow_replay(deployment, source, 10)
    wait_until(lambda: len(deployment.files()) > 1, 30)
    write_rows(deployment, row("late"))

    assert running.process.wait(60) == 20
    assert names(deployment) == ["late"]


def test_two_replays_at_once_are_refused(
    deployment: Deployment, source: FakeDCache
) -> None:
    source.faults.add("stall", f"{RAW}/*", seconds=60.0)
    source.upload(f"{RAW}/f", size=1000, seed=1)
    write_rows(deployment, row("f"))
    running = Running(deployment, "replay")
    wait_until(lambda: source.requests.of("GET"), 30)
    second = deployment.run("replay")
    running.kill()

    assert second.returncode == 10
    assert f"pid {running.pid}" in second.stderr


def test_a_terminal_shows_a_bar(deployment: Deployment, source: FakeDCache) -> None:
    for number in range(5):
        source.upload(f"{RAW}/f{number}", size=1000, seed=number)
    write_rows(deployment, *(row(f"f{number}") for number in range(5)))
    master, slave = pty.openpty()
    process = subprocess.Popen(
        deployment.command("replay"),
        env={**deployment.environ(), "TERM": "xterm"},
        stdin=slave,
        stdout=slave,
        stderr=slave,
    )
    os.close(slave)
    shown = b""
    while chunk := _read(master):
        shown += chunk
    os.close(master)

    assert process.wait(30) == 0
    assert b"replay" in shown
    assert b"5 of 5, 0 failed again" in shown


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, 65536)
    except OSError:  # Linux tells the end of a terminal so
        return b""


def test_a_row_is_one_line_whatever_its_path(
    deployment: Deployment, source: FakeDCache
) -> None:
    name = 'odd "name", with comma'
    source.upload(f"{RAW}/{name}", size=10, seed=1)
    source.faults.add("status", "*", status=403)
    write_rows(deployment, row(name))
    assert deployment.run("replay").returncode == 20
    with (deployment.state / "failed.csv").open(newline="") as stream:
        (found,) = csv.DictReader(stream)

    assert found["path"] == f"{RAW}/{name}"
    source.faults.clear()
    assert deployment.run("replay").returncode == 0
    assert deployment.files() == {name}
