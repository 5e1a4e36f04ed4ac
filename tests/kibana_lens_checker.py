"""What Lens asks of a panel: its layers, their columns, and what is drawn of them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from kibana_fields import NUMERIC, TERMS, Fields, Json

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


@dataclass
class LensChecker:
    """Complains about the state of a Lens panel."""

    fields: Fields

    def check(self, found: Json) -> Iterator[str]:
        """Complain; yields the names of the references that the panel uses."""
        state = found["state"]
        layers = state["datasourceStates"]["formBased"]["layers"]
        actions = self.fields.query(state.get("query"))
        for identity, layer in layers.items():
            self._layer(layer, actions)
            yield f"indexpattern-datasource-layer-{identity}"
        shown = state["visualization"]
        draw = VISUALIZATIONS.get(found["visualizationType"])
        if draw is None:
            self.fields.say(f"we do not know {found['visualizationType']}")
            return
        drawn = draw(shown)
        for identity in {part.layer for part in drawn} ^ layers.keys():
            self.fields.say(f"layer {identity} is in one half of the state only")
        for part in drawn:
            columns = layers.get(part.layer, {}).get("columns", {})
            self._drawn(part, columns)
        self._series(found["visualizationType"], shown)

    def _series(self, kind: str, shown: Json) -> None:
        for layer in shown.get("layers", []) if kind == "lnsXY" else []:
            if layer.get("seriesType") not in SERIES:
                self.fields.say(f"there is no series type {layer.get('seriesType')}")

    def _layer(self, layer: Json, actions: Collection[str]) -> None:
        columns = layer["columns"]
        if sorted(layer["columnOrder"]) != sorted(columns):
            self.fields.say("columnOrder does not list each column once")
            return
        bucketed = [columns[key]["isBucketed"] for key in layer["columnOrder"]]
        if bucketed != sorted(bucketed, reverse=True):
            self.fields.say("buckets are not first")
        for key, column in columns.items():
            self._column(key, column, columns, actions)
        labels = Counter(
            column["label"]
            for column in columns.values()
            if not column["label"].startswith("Part of ")
        )
        if max(labels.values()) > 1:
            self.fields.say(
                f"two columns have one label: {labels.most_common(1)[0][0]}"
            )

    def _column(
        self, key: str, column: Json, columns: Json, actions: Collection[str]
    ) -> None:
        operation, params = column["operationType"], column.get("params", {})
        if column["isBucketed"] != (operation in ("date_histogram", "terms")):
            self.fields.say(f"column {key}: {operation} and isBucketed do not fit")
        own = self.fields.query(column["filter"]) if "filter" in column else actions
        if operation in ("formula", "math"):
            self._formula(key, column, columns, actions)
        elif operation == "count":
            if column["sourceField"] != "___records___":
                self.fields.say(f"column {key}: count takes ___records___")
            self._kind(key, column, "number")
        else:
            self._of_field(key, column, own & actions if own else actions)
        if operation == "terms":
            self._terms(key, params, columns)
        if operation == "percentile" and not 0 < (params.get("percentile") or 0) < 100:
            self.fields.say(f"column {key}: percentile {params.get('percentile')}")
        if operation == "last_value":
            self._last(key, column)
        self._recent(key, column, columns)

    def _last(self, key: str, column: Json) -> None:
        sorting = column["params"].get("sortField", "")
        self.fields.field(sorting, {"date"}, f"column {key}: sorting")
        exists = {"language": "kuery", "query": f"{column['sourceField']}: *"}
        if column.get("filter") != exists:
            self.fields.say(f"column {key} may find a document without its field")

    def _recent(self, key: str, column: Json, columns: Json) -> None:
        if "reducedTimeRange" not in column:
            return
        if not re.fullmatch(r"\d+[smhdw]", column["reducedTimeRange"]):
            self.fields.say(f"column {key}: no time {column['reducedTimeRange']}")
        operations = {each["operationType"] for each in columns.values()}
        if "date_histogram" in operations:
            self.fields.say(f"column {key}: Lens takes no part of the time over time")

    def _of_field(self, key: str, column: Json, actions: Collection[str]) -> None:
        operation, name = column["operationType"], column["sourceField"]
        if operation not in FITS:
            self.fields.say(f"column {key}: unknown operation {operation}")
            return
        if not self.fields.field(name, FITS[operation], f"column {key}: {operation}"):
            return
        self.fields.emitted(name, actions)
        is_number = operation in ("unique_count",)
        self._kind(
            key, column, "number" if is_number else KINDS[self.fields.words.types[name]]
        )

    def _kind(self, key: str, column: Json, expected: str) -> None:
        if column["dataType"] != expected:
            self.fields.say(f"column {key} is a {expected}, not a {column['dataType']}")

    def _terms(self, key: str, params: Json, columns: Json) -> None:
        order = params.get("orderBy", {})
        by = columns.get(order.get("columnId"), {"isBucketed": True})
        if order.get("type") == "column":
            unfit = by["isBucketed"] or by["operationType"] in UNSORTABLE
            if unfit or "reducedTimeRange" in by:
                self.fields.say(
                    f"column {key} cannot be ordered by {order.get('columnId')}"
                )
        elif order.get("type") != "alphabetical":
            self.fields.say(f"column {key} has no order")
        if not 1 <= params.get("size", 0) <= 1000:
            self.fields.say(f"column {key} has {params.get('size')} values")

    def _formula(
        self, key: str, column: Json, columns: Json, actions: Collection[str]
    ) -> None:
        missing = [name for name in column["references"] if name not in columns]
        if missing or not column["references"]:
            self.fields.say(f"column {key} refers to {missing or 'nothing'}")
        elif column["operationType"] == "formula":
            self._calls(key, column["params"]["formula"], actions)
        else:
            ast = column["params"]["tinymathAst"]
            if ast["args"] != column["references"] or ast["name"] != "divide":
                self.fields.say(f"column {key} computes something else than it says")

    def _calls(self, key: str, formula: str, actions: Collection[str]) -> None:
        call = r"(\w+)\(((?:[^()']|'[^']*')*)\)"
        parts = re.fullmatch(rf"{call} / {call}", formula)
        if parts is None:
            self.fields.say(f"column {key}: we cannot read {formula!r}")
            return
        for operation, inside in (parts.groups()[:2], parts.groups()[2:]):
            if operation not in FORMULA_OPERATIONS:
                self.fields.say(f"column {key}: unknown function {operation}")
            for argument in re.findall(r"kql='[^']*'|[^\s,]+", inside):
                if argument.startswith("kql='"):
                    query = {"language": "kuery", "query": argument[5:-1]}
                    self.fields.query(query)
                elif self.fields.field(argument, NUMERIC, f"column {key}: {operation}"):
                    self.fields.emitted(argument, actions)

    def _drawn(self, part: Drawn, columns: Json) -> None:
        places = [(key, True) for key in part.buckets]
        for key, is_bucket in places + [(key, False) for key in part.numbers]:
            if key not in columns:
                self.fields.say(f"it draws column {key} that is not there")
                continue
            if columns[key]["isBucketed"] != is_bucket:
                self.fields.say(f"column {key} is drawn in the wrong place")
            if columns[key]["operationType"] == "math":
                self.fields.say(f"column {key} is a part of a formula, not to be drawn")
        shown = {*part.buckets, *part.numbers}
        hidden = {key for key in columns if not re.fullmatch(r"\w+X\d", key)} - shown
        for key in sorted(hidden):
            self.fields.say(f"column {key} is not drawn")


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
