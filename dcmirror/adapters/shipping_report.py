"""shipper.json: how the shipping of the journal goes, for whoever asks.

The logger process writes it, each second while something changes; ``status``, the
metrics and the health event read it.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

FILE_NAME = "shipper.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShippingReport:
    """One look at the shipper.

    Args:
        at: when it was written; older than 30 s, nobody ships.
        sink: "elasticsearch", "file" or "none"; the first of those that are set.
        state: "shipping", "idle" (all is shipped), "retrying" (the trouble may pass by
            itself) or "paused" (somebody must act).
        reason: what the trouble is; it may come with "shipping" as a warning.
        since: since when this state lasts.
        shipped: lines that arrived, since the beginning.
        duplicates: those of them that had been there already.
        dead_letters: lines that were refused for good and set aside.
        dead_letters_lost: those of them that had to go for newer ones.
        spoiled: lines with a wrong CRC, set aside.
        missed: segments that were removed before they were read.
        per_second: rate over the last seconds.
        behind_bytes: what lies in the journal unshipped.
        oldest_age_s: age of the oldest unshipped event; None where all is shipped.
    """

    pid: int
    name: str
    at: float
    sink: str
    state: str
    reason: str | None = None
    since: float = 0.0
    shipped: int = 0
    duplicates: int = 0
    dead_letters: int = 0
    dead_letters_lost: int = 0
    spoiled: int = 0
    missed: int = 0
    per_second: float = 0.0
    behind_bytes: int = 0
    oldest_age_s: float | None = None


_NAMES = frozenset(field.name for field in fields(ShippingReport))


def path_beside(checkpoint: Path) -> Path:
    """Where the report lies: in the state directory, beside the checkpoint."""
    return checkpoint.with_name(FILE_NAME)


def write(path: Path, report: ShippingReport) -> None:
    """Replace the report; a reader sees the old or the new one."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes(json.dumps(asdict(report)).encode())
    os.rename(temporary, path)


def read(path: Path) -> ShippingReport | None:
    """The last report; None if there is none that can be read."""
    with suppress(OSError, ValueError, TypeError):
        data: dict[str, Any] = json.loads(path.read_bytes())
        if isinstance(data, dict):
            return ShippingReport(**{k: v for k, v in data.items() if k in _NAMES})
    return None
