"""How far a reconcile is: bars on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TextIO

from dcmirror.commands.progress import Lines, bars_on
from dcmirror.core.amounts import bytes_text, count_text, plural, span_text

if TYPE_CHECKING:
    from rich.progress import Progress as Bars


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
        yield _Plain(stream)
        return
    with bars_on(stream) as bars:
        yield _Bars(bars, copies=copies)


class _Bars:
    def __init__(self, bars: Bars, *, copies: bool) -> None:
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


class _Plain:
    """The rate and the time left as far as known."""

    def __init__(self, stream: TextIO) -> None:
        self._lines = Lines(stream)
        self._rate = Rate(time.monotonic())

    def show(self, sight: Sight) -> None:
        self._lines.tell(lambda now: line_of(sight, self._rate.of(sight.files, now)))


class Rate:
    """Files per second over the whole run, so that it does not jump."""

    def __init__(self, now: float) -> None:
        self._began = now

    def of(self, files: int, now: float) -> float:
        """That of so many files by now."""
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
