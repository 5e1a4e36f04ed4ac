"""Says what is wrong with a file of Kibana's saved objects, without a Kibana.

The rules are those of Kibana's own schemas, of Lens's state, and of our templates:
whatever a panel asks for must be there.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from kibana_fields import NUMERIC, TERMS, Fields, Json, Vocabulary
from kibana_lens_checker import LensChecker
from kibana_schemas import ATTRIBUTES, EMBEDDED, TOP, VERSIONS

WIDTH = 48


@dataclass
class Checker:
    """Complains about saved objects, one by one and together."""

    words: Vocabulary

    def __post_init__(self) -> None:
        self.fields = Fields(self.words)
        self._lens = LensChecker(self.fields).check

    def check(self, text: str) -> list[str]:
        """All that is wrong with a file."""
        objects = list(self._lines(text))
        doubles = Counter(each["id"] for each in objects)
        for identity, times in doubles.items():
            if times > 1:
                self.fields.say(f"{times} objects have the id {identity}")
        known = {(each["type"], each["id"]) for each in objects}
        titles = Counter((o["type"], o["attributes"].get("title")) for o in objects)
        for (kind, title), times in titles.items():
            if times > 1:
                self.fields.say(
                    f"{times} objects of type {kind} have the title {title}"
                )
        for each in objects:
            self.fields.where = f"{each['type']} {each['id']}"
            self._object(each, known)
        return self.fields.complaints

    def _lines(self, text: str) -> Iterator[Json]:
        if not text.endswith("\n"):
            self.fields.say("the last line does not end")
        for number, line in enumerate(text.splitlines(), 1):
            try:
                found = json.loads(line)
            except ValueError as exc:
                self.fields.say(f"line {number} is no JSON: {exc}")
                continue
            if self._is_object(found, number):
                yield found

    def _is_object(self, found: Any, number: int) -> bool:
        if not isinstance(found, dict) or found.get("type") not in VERSIONS:
            self.fields.say(f"line {number} is no saved object that we know")
            return False
        bad = [k for k, kind in TOP.items() if not isinstance(found.get(k), kind)]
        for key in bad:
            self.fields.say(f"line {number} lacks {key}")
        return not bad

    # -- one object -------------------------------------------------------------

    def _object(self, found: Json, known: Collection[tuple[str, str]]) -> None:
        kind = found["type"]
        for key in found.keys() - TOP.keys():
            self.fields.say(f"unknown key {key}")
        if found["coreMigrationVersion"] != "8.8.0":
            self.fields.say("its coreMigrationVersion is not 8.8.0")
        if found["typeMigrationVersion"] != VERSIONS[kind]:
            self.fields.say(f"its typeMigrationVersion is not {VERSIONS[kind]}")
        before = len(self.fields.complaints)
        self._attributes(found["attributes"], ATTRIBUTES[kind], "")
        self._references(found["references"], known)
        if len(self.fields.complaints) > before:
            return  # what follows relies on them
        names = [each["name"] for each in found["references"]]
        used = list(getattr(self, f"_{kind.replace('-', '_')}")(found["attributes"]))
        for name in sorted({*used} - {*names}):
            self.fields.say(f"it uses the reference {name} that it lacks")
        for name in sorted({*names} - {*used}):
            self.fields.say(f"it does not use its reference {name}")

    def _attributes(self, found: Json, schema: Json, path: str) -> None:
        allowed = {name.rstrip("!"): kind for name, kind in schema.items()}
        for name in found.keys() - allowed.keys():
            self.fields.say(f"Kibana forbids the attribute {path}{name}")
        for name in schema:
            if name.endswith("!") and name[:-1] not in found:
                self.fields.say(f"the attribute {path}{name[:-1]} is missing")
        for name in found.keys() & allowed.keys():
            self._attribute(name, found[name], allowed[name], path)

    def _attribute(self, name: str, value: Any, kind: Any, path: str) -> None:
        if isinstance(kind, dict):
            if isinstance(value, dict):
                self._attributes(value, kind, f"{path}{name}.")
            else:
                self.fields.say(f"the attribute {path}{name} is no object")
        elif not isinstance(value, kind) or (kind is int and value is True):
            self.fields.say(f"the attribute {path}{name} is no {kind.__name__}")
        elif name in EMBEDDED:
            try:
                json.loads(value)
            except ValueError:
                self.fields.say(f"the attribute {path}{name} holds no JSON")

    def _references(
        self, found: list[Json], known: Collection[tuple[str, str]]
    ) -> None:
        for each in found:
            if set(each) != {"type", "id", "name"}:
                self.fields.say(f"a reference has the keys {sorted(each)}")
            elif (each["type"], each["id"]) not in known:
                self.fields.say(
                    f"it refers to {each['type']} {each['id']}: not in the file"
                )
        for name, times in Counter(each.get("name") for each in found).items():
            if times > 1:
                self.fields.say(f"{times} references are named {name}")

    # -- types; each yields the names of the references that it uses ---------------

    def _index_pattern(self, found: Json) -> Iterator[str]:
        if not found["title"].startswith("logs-dcmirror."):
            self.fields.say("it does not read our data streams")
        self.fields.field(
            found.get("timeFieldName", ""), {"date"}, "the time of a data view"
        )
        for name in json.loads(found.get("fieldFormatMap", "{}")):
            self.fields.field(name, NUMERIC, "a format")
        yield from ()

    def _search(self, found: Json) -> Iterator[str]:
        source = json.loads(found["kibanaSavedObjectMeta"]["searchSourceJSON"])
        actions = self.fields.query(source.get("query"))
        for name in found["columns"]:
            self.fields.field(name, None, "a column")
            self.fields.emitted(name, actions)
        for pair in found["sort"]:
            if len(pair) != 2 or pair[1] not in ("asc", "desc"):
                self.fields.say(f"it cannot sort by {pair}")
            else:
                self.fields.field(pair[0], {"date", *TERMS}, "sorting")
        yield source.get("indexRefName", "no indexRefName")

    def _visualization(self, found: Json) -> Iterator[str]:
        seen = json.loads(found["visState"])
        if seen.get("type") != "markdown" or seen.get("aggs") != []:
            self.fields.say("it is no markdown")
        if seen.get("title") != found["title"]:
            self.fields.say("its two titles differ")
        if not str(seen.get("params", {}).get("markdown", "")).strip():
            self.fields.say("it says nothing")
        yield from ()

    # -- dashboards -------------------------------------------------------------------

    def _dashboard(self, found: Json) -> Iterator[str]:
        source = json.loads(found["kibanaSavedObjectMeta"]["searchSourceJSON"])
        self.fields.query(source.get("query"))
        panels = json.loads(found["panelsJSON"])
        for panel in panels:
            yield from self._panel(panel)
        for one, other in combinations(panels, 2):
            if _overlap(one["gridData"], other["gridData"]):
                self.fields.say(f"{one['panelIndex']} lies upon {other['panelIndex']}")
        for index, times in Counter(p["panelIndex"] for p in panels).items():
            if times > 1:
                self.fields.say(f"{times} panels are called {index}")
        yield from self._controls(found.get("controlGroupInput", {}))

    def _panel(self, panel: Json) -> Iterator[str]:
        index, grid = panel["panelIndex"], panel["gridData"]
        if panel["type"] not in ("lens", "search", "visualization"):
            self.fields.say(f"{index} is a {panel['type']}")
        if grid.get("i") != index:
            self.fields.say(f"{index} is called {grid.get('i')} in its grid")
        if not all(isinstance(grid.get(side), int) for side in "xywh"):
            self.fields.say(f"{index} has no place")
        elif min(grid["x"], grid["y"]) < 0 or min(grid["w"], grid["h"]) < 1:
            self.fields.say(f"{index} has an impossible place")
        elif grid["x"] + grid["w"] > WIDTH:
            self.fields.say(f"{index} is wider than the dashboard")
        if "attributes" in panel.get("embeddableConfig", {}):
            self.fields.say(f"{index} is by value")
        yield f"{index}:{panel.get('panelRefName')}"

    def _controls(self, group: Json) -> Iterator[str]:
        controls = json.loads(group.get("panelsJSON", "{}"))
        for identity, control in controls.items():
            given = control["explicitInput"]
            if control["type"] != "optionsListControl" or given["id"] != identity:
                self.fields.say(f"control {identity} is none that we know")
            self.fields.field(given["fieldName"], TERMS, f"control {identity}")
            yield f"controlGroup_{identity}:optionsListDataView"
        orders = sorted(control["order"] for control in controls.values())
        if orders != list(range(len(orders))):
            self.fields.say("controls have no order")


def _overlap(one: Json, other: Json) -> bool:
    return (
        one["x"] < other["x"] + other["w"]
        and other["x"] < one["x"] + one["w"]
        and one["y"] < other["y"] + other["h"]
        and other["y"] < one["y"] + one["h"]
    )


def markdown_links(objects: list[Json]) -> Iterator[tuple[str, str]]:
    """Each link of a note to a dashboard: the note's id, the dashboard's."""
    for each in objects:
        if each["type"] == "visualization":
            text = json.loads(each["attributes"]["visState"])["params"]["markdown"]
            for target in re.findall(r"\]\(#/view/([^)]+)\)", text):
                yield each["id"], target
