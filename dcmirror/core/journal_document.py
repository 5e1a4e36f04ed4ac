"""One journal event as a nested document: what is in each, and what may be.

The supervisor runs this; ``journal_table`` is the vocabulary.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterable, Mapping
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
_PROSE = {"error": "message", "event": "reason", "dcmirror.kafka": "excerpt"}

_PATHS = {
    group: group.split(".") for group in {name.rpartition(".")[0] for name in FIELDS}
}
_PLACES = {name: name.rpartition(".")[::2] for name in FIELDS}

_NOTHING: frozenset[str] = frozenset()

# In JSON these stand in strings only, where an escape means the same.
_NOT_PLAIN = re.compile(r"[^\x00-\x7e]")

Event = dict[str, Any]
#: Fields by what stands before their last dot: {"file": {"name": "f", "size": 1}, ...}.
Groups = dict[str, dict[str, Any]]


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


def is_plain(text: str) -> bool:
    """Whether a text stands in JSON as it is."""
    return (
        len(text) < _TEXT_CHARACTERS
        and text.isascii()
        and text.isprintable()
        and '"' not in text
        and "\\" not in text
    )


def _cleaned(value: Any) -> Any:
    """Texts that any JSON reader takes: no lone surrogates, none endless."""
    if isinstance(value, str):
        if len(value) > _TEXT_CHARACTERS:
            value = value[:_TEXT_CHARACTERS] + "..."
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, list):
        return [_cleaned(item) for item in value]
    if isinstance(value, dict):
        return {_cleaned(name): _cleaned(item) for name, item in value.items()}
    return value


def _escape(match: re.Match[str]) -> str:
    units = match[0].encode("utf-16-be").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


class EventMaker:
    """What all builders share.  Times are in seconds since the epoch."""

    def __init__(self, writer: Writer) -> None:
        always = {
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
        self._daemon = f"{writer.instance} on {writer.host}"
        self._templates = {
            name: _nested({}, _grouped(always | _of_action(name))) for name in ACTIONS
        }
        self._allowed = {name: _leaves(entry.fields) for name, entry in ACTIONS.items()}
        # Elasticsearch sorts by milliseconds; a small file tells five events in one.
        self._sequence = itertools.count(1)

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
        return self.compose(action, at, message, _grouped(fields), event_id, level)

    def compose(
        self,
        action: str,
        at: float,
        message: str,
        groups: Groups,
        event_id: str | None = None,
        level: str | None = None,
    ) -> Event:
        """``make`` for fields that come in groups."""
        allowed = self._allowed[action]
        for group, fields in groups.items():
            if not allowed.get(group, _NOTHING).issuperset(fields):
                unknown = sorted(fields.keys() - allowed.get(group, _NOTHING))
                names = ", ".join(f"{group}.{leaf}" for leaf in unknown)
                raise ValueError(f"{action} has no field {names}")
        # Parts that no field of an event goes to are the same objects in all of them.
        document = {
            "@timestamp": time_text(at),
            "log": {"level": level or ACTIONS[action].level},
            "message": without_secrets(message),
            **self._templates[action],
            "dcmirror": {"daemon": self._daemon},
        }
        own: dict[str, Any] = {"sequence": next(self._sequence)}
        if event_id is not None:
            own["id"] = event_id
        document["event"] = document["event"] | own
        return _nested(document, groups)


def _of_action(name: str) -> dict[str, Any]:
    entry = ACTIONS[name]
    return {
        "event.kind": entry.kind,
        "event.category": [entry.category],
        "event.type": [entry.type],
        "event.action": name,
        "data_stream.dataset": entry.dataset,
    }


def _grouped(fields: Mapping[str, Any]) -> Groups:
    groups: Groups = {}
    for name, value in fields.items():
        group, leaf = _PLACES.get(name) or name.rpartition(".")[::2]
        groups.setdefault(group, {})[leaf] = value
    return groups


def _leaves(names: Iterable[str]) -> dict[str, frozenset[str]]:
    groups = _grouped(dict.fromkeys(names))
    return {group: frozenset(fields) for group, fields in groups.items()}


def _nested(document: Event, groups: Groups) -> Event:
    """Put groups in their places; what is unknown is left out."""
    for group, fields in groups.items():
        if None in fields.values():
            fields = {
                leaf: value for leaf, value in fields.items() if value is not None
            }
        if not fields:
            continue
        prose = _PROSE.get(group)
        if prose is not None and prose in fields:
            fields = fields | {prose: without_secrets(fields[prose])}
        *parents, name = _PATHS[group]
        place = document
        for parent in parents:
            place = place.setdefault(parent, {})
        known = place.get(name)
        place[name] = fields.copy() if known is None else known | fields
    return document


def nanoseconds(seconds: float) -> int:
    """ECS counts durations in nanoseconds."""
    return round(seconds * 1e9)


def time_text(seconds: float) -> str:
    """ISO 8601, UTC, milliseconds."""
    whole, milliseconds = divmod(round(seconds * 1e6) // 1000, 1000)
    return f"{_second_text(whole)}.{milliseconds:03}Z"


@functools.lru_cache(maxsize=64)
def _second_text(whole: int) -> str:
    return datetime.fromtimestamp(whole, UTC).strftime("%Y-%m-%dT%H:%M:%S")
