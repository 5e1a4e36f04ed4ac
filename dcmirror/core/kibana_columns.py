"""What a panel of the dashboards is made of: filters, buckets and metrics.

Each says what it means once; ``kibana_lens`` writes it for Kibana, and the tests as the
aggregation that Kibana would send.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

Value = str | bool | int

RECORDS = "___records___"  # Kibana's name for "no field: count the documents"


@dataclass(frozen=True, slots=True)
class Is:
    """The field has one of these values."""

    field: str
    values: tuple[Value, ...]

    @property
    def kql(self) -> str:
        """As a person types it into Kibana."""
        shown = [_literal(value) for value in self.values]
        text = shown[0] if len(shown) == 1 else f"({' or '.join(shown)})"
        return f"{self.field}: {text}"

    @property
    def query(self) -> dict[str, Any]:
        """As Elasticsearch takes it."""
        return {"terms": {self.field: list(self.values)}}


@dataclass(frozen=True, slots=True)
class IsNot:
    """The field has another value, or none."""

    field: str
    value: Value

    @property
    def kql(self) -> str:
        """As a person types it into Kibana."""
        return f"not {self.field}: {_literal(self.value)}"

    @property
    def query(self) -> dict[str, Any]:
        """As Elasticsearch takes it."""
        return {"bool": {"must_not": {"term": {self.field: self.value}}}}


@dataclass(frozen=True, slots=True)
class Has:
    """The document has the field."""

    field: str

    @property
    def kql(self) -> str:
        """As a person types it into Kibana."""
        return f"{self.field}: *"

    @property
    def query(self) -> dict[str, Any]:
        """As Elasticsearch takes it."""
        return {"exists": {"field": self.field}}


Where = tuple[Is | IsNot | Has, ...]


def _literal(value: Value) -> str:
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return str(value).lower()


def equals(field: str, *values: Value) -> Where:
    """A filter of one clause."""
    return (Is(field, values),)


def differs(field: str, value: Value) -> Where:
    """A filter of one clause: what has the value is left out."""
    return (IsNot(field, value),)


def action(*names: str) -> Where:
    """Events with one of these actions."""
    return equals("event.action", *names)


def kql(where: Where) -> str:
    """All clauses together; empty for everything."""
    return " and ".join(clause.kql for clause in where)


class Operation(StrEnum):
    """How documents become a number, in Lens's words."""

    COUNT = "count"
    SUM = "sum"
    AVERAGE = "average"
    MIN = "min"
    MAX = "max"
    PERCENTILE = "percentile"
    UNIQUE = "unique_count"
    LAST = "last_value"


class Format(StrEnum):
    """How a number is shown; FIELD leaves it to the data view (durations, dates)."""

    FIELD = "field"
    NUMBER = "number"
    DECIMAL = "decimal"
    BYTES = "bytes"
    BITS_PER_SECOND = "bits per second"
    PERCENT = "percent"


@dataclass(frozen=True, slots=True)
class Time:
    """One bucket for each interval of the time that is shown."""

    label: str = "@timestamp"


@dataclass(frozen=True, slots=True)
class Terms:
    """One bucket for each value of a field, the largest first.

    Args:
        ascending: in the order of the values instead.
        has_rest: what does not fit, and what lacks the field, is shown too, so that a
            stack of them is as high as the whole.
    """

    field: str
    label: str
    size: int = 10
    ascending: bool = False
    has_rest: bool = False


@dataclass(frozen=True, slots=True)
class Metric:
    """One number of a bucket.

    Args:
        where: only those documents.
        recent: only the last so many minutes, for example ``5m``.
        colour: of its line or bar.
    """

    label: str
    operation: Operation
    field: str = RECORDS
    percentile: int | None = None
    where: Where = ()
    recent: str | None = None
    format: Format = Format.NUMBER
    colour: str | None = None


@dataclass(frozen=True, slots=True)
class Ratio:
    """One number divided by another."""

    label: str
    top: Metric
    bottom: Metric
    format: Format = Format.DECIMAL
    colour: str | None = None


Bucket = Time | Terms
Number = Metric | Ratio


class Chart(StrEnum):
    """How a panel looks; what a chart over time is made of is Lens's series type."""

    METRIC = "lnsMetric"
    TABLE = "lnsDatatable"
    DONUT = "lnsPie"
    LINES = "line"
    BARS = "bar_stacked"
    AREAS = "area_stacked"


@dataclass(frozen=True, slots=True)
class Light:
    """The colour of a metric from this value on."""

    from_value: float | None
    colour: str


@dataclass(frozen=True, slots=True)
class Panel:
    """One visualization.

    Args:
        about: what it means and what to do; Kibana shows it beside the title.
        lights: colours of a metric by its value, the lowest first.
    """

    name: str
    title: str
    chart: Chart
    where: Where
    numbers: tuple[Number, ...]
    buckets: tuple[Bucket, ...] = ()
    about: str = ""
    lights: tuple[Light, ...] = ()

    def columns(self) -> dict[str, Bucket | Number]:
        """Every column by its id, buckets first: b1, b2, ... and m1, m2, ..."""
        buckets = {f"b{n}": bucket for n, bucket in enumerate(self.buckets, 1)}
        return {**buckets, **{f"m{n}": each for n, each in enumerate(self.numbers, 1)}}

    @property
    def ordering(self) -> str | None:
        """The metric that its terms are sorted by, where one can sort."""
        for key, each in self.columns().items():
            if isinstance(each, Metric) and _can_sort(each):
                return key
        return None


def _can_sort(metric: Metric) -> bool:
    return metric.operation is not Operation.LAST and metric.recent is None
