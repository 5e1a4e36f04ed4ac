"""`dcmirror status --follow` on a real terminal, and the command without one."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from dcmirror.adapters.locks import Lock, acquire
from dcmirror.core.verdict import StatusVerdict
from helpers import wait_until
from status_data import a_status, a_transfer
from terminal import Terminal


class Daemon:
    """What a daemon leaves behind, made by hand: this process has its lock."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.lock: Lock | None = acquire(state / "watch.lock")

    def write(self, **over: Any) -> None:
        """Its status of this second."""
        now = time.time()
        over = {"pid": os.getpid(), "at": now, "started": now - 60} | over
        path = self.state / "status.json"
        path.with_suffix(".new").write_text(json.dumps(a_status(**over)))
        path.with_suffix(".new").rename(path)

    def die(self) -> None:
        """The kernel drops its lock."""
        assert self.lock is not None
        self.lock.release()


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    """A daemon with one transfer."""
    made = Daemon(tmp_path)
    made.write(transfers=[a_transfer()], transfers_total=1)
    yield made
    made.die()


def command(state: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "dcmirror", "status", "--state", str(state), *more]


def run(state: Path, *more: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(state, *more),
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def shows_well(terminal: Terminal, daemon: Daemon) -> None:
    """Wait until the screen says so: of a status of now, since it is not well for long.

    A busy machine may take longer to look at a status than that is fresh.
    """

    def is_shown() -> bool:
        daemon.write(transfers=[a_transfer()], transfers_total=1)
        return "WELL  dcmirror watch" in terminal.screen()

    wait_until(is_shown, 20, what="a screen that says WELL")


@pytest.fixture
def terminal(daemon: Daemon) -> Iterator[Terminal]:
    """`--follow` on a terminal of 24 lines and 80 columns."""
    environ = {k: v for k, v in os.environ.items() if k != "NO_COLOR"}
    with Terminal(command(daemon.state, "--follow"), environ, 24, 80) as made:
        shows_well(made, daemon)
        yield made


def test_the_screen_shows_the_transfer_and_q_gives_the_terminal_back(
    terminal: Terminal,
) -> None:
    terminal.shows("/pnfs/example.org/data/a.dat")

    assert not terminal.modes()[3] & termios.ECHO
    terminal.press(b"q")
    assert 0 == terminal.ends()
    assert terminal.is_restored()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_gives_the_terminal_back(
    terminal: Terminal, number: signal.Signals
) -> None:
    terminal.signal(number)

    assert 0 == terminal.ends()
    assert terminal.is_restored()


def test_control_c_gives_the_terminal_back(terminal: Terminal) -> None:
    terminal.press(b"\x03")

    assert 0 == terminal.ends()
    assert terminal.is_restored()


def test_other_keys_do_nothing(terminal: Terminal, daemon: Daemon) -> None:
    terminal.press(b"x\x1b[A\r ")
    daemon.write(instance="another")

    terminal.shows("another on dtn03")
    assert terminal.process.poll() is None


def test_the_screen_follows_the_size_of_the_terminal(terminal: Terminal) -> None:
    terminal.shows("more lines")
    terminal.resize(60, 140)
    text = terminal.shows("worker 2")

    assert "more lines" not in text
    terminal.resize(10, 40)
    text = terminal.shows("more lines")
    assert len(text.splitlines()) <= 10
    assert max(map(len, text.splitlines())) <= 40


def test_the_screen_survives_the_daemons_end_and_its_next_start(
    terminal: Terminal, daemon: Daemon
) -> None:
    daemon.die()
    terminal.shows("NOT RUNNING  dcmirror watch")
    (daemon.state / "status.json").unlink()
    terminal.shows("it has never run here")
    daemon.lock = acquire(daemon.state / "watch.lock")

    shows_well(terminal, daemon)


def test_only_what_changed_is_written(terminal: Terminal, daemon: Daemon) -> None:
    terminal.shows("Processes" if terminal.rows > 40 else "more lines")
    before = len(terminal.read())
    daemon.write(
        transfers=[a_transfer(bytes=10**9)], transfers_total=1, instance="changed"
    )
    terminal.shows("changed on dtn03")

    assert len(terminal.read()) - before < 1500


def test_a_stopped_screen_gives_the_terminal_back_until_it_goes_on(
    terminal: Terminal, daemon: Daemon
) -> None:
    terminal.press(b"\x1a")

    def state() -> str:
        text = Path(f"/proc/{terminal.process.pid}/stat").read_text()
        return text.rpartition(")")[2].split()[0]

    wait_until(lambda: state() == "T", 10)
    assert terminal.is_restored()
    terminal.signal(signal.SIGCONT)
    wait_until(lambda: not terminal.is_restored(), 10)
    shows_well(terminal, daemon)
    terminal.press(b"q")
    assert 0 == terminal.ends()
    assert terminal.is_restored()


def test_a_terminal_that_goes_away_ends_the_screen(daemon: Daemon) -> None:
    with Terminal(command(daemon.state, "-f"), dict(os.environ), 24, 80) as made:
        shows_well(made, daemon)
        made.signal(signal.SIGHUP)
        assert 0 == made.ends()


def test_without_a_terminal_it_is_a_line_now_and_then(daemon: Daemon) -> None:
    process = subprocess.Popen(
        command(daemon.state, "--follow"), stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        first = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=20)
    finally:
        process.kill()

    assert re.match(r"\d{4}-\d\d-\d\d .* WELL 0 in hand, 0 ready", first)
    assert "\x1b" not in first + rest
    assert 0 == process.returncode


def test_in_a_pipe_there_are_neither_colours_nor_broken_lines(daemon: Daemon) -> None:
    long = "/pnfs/" + "x" * 300
    daemon.write(transfers=[a_transfer(long)], transfers_total=1)
    ran = run(daemon.state, COLUMNS="80", FORCE_COLOR="1")

    assert (0, "") == (ran.returncode, ran.stderr)
    assert long in ran.stdout
    assert "\x1b" not in ran.stdout


def test_each_form_has_the_verdicts_exit_status(daemon: Daemon) -> None:
    daemon.write(credential_seconds_left=60.0)
    statuses = {
        run(daemon.state, *form).returncode
        for form in ((), ("--json",), ("--check",), ("-q",))
    }

    assert {int(StatusVerdict.TROUBLE)} == statuses


def test_limits_come_from_the_command_line(daemon: Daemon) -> None:
    daemon.write(lag={"0": 500}, credential_seconds_left=3 * 3600.0)

    assert 1 == run(daemon.state, "--check").returncode
    assert 0 == run(daemon.state, "--check", "--warn-credential", "2h").returncode
    assert 2 == run(daemon.state, "--critical-lag", "500").returncode


def test_no_state_directory_is_not_running(tmp_path: Path) -> None:
    ran = run(tmp_path / "none", "--check")

    assert 3 == ran.returncode
    assert "there is no state directory" in ran.stdout


def test_a_status_file_that_is_no_status_is_told(daemon: Daemon) -> None:
    (daemon.state / "status.json").write_text('["torn')
    ran = run(daemon.state)

    assert 1 == ran.returncode
    assert "status.json cannot be read" in ran.stdout


@pytest.mark.skipif(os.getuid() != 0, reason="needs another user")
def test_who_may_not_look_is_told_whom_to_ask(tmp_path: Path) -> None:
    """Everything is imported before, since the other user may not read it either."""
    code = (
        "import os, sys, dcmirror.cli as cli, dcmirror.commands.status\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "sys.exit(cli.run(sys.argv[1:]))"
    )
    with TemporaryDirectory() as name:
        Path(name).chmod(0o711)
        state = Path(name, "state")
        state.mkdir(mode=0o750)
        Daemon(state).write()
        ran = subprocess.run(
            [sys.executable, "-c", code, *command(state, "--check")[3:]],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    assert (3, "") == (ran.returncode, ran.stderr)
    assert ran.stdout.startswith("DCMIRROR UNKNOWN - ")
    assert "Permission denied; ask as root or a member" in ran.stdout
