"""How the demo looks: bars on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

_LINE_SECONDS = 2.0


class Screen:
    """Used as a context manager while things move; ``say`` works always."""

    def __init__(self, files: int, *, plain: bool = False) -> None:
        self._console = Console(highlight=False, soft_wrap=True)
        self._is_plain = plain or not sys.stdout.isatty()
        self._began = time.monotonic()
        self._last_line = 0.0
        self._progress = Progress(
            TextColumn("{task.description:>10}"),
            BarColumn(None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            console=self._console,
            disable=self._is_plain,
        )
        self._uploaded = self._progress.add_task("uploaded", total=files, note="")
        self._mirrored = self._progress.add_task("mirrored", total=files, note="")

    def __enter__(self) -> Screen:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    def say(self, text: str) -> None:
        """A line that stays."""
        self._console.print(f"{self.seconds:6.1f} s  {text}", markup=False)

    def show(self, uploaded: int, settled: int, status: Mapping[str, Any]) -> None:
        """How far everything is."""
        note = (
            f"{status.get('bytes_mirrored', 0) / 1e6:7.1f} MB  "
            f"{len(status.get('transfers', ()))} in hand  "
            f"{status.get('retries', 0)} retries  {status.get('failed', 0)} failed"
        )
        self._progress.update(self._uploaded, completed=uploaded)
        self._progress.update(self._mirrored, completed=settled, note=note)
        if self._is_plain and time.monotonic() - self._last_line > _LINE_SECONDS:
            self._last_line = time.monotonic()
            self.say(f"uploaded {uploaded:4}  settled {settled:4}  {note}")

    def table(self, title: str, rows: Mapping[str, str]) -> None:
        """A summary of names and values."""
        table = Table(title=title, show_header=False, title_justify="left")
        table.add_column(style="bold")
        table.add_column(overflow="fold")
        for name, value in rows.items():
            table.add_row(name, value)
        self._console.print()
        self._console.print(table)
