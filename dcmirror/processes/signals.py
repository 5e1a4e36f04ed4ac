"""Signals, for a loop that waits on descriptors."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any, NoReturn

from dcmirror.errors import ExitStatus

_STANDARD_ERROR = 2
_SHOW_CURSOR = b"\x1b[?25h\n"


def leave_now() -> NoReturn:
    """What a second signal means: nothing is finished, nothing is waited for.

    But the terminal gets back its cursor, which a bar may have hidden.
    """
    with contextlib.suppress(OSError):
        if os.isatty(_STANDARD_ERROR):
            os.write(_STANDARD_ERROR, _SHOW_CURSOR)
    os._exit(int(ExitStatus.SECOND_TERM))


class Signals:
    """Between ``listen`` and ``close`` a signal is noted, and makes ``fd`` readable.

    ``note`` is called with its number wherever the main thread is just then: it may
    take notes, and little else.
    """

    def __init__(self, numbers: Iterable[int], note: Callable[[int], None]) -> None:
        self._numbers = tuple(numbers)
        self._note = note
        self._previous: dict[int, Any] = {}
        self.fd, self._wake_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def listen(self) -> None:
        """From now on signals are heard; a second call changes nothing."""
        if self._previous:
            return
        signal.set_wakeup_fd(self._wake_fd, warn_on_full_buffer=False)
        for number in self._numbers:
            self._previous[number] = signal.signal(number, self._on_signal)

    def clear(self) -> None:
        """Make ``fd`` wait for the next signal."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.fd, 512)

    def close(self) -> None:
        """Signals do again what they did before."""
        signal.set_wakeup_fd(-1)
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        os.close(self.fd)
        os.close(self._wake_fd)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._note(number)
