"""The panels as Elasticsearch queries, and the answers as rows.

Kibana sends the like of them; the tests run each on a real server and compare the rows
with the books.  A bucket's value is under the label of its column, and so is a number.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from dcmirror.core.journal_table import FIELDS
from dcmirror.core.kibana_columns import (
    Metric,
    Operation,
    Panel,
    Ratio,
    Terms,
    Time,
    Where,
)
from dcmirror.core.kibana_dashboards import Search
from dcmirror.core.kibana_lens_columns import filter_of

Json = dict[str, Any]
Row = dict[str, Any]

MISSING = "(missing)"

_AGGREGATIONS = {
    Operation.SUM: "sum",
    Operation.AVERAGE: "avg",
    Operation.MIN: "min",
    Operation.MAX: "max",
    Operation.UNIQUE: "cardinality",
}
# The name of a number's own aggregation inside the filters that it asks for.
_VALUE = "value"


def panel_query(panel: Panel, since: str, until: str, interval: str = "1m") -> Json:
    """The body of a search for all rows of a panel between two times."""
    recent_since = f"{until}||-{{}}"
    return {
        "size": 0,
        "track_total_hits": True,
        "query": _bool(panel.where, _between(since, until)),
        "aggs": _buckets(panel, list(_keys(panel)), interval, recent_since),
    }


def search_query(search: Search, since: str, until: str, size: int = 100) -> Json:
    """The body of a search for the first rows of a saved search."""
    return {
        "size": size,
        "track_total_hits": True,
        "query": _bool(search.where, _between(since, until)),
        "sort": [{field: direction} for field, direction in search.sort],
        "_source": ["@timestamp", *search.columns],
    }


def _between(since: str, until: str) -> Json:
    return {"range": {"@timestamp": {"gte": since, "lte": until}}}


def _bool(where: Where, *more: Json) -> Json:
    return {"bool": {"filter": [*(clause.query for clause in where), *more]}}


def _keys(panel: Panel) -> Iterator[str]:
    return (key for key in panel.columns() if key.startswith("b"))


# -- the request ------------------------------------------------------------------


def _buckets(panel: Panel, keys: list[str], interval: str, recent: str) -> Json:
    if not keys:
        return _numbers(panel, recent)
    key, *rest = keys
    bucket = panel.columns()[key]
    inner = {"aggs": _buckets(panel, rest, interval, recent)}
    if isinstance(bucket, Terms):
        # What sorts the buckets must be computed on their own level.
        inner["aggs"] |= _sorting_number(panel, recent)
        return {key: {"terms": _terms(bucket, panel), **inner}}
    histogram = {"field": "@timestamp", "fixed_interval": interval, "min_doc_count": 1}
    return {key: {"date_histogram": histogram, **inner}}


def _terms(terms: Terms, panel: Panel) -> Json:
    ordered = not terms.ascending and panel.ordering is not None
    body: Json = {
        "field": terms.field,
        "size": terms.size,
        "order": _order(panel) if ordered else {"_key": "asc"},
    }
    if terms.has_rest and FIELDS[terms.field][0] == "keyword":
        body["missing"] = MISSING
    return body


def _order(panel: Panel) -> Json:
    """By the first number that can sort, like Lens."""
    metric = panel.columns()[panel.ordering or ""]
    assert isinstance(metric, Metric)
    if metric.operation is Operation.COUNT and not filter_of(metric):
        return {"_count": "desc"}
    if metric.operation is Operation.COUNT:
        return {f"{panel.ordering}": "desc"}
    within = f".{float(metric.percentile)}" if metric.percentile is not None else ""
    return {f"{panel.ordering}>{_VALUE}{within}": "desc"}


def _sorting_number(panel: Panel, recent: str) -> Json:
    if panel.ordering is None:
        return {}
    metric = panel.columns()[panel.ordering]
    assert isinstance(metric, Metric)
    return {panel.ordering: _number(metric, recent)}


def _numbers(panel: Panel, recent: str) -> Json:
    found: Json = {}
    for key, number in panel.columns().items():
        if isinstance(number, Ratio):
            found[f"{key}X0"] = _number(number.top, recent)
            found[f"{key}X1"] = _number(number.bottom, recent)
        elif isinstance(number, Metric):
            found[key] = _number(number, recent)
    return found


def _number(metric: Metric, recent: str) -> Json:
    """A filter that may let everything through, and the aggregation inside."""
    last = [_since(recent.format(metric.recent))] if metric.recent else []
    body: Json = {"filter": _bool(filter_of(metric), *last)}
    if metric.operation is Operation.COUNT:
        return body
    return {**body, "aggs": {_VALUE: _aggregation(metric)}}


def _since(time: str) -> Json:
    return {"range": {"@timestamp": {"gte": time}}}


def _aggregation(metric: Metric) -> Json:
    if metric.operation is Operation.PERCENTILE:
        percents = [metric.percentile]
        return {"percentiles": {"field": metric.field, "percents": percents}}
    if metric.operation is Operation.LAST:
        newest = [{"@timestamp": "desc"}]
        return {"top_hits": {"size": 1, "sort": newest, "_source": [metric.field]}}
    return {_AGGREGATIONS[metric.operation]: {"field": metric.field}}


# -- the answer -------------------------------------------------------------------


def panel_rows(panel: Panel, answer: Json) -> list[Row]:
    """The rows that Kibana would draw; one without buckets."""
    return list(_rows(panel, list(_keys(panel)), answer["aggregations"], {}))


def _rows(panel: Panel, keys: list[str], found: Json, so_far: Row) -> Iterator[Row]:
    if not keys:
        yield {**so_far, **dict(_values(panel, found))}
        return
    key, *rest = keys
    bucket = panel.columns()[key]
    for each in found[key]["buckets"]:
        value = each["key_as_string"] if isinstance(bucket, Time) else each["key"]
        yield from _rows(panel, rest, each, {**so_far, bucket.label: value})


def _values(panel: Panel, found: Json) -> Iterator[tuple[str, Any]]:
    for key, number in panel.columns().items():
        if isinstance(number, Metric):
            yield number.label, _value(number, found[key])
        elif isinstance(number, Ratio):
            top = _value(number.top, found[f"{key}X0"])
            bottom = _value(number.bottom, found[f"{key}X1"])
            yield number.label, top / bottom if bottom else None


def _value(metric: Metric, found: Json) -> Any:
    if metric.operation is Operation.COUNT:
        return found["doc_count"]
    inner = found[_VALUE]
    if metric.operation is Operation.PERCENTILE:
        return next(iter(inner["values"].values()))
    if metric.operation is Operation.LAST:
        hits = inner["hits"]["hits"]
        return _dig(hits[0]["_source"], metric.field) if hits else None
    return inner.get("value_as_string", inner["value"])


def _dig(document: Json, field: str) -> Any:
    value: Any = document
    for name in field.split("."):
        value = value[name]
    return value


def unlimited(panel: Panel, size: int = 1000) -> Panel:
    """The same panel with room for every value: for sums over all its rows."""
    buckets = (
        replace(bucket, size=size) if isinstance(bucket, Terms) else bucket
        for bucket in panel.buckets
    )
    return replace(panel, buckets=tuple(buckets))
