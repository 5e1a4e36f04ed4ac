"""Says what is wrong with a file of Kibana's saved objects, without a Kibana.

The rules are those of Kibana's own schemas (the first version of each, which allows the
least), of Lens's state, and of our templates: whatever a panel asks for must be there.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

Json = dict[str, Any]

TOP = {
    "type": str,
    "id": str,
    "attributes": dict,
    "references": list,
    "coreMigrationVersion": str,
    "typeMigrationVersion": str,
}
VERSIONS = {
    "index-pattern": "8.0.0",
    "lens": "8.9.0",
    "search": "8.0.0",
    "visualization": "8.5.0",
    "dashboard": "8.9.0",
}
META = {"searchSourceJSON": str}

# Attribute to its type; those with a bang must be there.
ATTRIBUTES: dict[str, Json] = {
    "index-pattern": {
        "title!": str,
        "name": str,
        "timeFieldName": str,
        "fieldFormatMap": str,
        "sourceFilters": str,
        "fields": str,
        "typeMeta": str,
        "type": str,
        "runtimeFieldMap": str,
        "fieldAttrs": str,
        "allowNoIndex": bool,
        "allowHidden": bool,
    },
    "lens": {
        "title!": str,
        "description": str,
        "visualizationType!": str,
        "state!": dict,
    },
    "search": {
        "title!": str,
        "description": str,
        "columns!": list,
        "sort!": list,
        "grid": dict,
        "rowHeight": int,
        "rowsPerPage": int,
        "hideChart": bool,
        "breakdownField": str,
        "kibanaSavedObjectMeta!": META,
        "isTextBasedQuery": bool,
        "usesAdHocDataView": bool,
        "timeRestore": bool,
        "timeRange": dict,
        "refreshInterval": dict,
        "viewMode": str,
        "hideAggregatedPreview": bool,
        "hits": int,
        "version": int,
    },
    "visualization": {
        "title!": str,
        "description": str,
        "visState!": str,
        "uiStateJSON": str,
        "version": int,
        "kibanaSavedObjectMeta!": META,
        "savedSearchRefName": str,
    },
    "dashboard": {
        "title!": str,
        "description": str,
        "kibanaSavedObjectMeta!": META,
        "timeRestore": bool,
        "timeFrom": str,
        "timeTo": str,
        "refreshInterval": {
            "pause": bool,
            "value": int,
            "display": str,
            "section": int,
        },
        "controlGroupInput": {
            "panelsJSON": str,
            "controlStyle": str,
            "chainingSystem": str,
            "ignoreParentSettingsJSON": str,
        },
        "panelsJSON!": str,
        "optionsJSON": str,
        "hits": int,
        "version": int,
    },
}
EMBEDDED = {
    "fieldFormatMap",
    "searchSourceJSON",
    "visState",
    "uiStateJSON",
    "panelsJSON",
    "optionsJSON",
    "ignoreParentSettingsJSON",
}

NUMERIC = {"long", "float", "double"}
TERMS = {"keyword", "constant_keyword", "boolean", "ip", *NUMERIC}
FITS: dict[str, set[str]] = {
    "date_histogram": {"date"},
    "terms": TERMS,
    "sum": NUMERIC,
    "average": NUMERIC,
    "percentile": NUMERIC,
    "min": NUMERIC | {"date"},
    "max": NUMERIC | {"date"},
    "unique_count": TERMS | {"date"},
    "last_value": TERMS | {"date"},
}
FORMULA_OPERATIONS = {"count", "sum", "average", "min", "max", "unique_count"}
UNSORTABLE = {"last_value", "formula", "math"}
KINDS = {
    "keyword": "string",
    "constant_keyword": "string",
    "boolean": "boolean",
    "date": "date",
    "ip": "ip",
    **dict.fromkeys(NUMERIC, "number"),
}
SERIES = {"line", "bar", "bar_stacked", "area", "area_stacked"}
WIDTH = 48


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
class Checker:
    """Collects complaints; each names the object."""

    words: Vocabulary
    complaints: list[str] = field(default_factory=list)
    _where: str = ""

    def check(self, text: str) -> list[str]:
        """All that is wrong with a file."""
        objects = list(self._lines(text))
        doubles = Counter(each["id"] for each in objects)
        for identity, times in doubles.items():
            if times > 1:
                self._say(f"{times} objects have the id {identity}")
        known = {(each["type"], each["id"]) for each in objects}
        titles = Counter((o["type"], o["attributes"].get("title")) for o in objects)
        for (kind, title), times in titles.items():
            if times > 1:
                self._say(f"{times} objects of type {kind} have the title {title}")
        for each in objects:
            self._where = f"{each['type']} {each['id']}"
            self._object(each, known)
        return self.complaints

    def _say(self, text: str) -> None:
        self.complaints.append(f"{self._where}: {text}" if self._where else text)

    def _lines(self, text: str) -> Iterator[Json]:
        if not text.endswith("\n"):
            self._say("the last line does not end")
        for number, line in enumerate(text.splitlines(), 1):
            try:
                found = json.loads(line)
            except ValueError as exc:
                self._say(f"line {number} is no JSON: {exc}")
                continue
            if self._is_object(found, number):
                yield found

    def _is_object(self, found: Any, number: int) -> bool:
        if not isinstance(found, dict) or found.get("type") not in VERSIONS:
            self._say(f"line {number} is no saved object that we know")
            return False
        bad = [k for k, kind in TOP.items() if not isinstance(found.get(k), kind)]
        for key in bad:
            self._say(f"line {number} lacks {key}")
        return not bad

    # -- one object -------------------------------------------------------------

    def _object(self, found: Json, known: Collection[tuple[str, str]]) -> None:
        kind = found["type"]
        for key in found.keys() - TOP.keys():
            self._say(f"unknown key {key}")
        if found["coreMigrationVersion"] != "8.8.0":
            self._say("its coreMigrationVersion is not 8.8.0")
        if found["typeMigrationVersion"] != VERSIONS[kind]:
            self._say(f"its typeMigrationVersion is not {VERSIONS[kind]}")
        before = len(self.complaints)
        self._attributes(found["attributes"], ATTRIBUTES[kind], "")
        self._references(found["references"], known)
        if len(self.complaints) > before:
            return  # what follows relies on them
        names = [each["name"] for each in found["references"]]
        used = list(getattr(self, f"_{kind.replace('-', '_')}")(found["attributes"]))
        for name in sorted({*used} - {*names}):
            self._say(f"it uses the reference {name} that it lacks")
        for name in sorted({*names} - {*used}):
            self._say(f"it does not use its reference {name}")

    def _attributes(self, found: Json, schema: Json, path: str) -> None:
        allowed = {name.rstrip("!"): kind for name, kind in schema.items()}
        for name in found.keys() - allowed.keys():
            self._say(f"Kibana forbids the attribute {path}{name}")
        for name in schema:
            if name.endswith("!") and name[:-1] not in found:
                self._say(f"the attribute {path}{name[:-1]} is missing")
        for name in found.keys() & allowed.keys():
            self._attribute(name, found[name], allowed[name], path)

    def _attribute(self, name: str, value: Any, kind: Any, path: str) -> None:
        if isinstance(kind, dict):
            if isinstance(value, dict):
                self._attributes(value, kind, f"{path}{name}.")
            else:
                self._say(f"the attribute {path}{name} is no object")
        elif not isinstance(value, kind) or (kind is int and value is True):
            self._say(f"the attribute {path}{name} is no {kind.__name__}")
        elif name in EMBEDDED:
            try:
                json.loads(value)
            except ValueError:
                self._say(f"the attribute {path}{name} holds no JSON")

    def _references(
        self, found: list[Json], known: Collection[tuple[str, str]]
    ) -> None:
        for each in found:
            if set(each) != {"type", "id", "name"}:
                self._say(f"a reference has the keys {sorted(each)}")
            elif (each["type"], each["id"]) not in known:
                self._say(f"it refers to {each['type']} {each['id']}: not in the file")
        for name, times in Counter(each.get("name") for each in found).items():
            if times > 1:
                self._say(f"{times} references are named {name}")

    # -- types; each yields the names of the references that it uses ---------------

    def _index_pattern(self, found: Json) -> Iterator[str]:
        if not found["title"].startswith("logs-dcmirror."):
            self._say("it does not read our data streams")
        self._field(found.get("timeFieldName", ""), {"date"}, "the time of a data view")
        for name in json.loads(found.get("fieldFormatMap", "{}")):
            self._field(name, NUMERIC, "a format")
        yield from ()

    def _search(self, found: Json) -> Iterator[str]:
        source = json.loads(found["kibanaSavedObjectMeta"]["searchSourceJSON"])
        actions = self._query(source.get("query"))
        for name in found["columns"]:
            self._field(name, None, "a column")
            self._emitted(name, actions)
        for pair in found["sort"]:
            if len(pair) != 2 or pair[1] not in ("asc", "desc"):
                self._say(f"it cannot sort by {pair}")
            else:
                self._field(pair[0], {"date", *TERMS}, "sorting")
        yield source.get("indexRefName", "no indexRefName")

    def _visualization(self, found: Json) -> Iterator[str]:
        seen = json.loads(found["visState"])
        if seen.get("type") != "markdown" or seen.get("aggs") != []:
            self._say("it is no markdown")
        if seen.get("title") != found["title"]:
            self._say("its two titles differ")
        if not str(seen.get("params", {}).get("markdown", "")).strip():
            self._say("it says nothing")
        yield from ()

    def _lens(self, found: Json) -> Iterator[str]:
        state = found["state"]
        layers = state["datasourceStates"]["formBased"]["layers"]
        actions = self._query(state.get("query"))
        for identity, layer in layers.items():
            self._layer(layer, actions)
            yield f"indexpattern-datasource-layer-{identity}"
        shown = state["visualization"]
        draw = VISUALIZATIONS.get(found["visualizationType"])
        if draw is None:
            self._say(f"we do not know {found['visualizationType']}")
            return
        drawn = draw(shown)
        for identity in {part.layer for part in drawn} ^ layers.keys():
            self._say(f"layer {identity} is in one half of the state only")
        for part in drawn:
            columns = layers.get(part.layer, {}).get("columns", {})
            self._drawn(part, columns)
        self._series(found["visualizationType"], shown)

    def _series(self, kind: str, shown: Json) -> None:
        for layer in shown.get("layers", []) if kind == "lnsXY" else []:
            if layer.get("seriesType") not in SERIES:
                self._say(f"there is no series type {layer.get('seriesType')}")

    # -- layers -------------------------------------------------------------------

    def _layer(self, layer: Json, actions: Collection[str]) -> None:
        columns = layer["columns"]
        if sorted(layer["columnOrder"]) != sorted(columns):
            self._say("columnOrder does not list each column once")
            return
        bucketed = [columns[key]["isBucketed"] for key in layer["columnOrder"]]
        if bucketed != sorted(bucketed, reverse=True):
            self._say("buckets are not first")
        for key, column in columns.items():
            self._column(key, column, columns, actions)
        labels = Counter(
            column["label"]
            for column in columns.values()
            if not column["label"].startswith("Part of ")
        )
        if max(labels.values()) > 1:
            self._say(f"two columns have one label: {labels.most_common(1)[0][0]}")

    def _column(
        self, key: str, column: Json, columns: Json, actions: Collection[str]
    ) -> None:
        operation, params = column["operationType"], column.get("params", {})
        if column["isBucketed"] != (operation in ("date_histogram", "terms")):
            self._say(f"column {key}: {operation} and isBucketed do not fit")
        own = self._query(column["filter"]) if "filter" in column else actions
        if operation in ("formula", "math"):
            self._formula(key, column, columns, actions)
        elif operation == "count":
            if column["sourceField"] != "___records___":
                self._say(f"column {key}: count takes ___records___")
            self._kind(key, column, "number")
        else:
            self._of_field(key, column, own & actions if own else actions)
        if operation == "terms":
            self._terms(key, params, columns)
        if operation == "percentile" and not 0 < (params.get("percentile") or 0) < 100:
            self._say(f"column {key}: percentile {params.get('percentile')}")
        if operation == "last_value":
            self._last(key, column)
        self._recent(key, column, columns)

    def _last(self, key: str, column: Json) -> None:
        sorting = column["params"].get("sortField", "")
        self._field(sorting, {"date"}, f"column {key}: sorting")
        exists = {"language": "kuery", "query": f"{column['sourceField']}: *"}
        if column.get("filter") != exists:
            self._say(f"column {key} may find a document without its field")

    def _recent(self, key: str, column: Json, columns: Json) -> None:
        if "reducedTimeRange" not in column:
            return
        if not re.fullmatch(r"\d+[smhdw]", column["reducedTimeRange"]):
            self._say(f"column {key}: no time {column['reducedTimeRange']}")
        operations = {each["operationType"] for each in columns.values()}
        if "date_histogram" in operations:
            self._say(f"column {key}: Lens takes no part of the time over time")

    def _of_field(self, key: str, column: Json, actions: Collection[str]) -> None:
        operation, name = column["operationType"], column["sourceField"]
        if operation not in FITS:
            self._say(f"column {key}: unknown operation {operation}")
            return
        if not self._field(name, FITS[operation], f"column {key}: {operation}"):
            return
        self._emitted(name, actions)
        is_number = operation in ("unique_count",)
        self._kind(
            key, column, "number" if is_number else KINDS[self.words.types[name]]
        )

    def _kind(self, key: str, column: Json, expected: str) -> None:
        if column["dataType"] != expected:
            self._say(f"column {key} is a {expected}, not a {column['dataType']}")

    def _terms(self, key: str, params: Json, columns: Json) -> None:
        order = params.get("orderBy", {})
        by = columns.get(order.get("columnId"), {"isBucketed": True})
        if order.get("type") == "column":
            unfit = by["isBucketed"] or by["operationType"] in UNSORTABLE
            if unfit or "reducedTimeRange" in by:
                self._say(f"column {key} cannot be ordered by {order.get('columnId')}")
        elif order.get("type") != "alphabetical":
            self._say(f"column {key} has no order")
        if not 1 <= params.get("size", 0) <= 1000:
            self._say(f"column {key} has {params.get('size')} values")

    def _formula(
        self, key: str, column: Json, columns: Json, actions: Collection[str]
    ) -> None:
        missing = [name for name in column["references"] if name not in columns]
        if missing or not column["references"]:
            self._say(f"column {key} refers to {missing or 'nothing'}")
        elif column["operationType"] == "formula":
            self._calls(key, column["params"]["formula"], actions)
        else:
            ast = column["params"]["tinymathAst"]
            if ast["args"] != column["references"] or ast["name"] != "divide":
                self._say(f"column {key} computes something else than it says")

    def _calls(self, key: str, formula: str, actions: Collection[str]) -> None:
        call = r"(\w+)\(((?:[^()']|'[^']*')*)\)"
        parts = re.fullmatch(rf"{call} / {call}", formula)
        if parts is None:
            self._say(f"column {key}: we cannot read {formula!r}")
            return
        for operation, inside in (parts.groups()[:2], parts.groups()[2:]):
            if operation not in FORMULA_OPERATIONS:
                self._say(f"column {key}: unknown function {operation}")
            for argument in re.findall(r"kql='[^']*'|[^\s,]+", inside):
                if argument.startswith("kql='"):
                    query = {"language": "kuery", "query": argument[5:-1]}
                    self._query(query)
                elif self._field(argument, NUMERIC, f"column {key}: {operation}"):
                    self._emitted(argument, actions)

    def _drawn(self, part: Drawn, columns: Json) -> None:
        places = [(key, True) for key in part.buckets]
        for key, is_bucket in places + [(key, False) for key in part.numbers]:
            if key not in columns:
                self._say(f"it draws column {key} that is not there")
                continue
            if columns[key]["isBucketed"] != is_bucket:
                self._say(f"column {key} is drawn in the wrong place")
            if columns[key]["operationType"] == "math":
                self._say(f"column {key} is a part of a formula, not to be drawn")
        shown = {*part.buckets, *part.numbers}
        hidden = {key for key in columns if not re.fullmatch(r"\w+X\d", key)} - shown
        for key in sorted(hidden):
            self._say(f"column {key} is not drawn")

    # -- fields and queries ---------------------------------------------------------

    def _field(self, name: str, kinds: Collection[str] | None, use: str) -> bool:
        kind = self.words.types.get(name)
        if kind is None:
            self._say(f"{use} needs {name!r}, which no template has")
        elif kinds is not None and kind not in kinds:
            self._say(f"{use} cannot take {name}, which is {kind}")
        else:
            return True
        return False

    def _emitted(self, name: str, actions: Collection[str]) -> None:
        if actions and not any(name in self.words.has[each] for each in actions):
            self._say(f"no event of {', '.join(sorted(actions))} has {name}")

    def _query(self, query: Any) -> set[str]:
        """The actions that a query asks for; complains about what it cannot find."""
        if not isinstance(query, dict) or query.get("language") != "kuery":
            self._say(f"{query!r} is no KQL")
            return set()
        actions: set[str] = set()
        for name, values in self._clauses(query["query"]):
            self._clause(name, values)
            if name == "event.action":
                actions |= {*values} & {*self.words.has}
        return actions

    def _clauses(self, text: str) -> Iterator[tuple[str, list[str]]]:
        rest, literal = text, r'(?:"(?:[^"\\]|\\.)*"|true|false|-?\d+)'
        clause = rf"([\w.@]+): (\*|{literal}|\({literal}(?: or {literal})*\))"
        while rest:
            found = re.match(rf"{clause}(?: and (?=\S)|$)", rest)
            if found is None:
                self._say(f"we cannot read the query {text!r} from {rest!r} on")
                return
            yield found[1], re.findall(literal, found[2])
            rest = rest[found.end() :]

    def _clause(self, name: str, values: list[str]) -> None:
        if not self._field(name, None, "a query"):
            return
        kind = self.words.types[name]
        for number, value in enumerate(values):
            if (value in ("true", "false")) != (kind == "boolean"):
                self._say(f"a query compares {name} with {value}")
            values[number] = plain = value.strip('"')
            if name in self.words.values and plain not in self.words.values[name]:
                self._say(f"the code emits no {name} {plain!r}")

    # -- dashboards -------------------------------------------------------------------

    def _dashboard(self, found: Json) -> Iterator[str]:
        source = json.loads(found["kibanaSavedObjectMeta"]["searchSourceJSON"])
        self._query(source.get("query"))
        panels = json.loads(found["panelsJSON"])
        for panel in panels:
            yield from self._panel(panel)
        for one, other in combinations(panels, 2):
            if _overlap(one["gridData"], other["gridData"]):
                self._say(f"{one['panelIndex']} lies upon {other['panelIndex']}")
        for index, times in Counter(p["panelIndex"] for p in panels).items():
            if times > 1:
                self._say(f"{times} panels are called {index}")
        yield from self._controls(found.get("controlGroupInput", {}))

    def _panel(self, panel: Json) -> Iterator[str]:
        index, grid = panel["panelIndex"], panel["gridData"]
        if panel["type"] not in ("lens", "search", "visualization"):
            self._say(f"{index} is a {panel['type']}")
        if grid.get("i") != index:
            self._say(f"{index} is called {grid.get('i')} in its grid")
        if not all(isinstance(grid.get(side), int) for side in "xywh"):
            self._say(f"{index} has no place")
        elif min(grid["x"], grid["y"]) < 0 or min(grid["w"], grid["h"]) < 1:
            self._say(f"{index} has an impossible place")
        elif grid["x"] + grid["w"] > WIDTH:
            self._say(f"{index} is wider than the dashboard")
        if "attributes" in panel.get("embeddableConfig", {}):
            self._say(f"{index} is by value")
        yield f"{index}:{panel.get('panelRefName')}"

    def _controls(self, group: Json) -> Iterator[str]:
        controls = json.loads(group.get("panelsJSON", "{}"))
        for identity, control in controls.items():
            given = control["explicitInput"]
            if control["type"] != "optionsListControl" or given["id"] != identity:
                self._say(f"control {identity} is none that we know")
            self._field(given["fieldName"], TERMS, f"control {identity}")
            yield f"controlGroup_{identity}:optionsListDataView"
        orders = sorted(control["order"] for control in controls.values())
        if orders != list(range(len(orders))):
            self._say("controls have no order")


def _overlap(one: Json, other: Json) -> bool:
    return (
        one["x"] < other["x"] + other["w"]
        and other["x"] < one["x"] + one["w"]
        and one["y"] < other["y"] + other["h"]
        and other["y"] < one["y"] + one["h"]
    )


@dataclass(frozen=True)
class Drawn:
    """The columns of a layer that a visualization draws."""

    layer: str
    buckets: list[str]
    numbers: list[str]


def _metric(shown: Json) -> list[Drawn]:
    numbers = [shown.get("metricAccessor"), shown.get("secondaryMetricAccessor")]
    return [Drawn(shown["layerId"], [], [key for key in numbers if key])]


def _table(shown: Json) -> list[Drawn]:
    keys = [column["columnId"] for column in shown["columns"]]
    buckets = [key for key in keys if key.startswith("b")]
    numbers = [key for key in keys if not key.startswith("b")]
    return [Drawn(shown["layerId"], buckets, numbers)]


def _pie(shown: Json) -> list[Drawn]:
    return [
        Drawn(layer["layerId"], layer["primaryGroups"], layer["metrics"])
        for layer in shown["layers"]
    ]


def _xy(shown: Json) -> list[Drawn]:
    return [
        Drawn(
            layer["layerId"],
            [layer[key] for key in ("xAccessor", "splitAccessor") if key in layer],
            layer["accessors"],
        )
        for layer in shown["layers"]
    ]


VISUALIZATIONS = {
    "lnsMetric": _metric,
    "lnsDatatable": _table,
    "lnsPie": _pie,
    "lnsXY": _xy,
}


def markdown_links(objects: list[Json]) -> Iterator[tuple[str, str]]:
    """Each link of a note to a dashboard: the note's id, the dashboard's."""
    for each in objects:
        if each["type"] == "visualization":
            text = json.loads(each["attributes"]["visState"])["params"]["markdown"]
            for target in re.findall(r"\]\(#/view/([^)]+)\)", text):
                yield each["id"], target
