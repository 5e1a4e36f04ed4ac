"""A command on a real pseudo-terminal, and what would be seen there."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from types import TracebackType
from typing import Any

from helpers import wait_until

_CODE = re.compile(r"\x1b\[(\??)([0-9;]*)([A-Za-z])|([^\x1b]+)")


class Terminal:
    """Runs a command with a terminal of its own; knows just what our screen writes."""

    def __init__(
        self, command: list[str], environ: dict[str, str], rows: int, columns: int
    ) -> None:
        self.master, slave = pty.openpty()
        self.rows = rows
        self._set_size(rows, columns)
        self.before = termios.tcgetattr(slave)
        self.output = b""
        self.process = subprocess.Popen(
            command,
            env={**environ, "TERM": "xterm-256color"},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        self.slave = slave

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
        os.close(self.master)
        os.close(self.slave)

    def resize(self, rows: int, columns: int) -> None:
        """As when a person pulls at the window's corner."""
        self.rows = rows
        self._set_size(rows, columns)

    def press(self, keys: bytes) -> None:
        """Keys, Ctrl-C as b"\\x03"."""
        os.write(self.master, keys)

    def read(self) -> bytes:
        """Everything that was written until now."""
        while select.select([self.master], [], [], 0)[0]:
            self.output += os.read(self.master, 65536)
        return self.output

    def screen(self) -> str:
        """What is to be seen now."""
        return "\n".join(self._lines(self.read().decode("utf-8", "replace")))

    def shows(self, text: str, deadline: float = 20.0) -> str:
        """Wait until the screen has ``text``."""
        wait_until(lambda: text in self.screen(), deadline, what=f"showing {text!r}")
        return self.screen()

    def ends(self, timeout: float = 10.0) -> int:
        """The exit status, once the command is over."""
        end = time.monotonic() + timeout
        while self.process.poll() is None and time.monotonic() < end:
            self.read()  # who writes to a full terminal waits
            select.select([self.master], [], [], 0.05)
        return self.process.wait(0.1)

    def is_restored(self) -> bool:
        """Modes, cursor, line wrap and the main screen are as they were."""
        modes: dict[str, bool] = {}
        for private, number, letter, _ in _CODE.findall(self.read().decode()):
            if private:
                modes[number] = letter == "h"
        wanted = {"1049": False, "25": True, "7": True}
        return modes == wanted and self.modes() == self.before

    def modes(self) -> list[Any]:
        """Echo and line buffering as the terminal has them now."""
        return termios.tcgetattr(self.slave)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the command."""
        self.process.send_signal(number)

    def _set_size(self, rows: int, columns: int) -> None:
        size = struct.pack("HHHH", rows, columns, 0, 0)
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, size)

    def _lines(self, output: str) -> list[str]:
        lines: dict[int, str] = {}
        row, text = 1, ""
        for private, numbers, letter, words in _CODE.findall(output):
            if words:
                text += words
            elif letter == "H":
                row, text = int(numbers.split(";")[0]), ""
            elif letter == "K":
                lines[row] = text
            elif (letter == "J" and numbers == "2") or private:
                lines, text = {}, ""
        last = max(lines, default=0)
        return [lines.get(number, "") for number in range(1, last + 1)]
