"""How far an audit is: a bar on a terminal for each of its parts, nothing elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

_SHOW_SECONDS = 0.1


class Progress:
    """Shows nothing; what a terminal gets is below."""

    def begin(self, what: str, total: int | None = None) -> None:
        """A part begins; ``total`` None: nobody knows how long it is."""

    def step(self, number: int = 1) -> None:
        """So many more are done."""


class _Bar(Progress):
    def __init__(self, bar: RichProgress) -> None:
        self._bar = bar
        self._task = bar.add_task("audit", total=None)
        self._done = 0
        self._shown_at = 0.0

    def begin(self, what: str, total: int | None = None) -> None:
        self._done = 0
        self._bar.reset(self._task, description=what, total=total)

    def step(self, number: int = 1) -> None:
        self._done += number
        now = time.monotonic()
        if now - self._shown_at >= _SHOW_SECONDS:
            self._shown_at = now
            self._bar.update(self._task, completed=self._done)


@contextmanager
def audit_progress(stream: TextIO, *, is_quiet: bool) -> Iterator[Progress]:
    """The progress that suits where ``stream`` leads."""
    if is_quiet or not stream.isatty():
        yield Progress()
        return
    from rich.console import Console  # only a terminal needs it
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as RichProgress

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with RichProgress(*columns, console=Console(file=stream), transient=True) as bar:
        yield _Bar(bar)
