"""How far a replay is: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

_LINE_SECONDS = 30.0


class Progress(Protocol):
    """What the replay tells once a second."""

    def show(self, ended: int, failed: int, bytes_copied: int) -> None:
        """Rows that came to an end, how many of them failed, and bytes fetched."""


@contextmanager
def progress_for(stream: TextIO, total: int) -> Iterator[Progress]:
    """The progress that suits where ``stream`` leads."""
    if not stream.isatty():
        yield _Lines(stream, total)
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
        TextColumn("replay"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[failed]} failed"),
        TimeRemainingColumn(),
    )
    with RichProgress(*columns, console=Console(file=stream)) as bar:
        yield _Bar(bar, total)


class _Bar:
    def __init__(self, bar: RichProgress, total: int) -> None:
        self._bar = bar
        self._task = bar.add_task("replay", total=total, failed=0)

    def show(self, ended: int, failed: int, bytes_copied: int) -> None:
        self._bar.update(self._task, completed=ended, failed=failed)


class _Lines:
    def __init__(self, stream: TextIO, total: int) -> None:
        self._stream = stream
        self._total = total
        self._told_at = time.monotonic()

    def show(self, ended: int, failed: int, bytes_copied: int) -> None:
        now = time.monotonic()
        if now - self._told_at >= _LINE_SECONDS:
            self._told_at = now
            self._stream.write(
                f"dcmirror: {ended} of {self._total} rows, {failed} failed again, "
                f"{bytes_copied} bytes copied\n"
            )
            self._stream.flush()
