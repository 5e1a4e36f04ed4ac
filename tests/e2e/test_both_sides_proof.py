"""Both sides are made equal, it is proved, and only what is proved is deleted.

Of a tree some events were never sent, some files were replaced or renamed at the source
and some copies rot.  reconcile and audit find all of it and nothing else, and mend it;
cleanup deletes what is proved and nothing else, though it is killed again and again and
somebody replaces sources under its hands.
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from both_sides import (
    FakeSource,
    Held,
    Plan,
    by_kind,
    differing,
    flip,
    is_copy,
    leave_copies,
    plan_of,
    spoil_mirror,
    spoil_source,
)
from deployment import Deployment, Running

from dcmirror.testing.fake_client import RemoteDCache
from helpers import wait_until

if TYPE_CHECKING:
    from servers.kafka import Kafka

FOLDER = "/pnfs/example.org/data/exp/raw"
FILES = 20_000
DIRECTORIES = 20
#: Files that are copied one by one; the others lie in the mirror already, marked.
COPIED = 1500
KILLS = 20
#: Cleanup may delete below these; the rest is excluded.
EMPTIED = ("run00", "run05")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.fixture
def remote(kafka: Kafka, topic: str, tmp_path: Path) -> Iterator[RemoteDCache]:
    """The fake dCache in a process of its own, publishing to the real broker."""
    kafka.create_topic(topic, 3)
    with RemoteDCache(tmp_path / "pki", kafka.bootstrap, topic) as running:
        yield running


def configured(
    deploy: Callable[..., Deployment], kafka: Kafka, remote: RemoteDCache, plan: Plan
) -> Deployment:
    """A dcmirror that may delete at once, below a few directories, as fast as it can."""
    directories = {name.partition("/")[0] for name in plan.contents}
    return deploy(
        kafka.bootstrap,
        remote.door_url,
        dcache={"maxdownloads": 12},
        local={"proxy": str(remote.proxy), "capath": str(remote.capath)},
        reconcile={"requests_per_second": 1000.0},
        replay={"maxdownloads": 12},
        cleanup={
            "allowed": True,
            "min_age_days": 0.0,
            "verify": "deep",
            "exclude": sorted(f"{each}/**" for each in directories - {*EMPTIED}),
            "max_files": 1_000_000,
            "max_fraction": 1.0,
            "requests_per_second": 10_000.0,
        },
    )


def mirrored(
    deployment: Deployment, source: FakeSource, plan: Plan, kafka: Kafka, topic: str
) -> None:
    """watch has copied, or recognized, everything that events tell of."""
    sent = plan.sent
    leave_copies(deployment.mirror, plan, sent[COPIED:], source.files())
    running = deployment.watch("-q")
    source.tell(sent)
    group = deployment.tables["kafka"]["consumergroup"]

    def is_through() -> bool:
        return kafka.committed(group, topic) == kafka.end_offsets(topic)

    wait_until(is_through, 120, what="all events are committed")
    assert running.stop() == 0
    assert set(deployment.copies()) == set(sent)
    assert source.remote.counters()["pool GET 200"] == COPIED
    assert deployment.failed_rows() == []


def found(
    deployment: Deployment, *args: str, status: int, member: str
) -> dict[str, set[str]]:
    """What a command reports: names by kind."""
    done = deployment.run(*args, "--json", timeout=120)
    assert done.returncode == status, (args, done.stdout[-2000:], done.stderr)
    return by_kind(json.loads(done.stdout)[member])


def test_twenty_thousand_files_are_made_equal_and_what_is_proved_is_deleted(
    deploy: Callable[..., Deployment], remote: RemoteDCache, kafka: Kafka, topic: str
) -> None:
    plan = plan_of(FILES, DIRECTORIES, seed=5)
    source = FakeSource(remote, FOLDER)
    source.fill(plan)
    deployment = configured(deploy, kafka, remote, plan)
    mirrored(deployment, source, plan, kafka, topic)

    spoil_source(source, plan)
    spoil_mirror(deployment.mirror, plan)
    audited = found(deployment, "audit", "--deep", status=23, member="findings")
    assert audited == {"checksum": set(plan.flipped), "size": set(plan.cut)}
