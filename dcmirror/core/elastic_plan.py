"""Compares what a cluster has with what it should have; the requests that it takes.

Pure: ``adapters/elastic_admin`` reads what is there and sends what comes out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from dcmirror.core import elastic_templates as templates
from dcmirror.core.elastic_templates import Body, Request
from dcmirror.core.journal_table import FIELDS

_SHOWN = 3

# Kinds that Kibana and the queries treat alike.
_FAMILIES = {"constant_keyword": "keyword", "match_only_text": "text"}


@dataclass(frozen=True, slots=True)
class Stream:
    """A data stream that exists, by its newest index.

    ``is_ours``: that index was made with our template; ``retention`` is that of the
    data stream's own lifecycle, if it has one.
    """

    name: str
    properties: Body
    is_ours: bool = True
    replicas: int | None = None
    retention: str | None = None


@dataclass(frozen=True, slots=True)
class Installed:
    """What a cluster has under our names; by default nothing."""

    has_ilm: bool = True
    policy: Body | None = None
    components: Mapping[str, Body] = field(default_factory=dict)
    index_templates: Mapping[str, Body] = field(default_factory=dict)
    streams: tuple[Stream, ...] = ()
    data_nodes: int | None = None


@dataclass(frozen=True, slots=True)
class Choices:
    """What the operator wants; None leaves what is there, else takes the default."""

    version: str
    keep_days: int | None = None
    replicas: int | None = None
    rolls_over: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """One thing: how it ends, and the requests that make it so (none: as it is)."""

    verb: str
    what: str
    detail: str = ""
    requests: tuple[Request, ...] = ()
    needs_attention: bool = False

    @property
    def state(self) -> str:
        """What is wrong with it now."""
        missing = {"created": "missing", "changed": "not up to date"}
        return missing.get(self.verb, self.detail)

    @property
    def line(self) -> str:
        """As a person reads it."""
        text = f"{self.verb:<11}{self.what}"
        return f"{text}: {self.detail}" if self.detail else text


def plan(there: Installed, choices: Choices) -> list[Step]:
    """All steps, in the order in which they must be made."""
    steps = [_policy(there.policy, choices)] if there.has_ilm else []
    steps.append(_settings(there, choices))
    steps.append(_mappings(there, choices))
    steps.append(_index_template(there, choices))
    steps += (_stream(stream, choices, there.has_ilm) for stream in there.streams)
    return [*steps, *_advice(there, choices)]


def rivals(there: Installed, namespace: str) -> list[str]:
    """Index templates of others that would win, or tie, over ours."""
    names = templates.stream_names(namespace)
    return [
        name
        for name, body in there.index_templates.items()
        if name != templates.NAME
        and body.get("priority", 0) >= templates.PRIORITY
        and any(
            fnmatchcase(stream, p)
            for stream in names
            for p in body.get("index_patterns", ())
        )
    ]


def _policy(there: Body | None, choices: Choices) -> Step:
    what = f"lifecycle policy {templates.NAME}"
    path = f"_ilm/policy/{templates.NAME}"
    if there is None:
        keep = choices.keep_days or templates.KEEP_DAYS
        body = templates.lifecycle_policy(choices.version, keep)
        detail = f"events are deleted after {keep} days"
        return Step("created", what, detail, (Request("PUT", path, body),))
    kept = there.get("phases", {}).get("delete", {}).get("min_age")
    wanted = None if choices.keep_days is None else f"{choices.keep_days}d"
    if wanted in (None, kept):
        detail = f"deletes after {kept}" if kept else "never deletes"
        return Step("unchanged", what, detail)
    body = _kept_for(there, choices.keep_days or 0)
    detail = f"deletes after {wanted}, was {kept or 'never'}"
    return Step("changed", what, detail, (Request("PUT", path, body),))


def _kept_for(there: Body, days: int) -> Body:
    """The policy that is there, with what else the site made of it."""
    ours = templates.lifecycle_policy("", days)["policy"]["phases"]
    phases = {**there["phases"], "delete": ours["delete"]}
    rollover = phases.get("hot", {}).get("actions", {}).get("rollover", {})
    if (_days(rollover.get("max_age")) or 0) > days:
        actions = phases["hot"]["actions"]
        short = {**rollover, "max_age": f"{days}d"}
        phases["hot"] = {**phases["hot"], "actions": {**actions, "rollover": short}}
    policy = {"phases": phases}
    return {"policy": {**policy, **_only(there, "_meta")}}


def _days(text: str | None) -> int | None:
    found = re.fullmatch(r"([0-9]+)d", text or "")
    return int(found[1]) if found else None


def _only(body: Body, *names: str) -> Body:
    return {name: body[name] for name in names if name in body}


def _settings(there: Installed, choices: Choices) -> Step:
    old = there.components.get(templates.SETTINGS)
    has = {} if old is None else flat_settings(_template(old, "settings"))
    replicas = choices.replicas
    if replicas is None and "index.number_of_replicas" in has:
        replicas = int(has["index.number_of_replicas"])
    kept = {} if old is None else _template(old, "lifecycle")
    retention = kept.get("data_retention") or f"{templates.KEEP_DAYS}d"
    if choices.keep_days is not None:
        retention = f"{choices.keep_days}d"
    body = templates.settings_component(
        choices.version, has_ilm=there.has_ilm, replicas=replicas, retention=retention
    )
    return _component(templates.SETTINGS, old, body, choices, _settings_detail)


def _mappings(there: Installed, choices: Choices) -> Step:
    old = there.components.get(templates.MAPPINGS)
    body = templates.mappings_component(choices.version)
    return _component(templates.MAPPINGS, old, body, choices, _mappings_detail)


def _component(
    name: str, old: Body | None, body: Body, choices: Choices, detail: Any
) -> Step:
    what = f"component template {name}"
    request = Request("PUT", f"_component_template/{name}", body)
    if old is None:
        return Step("created", what, "", (request,))
    if is_newer(old, choices.version):
        return _left(what, old)
    if _comparable(old) == _comparable(body):
        return Step("unchanged", what)
    return Step("changed", what, detail(old, body), (request,))


def _left(what: str, old: Body) -> Step:
    version = old["_meta"]["version"]
    return Step("left", what, f"a newer dcmirror made it, {version}")


def is_newer(old: Body, version: str) -> bool:
    """Whether a later release than this one made it: we must not take fields away."""
    mark = old.get("_meta") or {}
    if mark.get("managed_by") != "dcmirror":
        return False
    return _numbers(str(mark.get("version", ""))) > _numbers(version)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"[0-9]+", version)[:3])


def _template(body: Body, part: str) -> Body:
    found = (body.get("template") or {}).get(part)
    return found if isinstance(found, dict) else {}


def _comparable(body: Body) -> Body:
    """As it reads whoever wrote it: Elasticsearch nests settings and quotes values."""
    return {
        "settings": flat_settings(_template(body, "settings")),
        "mappings": _plain(_template(body, "mappings")),
        "retention": _template(body, "lifecycle").get("data_retention"),
        "_meta": body.get("_meta"),
    }


def flat_settings(settings: Body, prefix: str = "") -> dict[str, str]:
    """Dotted names below ``index.``, all values as text."""
    flat: dict[str, str] = {}
    for key, value in settings.items():
        name = f"{prefix}.{key}" if prefix else key
        if isinstance(value, dict):
            flat |= flat_settings(value, name)
        else:
            full = name if name.startswith("index.") else f"index.{name}"
            flat[full] = _plain(value)
    return flat


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return str(value).lower() if isinstance(value, bool) else str(value)


def _settings_detail(old: Body, new: Body) -> str:
    was, will = _comparable(old), _comparable(new)
    names = {*was["settings"], *will["settings"]}
    changed = [
        f"{name} {was['settings'].get(name, 'unset')} -> "
        f"{will['settings'].get(name, 'unset')}"
        for name in sorted(names)
        if was["settings"].get(name) != will["settings"].get(name)
    ]
    if was["retention"] != will["retention"]:
        changed.append(f"retention {was['retention']} -> {will['retention']}")
    return ", ".join(changed) or _version_detail(old, new)


def _mappings_detail(old: Body, new: Body) -> str:
    was = field_types(_template(old, "mappings").get("properties", {}))
    will = field_types(_template(new, "mappings")["properties"])
    parts = [
        _some("new", [name for name in will if name not in was]),
        _some("gone", [name for name in was if name not in will]),
        _some("other type", [n for n in will if n in was and will[n] != was[n]]),
    ]
    return "; ".join(filter(None, parts)) or _version_detail(old, new)


def _version_detail(old: Body, new: Body) -> str:
    was = (old.get("_meta") or {}).get("version")
    will = new["_meta"]["version"]
    return f"of {was}, now of {will}" if was != will else "was changed by hand"


def _some(what: str, names: list[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{what}: {', '.join(names[:_SHOWN])}{more}"


def _index_template(there: Installed, choices: Choices) -> Step:
    what = f"index template {templates.NAME}"
    body = templates.index_template(choices.version)
    request = Request("PUT", f"_index_template/{templates.NAME}", body)
    old = there.index_templates.get(templates.NAME)
    if old is None:
        return Step("created", what, " and ".join(templates.PATTERNS), (request,))
    if is_newer(old, choices.version):
        return _left(what, old)
    has_changed = any(old.get(k) != v for k, v in body.items() if k != "data_stream")
    if has_changed or "data_stream" not in old or old.get("template"):
        return Step("changed", what, _version_detail(old, body), (request,))
    return Step("unchanged", what)


def field_types(properties: Body, prefix: str = "") -> dict[str, str]:
    """Dotted name → type of every field of a mapping."""
    flat: dict[str, str] = {}
    for name, entry in properties.items():
        if "properties" in entry:
            flat |= field_types(entry["properties"], f"{prefix}{name}.")
        else:
            flat[prefix + name] = entry.get("type", "object")
    return flat


def _stream(stream: Stream, choices: Choices, has_ilm: bool) -> Step:
    what = f"data stream {stream.name}"
    missing, wrong = compare_stream(stream)
    if wrong or not stream.is_ours:
        reason = _some("other types", wrong) or "made without our template"
        if not choices.rolls_over:
            return Step(
                "old", what, f"{reason}; --rollover begins a new index", (), True
            )
        request = Request("POST", f"{stream.name}/_rollover", is_repeatable=False)
        return Step("renewed", what, reason, (request,))
    changes = dict(_stream_changes(stream, missing, choices, has_ilm))
    if not changes:
        return Step("unchanged", what)
    return Step("changed", what, "; ".join(changes), tuple(changes.values()))


def _stream_changes(
    stream: Stream, missing: list[str], choices: Choices, has_ilm: bool
) -> Iterator[tuple[str, Request]]:
    """What no new index is needed for: a text for each request."""
    if missing:
        tree = templates.field_tree({name: FIELDS[name] for name in missing})
        path = f"{stream.name}/_mapping?write_index_only=true"
        yield _some("new", missing), Request("PUT", path, {"properties": tree})
    if choices.replicas not in (None, stream.replicas):
        body: Body = {"index.number_of_replicas": choices.replicas}
        text = f"replicas {stream.replicas} -> {choices.replicas}"
        yield text, Request("PUT", f"{stream.name}/_settings", body)
    wanted = f"{choices.keep_days}d"
    if not has_ilm and choices.keep_days and wanted != stream.retention:
        path = f"_data_stream/{stream.name}/_lifecycle"
        text = f"retention {stream.retention} -> {wanted}"
        yield text, Request("PUT", path, {"data_retention": wanted})


def _advice(there: Installed, choices: Choices) -> Iterator[Step]:
    settings = _template(there.components.get(templates.SETTINGS, {}), "settings")
    is_set = "index.number_of_replicas" in flat_settings(settings)
    if there.data_nodes == 1 and choices.replicas is None and not is_set:
        detail = "the cluster has one node; with --replicas 0 it would be green"
        yield Step("note", "replicas", detail)


def compare_stream(stream: Stream) -> tuple[list[str], list[str]]:
    """The fields that its index lacks, and those that it knows as something else."""
    has = field_types(stream.properties)
    wrong = [name for name, (kind, _) in FIELDS.items() if _clashes(name, kind, has)]
    missing = [name for name in FIELDS if name not in has and name not in wrong]
    return missing, wrong


def _clashes(name: str, kind: str, has: Mapping[str, str]) -> bool:
    """Whether it is of another kind there, or one has fields below it."""
    if name in has:
        return _family(has[name]) != _family(kind)
    parents = name.split(".")[:-1]
    above = (".".join(parents[: n + 1]) for n in range(len(parents)))
    is_below_a_field = any(has.get(parent, "object") != "object" for parent in above)
    return is_below_a_field or any(other.startswith(f"{name}.") for other in has)


def _family(kind: str) -> str:
    return _FAMILIES.get(kind, kind)
