"""`dcmirror status` of a real daemon: what it does, what it suffers, how it went."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from chaos import IMPATIENT, RAW, copied, events, given_up, holds, settled
from deployment import Deployment, Running

from dcmirror.testing.fake_dcache import FakeDCache
from helpers import free_port, wait_until
from terminal import Terminal

if TYPE_CHECKING:
    from dcmirror.testing.pki import Pki
    from servers.kafka import Kafka

MIB = 1 << 20


def ask(mirror: Deployment, *more: str) -> tuple[int, str]:
    """Exit status and text."""
    ran = mirror.run("status", *more)
    assert ran.stderr == ""
    return ran.returncode, ran.stdout


def told(mirror: Deployment) -> dict[str, Any]:
    """The document of --json."""
    document: dict[str, Any] = json.loads(ask(mirror, "--json")[1])
    return document


def reasons(mirror: Deployment) -> str:
    return "; ".join(reason["text"] for reason in told(mirror)["reasons"])


def started(mirror: Deployment) -> Running:
    """A daemon that reads its partitions."""
    running = mirror.watch()

    def reads() -> bool:
        status = mirror.status()
        return status.get("pid") == running.pid and len(status["lag"]) == 3

    wait_until(reads, 40)
    return running


@pytest.fixture
def lasting_proxy(pki: Pki, mirror: Deployment) -> Deployment:
    """A proxy that is good for longer than any warning."""
    mirror.tables["local"]["proxy"] = str(pki.make_proxy(lifetime_seconds=86400))
    mirror.write()
    return mirror


def test_a_quiet_daemon_is_well(lasting_proxy: Deployment) -> None:
    started(lasting_proxy)
    status, text = ask(lasting_proxy)

    assert (0, "") == (status, reasons(lasting_proxy))
    assert text.startswith("WELL  dcmirror watch (g-")
    assert re.search(r"3 partitions, lag 0 records", text)


def test_a_slow_transfer_is_seen_with_progress_speed_and_phase(
    lasting_proxy: Deployment, dcache: FakeDCache
) -> None:
    mirror = lasting_proxy
    dcache.faults.add("trickle", f"{RAW}/slow*", count=MIB // 4)
    started(mirror)
    dcache.upload(f"{RAW}/slow.dat", size=30 * MIB, seed=1)

    def running() -> Any:
        found = mirror.status().get("transfers", [])
        return [each for each in found if each["bytes_per_second"] > 0]

    wait_until(running, 30)
    (first,) = told(mirror)["status"]["transfers"]
    wait_until(lambda: mirror.status()["transfers"][0]["bytes"] > first["bytes"], 10)
    _, text = ask(mirror)

    assert (f"{RAW}/slow.dat", "data", 30 * MIB) == (
        first["path"],
        first["phase"],
        first["size"],
    )
    assert re.search(rf"s  data +\d+s +[\d.]+ .?B +\d+ % .*B/s +{RAW}/slow.dat", text)
    assert re.search(r"1 of 6 streams busy at [\d.]+ .?B/s", text)


def test_a_door_that_is_down_is_seen_as_a_hold(
    deploy: Callable[..., Deployment], kafka: Kafka, dcache: FakeDCache
) -> None:
    mirror = deploy(kafka.bootstrap, f"https://localhost:{free_port()}")
    mirror.variables.update(IMPATIENT)
    started(mirror)
    dcache.upload(f"{RAW}/a.dat", size=10, seed=1)
    wait_until(lambda: holds(mirror), 30)
    status, text = ask(mirror)

    assert 1 == status
    assert re.search(r"held for .*: door localhost:\d+: ", text)
    assert re.search(r"1 hold\n", text)
    assert "DCMIRROR WARNING - held for" in ask(mirror, "--check")[1]


def test_files_to_be_tried_again_are_seen_with_their_class(
    lasting_proxy: Deployment, dcache: FakeDCache
) -> None:
    mirror = lasting_proxy
    mirror.tables["dcache"]["retryseconds"] = 60
    mirror.write()
    dcache.faults.add("status", f"{RAW}/*", status=503)
    started(mirror)
    dcache.upload(f"{RAW}/a.dat", size=10, seed=1)
    wait_until(lambda: mirror.status().get("retries_due"), 30)
    _, text = ask(mirror)

    assert re.search(rf"[\dms]+ +2  transient  {RAW}/a.dat", text)


def test_a_stopped_daemon_is_stuck_and_says_what_it_did_last(
    lasting_proxy: Deployment,
) -> None:
    mirror = lasting_proxy
    running = started(mirror)
    running.signal(signal.SIGSTOP)
    try:
        wait_until(lambda: "shown no life" in reasons(mirror), 30)
        assert 1 == ask(mirror)[0]
        long_ago = time.time() - 3600  # nobody waits an hour in a test
        os.utime(mirror.state / "status.json", (long_ago, long_ago))
        status, text = ask(mirror)
    finally:
        running.signal(signal.SIGCONT)

    assert 2 == status
    assert text.startswith("STUCK  dcmirror watch")
    assert f"(pid {running.pid}) has shown no life for 1 h: it is stopped by" in text
    assert "What it said last" in text
    wait_until(lambda: ask(mirror)[0] == 0, 20)


def test_a_killed_daemon_is_not_running_and_was_killed(
    lasting_proxy: Deployment,
) -> None:
    running = started(lasting_proxy)
    running.kill()
    status, text = ask(lasting_proxy)

    assert 3 == status
    assert text.startswith("NOT RUNNING  dcmirror watch")
    assert re.search(rf"killed or crashed .* ago \(pid {running.pid}\)", text)
    assert "DCMIRROR UNKNOWN - not running" in ask(lasting_proxy, "--check")[1]


def test_a_daemon_that_was_stopped_was_stopped(lasting_proxy: Deployment) -> None:
    assert 3 == ask(lasting_proxy)[0]
    running = started(lasting_proxy)
    assert 0 == running.stop()

    assert (3, True) == (
        ask(lasting_proxy)[0],
        "not running: stopped" in reasons(lasting_proxy),
    )


def test_children_that_die_in_a_row_are_told(lasting_proxy: Deployment) -> None:
    mirror = lasting_proxy
    started(mirror)
    killed: set[int] = set()
    while len(killed) < 3:
        ready = [w for w in mirror.status()["workers"] if w["streams"] and w["ready"]]
        for worker in ready:
            if worker["pid"] not in killed:
                os.kill(worker["pid"], signal.SIGKILL)
                killed.add(worker["pid"])

    wait_until(lambda: "child processes died" in reasons(mirror), 20)


def test_the_status_agrees_with_the_books(
    lasting_proxy: Deployment, dcache: FakeDCache, kafka: Kafka, topic: str
) -> None:
    """G7: files, bytes, failures, and what the broker was told."""
    mirror = lasting_proxy
    dcache.faults.add("status", f"{RAW}/bad*", status=403)
    running = started(mirror)
    for number in range(30):
        dcache.upload(f"{RAW}/{number}.dat", size=1000 + number, seed=number)
    for number in range(2):
        dcache.upload(f"{RAW}/bad-{number}.dat", size=10, seed=number)
    copied(mirror, *(f"{number}.dat" for number in range(30)))
    mirror.run("status")  # looking changes nothing
    wait_until(lambda: 0 == sum(mirror.status()["lag"].values()), 20)
    assert 0 == running.stop()
    given_up(mirror, 2)
    status = told(mirror)["status"]
    copies = mirror.copies().values()

    assert (len(copies), sum(size for size, _ in copies)) == (
        status["mirrored"],
        status["bytes_mirrored"],
    )
    assert len(mirror.failed_rows()) == status["failed"] == 2
    assert {"forbidden": 2} == status["failures"]
    assert 0 == sum(status["lag"].values())
    assert kafka.committed(f"g-{topic}") == {
        each["partition"]: each["committed"] for each in status["partitions"]
    }
    assert {(0, 0)} == {(p["pending"], p["above_gap"]) for p in status["partitions"]}


def test_what_is_skipped_is_the_same_wherever_it_is_told(
    lasting_proxy: Deployment, dcache: FakeDCache, kafka: Kafka, topic: str
) -> None:
    """G7: each upload has a second record, the door's, which nobody may call a skip."""
    mirror = lasting_proxy
    mirror.tables["filter"] = {"rules": ["exclude *.tmp"]}
    mirror.write()
    running = started(mirror)
    names = [f"{number}.dat" for number in range(6)]
    for seed, name in enumerate([*names, "scratch.tmp"]):
        dcache.upload(f"{RAW}/{name}", size=1000, seed=seed)
    copied(mirror, *names)
    dcache.tell(f"{RAW}/{names[0]}")
    settled(dcache, kafka, topic)
    assert 0 == running.stop()
    status = told(mirror)["status"]
    report = json.loads(mirror.run("report", "--json").stdout)["journal"]
    (stopped,) = events(mirror, "watch-stopped")
    finished = Counter(
        each["event"]["reason"]
        for each in events(mirror, "transfer-finished", "event-skipped")
        if "reason" in each["event"]
    )

    assert {"already-mirrored", "excluded"} == status["skipped"].keys()
    assert status["skipped"] == report["skipped_by_reason"] == finished
    assert sum(status["skipped"].values()) == report["skipped"]
    assert report["skipped"] == stopped["dcmirror"]["counts"]["skipped"]
    assert f"stopped: 6 mirrored, {report['skipped']} skipped, 0 failed" in running.log
    assert {"joined": 7} == status["covered"]


def test_a_replay_is_seen_beside_the_daemon(
    lasting_proxy: Deployment, dcache: FakeDCache
) -> None:
    mirror = lasting_proxy
    dcache.faults.add("status", f"{RAW}/a*", status=403)
    started(mirror)
    dcache.upload(f"{RAW}/a.dat", size=20 * MIB, seed=1)
    wait_until(lambda: mirror.status()["jobs"]["provisional"], 20)
    dcache.upload(f"{RAW}/good.dat", size=10, seed=2)  # so the source is not suspected
    given_up(mirror)
    dcache.faults.clear()
    dcache.faults.add("trickle", f"{RAW}/*", count=MIB // 4)
    replay = subprocess.Popen(
        mirror.command("replay"), env=mirror.environ(), stderr=subprocess.DEVNULL
    )
    try:
        wait_until(lambda: told(mirror)["others"].get("replay"), 30)
        wait_until(lambda: told(mirror)["others"]["replay"]["status"], 30)
        wait_until(lambda: f"{RAW}/a.dat" in ask(mirror)[1], 30)
        text = ask(mirror)[1]
    finally:
        replay.send_signal(signal.SIGTERM)
        replay.wait(60)

    assert "dcmirror replay (g-" in text
    assert "0 of 1 done, 0 failed again" in text
    assert {} == told(mirror)["others"]


def test_the_live_screen_follows_a_daemon_over_its_restart(
    lasting_proxy: Deployment, dcache: FakeDCache
) -> None:
    mirror = lasting_proxy
    running = started(mirror)
    command = mirror.command("status", "--follow")
    with Terminal(command, mirror.environ(), 50, 120) as terminal:
        terminal.shows("WELL  dcmirror watch")
        assert 0 == running.stop()
        terminal.shows("NOT RUNNING")
        again = started(mirror)
        terminal.shows(f"pid {again.pid}")
        dcache.upload(f"{RAW}/a.dat", size=10, seed=1)
        terminal.shows("mirrored a file")
        terminal.press(b"q")

        assert 0 == terminal.ends()
        assert terminal.is_restored()
