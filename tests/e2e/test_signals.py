"""Signals and deaths: stopping well (G10), and whoever dies (G6)."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from chaos import RAW, copied, ended_well, settled
from deployment import Deployment, Running

from dcmirror.testing.fake_dcache import FakeDCache
from helpers import wait_until

if TYPE_CHECKING:
    from dcmirror.testing.pki import Pki
    from servers.kafka import LocalKafka

MIB = 1 << 20


def worker_pids(mirror: Deployment) -> list[int]:
    """The workers that are ready."""
    return [
        worker["pid"]
        for worker in mirror.status().get("workers", [])
        if worker["name"].startswith("worker") and worker["ready"]
    ]


def logger_pid(mirror: Deployment) -> int:
    """The logger's."""
    (pid,) = [w["pid"] for w in mirror.status()["workers"] if w["name"] == "logger"]
    return int(pid)


# -- stopping -------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_daemon_stops_at_once(
    mirror: Deployment, dcache: FakeDCache, number: int
) -> None:
    running = mirror.watch()
    running.says("[KAFKA]")
    running.signal(number)

    assert running.process.wait(15) == 0
    assert "stopped: 0 mirrored" in running.log
    assert "Traceback" not in running.log


def test_a_stop_in_the_middle_of_the_start_is_a_stop(
    mirror: Deployment, dcache: FakeDCache
) -> None:
    running = mirror.watch()
    running.says("[START]")
    running.signal(signal.SIGTERM)

    assert running.process.wait(30) == 0, running.log
    assert "Traceback" not in running.log


def test_running_transfers_finish_within_the_drain(
    mirror: Deployment, dcache: FakeDCache
) -> None:
    mirror.tables["pipeline"]["workers"] = 1
    mirror.write()
    dcache.faults.add("trickle", f"{RAW}/*", count=MIB)
    running = mirror.watch()
    for number in range(4):
        dcache.upload(f"{RAW}/{number}", size=4 * MIB, seed=number)
    wait_until(lambda: len(mirror.parts()) == 4, 20)
    assert running.stop() == 0

    assert set(mirror.copies()) == {"0", "1", "2", "3"}
    assert mirror.parts() == []
    assert "Traceback" not in running.log


def test_a_stalled_transfer_is_parked_at_the_deadline(
    mirror: Deployment, dcache: FakeDCache
) -> None:
    mirror.tables["pipeline"]["drain_seconds"] = 2.0
    mirror.write()
    dcache.faults.add("stall-body", f"{RAW}/a", after=1000)
    running = mirror.watch()
    dcache.upload(f"{RAW}/a", size=MIB, seed=1)
    wait_until(mirror.parts, 20)
    assert running.stop(15) == 0
    assert mirror.parts() == []
    assert mirror.failed_rows() == []
    dcache.faults.clear()
    again = mirror.watch()
    copied(mirror, "a")

    ended_well(again)
    assert "Traceback" not in running.log


def test_what_waits_for_a_retry_does_not_hold_up_the_stop(
    mirror: Deployment, dcache: FakeDCache
) -> None:
    dcache.faults.add("status", f"{RAW}/*", status=503, retry_after="60")
    running = mirror.watch()
    dcache.upload(f"{RAW}/a", size=1000, seed=1)
    running.says("503")
    assert running.stop(15) == 0
    dcache.faults.clear()
    again = mirror.watch()
    copied(mirror, "a")

    ended_well(again)
    assert mirror.failed_rows() == []


def test_a_stop_during_a_hold_is_a_stop(mirror: Deployment, dcache: FakeDCache) -> None:
    dcache.faults.add("status", f"{RAW}/*", status=401)
    running = mirror.watch()
    dcache.upload(f"{RAW}/a", size=1000, seed=1)
    running.says("[HOLD]")
    assert running.stop(15) == 0
    dcache.faults.clear()
    again = mirror.watch()
    copied(mirror, "a")

    ended_well(again)


def test_a_term_for_the_whole_group_is_a_stop_too(
    mirror: Deployment, dcache: FakeDCache
) -> None:
    """As systemd sends it unless it is told KillMode=mixed."""
    mirror.tables["pipeline"]["workers"] = 1
    mirror.write()
    dcache.faults.add("trickle", f"{RAW}/*", count=MIB)
    running = mirror.watch()
    for number in range(4):
        dcache.upload(f"{RAW}/{number}", size=4 * MIB, seed=number)
    wait_until(lambda: len(mirror.parts()) == 4, 20)
    for pid, args in running.children().items():
        if "spawn_main" in args:
            os.kill(pid, signal.SIGTERM)
    assert running.stop() == 0, running.log

    assert set(mirror.copies()) == {"0", "1", "2", "3"}
    assert mirror.parts() == []
    assert "Traceback" not in running.log


def test_a_worker_that_is_told_to_go_finishes_and_is_replaced(
    mirror: Deployment, dcache: FakeDCache
) -> None:
    dcache.faults.add("trickle", f"{RAW}/slow", count=MIB, times=1)
    running = mirror.watch()
    dcache.upload(f"{RAW}/slow", size=4 * MIB, seed=1)
    wait_until(mirror.parts, 20)
    wait_until(lambda: len(worker_pids(mirror)) == 2, 10)
    before = worker_pids(mirror)
    for pid in before:
        os.kill(pid, signal.SIGTERM)
    for number in range(6):
        dcache.upload(f"{RAW}/{number}", size=1000, seed=number)
    copied(mirror, "slow", *map(str, range(6)))
    wait_until(lambda: len(set(worker_pids(mirror)) - set(before)) == 2, 20)

    assert mirror.status()["retries"] == 0
    assert len(dcache.requests.of("GET", f"{RAW}/slow", "door")) == 1
    ended_well(running)


# -- HUP ------------------------------------------------------------------------------


def reload(mirror: Deployment, running: Running) -> None:
    """Write the changed tables, HUP."""
    mirror.write()
    running.signal(signal.SIGHUP)


def test_hup_takes_new_rules_and_opens_the_log_again(
    mirror: Deployment, dcache: FakeDCache
) -> None:
    log = mirror.home / "human.log"
    mirror.tables["log"] = {"file": str(log)}
    mirror.write()
    running = mirror.watch()
    dcache.upload(f"{RAW}/a.tmp", size=1000, seed=1)
    copied(mirror, "a.tmp")
    log.rename(log.with_suffix(".1"))
    mirror.tables["filter"] = {"rules": ["exclude *.tmp"]}
    reload(mirror, running)
    wait_until(lambda: log.exists() and "reloaded" in log.read_text(), 30)
    dcache.upload(f"{RAW}/b.tmp", size=1000, seed=2)
    dcache.upload(f"{RAW}/b.dat", size=1000, seed=3)
    copied(mirror, "b.dat")

    assert "[filter] rules" in log.read_text()
    ended_well(running)
    assert mirror.files() == {"a.tmp", "b.dat"}
    assert "stopped" in log.read_text()


def test_hup_says_which_keys_need_a_restart(
    mirror: Deployment, dcache: FakeDCache
) -> None:
    running = mirror.watch()
    running.says("[KAFKA]")
    mirror.tables["dcache"]["maxdownloads"] = 3
    mirror.tables["dcache"]["retrytimes"] = 7
    reload(mirror, running)
    assert "[dcache] maxdownloads" in running.says("needs a restart")
    assert "[dcache] retrytimes" in running.says("reloaded")

    ended_well(running)


def test_hup_with_a_broken_file_keeps_the_old(
    mirror: Deployment, dcache: FakeDCache
) -> None:
    running = mirror.watch()
    running.says("[KAFKA]")
    good = mirror.config.read_text()
    mirror.config.write_text(good + "[filter]\nrules = [\n")
    running.signal(signal.SIGHUP)
    line = running.says("not reloaded")
    dcache.upload(f"{RAW}/a", size=1000, seed=1)
    copied(mirror, "a")

    assert str(mirror.config) in line
    ended_well(running)


# -- deaths ---------------------------------------------------------------------------


def test_a_killed_logger_is_replaced_and_nobody_else_notices(
    mirror: Deployment, dcache: FakeDCache
) -> None:
    running = mirror.watch()
    running.says("[KAFKA]")
    wait_until(lambda: len(worker_pids(mirror)) == 2, 20)
    before = logger_pid(mirror)
    workers = worker_pids(mirror)
    for _ in range(6):
        pid = wait_until(lambda: running.process.poll() is None and current(mirror), 20)
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda pid=pid: current(mirror) not in (None, pid), 60)
    dcache.upload(f"{RAW}/a", size=1000, seed=1)
    copied(mirror, "a")

    assert logger_pid(mirror) != before
    assert worker_pids(mirror) == workers
    ended_well(running)


def current(mirror: Deployment) -> int | None:
    """The logger that lives, if one does."""
    try:
        return logger_pid(mirror)
    except ValueError:
        return None


def test_a_frozen_worker_is_ended_and_its_work_done_by_another(
    mirror: Deployment, dcache: FakeDCache
) -> None:
    mirror.variables["DCMIRROR_TEST_SILENCE_SECONDS"] = "4"
    mirror.tables["pipeline"]["workers"] = 1
    mirror.write()
    dcache.faults.add("trickle", f"{RAW}/a", count=MIB, times=1)
    running = mirror.watch()
    dcache.upload(f"{RAW}/a", size=3 * MIB, seed=1)
    wait_until(mirror.parts, 20)
    (pid,) = wait_until(lambda: worker_pids(mirror), 10)
    os.kill(pid, signal.SIGSTOP)
    running.says("has been silent")
    copied(mirror, "a")

    assert running.says("killed by SIGKILL")
    ended_well(running)
    assert mirror.parts() == []


def break_children(mirror: Deployment, code: str) -> None:
    """Run ``code`` in every child process, before anything of ours."""
    directory = mirror.home / "site"
    directory.mkdir()
    guard = "import sys\nif '--multiprocessing-fork' in sys.orig_argv:\n"
    lines = "".join(f"    {line}\n" for line in code.splitlines())
    (directory / "sitecustomize.py").write_text(guard + lines)
    mirror.variables["PYTHONPATH"] = str(directory)


NO_LOCK = """
import fcntl
def refuse(*args):
    raise OSError(5, "Input/output error")
fcntl.flock = refuse
"""
#: The main thread gets its signal handlers, then the first pipe is read: dead.
NO_LIFE = """
import os, multiprocessing.connection as c
def die(self, *args):
    os.kill(os.getpid(), 11)
c.Connection.send = c.Connection.send_bytes = die
"""


def test_a_child_that_cannot_start_ends_the_daemon_with_status_3(
    mirror: Deployment, dcache: FakeDCache
) -> None:
    break_children(mirror, NO_LOCK)
    done = mirror.run("watch")

    assert done.returncode == 3, done.stderr
    assert "could not start" in done.stderr
    assert "Input/output error" in done.stderr
    assert "Traceback" not in done.stderr


def test_children_that_die_and_die_end_the_daemon_with_status_5(
    mirror: Deployment, dcache: FakeDCache
) -> None:
    break_children(mirror, NO_LIFE)
    done = mirror.run("watch")

    assert done.returncode == 5, done.stderr
    assert "5 times running" in done.stderr
    assert "SIGSEGV" in done.stderr


def test_a_file_that_kills_its_worker_stops_no_other(
    mirror: Deployment, dcache: FakeDCache
) -> None:
    """Found out alone, and given up as poison; the others are copied."""
    break_children(
        mirror,
        "import os\n"
        "from dcmirror.tasks import copy\n"
        "run = copy.CopyAttempt.run\n"
        "def deadly(self):\n"
        "    if self.job.relative == 'deadly':\n"
        "        os.kill(os.getpid(), 11)\n"
        "    return run(self)\n"
        "copy.CopyAttempt.run = deadly\n",
    )
    running = mirror.watch()
    running.says("[KAFKA]")
    for number in range(10):
        dcache.upload(f"{RAW}/{number}", size=1000, seed=number)
        if number == 5:
            dcache.upload(f"{RAW}/deadly", size=1000, seed=99)
    copied(mirror, *map(str, range(10)), deadline=60)
    wait_until(mirror.failed_rows, 60)
    (row,) = mirror.failed_rows()

    assert (row["path"], row["class"]) == (f"{RAW}/deadly", "poison")
    ended_well(running)


# -- the broker -----------------------------------------------------------------------


def test_a_broker_that_dies_and_returns_loses_nothing(
    deploy: Callable[..., Deployment],
    private_kafka: Callable[..., LocalKafka],
    topic: str,
    pki: Pki,
) -> None:
    kafka = private_kafka()
    kafka.create_topic(topic, 3)
    with FakeDCache(pki, publish=lambda value: kafka.produce(topic, [value])) as dcache:
        mirror = deploy(kafka.bootstrap, dcache.door_url)
        running = mirror.watch()
        dcache.upload(f"{RAW}/a", size=1000, seed=1)
        copied(mirror, "a")
        kafka.kill()
        running.says("[KAFKA]")
        kafka.start()
        for number in range(5):
            dcache.upload(f"{RAW}/{number}", size=1000, seed=number)
        copied(mirror, *map(str, range(5)), deadline=90)

        settled(dcache, kafka, topic, 60)
        ended_well(running)
        assert mirror.failed_rows() == []


def test_a_broker_that_is_away_at_the_start_is_waited_for(
    deploy: Callable[..., Deployment],
    private_kafka: Callable[..., LocalKafka],
    topic: str,
    pki: Pki,
) -> None:
    kafka = private_kafka()
    kafka.create_topic(topic, 1)
    with FakeDCache(pki, publish=lambda value: kafka.produce(topic, [value])) as dcache:
        dcache.upload(f"{RAW}/a", size=1000, seed=1)
        kafka.kill()
        mirror = deploy(kafka.bootstrap, dcache.door_url)
        running = mirror.watch()
        assert kafka.bootstrap in running.says("[KAFKA]")
        kafka.start()
        copied(mirror, "a", deadline=60)

        ended_well(running)


def test_a_stop_while_the_broker_is_away_takes_seconds(
    deploy: Callable[..., Deployment],
    dcache: FakeDCache,
) -> None:
    mirror = deploy("127.0.0.1:9", dcache.door_url)
    running = mirror.watch()
    running.says("127.0.0.1:9")
    running.signal(signal.SIGTERM)

    assert running.process.wait(30) == 0, running.log
    assert "Traceback" not in running.log


def test_nothing_of_a_killed_supervisor_is_left_or_lost(
    mirror: Deployment, dcache: FakeDCache
) -> None:
    # the group waits that long for a member that did not leave
    mirror.tables["kafka"]["client"] = {"session_timeout_ms": 6000}
    mirror.write()
    dcache.faults.add("trickle", f"{RAW}/*", count=2 * MIB, times=3)
    running = mirror.watch()
    for number in range(8):
        dcache.upload(f"{RAW}/{number}", size=2 * MIB, seed=number)
    wait_until(mirror.parts, 20)
    running.kill()
    again = mirror.watch()
    copied(mirror, *map(str, range(8)))

    ended_well(again)
    assert mirror.parts() == []
    assert mirror.failed_rows() == []
