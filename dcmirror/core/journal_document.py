"""One journal event as a nested document: what is in each, and what may be.

The supervisor runs this; ``journal_table`` is the vocabulary.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from math import isfinite
from typing import Any

import orjson

from dcmirror.core.escapes import without_secrets
from dcmirror.core.journal_table import ACTIONS, FIELDS

ECS_VERSION = "8.17.0"

# No field that anybody can use is longer.
_TEXT_CHARACTERS = 8192

# Fields whose text other programs wrote, so that a URL in it may carry a token.
_PROSE = frozenset({"error.message", "event.reason", "dcmirror.kafka.excerpt"})

_PLACES = {name: name.rpartition(".")[::2] for name in FIELDS}

Event = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Writer:
    """Who writes: the same in every event of a process."""

    host: str
    pid: int
    process: str
    version: str
    instance: str


def render(event: Event) -> str:
    """An event as one line of JSON, ASCII only: no name in it commands a terminal."""
    line = orjson.dumps(event)
    if line.isascii():
        return line.decode("ascii")
    return json.dumps(event, separators=(",", ":"), allow_nan=False)


class EventMaker:
    """What all builders share.  Times are in seconds since the epoch."""

    def __init__(self, writer: Writer) -> None:
        always = {
            "@timestamp": "",
            "log.level": "",
            "message": "",
            "ecs.version": ECS_VERSION,
            "data_stream.type": "logs",
            "data_stream.namespace": "default",
            "host.name": writer.host,
            "process.pid": writer.pid,
            "process.name": writer.process,
            "service.name": "dcmirror",
            "service.version": writer.version,
            "service.node.name": writer.instance,
        }
        self.host = writer.host
        self._templates = {
            name: _fill({}, always | _of_action(name)) for name in ACTIONS
        }

    def make(
        self,
        action: str,
        at: float,
        message: str,
        fields: Mapping[str, Any],
        event_id: str | None = None,
        level: str | None = None,
    ) -> Event:
        """The nested document; refuses what the table does not know."""
        entry = ACTIONS[action]
        if not entry.fields.issuperset(fields):
            unknown = ", ".join(sorted(fields.keys() - entry.fields))
            raise ValueError(f"{action} has no field {unknown}")
        document = {
            name: value.copy() if type(value) is dict else value
            for name, value in self._templates[action].items()
        }
        document["@timestamp"] = time_text(at)
        document["log"]["level"] = level or entry.level
        document["message"] = _clean(without_secrets(message))
        if event_id is not None:
            document["event"]["id"] = event_id
        return _fill(document, fields)


def _of_action(name: str) -> dict[str, Any]:
    entry = ACTIONS[name]
    return {
        "event.kind": entry.kind,
        "event.category": [entry.category],
        "event.type": [entry.type],
        "event.action": name,
        "data_stream.dataset": entry.dataset,
    }


def _fill(document: Event, flat: Mapping[str, Any]) -> Event:
    """Put dotted names in their places; what is unknown is left out."""
    places = {"": document}
    for name, value in flat.items():
        if value is None:
            continue
        kind = type(value)
        if kind is str:
            value = _clean(without_secrets(value) if name in _PROSE else value)
        elif kind is float and not isfinite(value):
            continue
        parents, leaf = _PLACES[name]
        if parents not in places:
            places[parents] = _place(document, parents)
        places[parents][leaf] = value
    return document


def _place(document: Event, parents: str) -> Event:
    for parent in parents.split("."):
        document = document.setdefault(parent, {})
    return document


def _clean(value: str) -> str:
    """Text that any JSON reader takes: no lone surrogates, no endless line."""
    if len(value) > _TEXT_CHARACTERS:
        value = value[:_TEXT_CHARACTERS] + "..."
    if value.isascii():
        return value
    return value.encode("utf-8", "backslashreplace").decode("utf-8")


def nanoseconds(seconds: float) -> int:
    """ECS counts durations in nanoseconds."""
    return round(seconds * 1e9)


def time_text(seconds: float) -> str:
    """ISO 8601, UTC, milliseconds."""
    whole, milliseconds = divmod(round(seconds * 1e6) // 1000, 1000)
    return f"{_second_text(whole)}.{milliseconds:03d}Z"


@functools.lru_cache(maxsize=64)
def _second_text(whole: int) -> str:
    return datetime.fromtimestamp(whole, UTC).strftime("%Y-%m-%dT%H:%M:%S")
