"""Puts an engine together from settings: the books, the children, the decisions.

``watch``, and ``commands.engine_run`` for the commands that find jobs themselves, call
it in the supervisor's process, each with its own name.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dcmirror.adapters.catalogue import Catalogue
from dcmirror.adapters.credentials import proxy_of
from dcmirror.adapters.failed_csv import FailedCsv
from dcmirror.adapters.human_log import HumanLog
from dcmirror.adapters.journal import Journal
from dcmirror.adapters.linux import raise_descriptor_limit
from dcmirror.adapters.state_directory import StateDirectory
from dcmirror.core.dispatch import Dispatcher
from dcmirror.core.filters import Rules
from dcmirror.core.holds import HoldBook
from dcmirror.core.ledger import Ledgers
from dcmirror.core.paths import path_map_of
from dcmirror.core.plan import Planner
from dcmirror.core.policy import place_of
from dcmirror.core.retry import RetryPolicy
from dcmirror.processes.engine import Engine, EnginePlan
from dcmirror.processes.fleet import LONGEST_SILENCE, Fleet
from dcmirror.processes.posts import (
    MORE_DESCRIPTORS,
    logger_post,
    too_many_streams,
    worker_posts,
)
from dcmirror.processes.settler import Settlement, Settler
from dcmirror.processes.story import Story
from dcmirror.processes.tellers import make_teller, open_journal, open_log
from dcmirror.settings import Settings

# For tests of the real command, whose patience is shorter than an operator's.
_PROBE_SCALE = "DCMIRROR_TEST_PROBE_SCALE"
_SILENCE = "DCMIRROR_TEST_SILENCE_SECONDS"


@dataclass(frozen=True, slots=True)
class EngineRoom:
    """Everything that a command's loop works with."""

    engine: Engine
    fleet: Fleet
    catalogue: Catalogue
    journal: Journal
    log: HumanLog
    proxy: Path


def engine_plan(settings: Settings, *, suspects_source: bool) -> EnginePlan:
    """The limits that the configuration asks for."""
    return EnginePlan(
        policy=RetryPolicy(
            retry_seconds=settings.dcache.retryseconds,
            retry_times=settings.dcache.retrytimes,
            grace_seconds=settings.source.grace_seconds,
            commit_grace_seconds=settings.source.commit_grace_seconds,
        ),
        net_seconds=settings.source.net_seconds,
        max_jobs=settings.pipeline.max_jobs,
        max_waiting=settings.pipeline.max_waiting,
        min_free=settings.destination.min_free,
        suspects_source=suspects_source,
    )


def planner_of(settings: Settings) -> Planner:
    """Which records are ours, and what job each makes."""
    dcache = settings.dcache
    path_map = path_map_of(dcache)
    root_bytes = len(os.fsencode(settings.local.downloadfolder))
    rules = Rules.parse(settings.filter.rules)
    return Planner(path_map, rules, root_bytes=root_bytes)


def door_of(settings: Settings) -> str:
    """The door as ``host:port``, as failures and holds name it."""
    place = place_of(settings.dcache.url)
    return place.name if place else ""


def assemble(
    settings: Settings,
    state: StateDirectory,
    command: str,
    *,
    instance: str | None,
    downloads: int,
    verbosity: int,
    ledgers: Ledgers | None,
    failed_csv: FailedCsv | None,
    on_settled: Callable[[list[Settlement]], None] | None = None,
    suspects_source: bool | None = None,
) -> EngineRoom:
    """Open the books and make the engine; no child runs yet.

    ``suspects_source``: many failures of one class hold the source; by default where
    jobs come from Kafka.

    Raises:
        BooksError: a book cannot be opened.
    """
    catalogue = Catalogue(state.catalogue)
    journal = open_journal(settings, state, required=settings.journal.required)
    log = open_log(settings, verbosity)
    story = make_teller(Story, settings, state, command, instance, journal, log)
    settler = Settler(catalogue, failed_csv, journal, ledgers, on_settled=on_settled)
    if suspects_source is None:
        suspects_source = ledgers is not None
    engine = Engine(
        engine_plan(settings, suspects_source=suspects_source),
        Dispatcher(),
        HoldBook(door_of(settings), scale=_test_number(_PROBE_SCALE, 1.0)),
        settler,
        story,
        catalogue.lookup,
        random.Random(),
    )
    proxy = proxy_of(settings.local, os.environ)
    posts = worker_posts(settings, state.tag, proxy, downloads)
    limit = raise_descriptor_limit()
    if trouble := too_many_streams(settings, downloads, limit):
        story.note(f"{trouble}; {MORE_DESCRIPTORS}", level="warning")
    posts.append(logger_post(settings, state, command))
    fleet = Fleet(
        posts,
        state.children_lock(command),
        longest_silence=_test_number(_SILENCE, LONGEST_SILENCE),
    )
    return EngineRoom(engine, fleet, catalogue, journal, log, proxy)


def _test_number(name: str, default: float) -> float:
    return float(os.environ.get(name, default))
