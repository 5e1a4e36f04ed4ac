"""``dcmirror reconcile`` finds what differs, copies it, and survives anything."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from deployment import Deployment

from dcmirror.testing.fake_dcache import FakeDCache
from dcmirror.testing.pki import Pki

RAW = "/pnfs/example.org/data/exp/raw"
NOBODY = "127.0.0.1:9"  # reconcile asks no broker
OLD = ("--grace", "0s")


@pytest.fixture
def source(pki: Pki) -> Iterator[FakeDCache]:
    """A fake dCache that tells nobody."""
    with FakeDCache(pki) as running:
        yield running


@pytest.fixture
def deployment(deploy: Callable[..., Deployment], source: FakeDCache) -> Deployment:
    """A dcmirror of it."""
    made = deploy(NOBODY, source.door_url, reconcile={"requests_per_second": 200.0})
    made.state.mkdir()
    return made


def found(deployment: Deployment, *args: str, status: int = 24) -> dict[str, Any]:
    """What a dry run reports."""
    done = deployment.run("reconcile", "--dry-run", "--json", *OLD, *args)
    assert done.returncode == status, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def kinds(document: dict[str, Any]) -> dict[str, str]:
    """The kind of each difference by its path below the folder."""
    return {each["relative"]: each["kind"] for each in document["differences"]}


def test_a_dry_run_names_what_is_missing_and_copies_nothing(
    deployment: Deployment, source: FakeDCache
) -> None:
    for name in ("a", "sub/b", "sub/deep/c"):
        source.upload(f"{RAW}/{name}", size=1000, seed=1)
    document = found(deployment)

    assert kinds(document) == dict.fromkeys(("a", "sub/b", "sub/deep/c"), "missing")
    assert document["files"] == 3
    assert document["directories"] == 3
    assert deployment.files() == set()


def test_what_is_missing_is_copied_and_then_both_sides_are_equal(
    deployment: Deployment, source: FakeDCache
) -> None:
    for name in ("a", "sub/b", "sub/deep/c"):
        source.upload(f"{RAW}/{name}", size=1000, seed=1)
    done = deployment.run("reconcile", *OLD)

    assert done.returncode == 0, done.stderr
    assert deployment.files() == {"a", "sub/b", "sub/deep/c"}
    assert set(deployment.copies()) == deployment.files()
    assert found(deployment, status=0)["equal"] is True
