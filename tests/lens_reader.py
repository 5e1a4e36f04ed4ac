"""Computes what a Lens panel shows from the events themselves, in plain Python.

It reads the saved object, as Kibana would, and nothing of the code that made it: what
it finds is compared with Elasticsearch's answer to the same panel's query.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from dcmirror.core.kibana_columns import Metric, Panel

Json = dict[str, Any]
Document = dict[str, Any]

MISSING = "(missing)"
OBJECTS = Path(__file__).parents[1] / "etc/kibana/dcmirror.ndjson"
_LITERAL = re.compile(r'"((?:[^"\\]|\\.)*)"|(true|false)|(-?\d+)')
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def value_of(document: Document, field: str) -> Any:
    """A value by its dotted name, or None; of several the first."""
    found: Any = document
    for name in field.split("."):
        if not isinstance(found, dict) or name not in found:
            return None
        found = found[name]
    return found[0] if isinstance(found, list) else found


def time_of(document: Document) -> datetime:
    return datetime.fromisoformat(document["@timestamp"])


def matches(query: str, document: Document) -> bool:
    """Whether a document is what a KQL query asks for."""
    clauses = re.findall(
        r"(not )?([\w.@]+): (\*|\([^)]*\)|\"(?:[^\"\\]|\\.)*\"|\S+)", query
    )
    return all(
        _holds(value_of(document, name), wanted) is not bool(negation)
        for negation, name, wanted in clauses
    )


def _holds(value: Any, wanted: str) -> bool:
    if wanted == "*":
        return value is not None
    return value in [_literal(*found) for found in _LITERAL.findall(wanted)]


def _literal(text: str, truth: str, number: str) -> Any:
    return truth == "true" if truth else int(number) if number else text


class LensReader:
    """One panel's saved object.

    Args:
        interval: of its time axis, in seconds.
    """

    def __init__(self, lens: Json, until: datetime, interval: int = 60) -> None:
        state = lens["attributes"]["state"]
        (layer,) = state["datasourceStates"]["formBased"]["layers"].values()
        self.query = state["query"]["query"]
        self.columns: Json = {
            key: layer["columns"][key] for key in layer["columnOrder"]
        }
        self.until, self.interval = until, interval

    def rows(self, documents: Iterable[Document]) -> list[Json]:
        """Each row, by the labels of its columns; percentiles are sorted lists."""
        found = [each for each in documents if matches(self.query, each)]
        buckets = [c for c in self.columns.values() if c["isBucketed"]]
        return list(self._split(buckets, found))

    def _split(self, buckets: list[Json], documents: list[Document]) -> Iterable[Json]:
        if not buckets:
            yield self._numbers(documents)
            return
        first, *rest = buckets
        groups: dict[Any, list[Document]] = defaultdict(list)
        for each in documents:
            if (key := self._key(first, each)) is not None:
                groups[key].append(each)
        for key, inside in groups.items():
            for row in self._split(rest, inside):
                yield {first["label"]: key, **row}

    def _key(self, column: Json, document: Document) -> Any:
        if column["operationType"] == "date_histogram":
            seconds = int(time_of(document).timestamp())
            return seconds - seconds % self.interval
        found = value_of(document, column["sourceField"])
        if found is None and column["params"]["missingBucket"]:
            return MISSING
        return found

    def _numbers(self, documents: list[Document]) -> Json:
        return {
            column["label"]: self._number(column, documents)
            for key, column in self.columns.items()
            if not column["isBucketed"] and not re.fullmatch(r"\w+X\d", key)
        }

    def _number(self, column: Json, documents: Sequence[Document]) -> Any:
        if column["operationType"] == "formula":
            (division,) = column["references"]
            parts = self.columns[division]["references"]
            top, bottom = (self._number(self.columns[p], documents) for p in parts)
            return top / bottom if bottom else None
        if "filter" in column:
            query = column["filter"]["query"]
            documents = [each for each in documents if matches(query, each)]
        if "reducedTimeRange" in column:
            start = self.until - _span(column["reducedTimeRange"])
            documents = [each for each in documents if time_of(each) >= start]
        if column["operationType"] == "count":
            return len(documents)
        return _computed(column, documents)


def _span(text: str) -> timedelta:
    return timedelta(**{_UNITS[text[-1]]: int(text[:-1])})


def _computed(column: Json, documents: Sequence[Document]) -> Any:
    operation, field = column["operationType"], column["sourceField"]
    if operation == "last_value":
        newest = max(documents, key=time_of, default=None)
        return value_of(newest, field) if newest else None
    values = [v for each in documents if (v := value_of(each, field)) is not None]
    return OPERATIONS[operation](values)


def _or_none(function: Callable[[list[Any]], Any]) -> Callable[[list[Any]], Any]:
    return lambda values: function(values) if values else None


OPERATIONS: dict[str, Callable[[list[Any]], Any]] = {
    "sum": sum,
    "average": _or_none(lambda values: sum(values) / len(values)),
    "min": _or_none(min),
    "max": _or_none(max),
    "unique_count": lambda values: len(set(values)),
    "percentile": _or_none(sorted),
}


def is_percentile(values: list[float], percent: float, found: float) -> bool:
    """Whether a digest may call this the percentile: at most one rank beside it."""
    rank = (len(values) - 1) * percent / 100
    low, high = (
        values[max(int(rank) - 1, 0)],
        values[min(int(rank) + 2, len(values) - 1)],
    )
    slack = 1e-3 * abs(high)
    return low - slack <= found <= high + slack


# -- the comparison -------------------------------------------------------------------


def lens_objects() -> dict[str, Json]:
    """The saved panels that we ship, by their ids."""
    objects = map(json.loads, OBJECTS.read_text().splitlines())
    return {each["id"]: each for each in objects if each["type"] == "lens"}


def comparable(value: Any) -> Any:
    """Times as seconds; six digits of fractions, since floats have 32 bits there."""
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, str):
        try:
            return round(datetime.fromisoformat(value).timestamp(), 3)
        except ValueError:
            return value
    return float(value) if value == int(value) else float(f"{value:.6g}")


def agree(panel: Panel, found: list[Json], expected: list[Json]) -> None:
    """Asserts that rows are the same; a percentile must lie where it may."""
    columns = panel.columns()
    keys = [each.label for key, each in columns.items() if key.startswith("b")]
    percents = {
        each.label: each.percentile
        for each in columns.values()
        if isinstance(each, Metric) and each.percentile is not None
    }
    answer, wanted = _ordered(found, keys, percents), _ordered(expected, keys, percents)
    for row, right in zip(answer, wanted, strict=True):
        for label, percent in percents.items():
            values, got = right.pop(label), row.pop(label)
            assert (values is None) == (got is None), (row, label)
            assert values is None or is_percentile(values, percent, got), (label, got)
        assert row == right


def _ordered(rows: list[Json], keys: list[str], raw: Iterable[str]) -> list[Json]:
    same = [
        {name: v if name in raw else comparable(v) for name, v in row.items()}
        for row in rows
    ]
    return sorted(same, key=lambda row: [str(row[key]) for key in keys])
