"""What the command line says to ``dcmirror audit``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dcmirror.commands.audit_report import Form
from dcmirror.settings import Settings


@dataclass(frozen=True, slots=True)
class AuditOptions:
    """``rate`` in bytes per second, ``share`` from 0 to 1, ``now`` in epoch seconds.

    ``states`` are state directories of other instances of the same consumer group.
    """

    settings: Settings
    now: float
    states: tuple[Path, ...] = ()
    deep: bool = False
    share: float | None = None
    oldest: int | None = None
    rate: int | None = None
    asks_kafka: bool = True
    source: bool = False
    repair: bool = False
    form: Form = Form.LINES
    instance: str | None = None
    verbosity: int = 0


def form_of(*, as_json: bool, as_csv: bool) -> Form:
    """The form that the flags ask for."""
    return Form.JSON if as_json else Form.CSV if as_csv else Form.LINES
