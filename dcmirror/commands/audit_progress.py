"""How far an audit is: a bar on a terminal for each of its parts, nothing elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from dcmirror.commands.progress import bars_on
from dcmirror.core.amounts import count_text

if TYPE_CHECKING:
    from rich.progress import Progress as Bars

_SHOW_SECONDS = 0.1


class Progress:
    """Shows nothing; what a terminal gets is below."""

    def begin(self, what: str, total: int | None = None) -> None:
        """A part begins; ``total`` None: nobody knows how long it is."""

    def step(self, number: int = 1) -> None:
        """So many more are done."""


class _Bar(Progress):
    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._task = bars.add_task("audit", total=None, counts="")
        self._total: int | None = None
        self._done = 0
        self._shown_at = 0.0

    def begin(self, what: str, total: int | None = None) -> None:
        self._done, self._total = 0, total
        self._bars.reset(self._task, description=what, total=total, counts="")

    def step(self, number: int = 1) -> None:
        self._done += number
        now = time.monotonic()
        if now - self._shown_at >= _SHOW_SECONDS:
            self._shown_at = now
            of = "" if self._total is None else f" of {count_text(self._total)}"
            counts = f"{count_text(self._done)}{of}"
            self._bars.update(self._task, completed=self._done, counts=counts)


@contextmanager
def audit_progress(stream: TextIO, *, is_quiet: bool) -> Iterator[Progress]:
    """The progress that suits where ``stream`` leads."""
    if is_quiet or not stream.isatty():
        yield Progress()
        return
    with bars_on(stream) as bars:
        yield _Bar(bars)
