"""What ``dcmirror replay`` is asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from dcmirror.core.choosing import Choice
from dcmirror.settings import Settings

#: In place of a file: standard input, and what remains goes to standard output.
PIPE = Path("-")


@dataclass(frozen=True, slots=True)
class Report:
    """A report's file, ``-`` for standard input, and the command that wrote it."""

    path: Path
    command: str


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    """What the command line says; ``csv`` may be ``PIPE``, a report replaces it."""

    settings: Settings
    csv: Path | None = None
    report: Report | None = None
    choice: Choice = field(default_factory=Choice)
    dry_run: bool = False
    as_json: bool = False
    instance: str | None = None
    verbosity: int = 0
