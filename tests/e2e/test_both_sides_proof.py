"""Both sides are made equal, it is proved, and only what is proved is deleted.

Of a tree some events were never sent, some files were replaced or renamed at the source
and some copies rot.  reconcile and audit find all of it and nothing else, and mend it;
cleanup deletes what is proved and nothing else, though it is killed again and again and
somebody replaces sources under its hands.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from both_sides import (
    FakeSource,
    Plan,
    XRootDSource,
    by_kind,
    differing,
    leave_copies,
    plan_of,
    spoil_mirror,
    spoil_source,
)
from deployment import Deployment
from emptied import EmptiedSource, changes, requests

from dcmirror.testing.fake_client import RemoteDCache
from helpers import make_event, wait_until

if TYPE_CHECKING:
    from servers.kafka import Kafka
    from servers.xrootd import XRootD

ROOT = "/pnfs/example.org/data"
FOLDER = f"{ROOT}/exp/raw"
FILES = 20_000
DIRECTORIES = 20
#: Files that are copied one by one; the others lie in the mirror already, marked.
COPIED = 600
KILLS = 20
#: Cleanup may delete below these; the rest is excluded.
EMPTIED = ("run00", "run05")
#: Nothing is so young that its event may be on its way.
DRY_RUN = ("reconcile", "--dry-run", "--grace", "0s")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def remote(kafka: Kafka, topic: str, tmp_path: Path) -> Iterator[RemoteDCache]:
    """The fake dCache in a process of its own, publishing to the real broker."""
    kafka.create_topic(topic, 3)
    with RemoteDCache(tmp_path / "pki", kafka.bootstrap, topic) as running:
        yield running


def configured(
    deploy: Callable[..., Deployment], kafka: Kafka, remote: RemoteDCache, plan: Plan
) -> Deployment:
    """A dcmirror that may delete at once, below a few directories, and in haste."""
    directories = {name.partition("/")[0] for name in plan.contents}
    return deploy(
        kafka.bootstrap,
        remote.door_url,
        dcache={"maxdownloads": 12},
        local={"proxy": str(remote.proxy), "capath": str(remote.capath)},
        destination={"sync": "none"},
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

    wait_until(lambda: len(deployment.copies()) == len(sent), 120, what="all copies")
    wait_until(is_through, 60, what="all events are committed")
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
    differences_are_found(deployment, plan)
    both_sides_are_made_equal(deployment, source, plan)
    what_is_proved_is_deleted(deployment, source)


def differences_are_found(deployment: Deployment, plan: Plan) -> None:
    """All and only those: on the source's side, and in the mirror."""
    listed = found(deployment, *DRY_RUN, status=24, member="differences")
    assert listed == {
        "missing": set(plan.unsent),
        "replaced": set(plan.replaced),
        "renamed": set(plan.renamed.values()),
        "size": set(plan.cut),
    }
    audited = found(deployment, "audit", "--deep", status=23, member="findings")
    assert audited == {"checksum": set(plan.flipped), "size": set(plan.cut)}


def both_sides_are_made_equal(
    deployment: Deployment, source: FakeSource, plan: Plan
) -> None:
    """By reconcile and audit --repair; what has another name now stays here too."""
    done = deployment.run("reconcile", "--grace", "0s", timeout=120)
    assert done.returncode == 24, done.stdout[-2000:] + done.stderr
    assert f"{len(plan.renamed)} old names" in done.stdout
    done = deployment.run("audit", "--deep", "--repair", timeout=120)
    assert done.returncode in (0, 23), done.stdout[-2000:] + done.stderr

    assert differing(deployment.mirror, source.files()) == []
    says_nothing(deployment, *DRY_RUN, "--ignore", "only-here")
    says_nothing(deployment, "audit", "--deep")
    assert deployment.failed_rows() == []


def says_nothing(deployment: Deployment, *args: str) -> None:
    """All is well, and a cron job would send no mail."""
    done = deployment.run(*args, "--quiet", timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def what_is_proved_is_deleted(deployment: Deployment, source: FakeSource) -> None:
    """And nothing else; the fake's own record and the undo list tell the same."""
    emptied = EmptiedSource(deployment, source, EMPTIED)
    remote = source.remote
    emptied.protect(10, lambda name: remote.set_digest(source.path(name), None))
    for directory in EMPTIED:
        glob = source.path(f"{directory}/*")
        for method in ("MOVE", "PROPFIND"):
            remote.add_fault("replace", glob, methods=[method], probability=0.03)
    emptied.empty(KILLS // 2, lambda: requests(source), most=400)
    # A run asks first what became of those before it, and after ten kills that is much.
    emptied.empty(KILLS // 2, lambda: changes(source), most=60)
    assert len(remote.deletions()) > 40, "the kills came amid deletions"
    emptied.finish()
    remote.clear_faults()
    emptied.finish()

    gone, changed = emptied.check()
    removed = {each["pnfsid"] for each in remote.deletions()}
    assert len(changed) > 40, "the adversary was there"
    assert {emptied.before[name].pnfsid for name in gone} == removed
    told = {row["pnfsid"]: row["result"] for row in emptied.undo_list()}
    assert removed <= told.keys()
    # A killed run may have deleted what somebody has replaced: it cannot know.
    unsure = {emptied.before[name].pnfsid for name in changed}
    assert told.keys() - removed <= unsure
    assert {told[each] for each in told.keys() - removed} <= {"deleted-or-replaced"}


@pytest.fixture
def folder(topic: str) -> str:
    """A directory of the test's own on a server that tests share."""
    return f"/exp/{topic}"


def test_five_hundred_files_of_a_real_door_are_made_equal_and_deleted(
    deploy: Callable[..., Deployment],
    xrootd: XRootD,
    kafka: Kafka,
    topic: str,
    folder: str,
) -> None:
    """XRootD tells no pnfsid: who is replaced has another size, a new name is new."""
    plan = plan_of(500, 5, seed=6)
    source = XRootDSource(xrootd, folder)
    source.fill(plan)
    kafka.create_topic(topic, 3)
    deployment = deploy(
        kafka.bootstrap,
        xrootd.url,
        dcache={"folder": folder},
        destination={"sync": "none"},
        reconcile={"requests_per_second": 1000.0},
        cleanup={
            "allowed": True,
            "min_age_days": 0.0,
            "verify": "deep",
            "exclude": ["run01/**", "run02/**", "run03/**"],
            "max_fraction": 1.0,
            "requests_per_second": 10_000.0,
        },
    )
    running = deployment.watch("-q")
    events = [
        make_event(billingPath=f"{ROOT}{folder}/{n}", fileSize=plan.contents[n][0])
        for n in plan.sent
    ]
    kafka.produce(topic, events)
    wait_until(
        lambda: len(deployment.copies()) == len(plan.sent), 120, what="all copies"
    )
    assert running.stop() == 0

    spoil_source(source, plan)
    spoil_mirror(deployment.mirror, plan)
    listed = found(deployment, *DRY_RUN, status=24, member="differences")
    assert listed == {
        "missing": {*plan.unsent, *plan.renamed.values()},
        "only-here": set(plan.renamed),
        "size": {*plan.cut, *plan.replaced},
    }
    deployment.run("reconcile", "--grace", "0s")
    deployment.run("audit", "--deep", "--repair")
    assert differing(deployment.mirror, source.files()) == []
    says_nothing(deployment, *DRY_RUN, "--ignore", "only-here")
    says_nothing(deployment, "audit", "--deep")

    emptied = EmptiedSource(deployment, source, ("run00", "run04"))
    emptied.protect(3)
    emptied.empty(4, lambda: -len(source.files()), most=30)
    emptied.finish()
    gone, changed = emptied.check()
    assert changed == set()
    assert {row["path"] for row in emptied.undo_list()} == {
        f"{ROOT}{folder}/{name}" for name in gone
    }
