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
