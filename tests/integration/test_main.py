"""The process itself: its standard streams, and an interrupt while it starts."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

import pytest

from config_text import SHORTEST


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "dcmirror.toml"
    path.write_text(f'{SHORTEST}[state]\ndirectory = "{tmp_path / "state"}"\n')
    return path


def run(
    *arguments: str | Path, out: int | IO[str] = subprocess.PIPE, **environ: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dcmirror", *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=subprocess.PIPE,
        env={**os.environ, **environ},
        text=True,
        timeout=60,
        check=False,
    )


def python(code: str, *arguments: Any, shell: str = "") -> tuple[int, str]:
    """Run a program, whose streams the shell may close; its status and what it says."""
    words = [sys.executable, "-c", code, *map(str, arguments)]
    ran = subprocess.run(
        ["/bin/sh", "-c", f"exec {shlex.join(words)} {shell}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return ran.returncode, ran.stderr


def test_who_leaves_before_all_is_read_ends_us_by_sigpipe() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        ran = run("--help", out=writer)
    finally:
        os.close(writer)

    assert (ran.returncode, ran.stderr) == (128 + signal.SIGPIPE, "")


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("arguments", ["--help", "replay --dry-run --json", "replay -"])
def test_a_full_disk_behind_standard_output_is_one_line(
    config: Path, arguments: str, unbuffered: str
) -> None:
    config_option = [] if arguments == "--help" else ["-c", config]
    words = arguments.split()
    with open("/dev/full", "w") as full:
        ran = run(*words, *config_option, out=full, PYTHONUNBUFFERED=unbuffered)

    to = "" if unbuffered else " to standard output"
    assert ran.returncode == 1
    assert f"dcmirror: cannot write{to}: No space left on device\n" in ran.stderr
    assert "unexpected" not in ran.stderr
    assert "Exception" not in ran.stderr


def test_shell_completion_ends_with_its_own_status() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "dcmirror"],
        env={**os.environ, "_DCMIRROR_COMPLETE": "bash_source"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (ran.returncode, ran.stderr) == (0, "")
    assert "_DCMIRROR_COMPLETE=bash_complete" in ran.stdout


OPENS_A_FILE = """
import os, sys
import dcmirror.cli
from dcmirror.__main__ import main

def command():
    with open(sys.argv[1], "w") as file:
        file.write(str(file.fileno()))
    print(sys.stdin.read(0), end="")
    print("out")
    print("err", file=sys.stderr)

dcmirror.cli.main = command
main()
"""


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_no_file_takes_the_place_of_a_closed_stream(
    tmp_path: Path, closed: str
) -> None:
    status, _ = python(OPENS_A_FILE, tmp_path / "file", shell=closed)

    assert status == 0
    assert int((tmp_path / "file").read_text()) > 2


@pytest.mark.parametrize("closed", ["<&-", ">&-"])
def test_a_replay_from_or_to_a_closed_pipe_has_nothing_to_do(
    config: Path, closed: str
) -> None:
    code = "from dcmirror.__main__ import main; main()"
    status, said = python(
        code, "replay", "-", "-c", config, shell=f"</dev/null {closed}"
    )

    assert (status, "unexpected" in said) == (0, False)


STANDS_NOWHERE = """
import os, sys
import dcmirror.cli
from dcmirror.__main__ import main

os.mkdir(sys.argv[1])
os.chdir(sys.argv[1])
os.rmdir(sys.argv[1])
dcmirror.cli.main = lambda: os.getcwd() == "/" or sys.exit(1)
main()
"""


def test_who_stands_where_he_may_not_be_stands_at_the_root(tmp_path: Path) -> None:
    """As after ``sudo -u`` in root's home; children could not begin there."""
    assert python(STANDS_NOWHERE, tmp_path / "gone") == (0, "")


INTERRUPTED = """
import os, signal, sys

class Interrupts:
    def find_spec(self, name, path=None, target=None):
        if name == "dcmirror.cli":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupts())
from dcmirror.__main__ import main
main()
"""


def test_an_interrupt_while_modules_are_imported_says_nothing() -> None:
    # A shell that starts the tests in the background has them ignore it.
    listening = (
        f"import signal; signal.signal(2, signal.default_int_handler)\n{INTERRUPTED}"
    )
    status, said = python(listening, "--version")

    assert (status, said) == (-signal.SIGINT, "")


def test_who_was_told_to_ignore_interrupts_does() -> None:
    ignoring = f"import signal; signal.signal(2, signal.SIG_IGN)\n{INTERRUPTED}"

    assert python(ignoring, "--version") == (0, "")
