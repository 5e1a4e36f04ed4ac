"""What the tests that break things share: impatience, faults on disk, claims."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from deployment import Deployment, Running

from dcmirror.testing.fake_dcache import FakeDCache
from helpers import wait_until

if TYPE_CHECKING:
    from servers.kafka import Kafka

RAW = "/pnfs/example.org/data/exp/raw"

#: A hold that an operator would see probed after 5 s is probed after 0.25 s.
IMPATIENT = {"DCMIRROR_TEST_PROBE_SCALE": "0.05"}


def copied(deployment: Deployment, *names: str, deadline: float = 30.0) -> None:
    """Wait until the catalogue has these copies."""

    def there() -> bool:
        path = deployment.state / "catalogue.db"
        return path.exists() and set(names) <= set(deployment.copies())

    wait_until(there, deadline, what=f"copies of {names}")


def given_up(deployment: Deployment, count: int = 1, deadline: float = 30.0) -> None:
    """Wait until failed.csv has that many rows."""
    wait_until(
        lambda: len(deployment.failed_rows()) >= count,
        deadline,
        what=f"{count} rows of failed.csv",
    )


def settled(
    dcache: FakeDCache, kafka: Kafka, topic: str, deadline: float = 30.0
) -> None:
    """Wait until the broker was told that all records are done.

    Those of dcmirror's own reads are published when a read has ended: the copy may be
    in the catalogue before.
    """
    wait_until(
        lambda: (
            sum(kafka.committed(f"g-{topic}").values()) == dcache.site.billing.published
        ),
        deadline,
        what="all records settled",
    )


def classes(deployment: Deployment) -> dict[str, str]:
    """What failed.csv says of each file: its path below the folder, its class."""
    return {
        row["path"].removeprefix(f"{RAW}/"): row["class"]
        for row in deployment.failed_rows()
    }


def holds(deployment: Deployment) -> list[str]:
    """The holds that are on now."""
    return [hold["kind"] for hold in deployment.status().get("holds", [])]


def ended_well(running: Running) -> None:
    """Stopped by TERM in time, and nothing ever printed a traceback."""
    assert running.stop() == 0, running.log
    assert "Traceback" not in running.log


def told_once(running: Running, kind: str) -> None:
    """A hold began and ended, with one line each."""
    running.says(f"[HOLD_OVER] {kind}")
    lines = running.log.splitlines()
    assert sum(f"[HOLD] {kind}" in line for line in lines) == 1
    assert sum(f"[HOLD_OVER] {kind}" in line for line in lines) == 1


def uncharged(deployment: Deployment) -> None:
    """No attempt was counted against any file, and nothing was given up."""
    status = deployment.status()
    assert (status["retries"], status["failed"]) == (0, 0)
    assert deployment.failed_rows() == []


def events(deployment: Deployment, *actions: str) -> list[dict[str, Any]]:
    """The journal's events of these names."""
    return [
        event
        for event in deployment.journal()
        if event.get("event", {}).get("action") in actions
    ]


@contextmanager
def small_disk(path: Path, size: str) -> Iterator[Path]:
    """A file system of its own, which may be filled or made read-only."""
    if os.geteuid() != 0:
        pytest.skip("mounts a tmpfs, which takes root")
    path.mkdir(parents=True, exist_ok=True)
    options = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)]
    made = subprocess.run(options, capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"no tmpfs here: {made.stderr.strip()}")
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def remount(path: Path, option: str) -> None:
    """``ro`` or ``rw``."""
    subprocess.run(["mount", "-o", f"remount,{option}", str(path)], check=True)
