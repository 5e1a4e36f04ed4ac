"""``dcmirror replay`` on a terminal that is interrupted."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
from contextlib import suppress

from deployment import Deployment
from rows import RAW, row, write_rows

from dcmirror.testing.fake_dcache import FakeDCache
from helpers import wait_until


def test_a_second_interrupt_leaves_the_terminal_as_it_was(
    deployment: Deployment, source: FakeDCache
) -> None:
    """The first says what it does; the bar had hidden the cursor."""
    source.faults.add("stall", f"{RAW}/*", seconds=60.0)
    source.upload(f"{RAW}/f", size=1000, seed=1)
    write_rows(deployment, row("f"))
    master, slave = pty.openpty()
    os.set_blocking(master, False)
    process = subprocess.Popen(
        deployment.command("replay"),
        env={**deployment.environ(), "TERM": "xterm"},
        stdin=slave,
        stdout=slave,
        stderr=slave,
    )
    os.close(slave)
    seen = bytearray()

    def shows(text: bytes) -> bool:
        with suppress(OSError):  # nothing new, or nobody there any more
            seen.extend(os.read(master, 65536))
        return text in seen

    try:
        wait_until(lambda: shows(b"\x1b[?25l") and source.requests.of("GET"), 60)
        process.send_signal(signal.SIGINT)
        wait_until(lambda: shows(b"stopping, at most 20 s; again: now"), 30)
        del seen[:]
        process.send_signal(signal.SIGINT)
        wait_until(lambda: shows(b"\x1b[?25h"), 30)

        assert process.wait(30) == 143
    finally:
        process.kill()
        os.close(master)
