"""Whether a command runs, seen from outside and without getting in its way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dcmirror.adapters import locks
from dcmirror.adapters.daemon_sight import see
from dcmirror.adapters.locks import LOOK_SECONDS, acquire, look_at
from helpers import wait_until
from status_data import a_status


@contextmanager
def holder(lock: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that has the lock."""
    code = (
        "import sys; from pathlib import Path; from dcmirror.adapters.locks import *\n"
        "lock = acquire(Path(sys.argv[1])); print('held', flush=True)\n"
        "sys.stdin.readline()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(lock)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert "held\n" == process.stdout.readline()
        yield process
    finally:
        process.kill()
        process.communicate(timeout=10)


def write(state: Path, **over: object) -> None:
    (state / "status.json").write_text(json.dumps(a_status(**over)))


def test_a_lock_tells_its_holder_and_since_when(tmp_path: Path) -> None:
    with holder(tmp_path / "watch.lock") as process:
        held = look_at(tmp_path / "watch.lock")

        assert held is not None
        assert process.pid == held.pid == held.signed
        assert abs(time.time() - held.since) < 60


def test_a_lock_of_the_dead_is_free(tmp_path: Path) -> None:
    with holder(tmp_path / "watch.lock") as process:
        process.kill()
        process.wait(10)

        assert None is look_at(tmp_path / "watch.lock")


def test_a_lock_that_never_was_is_free(tmp_path: Path) -> None:
    assert None is look_at(tmp_path / "watch.lock")
    assert [] == list(tmp_path.iterdir())


def test_where_the_kernel_lists_nobody_the_lock_itself_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another pid namespace, or device numbers of the file system's own."""
    monkeypatch.setattr(locks, "_kernel_holders", lambda fd: [])
    with holder(tmp_path / "watch.lock") as process:
        held = look_at(tmp_path / "watch.lock")
        assert held is not None
        assert (None, process.pid) == (held.pid, held.signed)
        process.kill()
        process.wait(10)

        assert None is look_at(tmp_path / "watch.lock")


def test_looking_never_keeps_a_daemon_from_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "_kernel_holders", lambda fd: [])
    path = tmp_path / "watch.lock"
    path.touch()
    is_over = threading.Event()

    def look_without_end() -> None:
        while not is_over.is_set():
            look_at(path)

    looker = threading.Thread(target=look_without_end)
    looker.start()
    try:
        for _ in range(50):
            acquire(path, LOOK_SECONDS).release()
    finally:
        is_over.set()
        looker.join(10)


def test_a_daemon_that_runs_is_seen_with_its_status(tmp_path: Path) -> None:
    with holder(tmp_path / "watch.lock") as process:
        write(tmp_path, pid=process.pid, at=time.time())
        sight = see(tmp_path, "watch")

        assert (True, process.pid, None) == (
            sight.is_running,
            sight.pid,
            sight.problem,
        )
        assert sight.is_of_this_run
        assert sight.silence is not None
        assert sight.silence < 5


def test_a_stopped_daemon_is_seen_as_the_kernel_sees_it(tmp_path: Path) -> None:
    with holder(tmp_path / "watch.lock") as process:
        write(tmp_path, pid=process.pid)
        process.send_signal(signal.SIGSTOP)

        wait_until(lambda: see(tmp_path, "watch").process == "T", 10)


def test_the_status_of_an_earlier_run_is_not_of_this_one(tmp_path: Path) -> None:
    write(tmp_path, pid=os.getpid())
    with holder(tmp_path / "watch.lock"):
        sight = see(tmp_path, "watch")

    assert sight.is_running
    assert not sight.is_of_this_run


def test_a_file_that_is_only_touched_tells_of_a_full_disk(tmp_path: Path) -> None:
    with holder(tmp_path / "watch.lock") as process:
        write(tmp_path, pid=process.pid, at=time.time() - 100)
        sight = see(tmp_path, "watch")

    assert "a full disk?" in (sight.problem or "")


@pytest.mark.parametrize(
    "content", ["", "[]", "null", "7", '{"pid": "x", "at": 1}', '{"pid": 1}', "{" * 99]
)
def test_what_is_no_status_is_told_and_harms_nothing(
    tmp_path: Path, content: str
) -> None:
    (tmp_path / "status.json").write_text(content)
    sight = see(tmp_path, "watch")

    assert {} == sight.status
    assert "status.json" in (sight.problem or "")


def test_a_pipe_in_the_place_of_the_status_does_not_hang_us(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "status.json")

    assert "no status file" in (see(tmp_path, "watch").problem or "")


def test_each_command_has_lock_and_status_of_its_own(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "status-replay.json").write_text(
        json.dumps(a_status(command="replay", pid=1))
    )

    assert "replay" == see(tmp_path, "replay").status["command"]
    assert "watch" == see(tmp_path, "watch").status["command"]
