"""Whether what a panel or a query asks for is there: fields, kinds and values."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

NUMERIC = {"long", "float", "double"}
TERMS = {"keyword", "constant_keyword", "boolean", "ip", *NUMERIC}


@dataclass(frozen=True)
class Vocabulary:
    """What the code emits: fields with their types, and values where they are few.

    Args:
        has: the fields that an event of an action may have.
    """

    types: Mapping[str, str]
    values: Mapping[str, Collection[str]]
    has: Mapping[str, Collection[str]]


@dataclass
class Fields:
    """Collects complaints; each names the object that ``where`` says."""

    words: Vocabulary
    complaints: list[str] = field(default_factory=list)
    where: str = ""

    def say(self, text: str) -> None:
        """Complain."""
        self.complaints.append(f"{self.where}: {text}" if self.where else text)

    def field(self, name: str, kinds: Collection[str] | None, use: str) -> bool:
        """Whether a template has the field, as one of these kinds."""
        kind = self.words.types.get(name)
        if kind is None:
            self.say(f"{use} needs {name!r}, which no template has")
        elif kinds is not None and kind not in kinds:
            self.say(f"{use} cannot take {name}, which is {kind}")
        else:
            return True
        return False

    def emitted(self, name: str, actions: Collection[str]) -> None:
        """Complains if no event of the actions has the field."""
        if actions and not any(name in self.words.has[each] for each in actions):
            self.say(f"no event of {', '.join(sorted(actions))} has {name}")

    def query(self, query: Any) -> set[str]:
        """The actions that a query asks for; complains about what it cannot find."""
        if not isinstance(query, dict) or query.get("language") != "kuery":
            self.say(f"{query!r} is no KQL")
            return set()
        actions: set[str] = set()
        for name, values, is_denied in self._clauses(query["query"]):
            self._clause(name, values)
            if name == "event.action" and not is_denied:
                actions |= {*values} & {*self.words.has}
        return actions

    def _clauses(self, text: str) -> Iterator[tuple[str, list[str], bool]]:
        rest, literal = text, r'(?:"(?:[^"\\]|\\.)*"|true|false|-?\d+)'
        clause = rf"(not )?([\w.@]+): (\*|{literal}|\({literal}(?: or {literal})*\))"
        while rest:
            found = re.match(rf"{clause}(?: and (?=\S)|$)", rest)
            if found is None:
                self.say(f"we cannot read the query {text!r} from {rest!r} on")
                return
            yield found[2], re.findall(literal, found[3]), found[1] is not None
            rest = rest[found.end() :]

    def _clause(self, name: str, values: list[str]) -> None:
        if not self.field(name, None, "a query"):
            return
        kind = self.words.types[name]
        for number, value in enumerate(values):
            if (value in ("true", "false")) != (kind == "boolean"):
                self.say(f"a query compares {name} with {value}")
            values[number] = plain = value.strip('"')
            if name in self.words.values and plain not in self.words.values[name]:
                self.say(f"the code emits no {name} {plain!r}")
