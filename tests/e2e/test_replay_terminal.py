"""``dcmirror replay`` on a terminal that is interrupted."""

from __future__ import annotations

from deployment import Deployment
from rows import RAW, row, write_rows

from dcmirror.testing.fake_dcache import FakeDCache
from helpers import wait_until
from terminal import Terminal

CURSOR_GONE, CURSOR_BACK = b"\x1b[?25l", b"\x1b[?25h"


def test_a_second_interrupt_leaves_the_terminal_as_it_was(
    deployment: Deployment, source: FakeDCache
) -> None:
    """The first says what it does; the bar had hidden the cursor."""
    source.faults.add("stall", f"{RAW}/*", seconds=60.0)
    source.upload(f"{RAW}/f", size=1000, seed=1)
    write_rows(deployment, row("f"))
    command, environ = deployment.command("replay"), deployment.environ()
    with Terminal(command, environ, 24, 80) as terminal:
        wait_until(lambda: CURSOR_GONE in terminal.read(), 60)
        wait_until(lambda: source.requests.of("GET"), 60)
        terminal.press(b"\x03")
        told = b"stopping, at most 20 s; again: now"
        wait_until(lambda: told in terminal.read(), 30)
        terminal.press(b"\x03")

        assert terminal.ends(30) == 143
        assert terminal.read().rindex(CURSOR_BACK) > terminal.read().rindex(told)
