"""The settings tables: every key of the configuration, once, with its prose.

``config.py`` reads a TOML file into these classes; the sample in ``etc/``, the man page
and ``--help`` are generated from them, so that none can drift.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from dcmirror.settings_mirror import Destination, Local, State
from dcmirror.settings_source import DCache, Filter, Kafka, Source
from dcmirror.settings_telling import Elasticsearch, Journal, Log, Metrics
from dcmirror.settings_work import Audit, Cleanup, Pipeline, Reconcile, Replay

__all__ = [
    "Audit",
    "Cleanup",
    "DCache",
    "Destination",
    "Elasticsearch",
    "Filter",
    "Journal",
    "Kafka",
    "Local",
    "Log",
    "Metrics",
    "Pipeline",
    "Reconcile",
    "Replay",
    "Settings",
    "Source",
    "State",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The whole configuration, validated."""

    kafka: Kafka
    dcache: DCache
    local: Local
    filter: Filter = field(default_factory=Filter)
    source: Source = field(default_factory=Source)
    destination: Destination = field(default_factory=Destination)
    state: State = field(default_factory=State)
    journal: Journal = field(default_factory=Journal)
    elasticsearch: Elasticsearch = field(default_factory=Elasticsearch)
    metrics: Metrics = field(default_factory=Metrics)
    replay: Replay = field(default_factory=Replay)
    reconcile: Reconcile = field(default_factory=Reconcile)
    audit: Audit = field(default_factory=Audit)
    cleanup: Cleanup = field(default_factory=Cleanup)
    pipeline: Pipeline = field(default_factory=Pipeline)
    log: Log = field(default_factory=Log)
