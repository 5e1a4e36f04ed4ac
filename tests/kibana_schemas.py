"""Kibana's own schemas of its saved objects: the first version of each.

It allows the least.
"""

from __future__ import annotations

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
