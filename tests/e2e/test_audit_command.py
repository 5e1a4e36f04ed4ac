"""An audit of what a real watch did: clean, then all and only what somebody broke."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from contextlib import closing
from typing import Any

import pytest
from chaos import RAW, copied, ended_well, given_up
from deployment import Deployment, Running

from dcmirror.testing.fake_dcache import FakeDCache
from helpers import wait_until

NAMES = [f"run{n % 3}/f{n}.dat" for n in range(24)]


@pytest.fixture
def done(mirror: Deployment, dcache: FakeDCache) -> Deployment:
    """A watch that has copied everything, and one file that failed."""
    running = mirror.watch()
    for number, name in enumerate(NAMES):
        dcache.upload(f"{RAW}/{name}", size=2000 + number, seed=number)
    dcache.upload(f"{RAW}/run1/two\nlines.dat", size=100, seed=99)
    copied(mirror, *NAMES)
    given_up(mirror)
    ended_well(running)
    return mirror


def report(deployment: Deployment, *args: str) -> tuple[int, dict[str, Any]]:
    """The exit status and the document of an audit."""
    ended = deployment.run("audit", "--json", *args)
    assert ended.stdout, ended.stderr
    document: dict[str, Any] = json.loads(ended.stdout)
    return ended.returncode, document


def found(document: dict[str, Any]) -> set[tuple[str, str | None]]:
    """Kind and file of each contradiction."""
    return {(each["kind"], each["relative"]) for each in document["findings"]}


def test_a_clean_run_is_proved_clean(done: Deployment) -> None:
    status, document = report(done, "--deep")

    assert document["findings"] == []
    assert status == 0
    assert document["judged"]["copies"] == document["judged"]["read"] == len(NAMES)
    assert document["offsets"]["kinds"]["mirrored"] == len(NAMES)
    quiet = done.run("audit", "--deep", "-q")
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")


def test_all_and_only_what_was_broken_is_found_and_repaired(
    done: Deployment, dcache: FakeDCache
) -> None:
    flipped, removed, cut = NAMES[3], NAMES[7], NAMES[11]
    flip_byte(done, flipped)
    (done.mirror / removed).unlink()
    os.truncate(done.mirror / cut, 100)
    with closing(sqlite3.connect(done.state / "catalogue.db")) as database:
        ((partition, first),) = database.execute(
            'SELECT "partition", first FROM spans ORDER BY "partition" LIMIT 1'
        )
        database.execute(
            'DELETE FROM spans WHERE "partition" = ? AND first = ?', (partition, first)
        )
        database.commit()
    header = done.failed_csv.read_text().splitlines(keepends=True)[0]
    done.failed_csv.write_text(header)

    status, document = report(done, "--deep", "--repair")

    copies = {("checksum", flipped), ("missing", removed), ("size", cut)}
    books = {("gap", None), ("no-failed-row", None)}
    assert found(document) == copies | books
    assert document["repaired"] == {"checksum": 1, "missing": 1, "size": 1}
    assert status == 22
    gap = next(each for each in document["findings"] if each["kind"] == "gap")
    assert gap["place"].endswith(f"[{partition}]")
    after, document = report(done, "--deep")
    assert (after, found(document)) == (22, books)


def flip_byte(deployment: Deployment, name: str) -> None:
    """Another byte, and neither size nor time nor mark shows it."""
    path = deployment.mirror / name
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(700)
        byte = file.read(1)
        file.seek(700)
        file.write(bytes([byte[0] ^ 1]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_no_false_alarm_beside_a_watch_that_copies_and_replaces(
    mirror: Deployment, dcache: FakeDCache
) -> None:
    running = mirror.watch()
    dcache.upload(f"{RAW}/first.dat", size=5000, seed=1)
    copied(mirror, "first.dat")
    is_over = threading.Event()

    def feed() -> None:
        for number in range(4000):
            if is_over.wait(0.02):
                return
            # every path comes again and again, with other bytes under it
            dcache.upload(f"{RAW}/f{number % 40}.dat", size=4000, seed=number)

    feeder = threading.Thread(target=feed)
    feeder.start()
    try:
        audits = [report(mirror, "--deep") for _ in range(4)]
    finally:
        is_over.set()
        feeder.join()

    for status, document in audits:
        assert (status, document["findings"]) == (0, [])
    assert audits[-1][1]["offsets"]["settled"] > audits[0][1]["offsets"]["settled"]
    ended_well(running)


def test_the_door_is_compared_with_the_copies(
    done: Deployment, dcache: FakeDCache
) -> None:
    done.tables["source"]["grace_seconds"] = 0.0
    done.write()
    gone, replaced, resized = NAMES[1], NAMES[2], NAMES[4]
    dcache.remove(f"{RAW}/{gone}")
    new = dcache.replace(f"{RAW}/{replaced}")
    dcache.replace(f"{RAW}/{resized}", b"shorter")

    status, document = report(done, "--source")

    assert status == 24
    assert found(document) == {
        ("gone", gone),
        ("replaced", replaced),
        ("replaced", resized),
    }
    status, document = report(done, "--source", "--deep", "--repair")
    assert status == 24  # what is gone stays gone
    assert document["repaired"] == {"replaced": 2}
    rows = dict(done.query("SELECT relative, pnfsid FROM copies"))
    assert rows[replaced] == new
    status, document = report(done, "--source", "--deep")
    assert found(document) == {("gone", gone)}


def test_what_neither_side_has_is_told_until_a_repair_has_asked_for_it(
    done: Deployment, dcache: FakeDCache
) -> None:
    both, here = NAMES[2], NAMES[5]
    for name in (both, here):
        (done.mirror / name).unlink()
    dcache.remove(f"{RAW}/{both}")

    before = report(done)
    repaired = report(done, "--repair")
    after = report(done)

    assert found(before[1]) == {("missing", both), ("missing", here)}
    assert (repaired[0], repaired[1]["repaired"]) == (0, {"missing": 2})
    assert (after[0], after[1]["judged"]["gone"]) == (0, 1)
    assert (done.mirror / here).exists()
    dcache.upload(f"{RAW}/{both}", size=77, seed=7)
    running = done.watch()
    wait_until((done.mirror / both).exists, 60)
    ended_well(running)
    (done.mirror / both).unlink()
    assert found(report(done)[1]) == {("missing", both)}


def test_a_repair_that_is_killed_is_simply_begun_again(
    done: Deployment, dcache: FakeDCache
) -> None:
    damaged = NAMES[:6]
    for name in damaged:
        flip_byte(done, name)
    dcache.faults.add("trickle", f"{RAW}/run*/*", count=400, times=3)
    running = Running(done, "audit", "--deep", "--repair")
    wait_until(lambda: done.parts(), what="a part")
    running.kill()
    assert set(NAMES) <= done.files()  # what is damaged stays until it is replaced

    status, document = report(done, "--deep", "--repair")

    assert status == 0
    assert found(document) <= {("checksum", name) for name in damaged}
    assert report(done, "--deep")[1]["findings"] == []
    assert done.parts() == []
