"""Every outcome reaches Elasticsearch once, whatever breaks on its way."""

from __future__ import annotations

import json
import os
import signal
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from chaos import small_disk
from deployment import Deployment, Running
from event_books import Told, accepted, bytes_of, last_lines, settled

from dcmirror.testing.fake_client import RemoteDCache
from helpers import wait_until

if TYPE_CHECKING:
    from servers.elasticsearch import LocalElasticsearch
    from servers.kafka import Kafka

RAW = "/pnfs/example.org/data/exp/raw"
NAMESPACE = "proof"
FILES = 5000
SIZES = (0, 1, 700, 5_000, 20_000, 60_000)
LATE_SECONDS = 60.0
#: Room for what comes while Elasticsearch is away.
JOURNAL_DISK = "64m"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def remote(kafka: Kafka, topic: str, tmp_path: Path) -> Iterator[RemoteDCache]:
    """The fake dCache in a process of its own, publishing to the real broker."""
    kafka.create_topic(topic, 3)
    with RemoteDCache(tmp_path / "pki", kafka.bootstrap, topic) as running:
        yield running


@pytest.fixture
def server(
    private_elasticsearch: Callable[..., LocalElasticsearch],
) -> LocalElasticsearch:
    return private_elasticsearch()


@pytest.fixture
def deployment(
    deploy: Callable[..., Deployment],
    remote: RemoteDCache,
    kafka: Kafka,
    server: LocalElasticsearch,
) -> Iterator[Deployment]:
    """A dcmirror whose journal has a small disk of its own."""
    made = deploy(
        kafka.bootstrap,
        remote.door_url,
        dcache={"maxdownloads": 10, "retryseconds": 0.1, "retrytimes": 3},
        local={"proxy": str(remote.proxy), "capath": str(remote.capath)},
        elasticsearch={"urls": [server.url], "namespace": NAMESPACE, "timeout": 5.0},
        journal={"segment_bytes": 1 << 20},
    )
    with small_disk(made.state / "journal", JOURNAL_DISK):
        yield made


def add_faults(remote: RemoteDCache) -> None:
    """Retries of several kinds, and files that fail for good until they are cured."""
    remote.add_fault("status", "*11.dat", status=500, per_path=1)
    remote.add_fault("short-body", "*22.dat", per_path=1)
    remote.add_fault("status", "*33.dat", status=429, retry_after="1", per_path=1)
    remote.add_fault("flip", "*44.dat", per_path=1)
    remote.add_fault("reset-body", "*55.dat", per_path=1)
    remote.add_fault("status", "*77.dat", status=403)


def path_of(number: int) -> str:
    return f"{RAW}/run{number % 7}/f{number:04d}.dat"


def upload(remote: RemoteDCache, first: int, last: int) -> None:
    for number in range(first, last):
        size = SIZES[number % len(SIZES)]
        remote.upload(path_of(number), size=size, seed=number)


def await_copies(watch: Running, deployment: Deployment, count: int) -> None:
    """Wait until so many files were mirrored."""

    def there() -> bool:
        assert watch.process.poll() is None, watch.log[-2000:]
        return bool(deployment.status().get("mirrored", 0) >= count)

    wait_until(there, 120, what=f"{count} copies")


def kill_logger(deployment: Deployment) -> None:
    """KILL, once it works; another one takes its place."""

    def pid() -> int:
        workers = deployment.status().get("workers", [])
        return next((w["pid"] for w in workers if w["name"] == "logger"), 0)

    before = wait_until(pid, 60, what="a logger")
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: pid() not in (0, before), 60, what="another logger")


def fill_journal(watch: Running, deployment: Deployment) -> None:
    """No byte is left on the journal's disk while some hundred files come; then all."""
    ballast = deployment.state / "journal" / "ballast"
    before = deployment.status()["mirrored"]
    with ballast.open("ab", buffering=0) as file:
        try:
            while True:
                file.write(bytes(65536))
        except OSError:
            pass
    await_copies(watch, deployment, before + FILES // 20)
    wait_until(lambda: deployment.status()["journal"]["dropped"] > 0, 30)
    ballast.unlink()


def shipper(deployment: Deployment) -> dict[str, Any]:
    """What the logger says of its work."""
    try:
        found: dict[str, Any] = json.loads(
            (deployment.state / "shipper.json").read_text()
        )
    except FileNotFoundError:
        return {}
    return found


def await_shipped(deployment: Deployment) -> None:
    """Wait until the logger has nothing left to ship."""
    since = time.time()

    def is_idle() -> bool:
        report = shipper(deployment)
        is_new = report.get("at", 0.0) > since + 1.0
        return is_new and report["state"] == "idle" and report["behind_bytes"] == 0

    wait_until(is_idle, 90, what="all events are shipped")


def is_through(kafka: Kafka, deployment: Deployment) -> bool:
    """Whether the group has committed every partition to its end."""
    table = deployment.tables["kafka"]
    committed = kafka.committed(table["consumergroup"], table["topic"])
    return committed == kafka.end_offsets(table["topic"])


def test_five_thousand_outcomes_reach_elasticsearch_once(
    deployment: Deployment,
    remote: RemoteDCache,
    kafka: Kafka,
    server: LocalElasticsearch,
) -> None:
    """It comes late, is killed, loggers are killed, the journal's disk is full once."""
    done = deployment.run("elastic", "setup", "--no-kibana")
    assert done.returncode == 0, done.stderr
    server.stop()
    add_faults(remote)
    watch = deployment.watch()
    began = time.monotonic()
    upload(remote, 0, FILES * 3 // 5)
    await_copies(watch, deployment, FILES // 5)
    kill_logger(deployment)
    fill_journal(watch, deployment)
    await_copies(watch, deployment, FILES // 2)
    wait_until(lambda: time.monotonic() - began > LATE_SECONDS - 10, LATE_SECONDS)
    assert shipper(deployment)["shipped"] == 0
    server.begin()
    upload(remote, FILES * 3 // 5, FILES * 4 // 5)
    server.await_ready()
    wait_until(lambda: server.count(f"logs-dcmirror.transfer-{NAMESPACE}") > 0, 90)
    server.kill9()
    kill_logger(deployment)
    server.begin()
    upload(remote, FILES * 4 // 5, FILES)
    server.await_ready()
    kill_logger(deployment)
    wait_until(lambda: is_through(kafka, deployment), 120, what="all committed")
    await_shipped(deployment)
    rows = deployment.failed_rows()
    remote.clear_faults()
    replay = deployment.run("replay")
    assert replay.returncode == 0, replay.stderr
    await_shipped(deployment)
    status, shipping = deployment.status(), shipper(deployment)
    report = deployment.run("report", "--json")
    assert watch.stop() == 0, watch.log[-3000:]

    told = Told(server, NAMESPACE)
    assert told.twice() == []
    every_task_ended_once(told, watch)
    the_replayed_succeeded(told, rows)
    the_sums_agree(told, deployment, json.loads(report.stdout))
    only_the_lesser_were_dropped(told, status)
    assert (shipping["dead_letters"], shipping["spoiled"]) == (0, 0)
    every_file_is_right(deployment, remote)
    assert "Traceback" not in watch.log


def every_task_ended_once(told: Told, watch: Running) -> None:
    """Each job that the human log names has one outcome, and nothing else has one."""
    finished = told.finished("watch")
    tasks = accepted(watch)
    missing = last_lines(watch, set(tasks) - set(finished))
    twice = {t: tasks.get(t) for t, outcomes in finished.items() if len(outcomes) > 1}
    strangers = {t: finished[t] for t in set(finished) - set(tasks)}
    assert len(tasks) >= FILES
    assert missing == {}
    assert twice == {}
    assert strangers == {}


def the_replayed_succeeded(told: Told, rows: list[dict[str, str]]) -> None:
    """First the failure, then under the same task the success."""
    failures, later = told.finished("watch"), told.finished("replay")
    assert len(rows) >= FILES // 200
    for row in rows:
        first, then = failures[row["task"]], later.get(row["task"], [])
        assert [d["event"]["outcome"] for d in first] == ["failure"], row
        assert [d["event"]["outcome"] for d in then] == ["success"], row
        assert [d["file"]["path"] for d in (*first, *then)] == [row["path"]] * 2


def the_sums_agree(told: Told, deployment: Deployment, report: dict[str, Any]) -> None:
    """Elasticsearch, catalogue and report tell the same numbers of files and bytes."""
    copies = deployment.copies()
    total = sum(size for size, _ in copies.values())
    ended = [d for d in told.of("transfer-finished") if _is_copy(d)]
    assert len(copies) == FILES
    assert (len(ended), bytes_of(ended)) == (FILES, total)
    assert report["catalogue"]["files"] == FILES
    assert report["catalogue"]["bytes"] == total
    by_state = Counter(
        d["dcmirror"]["transfer"]["state"]
        for outcomes in told.finished("watch").values()
        for d in outcomes
    )
    records = settled(deployment)
    assert by_state["mirrored"] == records["mirrored"]
    assert by_state["failed"] == records["failed"]


def _is_copy(document: dict[str, Any]) -> bool:
    return bool(document["dcmirror"]["transfer"]["state"] == "mirrored")


def only_the_lesser_were_dropped(told: Told, status: dict[str, Any]) -> None:
    """What the full disk cost is told, and it was no outcome."""
    dropped = told.dropped()
    assert dropped == Counter(status["journal"]["dropped_by_kind"])
    assert dropped.total() > 0
    assert dropped["outcome"] == 0


def every_file_is_right(deployment: Deployment, remote: RemoteDCache) -> None:
    """None of this harmed a file."""
    source = remote.files()
    wrong = [
        path
        for path in map(path_of, range(FILES))
        if zlib.adler32((deployment.mirror / path.removeprefix(f"{RAW}/")).read_bytes())
        != source[path]["adler32"]
    ]
    assert wrong == []
    assert deployment.parts() == []
    assert deployment.failed_rows() == []
