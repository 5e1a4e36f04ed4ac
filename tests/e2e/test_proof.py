"""The whole promise at once: many files, faults, kills, and books that agree."""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from deployment import Deployment, Running

from dcmirror.testing.fake_client import RemoteDCache
from helpers import make_event, wait_until

if TYPE_CHECKING:
    from servers.kafka import Kafka
    from servers.xrootd import XRootD

ROOT = "/pnfs/example.org/data"
RAW = f"{ROOT}/exp/raw"
FILES = 2000
SIZES = (0, 1, 700, 10_000, 40_000, 200_000, 1_000_000)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.fixture
def remote(kafka: Kafka, topic: str, tmp_path: Path) -> Iterator[RemoteDCache]:
    """The fake dCache in a process of its own, publishing to the real broker."""
    kafka.create_topic(topic, 3)
    with RemoteDCache(tmp_path / "pki", kafka.bootstrap, topic) as running:
        yield running


def settled_offsets(deployment: Deployment) -> dict[int, int]:
    """How many offsets of each partition the settled spans cover, each once."""
    covered: dict[int, set[int]] = {}
    for partition, first, last in deployment.query(
        'SELECT "partition", "first", "last" FROM spans'
    ):
        covered.setdefault(partition, set()).update(range(first, last + 1))
    return {partition: len(offsets) for partition, offsets in covered.items()}


def is_through(kafka: Kafka, group: str, topic: str) -> bool:
    """Whether the group has committed every partition to its end."""
    return kafka.committed(group, topic) == kafka.end_offsets(topic)


def add_faults(remote: RemoteDCache) -> None:
    """A bit of everything that a real site does on a bad day."""
    remote.add_fault("status", "*0.dat", status=404, per_path=1)
    remote.add_fault("status", "*11.dat", status=500, per_path=1)
    remote.add_fault("status", "*33.dat", status=429, retry_after="1", per_path=1)
    remote.add_fault("short-body", "*22.dat", per_path=1)
    remote.add_fault("flip", "*44.dat", per_path=1)
    remote.add_fault("reset-body", "*55.dat", per_path=1)
    remote.add_fault("digest-wrong", "*66.dat", per_path=1)
    remote.add_fault("digest-unpadded", "*7.dat")
    remote.add_fault("reset", "*88.dat", per_path=1)
    remote.add_fault("flip", "*999.dat")


def test_two_thousand_files_survive_faults_and_kills(
    deploy: Callable[..., Deployment], remote: RemoteDCache, kafka: Kafka, topic: str
) -> None:
    """Every file is mirrored with the right bytes or is a row; the books agree."""
    add_faults(remote)
    deployment = deploy(
        kafka.bootstrap,
        remote.door_url,
        dcache={"maxdownloads": 10, "retryseconds": 0.1, "retrytimes": 3},
        local={"proxy": str(remote.proxy), "capath": str(remote.capath)},
    )
    first = deployment.watch()
    paths = [f"{RAW}/run{n % 7}/f{n:04d}.dat" for n in range(FILES)]
    for number, path in enumerate(paths):
        size = SIZES[number % len(SIZES)]
        remote.upload(path, size=size, seed=number)
    await_copies(deployment, FILES // 10)
    kill_a_worker(deployment)
    await_copies(deployment, FILES // 3)
    first.kill()
    second = deployment.watch()
    group = deployment.tables["kafka"]["consumergroup"]
    wait_until(lambda: is_through(kafka, group, topic), 240, what="all committed")
    assert second.stop() == 0

    rows = {row["path"] for row in deployment.failed_rows()}
    source = remote.files()
    wrong = []
    for path in paths:
        copy = deployment.mirror / path.removeprefix(RAW + "/")
        is_right = copy.exists() and (
            zlib.adler32(copy.read_bytes()) == source[path]["adler32"]
        )
        if not is_right and path not in rows:
            wrong.append(path)
    assert wrong == []
    assert {path for path in rows if not path.endswith("999.dat")} == set()
    assert deployment.parts() == []
    assert settled_offsets(deployment) == kafka.end_offsets(topic)
    books_agree(deployment, paths, rows)
    assert "Traceback" not in first.log + second.log


def await_copies(deployment: Deployment, count: int) -> None:
    """Wait until the catalogue has so many."""

    def there() -> bool:
        book = deployment.state / "catalogue.db"
        return book.exists() and len(deployment.copies()) >= count

    wait_until(there, 90, what=f"{count} copies")


def kill_a_worker(deployment: Deployment) -> None:
    """KILL one of the workers, in the middle of whatever it does."""
    workers = [
        worker["pid"]
        for worker in deployment.status().get("workers", [])
        if worker["name"].startswith("worker") and worker["ready"]
    ]
    os.kill(random.choice(workers), signal.SIGKILL)


def books_agree(deployment: Deployment, paths: list[str], rows: set[str]) -> None:
    """Catalogue, mirror and journal tell the same of every file."""
    copies = deployment.copies()
    names = {path.removeprefix(RAW + "/") for path in paths if path not in rows}
    assert set(copies) >= names
    assert set(copies) == deployment.files()
    for name, (size, adler32) in copies.items():
        data = (deployment.mirror / name).read_bytes()
        assert (len(data), zlib.adler32(data)) == (size, adler32), name
    told = {
        event["file"]["path"].removeprefix(RAW + "/")
        for event in deployment.journal()
        if event["event"]["action"] == "transfer-finished"
        and event["event"]["outcome"] == "success"
    }
    assert told >= set(copies)


def publish_upload(
    kafka: Kafka, topic: str, path: str, size: int, partitions: Iterator[int]
) -> None:
    """The two records of one upload, as a pool and a door would publish them."""
    transfer = json.loads(
        make_event(billingPath=path, transferPath=path, fileSize=size)
    )
    request: dict[str, Any] = {
        "VERSION": "1.0",
        "msgType": "request",
        "date": transfer["date"],
        "cellName": "WebDAV-s1",
        "cellType": "door",
        "cellDomain": "dCacheDomain",
        "status": {"code": 0, "msg": ""},
        "session": transfer["initiator"],
        "billingPath": path,
        "transferPath": path,
        "pnfsid": transfer["pnfsid"],
        "fileSize": size,
        "subject": [],
        "moverInfo": {
            "msgType": "transfer",
            "isWrite": "write",
            "isP2p": False,
            "status": {"code": 0, "msg": ""},
            "transferSize": size,
        },
    }
    records = [transfer, request]
    random.shuffle(records)
    for record in records:
        value = json.dumps(record).encode()
        kafka.produce(topic, [value], partition=next(partitions))


def fetches(*deployments: Deployment) -> Counter[str]:
    """How often each file was fetched, as the journals tell."""
    return Counter(
        event["file"]["path"]
        for deployment in deployments
        for event in deployment.journal()
        if event["event"]["action"] == "transfer-finished"
        and event["dcmirror"]["transfer"].get("state") == "mirrored"
    )


def requests(*deployments: Deployment) -> int:
    """All that was asked of the source, for attempts that came to nothing too."""
    return sum(
        host["requests"]
        for deployment in deployments
        for host in deployment.status()["hosts"]
    )


def test_two_instances_share_one_mirror_and_hardly_fetch_twice(
    deploy: Callable[..., Deployment],
    xrootd: XRootD,
    kafka: Kafka,
    topic: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Real XRootD, real Kafka with three partitions, records of one upload apart."""
    count = 2000
    kafka.create_topic(topic, 3)
    contents = {}
    for number in range(count):
        data = random.Random(number).randbytes(SIZES[1 + number % 5])
        contents[f"two/f{number:04d}"] = data
        xrootd.upload(f"/exp/raw/two/f{number:04d}", data)
    mirror = tmp_path_factory.mktemp("shared-mirror")
    one, two = (
        deploy(
            kafka.bootstrap,
            xrootd.url,
            mirror=mirror,
            destination={"shared": True},
            source={"net_seconds": 5.0},
        )
        for _ in range(2)
    )
    running = [one.watch(), two.watch()]
    share_partitions(running)
    partitions = itertools.cycle([0, 1, 2, 1, 0, 2, 2])
    for name, data in contents.items():
        publish_upload(kafka, topic, f"{RAW}/{name}", len(data), partitions)
    group = one.tables["kafka"]["consumergroup"]
    wait_until(lambda: is_through(kafka, group, topic), 200, what="all committed")
    for each in running:
        assert each.stop() == 0

    assert {n: (mirror / n).read_bytes() for n in contents} == contents
    assert one.parts() == []
    assert one.failed_rows() + two.failed_rows() == []
    times = fetches(one, two)
    assert set(times) == {f"{RAW}/{name}" for name in contents}
    twice = [path for path, number in times.items() if number > 1]
    assert len(twice) <= 0.02 * count
    assert count <= requests(one, two) <= 1.02 * count
    both = set(one.copies()) | set(two.copies())
    assert both == set(contents)


def share_partitions(running: list[Running]) -> None:
    """Wait until both instances have partitions."""

    def both_have() -> bool:
        return all("is ours" in each.log for each in running)

    wait_until(both_have, 60, what="both instances have partitions")
