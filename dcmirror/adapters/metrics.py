"""What Prometheus scrapes; the only module that imports prometheus_client.

A thread of ``watch``'s logger process calls it.  It knows the daemon by its files
alone, so that it answers while the supervisor is stuck, and says so.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.registry import Collector

from dcmirror.adapters import shipping_report
from dcmirror.core.metric_readers import Look, Spread
from dcmirror.core.metric_table import METRICS, Kind, Metric

Family = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily


@dataclass(frozen=True, slots=True)
class StateFiles(Collector):
    """The metric table, read from status.json and shipper.json at each scrape."""

    status: Path
    shipping: Path
    wall: Callable[[], float]

    def collect(self) -> Iterable[Family]:
        """Every family, those without a sample too: their help is worth seeing."""
        look = look_at(self.status, self.shipping, self.wall())
        return [_family(metric, look) for metric in METRICS]


def look_at(status: Path, shipping: Path, now: float) -> Look:
    """The files as they are; whatever is wrong with one, it is empty."""
    known, age = _read_status(status, now)
    report = shipping_report.read(shipping)
    return Look(known, asdict(report) if report else {}, now, age)


def _read_status(path: Path, now: float) -> tuple[Mapping[str, Any], float | None]:
    try:
        known = json.loads(path.read_bytes())
        # On a full disk the file is only touched.
        at = max(float(known["at"]), path.stat().st_mtime)
    except (OSError, ValueError, TypeError, KeyError):
        return {}, None
    return known, max(now - at, 0.0)


def _family(metric: Metric, look: Look) -> Family:
    family = _empty(metric)
    try:
        for labels, value in metric.read(look):
            _add(family, labels, value)
    except (TypeError, ValueError, KeyError, AttributeError):
        return _empty(metric)  # a file of another version
    return family


def _empty(metric: Metric) -> Family:
    kinds = {
        Kind.COUNTER: CounterMetricFamily,
        Kind.GAUGE: GaugeMetricFamily,
        Kind.HISTOGRAM: HistogramMetricFamily,
    }
    family: Family = kinds[metric.kind](metric.name, metric.help, labels=metric.labels)
    return family


def _add(family: Family, labels: tuple[str, ...], value: float | Spread) -> None:
    if isinstance(family, HistogramMetricFamily):
        assert isinstance(value, Spread)
        family.add_metric(labels, list(_buckets(value)), value.sum)
    else:
        assert not isinstance(value, Spread)
        family.add_metric(labels, value)


def _buckets(spread: Spread) -> Iterator[tuple[str, float]]:
    bounds = [*map(float, spread.bounds), float("inf")]
    for bound, count in zip(bounds, accumulate(spread.counts), strict=True):
        yield "+Inf" if bound == float("inf") else str(bound), count


class Exposition:
    """Text for one scrape, in the format that the scraper asks for."""

    def __init__(
        self, status: Path, shipping: Path, *, wall: Callable[[], float] = time.time
    ) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(StateFiles(status, shipping, wall))

    def render(self, accept: str) -> tuple[str, bytes]:
        """Content type and body."""
        try:
            encoder, content_type = choose_encoder(accept)
        except (ValueError, TypeError):  # a version that is none
            encoder, content_type = choose_encoder("")
        return content_type, encoder(self._registry)
