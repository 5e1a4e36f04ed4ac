"""What Prometheus sees agrees with the books and with dCache itself (G7)."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from chaos import IMPATIENT, RAW, classes, copied, ended_well, given_up
from deployment import Deployment

from dcmirror.core.metric_table import METRICS, Kind, Metric
from dcmirror.testing.fake_dcache import FakeDCache
from helpers import wait_until
from scraping import Scrape, scrape, shows

if TYPE_CHECKING:
    from servers.kafka import Kafka

#: Each hits the first request for its file.
PASSING: dict[str, dict[str, Any]] = {
    "status": {"status": 503},
    "reset": {},
    "bounce": {},
    "stall": {},
    "short-body": {"count": 1000},
    "reset-body": {"after": 1000},
    "flip": {"after": 5},
    "digest-wrong": {"methods": ("GET",)},
}
#: Shown while there is a hold only.
ABSENT = {"dcmirror_hold_start_time_seconds"}
LASTING: dict[str, dict[str, Any]] = {
    "flip": {"after": 5},
    "short-body": {"count": 10},
    "redirect-loop": {},
}


@pytest.fixture
def port() -> Iterator[int]:
    """Nobody else is given it as long as this socket has it.

    It does not listen, and so keeps no server from asking for the port by its number.
    """
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


@pytest.fixture
def watched(
    deploy: Callable[..., Deployment], dcache: FakeDCache, kafka: Kafka, port: int
) -> Deployment:
    """A dcmirror with an endpoint, and little patience."""
    mirror = deploy(
        kafka.bootstrap,
        dcache.door_url,
        source={"first_byte_seconds": 2.0, "net_seconds": 2.0, "grace_seconds": 2.0},
        dcache={"retrytimes": 2, "maxdownloads": 6},
        filter={"rules": ["exclude *.tmp"]},
        metrics={"port": port},
    )
    mirror.variables.update(IMPATIENT)
    return mirror


def is_shown(found: Scrape, metric: Metric) -> bool:
    """Whether a real daemon gives this metric a sample."""
    name = f"{metric.name}_count" if metric.kind is Kind.HISTOGRAM else metric.name
    return any(known == name for known, _ in found.samples)


def mirrored(found: Scrape) -> float | None:
    """Files that are there."""
    return found("files_total", outcome="mirrored", reason="")


def settled(deployment: Deployment) -> Counter[str]:
    """Records of ours by what became of them, as the books' spans count them."""
    counts: Counter[str] = Counter()
    for (text,) in deployment.query("SELECT counts FROM spans"):
        counts.update(json.loads(text))
    del counts["not-ours"]
    return counts


def told(found: Scrape) -> Counter[str]:
    """The same, as Prometheus sees it."""
    counts = Counter(found.by("files_total", "outcome"))
    for reason, count in found.by("files_total", "reason", outcome="skipped").items():
        counts[f"skipped:{reason}"] = int(count)
    del counts["skipped"]
    for reason, count in found.by("covered_records_total", "reason").items():
        counts[f"skipped:{reason}"] = int(count)
    return +counts


def test_counters_are_those_of_the_catalogue_failed_csv_and_dcache_itself(
    watched: Deployment, dcache: FakeDCache, port: int
) -> None:
    for kind, options in PASSING.items():
        dcache.faults.add(kind, f"{RAW}/passing/{kind}", per_path=1, **options)
    for kind, options in LASTING.items():
        dcache.faults.add(kind, f"{RAW}/lasting/{kind}", **options)
    running = watched.watch()
    for number in range(40):
        dcache.upload(f"{RAW}/good/{number}", size=number * 1000, seed=number)
    for seed, name in enumerate(
        [f"passing/{kind}" for kind in PASSING]
        + [f"lasting/{kind}" for kind in LASTING]
        + ["scratch.tmp"]
    ):
        dcache.upload(f"{RAW}/{name}", size=50_000 + seed, seed=seed)
    copied(watched, *[f"passing/{kind}" for kind in PASSING])
    given_up(watched, len(LASTING))
    wait_until(lambda: len(watched.copies()) == 48, what="48 copies")
    dcache.tell(f"{RAW}/good/1")

    wait_until(lambda: settled(watched)["skipped:already-mirrored"] == 1)
    wait_until(lambda: told(scrape(port)) == settled(watched), what="the same counts")
    found = scrape(port)

    assert ABSENT == {metric.name for metric in METRICS if not is_shown(found, metric)}
    copies = watched.copies()
    assert (48, 3) == tuple(told(found)[each] for each in ("mirrored", "failed"))
    assert Counter(classes(watched).values()) == {
        reason: count
        for reason, count in found.by("files_total", "reason", outcome="failed").items()
        if count
    }
    assert sum(size for size, _ in copies.values()) == found("mirrored_bytes_total")
    assert 48 == found("transfer_duration_seconds_count")
    assert 48 == found("event_delay_seconds_count")
    assert sum(found.by("retries_total", "class").values()) > len(PASSING) - 2
    for role in ("door", "pool"):
        assert seen_by_dcache(dcache, role) == (
            found.by("http_requests_total", "host", role=role),
            found.by("http_connections_total", "host", role=role),
        )
    received = found.by("http_received_bytes_total", "role")
    assert received["door"] == 0
    assert received["pool"] > sum(size for size, _ in copies.values())
    door = sum(found.by("http_requests_total", "host", role="door").values())
    assert found("requests_per_file", role="door") == pytest.approx(door / 48)
    ended_well(running)


def seen_by_dcache(
    dcache: FakeDCache, role: str
) -> tuple[dict[str, float], dict[str, float]]:
    """Requests and connections by host, as the fake's own log has them."""
    requests: Counter[str] = Counter()
    connections: dict[str, set[int]] = {}
    for seen in dcache.requests.of(server=role):
        host = address_of(dcache, seen.server)
        requests[host] += 1
        connections.setdefault(host, set()).add(seen.connection)
    return dict(requests), {host: len(ids) for host, ids in connections.items()}


def address_of(dcache: FakeDCache, server: str) -> str:
    """host:port of the door, or of a pool."""
    url = dcache.door_url if server == "door" else dcache._pool_url(server)
    return urlsplit(url).netloc


@pytest.mark.slow
def test_stuck_daemon_is_shown_as_such(
    watched: Deployment, dcache: FakeDCache, port: int
) -> None:
    running = watched.watch()
    dcache.upload(f"{RAW}/a", size=1000, seed=1)
    shows(port, lambda s: mirrored(s) == 1 and s("up") == 1)

    running.signal(signal.SIGSTOP)
    try:
        stuck = shows(port, lambda s: s("up") == 0)
    finally:
        running.signal(signal.SIGCONT)

    age = stuck("status_age_seconds")
    assert age is not None
    assert age >= 10
    assert mirrored(stuck) == 1
    again = shows(port, lambda s: s("up") == 1)
    assert again("start_time_seconds") == stuck("start_time_seconds")
    ended_well(running)


def test_taken_port_is_told_once_and_harms_nothing(
    watched: Deployment, dcache: FakeDCache, port: int
) -> None:
    with socket.create_server(("127.0.0.1", port)):
        running = watched.watch()
        running.says(f"metrics at 127.0.0.1 port {port}")
        dcache.upload(f"{RAW}/a", size=1000, seed=1)
        copied(watched, "a")
        ended_well(running)

    assert running.log.count("metrics at") == 1


def test_endpoint_outlives_a_reload_and_comes_back_after_the_loggers_death(
    watched: Deployment, dcache: FakeDCache, port: int
) -> None:
    running = watched.watch()
    dcache.upload(f"{RAW}/a", size=1000, seed=1)
    before = shows(port, lambda s: mirrored(s) == 1)

    running.signal(signal.SIGHUP)
    running.says("reloaded")
    assert mirrored(scrape(port)) == 1

    (logger,) = [w for w in watched.status()["workers"] if w["name"] == "logger"]
    os.kill(logger["pid"], signal.SIGKILL)
    dcache.upload(f"{RAW}/b", size=1000, seed=2)
    after = shows(port, lambda s: mirrored(s) == 2)
    assert before("start_time_seconds") == after("start_time_seconds")
    assert after("worker_restarts_total") == 1
    ended_well(running)


def test_hold_is_shown_with_its_kind_and_since_when(
    watched: Deployment, dcache: FakeDCache, port: int
) -> None:
    watched.tables["destination"] = {"min_free": 1 << 60}
    watched.write()
    running = watched.watch()
    dcache.upload(f"{RAW}/a", size=1000, seed=1)

    held = shows(port, lambda s: s("holds", kind="destination") == 1)

    since = held("hold_start_time_seconds", kind="destination", host="")
    started = held("start_time_seconds")
    assert since is not None
    assert started is not None
    assert 0 <= since - started < 60
    assert {"destination": 1.0} == {
        kind: count for kind, count in held.by("holds", "kind").items() if count
    }
    assert held("destination_min_free_bytes") == 1 << 60
    ended_well(running)
