"""A child process, from before its first breath."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

# Run in a process of its own, whose first child it is: that is where it differs.
FIRST_CHILD = """
import os, signal, sys
from multiprocessing import util
from pathlib import Path

from dcmirror.processes.child import spawn_child

STOPS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
start = util.spawnv_passfds


def watched(path, args, fds):
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    if any(b"spawn_main" in os.fsencode(word) for word in args):
        print("child:", blocked >= STOPS, flush=True)
    return start(path, args, fds)


if __name__ == "__main__":
    util.spawnv_passfds = watched
    child = spawn_child("w", 1, print, lambda inbox, outbox: "boot", Path(sys.argv[1]))
    child.process.join()
    print("exit status:", child.process.exitcode)
    print("ours:", signal.pthread_sigmask(signal.SIG_BLOCK, ()) & STOPS)
"""


def run_script(text: str, home: Path) -> subprocess.CompletedProcess[str]:
    """A supervisor of its own, which is told where the children's lock is."""
    script = home / "script.py"
    script.write_text(text)
    return subprocess.run(
        [sys.executable, script, home / "children.lock"],
        env={"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_no_signal_reaches_even_the_first_child_while_it_is_made(
    tmp_path: Path,
) -> None:
    ran = run_script(FIRST_CHILD, tmp_path)

    assert ran.stderr == ""
    assert ran.stdout.splitlines() == [
        "child: True",
        "boot",
        "exit status: 0",
        "ours: set()",
    ]


# As another library words it, with what a server sent.
FAILS = r"""
import sys
from pathlib import Path

from dcmirror.processes.child import spawn_child


def fail(boot):
    raise RuntimeError(
        "https://u:S3CRET@h/ said\n"
        "2026/01/01 00:00:00 [COPY_OVER] /d/forged (task)\n"
        "\x1b[2J\x9b2J\u2028\ud800"
    )


if __name__ == "__main__":
    child = spawn_child("w", 1, fail, lambda inbox, outbox: "boot", Path(sys.argv[1]))
    child.process.join()
"""


def test_a_childs_last_words_forge_no_line_and_command_no_terminal(
    tmp_path: Path,
) -> None:
    ran = run_script(FAILS, tmp_path)
    first, *more = ran.stderr.splitlines()

    assert first == "dcmirror: dcmirror w: Traceback (most recent call last):"
    assert all(line.startswith("  ") for line in more)
    assert more[-3:] == [
        "  RuntimeError: https://h/ said",
        "  2026/01/01 00:00:00 [COPY_OVER] /d/forged (task)",
        "  \\x1b[2J\\x9b2J\\u2028\\ud800",
    ]
