"""The columns of a panel as Lens keeps them.

A formula is kept with its parts, since Kibana 8.9 does not expand it when it loads.
"""

from __future__ import annotations

from typing import Any

from dcmirror.core.journal_table import FIELDS
from dcmirror.core.kibana_columns import (
    RECORDS,
    Bucket,
    Format,
    Has,
    Metric,
    Number,
    Operation,
    Panel,
    Ratio,
    Terms,
    Time,
    Where,
    kql,
)

Json = dict[str, Any]

_DATA_TYPES = {
    "keyword": "string",
    "constant_keyword": "string",
    "long": "number",
    "float": "number",
    "double": "number",
    "date": "date",
    "boolean": "boolean",
}
_FORMATS: dict[Format, Json] = {
    Format.NUMBER: {"id": "number", "params": {"decimals": 0}},
    Format.DECIMAL: {"id": "number", "params": {"decimals": 2}},
    Format.BYTES: {"id": "bytes", "params": {"decimals": 1}},
    Format.BITS_PER_SECOND: {"id": "bits", "params": {"decimals": 1, "suffix": "/s"}},
    Format.PERCENT: {"id": "percent", "params": {"decimals": 2}},
}
_EMPTY_IS_NULL = frozenset({Operation.COUNT, Operation.SUM, Operation.UNIQUE})


def query(where: Where) -> Json:
    """A filter as Kibana keeps it."""
    return {"language": "kuery", "query": kql(where)}


def data_type(field: str) -> str:
    """What Lens calls the type of a field of ours."""
    return "number" if field == RECORDS else _DATA_TYPES[FIELDS[field][0]]


def columns_of(key: str, column: Bucket | Number, panel: Panel) -> Json:
    """A column by its id; a ratio is four."""
    if isinstance(column, Time):
        return {key: _time(column)}
    if isinstance(column, Terms):
        return {key: _terms(column, panel.ordering)}
    if isinstance(column, Ratio):
        return _ratio(key, column)
    return {key: _metric(column)}


def _time(column: Time) -> Json:
    return {
        "label": column.label,
        "dataType": "date",
        "operationType": "date_histogram",
        "sourceField": "@timestamp",
        "isBucketed": True,
        "scale": "interval",
        "params": {"interval": "auto", "includeEmptyRows": True, "dropPartials": False},
    }


def _terms(column: Terms, ordering: str | None) -> Json:
    kind = data_type(column.field)
    by_column = ordering is not None and not column.ascending
    order = {"type": "column", "columnId": ordering}
    return {
        "label": column.label,
        "customLabel": True,
        "dataType": kind,
        "operationType": "terms",
        "sourceField": column.field,
        "isBucketed": True,
        "scale": "ordinal",
        "params": {
            "size": column.size,
            "orderBy": order if by_column else {"type": "alphabetical"},
            "orderDirection": "desc" if by_column else "asc",
            "otherBucket": column.has_rest,
            "missingBucket": column.has_rest and kind == "string",
            "parentFormat": {"id": "terms"},
            "include": [],
            "exclude": [],
            "includeIsRegex": False,
            "excludeIsRegex": False,
        },
    }


def filter_of(metric: Metric) -> Where:
    """A last value is that of the newest document that has one."""
    is_last = metric.operation is Operation.LAST
    return metric.where + ((Has(metric.field),) if is_last else ())


def _metric(metric: Metric, *, part_of: str = "") -> Json:
    kind = "number" if metric.operation in _EMPTY_IS_NULL else data_type(metric.field)
    column: Json = {
        "label": part_of or metric.label,
        "customLabel": True,
        "dataType": kind,
        "operationType": metric.operation.value,
        "sourceField": metric.field,
        "isBucketed": False,
        "scale": "ordinal" if kind in ("string", "boolean") else "ratio",
        "params": _metric_params(metric, is_part=bool(part_of)),
    }
    if where := filter_of(metric):
        column["filter"] = query(where)
    if metric.recent is not None:
        column["reducedTimeRange"] = metric.recent
    return column


def _metric_params(metric: Metric, *, is_part: bool) -> Json:
    params: Json = {}
    if metric.operation in _EMPTY_IS_NULL:
        params["emptyAsNull"] = False
    if metric.operation is Operation.PERCENTILE:
        params["percentile"] = metric.percentile
    if metric.operation is Operation.LAST:
        params |= {"sortField": "@timestamp", "showArrayValues": False}
    if not is_part and metric.format in _FORMATS:
        params["format"] = _FORMATS[metric.format]
    return params


def _ratio(key: str, ratio: Ratio) -> Json:
    """A formula column and the parts that Lens makes of it."""
    text = f"{_call(ratio.top)} / {_call(ratio.bottom)}"
    top, bottom, division = (f"{key}X{n}" for n in range(3))
    shared = {"dataType": "number", "isBucketed": False, "scale": "ratio"}
    part = f"Part of {ratio.label}"
    ast = {
        "type": "function",
        "name": "divide",
        "args": [top, bottom],
        "location": {"min": 0, "max": len(text)},
        "text": text,
    }
    return {
        key: {
            **shared,
            "label": ratio.label,
            "customLabel": True,
            "operationType": "formula",
            "params": {
                "formula": text,
                "isFormulaBroken": False,
                "format": _FORMATS[ratio.format],
            },
            "references": [division],
        },
        top: _metric(ratio.top, part_of=part),
        bottom: _metric(ratio.bottom, part_of=part),
        division: {
            **shared,
            "label": part,
            "customLabel": True,
            "operationType": "math",
            "params": {"tinymathAst": ast},
            "references": [top, bottom],
        },
    }


def _call(metric: Metric) -> str:
    """A metric in the language of formulas; its strings are in single quotes."""
    field = [] if metric.field == RECORDS else [metric.field]
    where = [f"kql='{kql(metric.where)}'"] if metric.where else []
    return f"{metric.operation.value}({', '.join(field + where)})"
