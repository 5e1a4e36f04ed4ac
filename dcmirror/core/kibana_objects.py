"""The dashboards as Kibana's saved objects: ``etc/kibana/dcmirror.ndjson``.

``scripts/build-docs`` writes the file, ``elastic setup`` sends it.  Ids are fixed, so
that a later import replaces what an earlier one made.  Attributes are those of the
first versions of Kibana's schemas, which 8.9 and everything later takes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from dcmirror.core import kibana_lens
from dcmirror.core.journal_table import FIELDS
from dcmirror.core.kibana_columns import Panel
from dcmirror.core.kibana_dashboards import (
    DASHBOARDS,
    NOTES,
    PANELS,
    SEARCHES,
    Control,
    Dashboard,
    Note,
    Search,
)
from dcmirror.core.kibana_lens import LAYER
from dcmirror.core.kibana_lens_columns import query

Json = dict[str, Any]

DATA_VIEW = "dcmirror-logs"
INDICES = "logs-dcmirror.*-*"

_CORE = "8.8.0"
_VERSIONS = {
    "index-pattern": "8.0.0",
    "lens": "8.9.0",
    "search": "8.0.0",
    "visualization": "8.5.0",
    "dashboard": "8.9.0",
}
_SEARCH_INDEX = "kibanaSavedObjectMeta.searchSourceJSON.index"


def saved_objects_ndjson() -> str:
    """One object a line, in the order in which they refer to each other."""
    return "".join(f"{_compact(each)}\n" for each in saved_objects())


def saved_objects() -> Iterator[Json]:
    """Every object, what others refer to first."""
    yield data_view()
    for panel in PANELS.values():
        yield lens(panel)
    for search in SEARCHES.values():
        yield saved_search(search)
    for note in NOTES.values():
        yield markdown(note)
    for board in DASHBOARDS:
        yield dashboard(board)


def object_id(name: str) -> str:
    """The id of whatever the tables call ``name``."""
    return f"dcmirror-{name}"


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False)


def _object(kind: str, identity: str, attributes: Json, references: list[Json]) -> Json:
    return {
        "type": kind,
        "id": identity,
        "attributes": attributes,
        "references": references,
        "coreMigrationVersion": _CORE,
        "typeMigrationVersion": _VERSIONS[kind],
    }


def _reference(kind: str, identity: str, name: str) -> Json:
    return {"type": kind, "id": identity, "name": name}


# -- the data view ----------------------------------------------------------------


def _duration(unit: str) -> Json:
    return {
        "id": "duration",
        "params": {
            "inputFormat": unit,
            "outputFormat": "humanizePrecise",
            "outputPrecision": 1,
            "useShortSuffix": True,
            "includeSpaceWithSuffix": True,
        },
    }


def field_formats() -> Json:
    """How Kibana shows fields that are more than a number; Lens follows it."""
    shown = {name: _format_of(name) for name in FIELDS}
    return {name: found for name, found in shown.items() if found}


def _format_of(name: str) -> Json:
    """By its unit, which its name tells."""
    if name == "event.duration":
        return _duration("nanoseconds")
    if name.endswith("_ms") or name.startswith("dcmirror.transfer.phases."):
        return _duration("milliseconds")
    if name.endswith("_s"):
        return _duration("seconds")
    if name.endswith(("_bytes", ".bytes", "file.size")):
        return {"id": "bytes", "params": {"pattern": "0,0.[0]b"}}
    return {}


def data_view() -> Json:
    """What all panels read: both data streams, in every namespace."""
    attributes = {
        "title": INDICES,
        "name": "dcmirror",
        "timeFieldName": "@timestamp",
        "allowNoIndex": True,
        "fieldFormatMap": _compact(field_formats()),
    }
    return _object("index-pattern", DATA_VIEW, attributes, [])


# -- what dashboards show ---------------------------------------------------------


def lens(panel: Panel) -> Json:
    """A panel."""
    attributes = {
        "title": f"dcmirror: {panel.title}",
        "description": panel.about,
        "visualizationType": _visualization_type(panel),
        "state": kibana_lens.state(panel),
    }
    layer = f"indexpattern-datasource-layer-{LAYER}"
    references = [_reference("index-pattern", DATA_VIEW, layer)]
    return _object("lens", object_id(panel.name), attributes, references)


def _visualization_type(panel: Panel) -> str:
    return panel.chart.value if panel.chart.value.startswith("lns") else "lnsXY"


def saved_search(search: Search) -> Json:
    """A search."""
    source = {
        "highlightAll": True,
        "version": True,
        "query": query(search.where),
        "filter": [],
        "indexRefName": _SEARCH_INDEX,
    }
    attributes = {
        "title": search.title,
        "description": search.about,
        "columns": list(search.columns),
        "sort": search.sort,
        "grid": {},
        "rowsPerPage": 100,
        "hideChart": False,
        "isTextBasedQuery": False,
        "kibanaSavedObjectMeta": {"searchSourceJSON": _compact(source)},
    }
    references = [_reference("index-pattern", DATA_VIEW, _SEARCH_INDEX)]
    return _object("search", object_id(search.name), attributes, references)


def markdown(note: Note) -> Json:
    """A text."""
    look = {"markdown": note.text, "fontSize": 12, "openLinksInNewTab": False}
    title = f"dcmirror: {note.title}"
    seen = {"title": title, "type": "markdown", "aggs": [], "params": look}
    source = {"query": {"language": "kuery", "query": ""}, "filter": []}
    attributes = {
        "title": title,
        "description": "",
        "visState": _compact(seen),
        "uiStateJSON": "{}",
        "version": 1,
        "kibanaSavedObjectMeta": {"searchSourceJSON": _compact(source)},
    }
    return _object("visualization", object_id(note.name), attributes, [])


# -- dashboards -------------------------------------------------------------------


def dashboard(board: Dashboard) -> Json:
    """A dashboard: its panels and controls by reference."""
    panels = list(_panels(board))
    source = {"query": {"language": "kuery", "query": ""}, "filter": []}
    attributes = {
        "title": board.title,
        "description": board.about,
        "timeRestore": True,
        "timeFrom": board.time_from,
        "timeTo": "now",
        "refreshInterval": {
            "pause": board.refresh_seconds == 0,
            "value": board.refresh_seconds * 1000,
        },
        "controlGroupInput": _controls(board.controls),
        "optionsJSON": _compact(
            {
                "useMargins": True,
                "syncColors": True,
                "syncCursor": True,
                "syncTooltips": False,
                "hidePanelTitles": False,
            }
        ),
        "panelsJSON": _compact(panels),
        "kibanaSavedObjectMeta": {"searchSourceJSON": _compact(source)},
    }
    references = [_panel_reference(panel) for panel in panels]
    references += [_control_reference(control) for control in board.controls]
    return _object("dashboard", object_id(board.name), attributes, references)


def _panels(board: Dashboard) -> Iterator[Json]:
    top = 0
    for row in board.rows:
        left = 0
        for name, width in row.items:
            kind, title = _shown(name)
            hidden = {"hidePanelTitles": True} if kind == "visualization" else {}
            yield {
                "type": kind,
                "panelIndex": name,
                "panelRefName": f"panel_{name}",
                "title": title,
                "version": "8.9.0",
                "gridData": {
                    **{"x": left, "y": top, "w": width, "h": row.height},
                    "i": name,
                },
                "embeddableConfig": {"enhancements": {}, **hidden},
            }
            left += width
        top += row.height


def _shown(name: str) -> tuple[str, str]:
    """The type of what the tables call ``name``, and its title on a dashboard."""
    if name in PANELS:
        return "lens", PANELS[name].title
    if name in SEARCHES:
        title = SEARCHES[name].title.removeprefix("dcmirror: ")
        return "search", title[0].upper() + title[1:]
    return "visualization", NOTES[name].title


def _panel_reference(panel: Json) -> Json:
    name = panel["panelIndex"]
    return _reference(panel["type"], object_id(name), f"{name}:panel_{name}")


def _controls(controls: tuple[Control, ...]) -> Json:
    panels = {
        control.name: {
            "type": "optionsListControl",
            "order": number,
            "width": "large",
            "grow": True,
            "explicitInput": {
                "id": control.name,
                "dataViewId": DATA_VIEW,
                "fieldName": control.field,
                "title": control.title,
                "searchTechnique": "wildcard",
                "selectedOptions": [],
                "enhancements": {},
            },
        }
        for number, control in enumerate(controls)
    }
    heeds = {
        "ignoreFilters": False,
        "ignoreQuery": False,
        "ignoreTimerange": False,
        "ignoreValidations": False,
    }
    return {
        "chainingSystem": "HIERARCHICAL",
        "controlStyle": "oneLine",
        "ignoreParentSettingsJSON": _compact(heeds),
        "panelsJSON": _compact(panels),
    }


def _control_reference(control: Control) -> Json:
    name = f"controlGroup_{control.name}:optionsListDataView"
    return _reference("index-pattern", DATA_VIEW, name)
