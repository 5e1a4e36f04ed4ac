"""How far a command is: bars on a terminal, a plain line now and then elsewhere.

What is in them is each command's own; nothing of it is shown where -q was said.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

from dcmirror.core.amounts import bytes_text, count_text

if TYPE_CHECKING:
    from rich.progress import Progress as Bars

_LINE_SECONDS = 30.0
#: A terminal of 80 columns has room for the counts too.
_BAR_COLUMNS = 20


@contextmanager
def bars_on(terminal: TextIO) -> Iterator[Bars]:
    """Bars that go when all is done; each task has a field ``counts``."""
    from rich.console import Console  # only a terminal needs it
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(_BAR_COLUMNS),
        TextColumn("{task.fields[counts]}"),
        TimeRemainingColumn(),
    )
    console = Console(file=terminal)
    with Progress(*columns, console=console, transient=True) as bars:
        yield bars


class Lines:
    """A line every half minute."""

    def __init__(self, stream: TextIO, now: float | None = None) -> None:
        self._stream = stream
        self._told_at = time.monotonic() if now is None else now

    def tell(self, text: Callable[[float], str], now: float | None = None) -> None:
        """Tell it, if it is time; ``text`` gets the time that it is (monotonic)."""
        now = time.monotonic() if now is None else now
        if now - self._told_at >= _LINE_SECONDS:
            self._told_at = now
            self._stream.write(f"dcmirror: {text(now)}\n")
            self._stream.flush()


@dataclass(frozen=True, slots=True)
class Words:
    """What the jobs of a command are called."""

    title: str
    things: str
    failed: str = "failed"


#: Takes how many jobs ended, how many of them failed, and the bytes that were copied.
ShowJobs = Callable[[int, int, int], None]


@contextmanager
def jobs_progress(
    stream: TextIO, words: Words, total: int, *, quiet: bool
) -> Iterator[ShowJobs]:
    """What to call once a second while so many jobs are done."""

    def done(ended: int) -> str:
        return f"{count_text(ended)} of {count_text(total)}"

    def rest(failed: int, copied: int) -> str:
        return f"{count_text(failed)} {words.failed}, {bytes_text(copied)}"

    if quiet:
        yield lambda ended, failed, copied: None
    elif not stream.isatty():
        lines = Lines(stream)
        yield lambda ended, failed, copied: lines.tell(
            lambda _: f"{done(ended)} {words.things}, {rest(failed, copied)} copied"
        )
    else:
        with bars_on(stream) as bars:
            task = bars.add_task(words.title, total=total, counts="")
            yield lambda ended, failed, copied: bars.update(
                task, completed=ended, counts=f"{done(ended)}, {rest(failed, copied)}"
            )
