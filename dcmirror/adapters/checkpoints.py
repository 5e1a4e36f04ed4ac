"""How far each writer's journal was shipped: written by the logger, read by writers.

Each sink has its own checkpoint; all lie in one file, which is replaced as a whole.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dcmirror.adapters.durable import sync_directory
from dcmirror.adapters.segments import Segment

_VERSION = 2
_COUNTS = (
    *("shipped", "spoiled", "missed", "duplicates"),
    *("dead_letters", "dead_letters_lost"),
)


@dataclass(frozen=True, slots=True, order=True)
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
    """All positions of a sink, its own memory, and counts since the beginning."""

    writers: dict[str, Position] = field(default_factory=dict)
    sink: dict[str, Any] = field(default_factory=dict)
    shipped: int = 0
    spoiled: int = 0
    missed: int = 0
    duplicates: int = 0
    dead_letters: int = 0
    dead_letters_lost: int = 0


def load(path: Path) -> Checkpoint:
    """The slowest of the sinks in use, with the first one's counts.

    Empty as long as one of them has none: it has shipped nothing.  An unreadable file
    costs a second shipping, no line.
    """
    sinks, in_use = _read(path)
    chosen = [sinks[name] for name in in_use if name in sinks]
    if not chosen or len(chosen) < len(in_use):
        return Checkpoint()
    slowest = chosen[0]
    slowest.writers = slowest_positions([sink.writers for sink in chosen])
    return slowest


class Shipped:
    """What all sinks have behind them; read again when the file was replaced."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int, int] | None = None
        self._positions: dict[str, Position] = {}

    def positions(self) -> Mapping[str, Position]:
        """Where the slowest of the sinks in use stands in each writer's row."""
        stamp = None
        with suppress(OSError):
            status = os.stat(self._path)
            stamp = status.st_ino, status.st_ctime_ns, status.st_size
        # What said nothing is asked again: perhaps it could not be read.
        if stamp != self._stamp or not self._positions:
            self._stamp, self._positions = stamp, load(self._path).writers
        return self._positions


def load_all(path: Path) -> dict[str, Checkpoint]:
    """The checkpoint of each sink by its name; those no longer in use too."""
    return _read(path)[0]


def save_all(
    path: Path, sinks: Mapping[str, Checkpoint], in_use: Sequence[str]
) -> None:
    """Replace the file; after a power cut it is the old or the new one."""
    data = {
        "version": _VERSION,
        "in_use": list(in_use),
        "sinks": {name: _plain(sink) for name, sink in sinks.items()},
    }
    temporary = path.with_name(path.name + ".tmp")
    with open(temporary, "wb") as file:
        file.write(json.dumps(data).encode())
        file.flush()
        os.fsync(file.fileno())
    os.rename(temporary, path)
    with suppress(OSError):
        sync_directory(path.parent)


def slowest_positions(
    sinks: Sequence[Mapping[str, Position]],
) -> dict[str, Position]:
    """What every sink has behind it; a writer that one has not begun is left out."""
    writers = set(sinks[0]).intersection(*sinks[1:])
    return {name: min(sink[name] for sink in sinks) for name in sorted(writers)}


def _read(path: Path) -> tuple[dict[str, Checkpoint], list[str]]:
    try:
        data = json.loads(path.read_bytes())
        if data["version"] != _VERSION:
            return {}, []
        sinks = {name: _checkpoint(sink) for name, sink in data["sinks"].items()}
        return sinks, [str(name) for name in data["in_use"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}, []


def _plain(sink: Checkpoint) -> dict[str, Any]:
    """As JSON; made by hand, since ``asdict`` is slow and there may be many writers."""
    writers = {
        name: {"segment": place.segment, "offset": place.offset, "line": place.line}
        for name, place in sink.writers.items()
    }
    counts = {name: getattr(sink, name) for name in _COUNTS}
    return {"writers": writers, "sink": sink.sink, **counts}


def _checkpoint(data: Mapping[str, Any]) -> Checkpoint:
    return Checkpoint(
        {name: Position(**place) for name, place in data["writers"].items()},
        dict(data["sink"]),
        *(int(data.get(name, 0)) for name in _COUNTS),
    )
