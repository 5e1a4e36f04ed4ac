"""What ``dcmirror elastic setup`` installs: templates, lifecycle, rights of a key.

All field names and types come from the journal's own table, so that no field can be
emitted that the index does not know.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dcmirror.core.journal_table import FIELDS, HEALTH, TRANSFER

Body = dict[str, Any]

NAME = "logs-dcmirror"
SETTINGS = f"{NAME}@settings"
MAPPINGS = f"{NAME}@mappings"
CUSTOM = f"{NAME}@custom"  # the site's own; we never write it
PATTERNS = (f"logs-{TRANSFER}-*", f"logs-{HEALTH}-*")
STREAMS = "logs-dcmirror.*-*"
PRIORITY = 500  # above Elastic's own logs-*-*, which has 100

OLDEST = (8, 9)
KEEP_DAYS = 365
_ROLLOVER_DAYS = 30
_FIELDS_LIMIT = 500
_WIDTH = 80

# In characters; a term may have 32,766 bytes, and a character up to four.
_LONGEST_KEYWORD = 8191

TYPES: dict[str, Body] = {
    "boolean": {"type": "boolean"},
    # Without a value: each backing index takes that of its first document, so that
    # both data streams can share one template.
    "constant_keyword": {"type": "constant_keyword"},
    "date": {"type": "date"},
    "double": {"type": "double"},
    "float": {"type": "float"},
    "ip": {"type": "ip"},
    "keyword": {"type": "keyword", "ignore_above": _LONGEST_KEYWORD},
    "long": {"type": "long"},
    "match_only_text": {"type": "match_only_text"},
}


@dataclass(frozen=True, slots=True)
class Request:
    """One request to Elasticsearch; ``path`` without the leading slash.

    ``is_repeatable``: twice is as good as once, so another address may be asked.
    """

    method: str
    path: str
    body: Body | None = None
    is_repeatable: bool = True

    @property
    def console(self) -> str:
        """As an operator pastes it into Kibana's console."""
        head = f"{self.method} {self.path}"
        return head if self.body is None else f"{head}\n{pretty(self.body)}"


def pretty(value: Any, indent: str = "", before: int = 0) -> str:
    """JSON with small objects on one line: a mapping is as long as it has fields.

    Args:
        indent: of the line that it begins on.
        before: what else stands on that line.
    """
    line = json.dumps(value)
    if not isinstance(value, dict) or len(indent) + before + len(line) < _WIDTH:
        return line
    inner = indent + "  "
    members = (
        f"{inner}{json.dumps(key)}: {pretty(item, inner, len(key) + 5)}"
        for key, item in value.items()
    )
    return "{\n" + ",\n".join(members) + f"\n{indent}}}"


def stream_names(namespace: str) -> tuple[str, str]:
    """The data streams of a namespace."""
    return f"logs-{TRANSFER}-{namespace}", f"logs-{HEALTH}-{namespace}"


def meta(version: str) -> Body:
    """By what we know our own."""
    return {"managed_by": "dcmirror", "version": version}


def field_tree(names: Mapping[str, tuple[str, str]] = FIELDS) -> Body:
    """The ``properties`` of a mapping for these fields of the journal's table."""
    tree: Body = {}
    for name, (kind, _) in names.items():
        *parents, leaf = name.split(".")
        place = tree
        for parent in parents:
            place = place.setdefault(parent, {"properties": {}})["properties"]
        place[leaf] = dict(TYPES[kind])
    if "@timestamp" in tree:
        # A data stream refuses to ignore a time that is none.
        tree["@timestamp"]["ignore_malformed"] = False
    return tree


def mappings_component(version: str) -> Body:
    """Every field, and no other: what is not in the table stays in ``_source``."""
    mappings = {
        "dynamic": False,
        "date_detection": False,
        "properties": field_tree(),
    }
    return {"template": {"mappings": mappings}, "_meta": meta(version)}


def settings_component(
    version: str,
    *,
    has_ilm: bool = True,
    replicas: int | None = None,
    retention: str = f"{KEEP_DAYS}d",
) -> Body:
    """How the indices behave, and who removes them in the end."""
    settings: Body = {
        "index.mapping.ignore_malformed": True,
        "index.mapping.total_fields.limit": _FIELDS_LIMIT,
    }
    if has_ilm:
        settings["index.lifecycle.name"] = NAME
    if replicas is not None:
        settings["index.number_of_replicas"] = replicas
    template: Body = {"settings": settings}
    if not has_ilm:
        template["lifecycle"] = {"data_retention": retention}
    return {"template": template, "_meta": meta(version)}


def index_template(version: str) -> Body:
    """What makes a new ``logs-dcmirror.transfer-...`` a data stream of ours."""
    return {
        "index_patterns": list(PATTERNS),
        "priority": PRIORITY,
        "data_stream": {},
        "composed_of": [SETTINGS, MAPPINGS, CUSTOM],
        "ignore_missing_component_templates": [CUSTOM],
        "_meta": meta(version),
    }


def lifecycle_policy(version: str, keep_days: int = KEEP_DAYS) -> Body:
    """A new index each month or 50 GB; deleted ``keep_days`` after its last event."""
    rollover = {
        "max_age": f"{min(_ROLLOVER_DAYS, keep_days)}d",
        "max_primary_shard_size": "50gb",
    }
    phases = {
        "hot": {"actions": {"rollover": rollover}},
        "delete": {"min_age": f"{keep_days}d", "actions": {"delete": {}}},
    }
    return {"policy": {"phases": phases, "_meta": meta(version)}}


def api_key(name: str, days: int | None) -> Request:
    """A key that can add events and do nothing else: not read, not delete."""
    index = {"names": [STREAMS], "privileges": ["auto_configure", "create_doc"]}
    body: Body = {
        "name": name,
        "role_descriptors": {"dcmirror_writer": {"cluster": [], "indices": [index]}},
        "metadata": {"managed_by": "dcmirror"},
    }
    if days is not None:
        body["expiration"] = f"{days}d"
    return Request("POST", "_security/api_key", body, is_repeatable=False)


def may_write(namespace: str) -> Request:
    """Asks whether whoever asks may ship."""
    names = list(stream_names(namespace))
    wanted = {"names": names, "privileges": ["auto_configure", "create_doc"]}
    return Request("POST", "_security/user/_has_privileges", {"index": [wanted]})
