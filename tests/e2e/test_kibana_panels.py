"""Every panel of the dashboards, asked of a real Elasticsearch about a real run.

What it answers must be what the run's own books say: the catalogue, failed.csv, and the
journal, read here without any of the code that asks.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from chaos import IMPATIENT
from deployment import Deployment, Running

from dcmirror.config import load
from dcmirror.core.kibana_dashboards import PANELS, SEARCHES
from dcmirror.processes.logger import LoggerBoot, logger_main
from dcmirror.testing.fake_dcache import FakeDCache
from helpers import wait_until
from kibana_queries import (
    panel_query,
    panel_rows,
    search_query,
    unlimited,
)
from lens_reader import (
    LensReader,
    agree,
    comparable,
    is_percentile,
    lens_objects,
    time_of,
    value_of,
)

if TYPE_CHECKING:
    from dcmirror.testing.pki import Pki
    from servers.elasticsearch import Elasticsearch
    from servers.kafka import Kafka

Json = dict[str, Any]

ROOT = "/pnfs/example.org/data"
RAW = f"{ROOT}/exp/raw"
FILES = 90
SIZES = (0, 1, 700, 10_000, 40_000, 300_000)
GARBAGE = 3
AGAIN = 4

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@dataclass(frozen=True)
class Ran:
    """A run that is over, and its books."""

    server: Elasticsearch
    indices: str
    events: list[Json]
    copies: dict[str, tuple[int, int]]
    failed: list[dict[str, str]]

    @property
    def since(self) -> datetime:
        return min(map(time_of, self.events)) - timedelta(seconds=1)

    @property
    def until(self) -> datetime:
        return max(map(time_of, self.events)) + timedelta(seconds=1)

    def of(self, *actions: str) -> list[Json]:
        """The journal's events of these names."""
        return [each for each in self.events if each["event"]["action"] in actions]

    def ask(self, body: Json) -> Json:
        """Elasticsearch's answer."""
        answer: Json = self.server.search(self.indices, **body)
        return answer

    def panel(self, name: str) -> list[Json]:
        """The rows of a panel, as Elasticsearch has them."""
        panel = unlimited(PANELS[name])
        body = panel_query(panel, iso(self.since), iso(self.until))
        return panel_rows(panel, self.ask(body))

    def number(self, name: str, label: str) -> Any:
        """One number of a panel without buckets."""
        (row,) = self.panel(name)
        return row[label]


def iso(when: datetime) -> str:
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")


# -- the run --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ran(
    tmp_path_factory: pytest.TempPathFactory,
    pki: Pki,
    kafka: Kafka,
    elasticsearch: Elasticsearch,
) -> Ran:
    home = tmp_path_factory.mktemp("panels")
    topic, namespace = f"t-{home.name}", elasticsearch.namespace()
    kafka.create_topic(topic, 3)

    def publish(value: bytes) -> None:
        kafka.produce(topic, [value])

    with FakeDCache(pki, root=ROOT, publish=publish) as dcache:
        proxy = home / "proxy"
        deployment = Deployment(
            home,
            {
                "kafka": {
                    "topic": topic,
                    "servers": [kafka.bootstrap],
                    "consumergroup": f"g-{topic}",
                },
                "dcache": {
                    "url": dcache.door_url,
                    "pool": ROOT,
                    "folder": "/exp/raw",
                    "retryseconds": 0.1,
                    "retrytimes": 2,
                    "maxdownloads": 6,
                },
                "local": {
                    "proxy": str(proxy),
                    "capath": str(pki.capath),
                    "downloadfolder": str(home / "mirror"),
                },
                "source": {"net_seconds": 2.0, "grace_seconds": 20.0},
                "pipeline": {"drain_seconds": 20.0, "workers": 2},
                "elasticsearch": {
                    "urls": [elasticsearch.url],
                    "namespace": namespace,
                },
            },
        )
        deployment.variables.update(IMPATIENT)
        installed = deployment.run("elastic", "setup", "--no-kibana")
        assert installed.returncode == 0, installed.stderr
        running = deployment.watch()
        try:
            a_bad_day(dcache, running, deployment, pki.proxy, proxy)
            assert running.stop() == 0, running.log
        finally:
            running.kill()
    indices = f"logs-dcmirror.*-{namespace}"
    events = list(deployment.journal())
    await_shipped(deployment, elasticsearch, indices, len(events))
    rows = deployment.failed_rows()
    return Ran(elasticsearch, indices, events, deployment.copies(), rows)


def a_bad_day(
    dcache: FakeDCache,
    running: Running,
    deployment: Deployment,
    credential: Path,
    proxy: Path,
) -> None:
    """A hold, retries, failures, garbage, repeated events, a dead worker."""
    running.says("[HOLD] credential")
    dcache.faults.add("status", "*05.dat", status=500, per_path=1)
    dcache.faults.add("status", "*1[25].dat", status=404, per_path=2)
    dcache.faults.add("reset-body", "*23.dat", per_path=1)
    dcache.faults.add("flip", "*4[15].dat")
    dcache.faults.add("status", "*5[123].dat", status=403)
    for number in range(FILES):
        size = SIZES[number % len(SIZES)]
        dcache.upload(path_of(number), size=size, seed=number)
    shutil.copy(credential, proxy)
    proxy.chmod(0o600)
    running.says("[HOLD_OVER] credential")
    for number in range(GARBAGE):
        dcache.publish_raw(b"no event %d" % number)
    await_outcomes(deployment, FILES)
    for number in range(AGAIN):
        dcache.tell(path_of(60 + number))
    await_outcomes(deployment, FILES + AGAIN)
    kill_a_worker(deployment)
    wait_until(lambda: count(deployment, "child-died"), 30, what="a death")
    wait_until(lambda: count(deployment, "health"), 90, what="a sample of health")


def path_of(number: int) -> str:
    return f"{RAW}/run{number % 3}/f{number:02d}.dat"


def count(deployment: Deployment, action: str) -> int:
    names = (each["event"]["action"] for each in deployment.journal())
    return sum(name == action for name in names)


def await_outcomes(deployment: Deployment, wanted: int) -> None:
    """Wait until so many jobs and records have ended."""

    def there() -> bool:
        ends = ("transfer-finished", "event-skipped")
        return sum(count(deployment, name) for name in ends) >= wanted

    wait_until(there, 60, what=f"{wanted} outcomes")


def kill_a_worker(deployment: Deployment) -> None:
    workers = [w for w in deployment.status()["workers"] if w["name"] != "logger"]
    os.kill(workers[0]["pid"], signal.SIGKILL)


def await_shipped(
    deployment: Deployment, server: Elasticsearch, indices: str, wanted: int
) -> None:
    """Wait for the last line of the journal.

    After TERM the daemon's logger ships for a moment only: another ships the rest.
    """
    logger = multiprocessing.get_context("spawn").Process(
        target=logger_main,
        args=(
            LoggerBoot(
                settings=load(deployment.config, {}),
                journal_directory=deployment.state / "journal",
                checkpoint=deployment.state / "checkpoint.json",
                export=None,
                name="logger",
            ),
        ),
    )
    logger.start()
    try:
        wait_until(lambda: server.count(indices) >= wanted, 90)
    except AssertionError:
        report = (deployment.state / "shipper.json").read_text()
        pytest.fail(f"{server.count(indices)} of {wanted} shipped: {report}")
    finally:
        logger.kill()
        logger.join(10)
    assert server.count(indices) == wanted


# -- all panels -----------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(PANELS))
def test_a_panel_returns_what_its_saved_object_says_of_the_journal(
    ran: Ran, name: str
) -> None:
    """The object, read and computed here, against the query that the code makes."""
    reader = LensReader(lens_objects()[f"dcmirror-{name}"], ran.until)

    agree(PANELS[name], ran.panel(name), reader.rows(ran.events))


NOT_IN_THIS_RUN = {"offsets-lost", "journal-drops"}


@pytest.mark.parametrize("name", sorted(PANELS.keys() - NOT_IN_THIS_RUN))
def test_no_panel_is_empty_after_a_bad_day(ran: Ran, name: str) -> None:
    panel = PANELS[name]
    labels = [number.label for number in panel.numbers]
    numbers = [row[label] for row in ran.panel(name) for label in labels]

    assert any(number is not None for number in numbers), numbers


# -- what the books say ---------------------------------------------------------------


def test_files_and_bytes_are_the_catalogues(ran: Ran) -> None:
    total = sum(size for size, _ in ran.copies.values())

    assert ran.number("files", "files") == len(ran.copies) == FILES - 5
    assert ran.number("bytes", "bytes") == total
    over_time = ran.panel("bytes-over-time")
    assert sum(row["bytes"] for row in over_time) == total


def test_failures_are_the_rows_of_failed_csv(ran: Ran) -> None:
    classes = Counter(row["class"] for row in ran.failed)
    table = {row["class"]: row["failed"] for row in ran.panel("errors")}

    assert ran.number("failed", "failed") == len(ran.failed) == 5
    assert table == dict(classes) == {"checksum-mismatch": 2, "forbidden": 3}
    scopes = {row["class"]: row["scope"] for row in ran.panel("errors")}
    assert scopes == {"checksum-mismatch": "transfer", "forbidden": "source"}


def test_efficiency_is_that_of_the_books(ran: Ran) -> None:
    copies, rows = len(ran.copies), len(ran.failed)

    found = ran.number("efficiency", "mirrored of all that ended")
    assert found == pytest.approx(copies / (copies + rows))


def test_retries_are_the_attempts_that_the_rows_and_faults_tell(ran: Ran) -> None:
    """Mismatches are repeated; a 403 is not; the cured faults cost one or two each."""
    by_class: Counter[str] = Counter()
    for row in ran.panel("retries"):
        by_class[row["class"]] += row["retries"]
    attempts = Counter({r["class"]: 0 for r in ran.failed})
    for row in ran.failed:
        attempts[row["class"]] += int(row["attempts"]) - 1

    assert by_class["checksum-mismatch"] == attempts["checksum-mismatch"]
    assert by_class["forbidden"] == attempts["forbidden"] == 0
    assert by_class["not-there-yet"] >= 5  # two files twice, one once
    assert by_class["transient"] == 1


def test_rejected_records_are_those_that_were_sent(ran: Ran) -> None:
    assert ran.number("rejected", "records") == GARBAGE


def test_the_hold_is_told_with_its_length(ran: Ran) -> None:
    (ended,) = ran.of("hold-ended")
    (row,) = ran.panel("holds")

    assert (row["kind"], row["began"], row["ended"]) == ("credential", 1, 1)
    assert row["held"] == row["longest"] == ended["event"]["duration"] > 0


def test_checksum_mismatches_are_counted_by_attempt(ran: Ran) -> None:
    attempts = sum(
        int(row["attempts"])
        for row in ran.failed
        if row["class"] == "checksum-mismatch"
    )

    assert ran.number("checksum-mismatches", "attempts") == attempts


def test_percentiles_lie_where_the_journal_has_them(ran: Ran) -> None:
    ages = sorted(
        value_of(each, "dcmirror.kafka.event_age_ms")
        for each in ran.of("transfer-finished")
        if value_of(each, "dcmirror.transfer.state") == "mirrored"
    )

    assert len(ages) == len(ran.copies)
    for label, percent in (("p50", 50), ("p95", 95)):
        assert is_percentile(ages, percent, ran.number("delay", label))


def test_requests_per_file_are_all_requests_of_all_attempts(ran: Ran) -> None:
    attempts = ran.of("transfer-finished", "transfer-retry", "transfer-parked")
    requests = sum(
        value_of(each, "dcmirror.transfer.requests") or 0 for each in attempts
    )

    found = ran.number("requests-per-file", "HTTP requests per file mirrored")
    assert found == pytest.approx(requests / len(ran.copies))
    assert found >= 2


def test_the_health_table_tells_the_newest_sample(ran: Ran) -> None:
    newest = max(ran.of("health"), key=time_of)
    (row,) = ran.panel("hosts")

    assert row["daemon"] == newest["dcmirror"]["daemon"]
    assert row["of"] == newest["dcmirror"]["worker"]["total"] == 6
    assert row["in 5 minutes"] == len(ran.of("health"))
    assert comparable(row["newest sample"]) == comparable(newest["@timestamp"])
    assert 0 < row["credential"] < 10**9


def test_a_dead_worker_is_seen(ran: Ran) -> None:
    assert ran.number("children-died", "deaths") == 1


# -- saved searches ------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(SEARCHES))
def test_a_search_finds_the_journals_events_in_its_order(ran: Ran, name: str) -> None:
    search = SEARCHES[name]
    wanted = {
        value for clause in search.where for value in getattr(clause, "values", ())
    }
    answer = ran.ask(search_query(search, iso(ran.since), iso(ran.until), size=10_000))
    hits = [hit["_source"] for hit in answer["hits"]["hits"]]
    times = [hit["@timestamp"] for hit in hits]
    events = ran.of(*wanted)
    if name == "search-failures":
        events = [e for e in events if e["dcmirror"]["transfer"]["state"] == "failed"]

    assert len(hits) == len(events)
    assert times == sorted(times, reverse=search.newest_first)


def test_the_story_of_a_file_is_whole(ran: Ran) -> None:
    """By its task: the upload, the steps, the retries and the end, in order."""
    path = path_of(5)
    (task,) = {
        e["dcmirror"]["transfer"]["id"]
        for e in ran.of("upload-seen")
        if e["file"]["path"] == path
    }
    search = SEARCHES["search-story"]
    body = search_query(search, iso(ran.since), iso(ran.until), size=1000)
    body["query"]["bool"]["filter"].append({"term": {"dcmirror.transfer.id": task}})
    told = [h["_source"]["event"]["action"] for h in ran.ask(body)["hits"]["hits"]]

    assert told[0] == "upload-seen"
    assert told[-1] == "transfer-finished"
    assert {"transfer-step", "transfer-retry"} <= set(told)
