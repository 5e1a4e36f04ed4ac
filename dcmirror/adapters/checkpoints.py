"""How far each writer's journal was shipped: written by the logger, read by writers."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dcmirror.adapters.durable import sync_directory
from dcmirror.adapters.segments import Segment

_VERSION = 1


@dataclass(frozen=True, slots=True)
class Position:
    """Where shipping of one writer stands: behind this line of this segment."""

    segment: int
    offset: int = 0
    line: int = 0

    def is_past(self, segment: Segment) -> bool:
        """Whether a segment of this writer was shipped wholly."""
        return segment.number < self.segment


@dataclass(slots=True)
class Checkpoint:
    """All positions, the sink's own memory, and counts since the beginning."""

    writers: dict[str, Position] = field(default_factory=dict)
    sink: dict[str, Any] = field(default_factory=dict)
    shipped: int = 0
    spoiled: int = 0
    missed: int = 0


def load(path: Path) -> Checkpoint:
    """The checkpoint on disk; an empty one if there is none or it cannot be read.

    An unreadable one costs a second shipping, no line.
    """
    try:
        data = json.loads(path.read_bytes())
        if data["version"] != _VERSION:
            return Checkpoint()
        return Checkpoint(
            {name: Position(**place) for name, place in data["writers"].items()},
            dict(data["sink"]),
            *(int(data[name]) for name in ("shipped", "spoiled", "missed")),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Checkpoint()


def save(path: Path, checkpoint: Checkpoint) -> None:
    """Replace the checkpoint; after a power cut it is the old or the new one."""
    data: Mapping[str, Any] = {"version": _VERSION, **asdict(checkpoint)}
    temporary = path.with_name(path.name + ".tmp")
    with open(temporary, "wb") as file:
        file.write(json.dumps(data).encode())
        file.flush()
        os.fsync(file.fileno())
    os.rename(temporary, path)
    with suppress(OSError):
        sync_directory(path.parent)
