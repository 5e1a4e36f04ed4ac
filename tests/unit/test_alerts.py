"""The alerts speak of metrics, labels, commands and options that exist."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from dcmirror import cli
from dcmirror.adapters.shipping_report import ShippingReport
from dcmirror.core.failures import FailureClass
from dcmirror.core.holds import HoldKind
from dcmirror.core.journal_values import Value
from dcmirror.core.metric_table import METRICS, Kind
from dcmirror.core.verdict import HOLD_TROUBLE

ROOT = Path(__file__).parents[2]
RULES = ROOT / "etc/prometheus/alerts.yml"
RULES_TEST = ROOT / "etc/prometheus/rules_test.yml"

GROUPS: list[dict[str, Any]] = yaml.safe_load(RULES.read_text())["groups"]
ALL = [rule for group in GROUPS for rule in group["rules"]]
ALERTS = {rule["alert"]: rule for rule in ALL if "alert" in rule}
RECORDED = {rule["record"] for rule in ALL if "record" in rule}

#: Of the scrape itself, and of the target.
THEIRS = {"up": {"job"}}
TARGET = {"job", "instance"}

_STRING = re.compile(r'"[^"]*"')
_SELECTOR = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{([^}]*)\})?")
_MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
_GROUPING = re.compile(
    r"\b(without|by|on|ignoring|group_left|group_right)\s*\(([^)]*)\)"
)
_FUNCTIONS = {
    *("sum", "count", "increase", "rate", "delta", "deriv", "predict_linear"),
    *("histogram_quantile", "absent", "time", "and", "or", "unless"),
}

#: What each label may hold.
VALUES = {
    "outcome": {"mirrored", "adopted", "failed", "skipped"},
    "class": {each.value for each in FailureClass},
    "reason": {each.value for each in FailureClass},
    "role": {"door", "pool"},
    "kind": {each.value for each in HoldKind} | {each.kind for each in Value},
    "state": {"ready", "starting", "silent", "missing"}
    | {"shipping", "idle", "retrying", "paused"},
    "job": {"dcmirror"},
}


def names_of_metrics() -> dict[str, set[str]]:
    """Every series that an expression may name, with its labels."""
    known = {name: labels | TARGET for name, labels in THEIRS.items()}
    for metric in METRICS:
        labels = {*metric.labels} | TARGET
        if metric.kind is Kind.HISTOGRAM:
            known[f"{metric.name}_bucket"] = labels | {"le"}
            known[f"{metric.name}_sum"] = known[f"{metric.name}_count"] = labels
        else:
            known[metric.name] = labels
    return known


METRIC_LABELS = names_of_metrics()


def selectors(expression: str) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Metrics and their matchers, without functions, groupings and numbers."""
    text = _GROUPING.sub(" ", expression)
    text = re.sub(r"\[[^]]*\]", " ", text)
    for name, matchers in _SELECTOR.findall(text):
        if name not in _FUNCTIONS:
            pairs = _MATCHER.findall(matchers)
            yield name, [(label, value) for label, _, value in pairs]


def test_there_is_an_alert_for_each_kind_of_hold_with_the_patience_of_status() -> None:
    for kind in HoldKind:
        rule = ALERTS[f"DcmirrorHold{kind.value.capitalize()}"]
        assert f'{{kind="{kind.value}"}}' in rule["expr"]
        seconds = float(rule["expr"].rpartition(">")[2])
        assert seconds == max(HOLD_TROUBLE[kind.value], 60.0)


@pytest.mark.parametrize("name", ALERTS)
def test_alert_says_how_bad_what_and_what_to_do(name: str) -> None:
    rule = ALERTS[name]

    assert rule.keys() <= {"alert", "expr", "for", "labels", "annotations"}
    assert rule["labels"].keys() == {"severity"}
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert rule["annotations"].keys() == {"summary", "description"}
    assert re.search(r"`[a-z]+ [^`]+`", rule["annotations"]["description"])
    assert re.fullmatch(r"\d+[mh]", rule.get("for", "1m"))


@pytest.mark.parametrize("rule", ALL, ids=lambda rule: rule.get("alert", "record"))
def test_expression_names_metrics_and_labels_that_exist(rule: dict[str, Any]) -> None:
    expression = rule["expr"]
    named = list(selectors(expression))

    assert named
    for metric, matchers in named:
        if metric in RECORDED:
            continue
        assert metric in METRIC_LABELS, metric
        for label, value in matchers:
            assert label in METRIC_LABELS[metric], f"{metric} has no {label}"
            assert set(value.split("|")) <= VALUES[label], f"{label}={value}"
    known = set().union(*(METRIC_LABELS.get(m, set()) for m, _ in named))
    for word, labels in _GROUPING.findall(expression):
        used = {label.strip() for label in labels.split(",") if label.strip()}
        assert used <= known | {"role"}, f"{word} ({labels})"


@pytest.mark.parametrize("rule", ALL, ids=lambda rule: rule.get("alert", "record"))
def test_expression_is_balanced(rule: dict[str, Any]) -> None:
    open_ones: list[str] = []
    pairs = {")": "(", "]": "[", "}": "{"}
    for character in _STRING.sub('""', rule["expr"]):
        if character in pairs.values():
            open_ones.append(character)
        elif character in pairs:
            assert open_ones
            assert open_ones.pop() == pairs[character]
    assert open_ones == []


@pytest.mark.parametrize("name", ALERTS)
def test_remedy_names_commands_and_options_that_exist(name: str) -> None:
    commands = cli.every_command()
    for words in re.findall(r"`dcmirror ([^`]+)`", _one_line(name)):
        command = max((c for c in commands if words.startswith(c)), key=len, default="")
        assert command, f"dcmirror {words}"
        options = {o for each in commands[command].params for o in each.opts}
        used = {word for word in words.split() if word.startswith("--")}
        assert used <= options, f"dcmirror {words}"


@pytest.mark.parametrize("name", ALERTS)
def test_remedy_names_settings_that_exist(name: str) -> None:
    from dcmirror.config_reader import table_classes

    tables = table_classes()
    for table, key in re.findall(r"`\[(\w+)\] (\w+)", _one_line(name)):
        assert key in tables[table].__dataclass_fields__, f"[{table}] {key}"


@pytest.mark.parametrize("name", ALERTS)
def test_templates_use_labels_that_the_alert_has(name: str) -> None:
    """Aggregations drop labels; a template shows nothing for one that is gone."""
    rule = ALERTS[name]
    used = set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"]))) - TARGET
    (first, matchers), *_ = selectors(rule["expr"])
    kept = METRIC_LABELS.get(first, set())
    dropped = {
        label.strip()
        for word, labels in _GROUPING.findall(rule["expr"])
        if word in ("without", "ignoring")
        for label in labels.split(",")
    }
    assert used <= kept - dropped, matchers


def _one_line(name: str) -> str:
    return " ".join(str(ALERTS[name]["annotations"]["description"]).split())


def test_each_alert_is_seen_to_fire_by_the_rules_own_tests() -> None:
    tests = yaml.safe_load(RULES_TEST.read_text())["tests"]
    seen = {
        re.findall(r'alertname="(\w+)"', sample["labels"])[0]
        for test in tests
        for expected in test["promql_expr_test"]
        for sample in expected["exp_samples"]
        if "alertname" in sample["labels"]
    }

    assert ALERTS.keys() == seen


def test_states_of_shipping_are_those_of_the_report() -> None:
    words = " ".join((ShippingReport.__doc__ or "").split())

    assert all(f'"{state}"' in words for state in ("shipping", "idle", "retrying"))
