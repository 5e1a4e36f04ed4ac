"""One panel as the state of a Lens visualization, as Kibana 8.9 saves it."""

from __future__ import annotations

from typing import Any

from dcmirror.core.kibana_columns import Chart, Light, Panel
from dcmirror.core.kibana_lens_columns import columns_of, query

Json = dict[str, Any]

LAYER = "l1"


def state(panel: Panel) -> Json:
    """All that is in the ``state`` of the saved object."""
    columns: Json = {}
    for key, column in panel.columns().items():
        columns |= columns_of(key, column, panel)
    layer = {
        "columnOrder": list(columns),
        "columns": columns,
        "incompleteColumns": {},
        "ignoreGlobalFilters": False,
        "sampling": 1,
    }
    return {
        "adHocDataViews": {},
        "datasourceStates": {
            "formBased": {"layers": {LAYER: layer}},
            "indexpattern": {"layers": {}},
            "textBased": {"layers": {}},
        },
        "filters": [],
        "internalReferences": [],
        "query": query(panel.where),
        "visualization": _visualization(panel),
    }


def _visualization(panel: Panel) -> Json:
    if panel.chart is Chart.METRIC:
        return _number(panel)
    if panel.chart is Chart.TABLE:
        return _table(panel)
    if panel.chart is Chart.DONUT:
        return _donut(panel)
    return _over_time(panel)


def _keys(panel: Panel) -> tuple[list[str], list[str]]:
    keys = list(panel.columns())
    return keys[: len(panel.buckets)], keys[len(panel.buckets) :]


def _number(panel: Panel) -> Json:
    _, (first, *more) = _keys(panel)
    shown: Json = {"layerId": LAYER, "layerType": "data", "metricAccessor": first}
    if more:
        shown["secondaryMetricAccessor"] = more[0]
    if panel.lights:
        shown["palette"] = _palette(panel.lights)
    return shown


def _palette(lights: tuple[Light, ...]) -> Json:
    """Colours by value: each from its own number up to the next one's."""
    starts = [light.from_value for light in lights]
    known = [start for start in starts if start is not None]
    ends = [*starts[1:], max(known, default=0) + 1]
    colours = [light.colour for light in lights]
    return {
        "type": "palette",
        "name": "custom",
        "params": {
            "name": "custom",
            "reverse": False,
            "rangeType": "number",
            "rangeMin": None,
            "rangeMax": None,
            "progression": "fixed",
            "continuity": "all",
            "steps": len(lights),
            "maxSteps": 5,
            "colorStops": _stops(colours, starts),
            "stops": _stops(colours, ends),
        },
    }


def _stops(colours: list[str], stops: list[float | None]) -> list[Json]:
    return [
        {"color": colour, "stop": stop}
        for colour, stop in zip(colours, stops, strict=True)
    ]


def _table(panel: Panel) -> Json:
    buckets, numbers = _keys(panel)
    return {
        "layerId": LAYER,
        "layerType": "data",
        "columns": [{"columnId": key} for key in buckets + numbers],
        "paging": {"enabled": True, "size": 10},
    }


def _donut(panel: Panel) -> Json:
    buckets, numbers = _keys(panel)
    return {
        "shape": "donut",
        "layers": [
            {
                "layerId": LAYER,
                "layerType": "data",
                "primaryGroups": buckets,
                "metrics": numbers[:1],
                "numberDisplay": "percent",
                "categoryDisplay": "default",
                "legendDisplay": "show",
                "nestedLegend": False,
            }
        ],
    }


def _over_time(panel: Panel) -> Json:
    (time, *split), numbers = _keys(panel)
    layer: Json = {
        "layerId": LAYER,
        "layerType": "data",
        "seriesType": panel.chart.value,
        "xAccessor": time,
        "accessors": numbers,
    }
    if split:
        layer["splitAccessor"] = split[0]
    coloured = zip(numbers, panel.numbers, strict=True)
    colours = [
        {"forAccessor": key, "color": n.colour} for key, n in coloured if n.colour
    ]
    if colours:
        layer["yConfig"] = colours
    return {
        "preferredSeriesType": panel.chart.value,
        "valueLabels": "hide",
        "fittingFunction": "None",
        "legend": {"isVisible": True, "position": "bottom"},
        "axisTitlesVisibilitySettings": {"x": False, "yLeft": False, "yRight": False},
        "tickLabelsVisibilitySettings": {"x": True, "yLeft": True, "yRight": True},
        "gridlinesVisibilitySettings": {"x": False, "yLeft": True, "yRight": True},
        "labelsOrientation": {"x": 0, "yLeft": 0, "yRight": 0},
        "layers": [layer],
    }
