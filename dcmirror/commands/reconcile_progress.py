"""How far a reconcile is: bars on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TextIO

from dcmirror.core.amounts import bytes_text, count_text, plural, span_text

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

_LINE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Sight:
    """Counts at one moment.

    ``expected`` is how many files the catalogue lets us expect, 0 for no idea.
    """

    files: int = 0
    expected: int = 0
    differences: int = 0
    offered: int = 0
    ended: int = 0
    failed: int = 0
    bytes_copied: int = 0
    is_listing: bool = True
    is_yielding: bool = False


class Progress(Protocol):
    """What is told about once a second."""

    def show(self, sight: Sight) -> None:
        """The counts now."""


class Silent:
    """Tells nothing: --quiet."""

    def show(self, sight: Sight) -> None:
        """Nothing."""


@contextmanager
def progress_for(
    stream: TextIO, *, copies: bool, quiet: bool = False
) -> Iterator[Progress]:
    """The progress that suits where ``stream`` leads."""
    if quiet:
        yield Silent()
        return
    if not stream.isatty():
        yield Lines(stream)
        return
    from rich.console import Console  # only a terminal needs it
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[counts]}"),
        TimeRemainingColumn(),
    )
    console = Console(file=stream)
    with RichProgress(*columns, console=console, transient=True) as bars:
        yield _Bars(bars, copies=copies)


class _Bars:
    def __init__(self, bars: RichProgress, *, copies: bool) -> None:
        self._bars = bars
        self._rate = Rate(time.monotonic())
        self._compared = bars.add_task("compared", total=None, counts="")
        self._copied = bars.add_task("copied", total=None, counts="", visible=copies)

    def show(self, sight: Sight) -> None:
        per_second = self._rate.of(sight.files, time.monotonic())
        self._bars.update(
            self._compared,
            completed=sight.files,
            total=_total(sight),
            counts=f"{count_text(sight.files)} files, {per_second:.0f}/s, "
            f"{plural(sight.differences, 'difference')}",
        )
        waits = ", waits for watch" if sight.is_yielding else ""
        self._bars.update(
            self._copied,
            completed=sight.ended,
            total=sight.offered or None,
            counts=f"{count_text(sight.ended)} of {count_text(sight.offered)}, "
            f"{count_text(sight.failed)} failed, {bytes_text(sight.bytes_copied)}"
            f"{waits}",
        )


class Lines:
    """A line every half minute, with the rate and the time left as far as known."""

    def __init__(self, stream: TextIO, now: float | None = None) -> None:
        self._stream = stream
        self._told_at = time.monotonic() if now is None else now
        self._rate = Rate(self._told_at)

    def show(self, sight: Sight, now: float | None = None) -> None:
        """Tell it if it is time."""
        now = time.monotonic() if now is None else now
        if now - self._told_at < _LINE_SECONDS:
            return
        self._told_at = now
        self._stream.write(
            f"dcmirror: {line_of(sight, self._rate.of(sight.files, now))}\n"
        )
        self._stream.flush()


class Rate:
    """Files per second since the last look but one, so that it does not jump."""

    def __init__(self, now: float) -> None:
        self._began = now

    def of(self, files: int, now: float) -> float:
        """Over the whole run."""
        return files / max(now - self._began, 0.001)


def line_of(sight: Sight, per_second: float) -> str:
    """The counts in a sentence."""
    parts = [f"{count_text(sight.files)} files compared ({per_second:.0f}/s)"]
    total = _total(sight)
    if sight.is_listing and total and per_second > 0:
        left = span_text((total - sight.files) / per_second)
        parts.append(f"about {left} left")
    parts.append(plural(sight.differences, "difference"))
    if sight.offered:
        parts.append(
            f"{count_text(sight.ended)} of {count_text(sight.offered)} copies ended, "
            f"{count_text(sight.failed)} failed, {bytes_text(sight.bytes_copied)}"
        )
    if sight.is_yielding:
        parts.append("waits for watch")
    return ", ".join(parts)


def _total(sight: Sight) -> int | None:
    if not sight.is_listing:
        return max(sight.files, 1)
    return sight.expected if sight.expected > sight.files else None
