"""What ``dcmirror check`` found: findings, their order of blame, and how they look."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from dcmirror.errors import ExitStatus


class Result(StrEnum):
    """How a look at one thing ended."""

    OK = "OK"
    WARN = "WARN"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: what was looked at, what was seen, and what to do about it.

    ``status`` is what a FAIL of this thing ends the command with.
    """

    name: str
    result: Result
    text: str
    remedy: str = ""
    status: ExitStatus = ExitStatus.DONE

    @property
    def line(self) -> str:
        """The finding as a person reads it."""
        text = f"{self.result:<4}  {self.name}: {_printable(self.text)}"
        return f"{text}; {_printable(self.remedy)}" if self.remedy else text


def ok(name: str, text: str) -> Finding:
    """All is well."""
    return Finding(name, Result.OK, text)


def warn(name: str, text: str, remedy: str = "") -> Finding:
    """It works, but somebody should look at it."""
    return Finding(name, Result.WARN, text, remedy)


def fail(name: str, status: ExitStatus, text: str, remedy: str = "") -> Finding:
    """It does not work."""
    return Finding(name, Result.FAIL, text, remedy, status)


def exit_status(findings: Sequence[Finding]) -> ExitStatus:
    """That of the first kind that fails; the kinds in the order of their numbers."""
    failed = [each.status for each in findings if each.result is Result.FAIL]
    return min(failed, default=ExitStatus.DONE)


def as_json(findings: Sequence[Finding]) -> str:
    """One document for machines."""
    checks = [
        {
            "name": each.name,
            "result": str(each.result),
            "text": each.text,
            "remedy": each.remedy,
        }
        for each in findings
    ]
    document = {"checks": checks, "exit_status": int(exit_status(findings))}
    return json.dumps(document, indent=2)  # ASCII: a name may be no Unicode text


def _printable(text: str) -> str:
    """One line, whatever a server or a certificate has put into it."""
    return "".join(c if c.isprintable() else " " for c in text).strip()


def duration(seconds: float) -> str:
    """Two units at most: ``11 h 59 min``."""
    minutes = int(seconds) // 60
    days, hours = minutes // 1440, minutes // 60 % 24
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes % 60} min"
    return f"{minutes} min" if minutes else f"{int(seconds)} s"


def size(count: float) -> str:
    """Bytes in binary units."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} PiB"
