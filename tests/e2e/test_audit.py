"""An audit of what a real watch did: clean, then all and only what somebody broke."""

from __future__ import annotations

import csv
import io
import json
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from chaos import RAW, copied, ended_well
from deployment import Deployment

from dcmirror.testing.fake_dcache import FakeDCache

if TYPE_CHECKING:
    from servers.kafka import Kafka

NAMES = [f"run{n % 3}/f{n}.dat" for n in range(24)]


@pytest.fixture
def done(mirror: Deployment, dcache: FakeDCache) -> Deployment:
    """A watch that has copied everything, and one file that failed."""
    running = mirror.watch()
    for number, name in enumerate(NAMES):
        dcache.upload(f"{RAW}/{name}", size=2000 + number, seed=number)
    copied(mirror, *NAMES)
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

    status, document = report(done, "--deep", "--repair")

    copies = {("checksum", flipped), ("missing", removed), ("size", cut)}
    assert found(document) == copies | {("gap", None)}
    assert document["repaired"] == {"checksum": 1, "missing": 1, "size": 1}
    assert status == 22
    gap = next(each for each in document["findings"] if each["kind"] == "gap")
    assert gap["place"].endswith(f"[{partition}]")
    after, document = report(done, "--deep")
    assert (after, found(document)) == (22, {("gap", None)})


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
