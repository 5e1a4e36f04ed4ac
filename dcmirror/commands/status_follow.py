"""``dcmirror status --follow``: a live screen, or a line now and then elsewhere."""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
import time
import tty
from contextlib import suppress
from typing import Any, TextIO

from dcmirror.adapters.durable import write_all
from dcmirror.commands.status_look import (
    Look,
    StatusOptions,
    as_text,
    look,
    renderable,
    show,
)
from dcmirror.core.amounts import bytes_text, count_text, plural
from dcmirror.core.escapes import shown
from dcmirror.core.sight import Life
from dcmirror.core.verdict import StatusVerdict, total_lag
from dcmirror.processes.signals import Signals

#: Between two looks on a terminal, and between two lines elsewhere (seconds).
SCREEN_SECONDS = 1.0
LINE_SECONDS = 5.0
_QUIT = b"qQ\x03\x04"


def follow(options: StatusOptions) -> StatusVerdict:
    """Look again and again until told to stop; the last verdict is of no interest."""
    is_screen = options.out.isatty() and sys.stdin.isatty()
    if is_screen and os.environ.get("TERM", "dumb") != "dumb" and not options.as_json:
        _follow_on_screen(options)
    else:
        _follow_in_lines(options)
    return StatusVerdict.WELL


# -- elsewhere ------------------------------------------------------------------------


def _follow_in_lines(options: StatusOptions) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with suppress(KeyboardInterrupt):
        while True:
            found = look(options.state, options.limits)
            if options.as_json or options.as_check:
                show(found, options)
            else:
                options.out.write(line(found) + "\n")
                options.out.flush()
            time.sleep(LINE_SECONDS)


def line(found: Look) -> str:
    """One look in a line that begins with the local time."""
    sight, judged = found.sight, found.judgement
    parts = []
    if judged.life is Life.RUNNING:
        parts.append(_figures(sight.status))
    parts += [shown(reason.text) for reason in judged.reasons]
    stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(sight.at))
    return f"{stamp} {judged.word.upper()} {'; '.join(parts)}".rstrip()


def _figures(status: dict[str, Any]) -> str:
    jobs, minute = status.get("jobs", {}), status.get("rates", {}).get("60", {})
    lag = total_lag(status)
    known = [
        f"{jobs.get('out', 0)} in hand",
        f"{count_text(jobs.get('ready', 0))} ready",
        f"{count_text(jobs.get('waiting', 0))} to be tried again",
        *([f"lag {count_text(lag)}"] if lag is not None else []),
        f"{plural(minute.get('files', 0), 'file')} and "
        f"{bytes_text(minute.get('bytes', 0))} in the last minute",
    ]
    return ", ".join(known)


# -- on a terminal --------------------------------------------------------------------


def _follow_on_screen(options: StatusOptions) -> None:
    with Screen(options.out) as screen:
        while not screen.is_over:
            found = look(options.state, options.limits)
            size = os.get_terminal_size(options.out.fileno())
            text = as_text(renderable(found, options.verbosity), size.columns or 80)
            screen.show(text.rstrip("\n").split("\n"), size.lines or 24)
            screen.wait(SCREEN_SECONDS)


class Screen:
    """The terminal while we have it: the other screen, no echo, no cursor.

    Only lines that changed are written, so that a slow line keeps up, and everything
    is put back however we leave: by key, signal or error.
    """

    def __init__(self, out: TextIO) -> None:
        self.is_over = False
        self._out = out.fileno()
        self._in = sys.stdin.fileno()
        self._shown: list[str] = []
        self._lines = 0
        self._saved: list[Any] = []
        self._is_suspended = False
        stops = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        numbers = (*stops, signal.SIGWINCH, signal.SIGTSTP)
        self._signals = Signals(numbers, self._on_signal)

    def __enter__(self) -> Screen:
        self._saved = termios.tcgetattr(self._in)
        self._signals.listen()
        self._take()
        return self

    def __exit__(self, *_: object) -> None:
        self._give_back()
        self._signals.close()

    def show(self, lines: list[str], height: int) -> None:
        """Draw what is new of ``lines``, as far as they fit."""
        if len(lines) > height:
            lines = [*lines[: height - 1], f"… {len(lines) - height + 1} more lines"]
        if height != self._lines:
            self._shown, self._lines = [], height
            self._write("\x1b[2J")
        old = self._shown + [""] * (len(lines) - len(self._shown))
        new = lines + [""] * (len(old) - len(lines))
        changed = (
            f"\x1b[{row};1H{text}\x1b[0m\x1b[K"
            for row, (text, before) in enumerate(zip(new, old, strict=True), start=1)
            if text != before
        )
        self._write("".join(changed))
        self._shown = lines

    def wait(self, seconds: float) -> None:
        """Until it is time to look again, or something happens."""
        end = time.monotonic() + seconds
        while not self.is_over:
            left = end - time.monotonic()
            if left <= 0:
                return
            ready, _, _ = select.select([self._in, self._signals.fd], [], [], left)
            if self._signals.fd in ready:
                self._signals.clear()
                if self._is_suspended:
                    self._suspend()
                return
            if self._in in ready:
                keys = os.read(self._in, 64)
                self.is_over = not keys or any(key in _QUIT for key in keys)

    def _take(self) -> None:
        tty.setcbreak(self._in, termios.TCSADRAIN)
        self._shown, self._lines = [], 0
        self._write("\x1b[?1049h\x1b[?25l\x1b[?7l")

    def _give_back(self) -> None:
        with suppress(OSError):  # the terminal may be gone
            self._write("\x1b[?7h\x1b[?25h\x1b[?1049l")
        with suppress(termios.error):
            termios.tcsetattr(self._in, termios.TCSADRAIN, self._saved)

    def _suspend(self) -> None:
        """Ctrl-Z: the shell gets its terminal back until we go on."""
        self._is_suspended = False
        self._give_back()
        os.kill(os.getpid(), signal.SIGSTOP)
        self._take()

    def _write(self, text: str) -> None:
        write_all(self._out, text.encode("utf-8", "replace"))

    def _on_signal(self, number: int) -> None:
        if number == signal.SIGTSTP:
            self._is_suspended = True
        elif number == signal.SIGWINCH:
            self._lines = 0
        elif not self.is_over:
            self.is_over = True
        else:  # a terminal that takes nothing keeps us from ending in order
            os._exit(128 + number)
