"""One journal event as a nested document: what is in each, and what may be.

The supervisor runs this; ``journal_table`` is the vocabulary.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from dcmirror.core.escapes import without_secrets
from dcmirror.core.journal_table import ACTIONS, FIELDS

ECS_VERSION = "8.17.0"

# No field that anybody can use is longer.
_TEXT_CHARACTERS = 8192

# Fields whose text other programs wrote, so that a URL in it may carry a token.
_PROSE = ("error.message", "event.reason", "dcmirror.kafka.excerpt")

_PLACES = {name: name.rpartition(".")[::2] for name in FIELDS}

# In JSON these stand in strings only, where an escape means the same.
_NOT_PLAIN = re.compile(r"[^\x00-\x7e]")

Event = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Writer:
    """Who writes: the same in every event of a process."""

    host: str
    pid: int
    process: str
    version: str
    instance: str
    namespace: str = "default"


def render(event: Event) -> str:
    """An event as one line of JSON, ASCII only: no name in it commands a terminal."""
    try:
        line = orjson.dumps(event)
    except orjson.JSONEncodeError:  # a lone surrogate, which no JSON reader takes
        line = orjson.dumps(_cleaned(event))
    if len(line) > _TEXT_CHARACTERS:
        line = orjson.dumps(_cleaned(event))
    if line.isascii() and b"\x7f" not in line:
        return line.decode("ascii")
    return _NOT_PLAIN.sub(_escape, line.decode())


def text_json(text: str) -> str:
    """A string as ``render`` shows it, quotes included."""
    return render([text])[1:-1]  # type: ignore[arg-type]


def _cleaned(value: Any) -> Any:
    """Texts that any JSON reader takes: no lone surrogates, none endless."""
    if isinstance(value, str):
        if len(value) > _TEXT_CHARACTERS:
            value = value[:_TEXT_CHARACTERS] + "..."
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, list):
        return [_cleaned(item) for item in value]
    if isinstance(value, dict):
        return {name: _cleaned(item) for name, item in value.items()}
    return value


def _escape(match: re.Match[str]) -> str:
    units = match[0].encode("utf-16-be").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


class EventMaker:
    """What all builders share.  Times are in seconds since the epoch."""

    def __init__(self, writer: Writer) -> None:
        always = {
            "@timestamp": "",
            "log.level": "",
            "message": "",
            "ecs.version": ECS_VERSION,
            "data_stream.type": "logs",
            "data_stream.namespace": writer.namespace,
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
        """The nested document, without what is None; refuses what the table lacks."""
        entry = ACTIONS[action]
        if not entry.fields.issuperset(fields):
            unknown = ", ".join(sorted(fields.keys() - entry.fields))
            raise ValueError(f"{action} has no field {unknown}")
        # Parts that no field of an event goes to are the same objects in all of them.
        document = self._templates[action].copy()
        document["@timestamp"] = time_text(at)
        document["log"] = {"level": level or entry.level}
        document["message"] = without_secrets(message)
        event = document["event"] = document["event"].copy()
        if event_id is not None:
            event["id"] = event_id
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
        parents, leaf = _PLACES[name]
        place = places.get(parents)
        if place is None:
            place = places[parents] = _place(document, parents)
        place[leaf] = value
    for name in _PROSE:
        text = flat.get(name)
        if text is not None:
            parents, leaf = _PLACES[name]
            places[parents][leaf] = without_secrets(text)
    return document


def _place(document: Event, parents: str) -> Event:
    for parent in parents.split("."):
        document = document.setdefault(parent, {})
    return document


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
