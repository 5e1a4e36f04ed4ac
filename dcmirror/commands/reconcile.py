"""``dcmirror reconcile``: compares the source with the mirror, copies what differs."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

from dcmirror.adapters.failed_csv_scan import scan
from dcmirror.adapters.findings import FindingStore
from dcmirror.adapters.linux import die_with_parent
from dcmirror.adapters.locks import LOOK_SECONDS, acquire
from dcmirror.adapters.state_directory import (
    StateDirectory,
    failures_path,
    prepare,
    resolve,
)
from dcmirror.commands.engine_run import SIGNALLED
from dcmirror.commands.reconcile_output import Form, show
from dcmirror.commands.reconcile_run import run_dry, run_engine
from dcmirror.commands.reconcile_spool import Kind, Spool, fingerprint
from dcmirror.commands.reconcile_work import Comparison, Ended, Work, say
from dcmirror.core.differences import DifferenceKind
from dcmirror.core.filters import Rules as Filter
from dcmirror.core.findings import Finding, Summary
from dcmirror.core.name_list import BadLine, ListForm, NamedFile, read_names
from dcmirror.core.paths import PathMap, path_map_of
from dcmirror.errors import ConfigError, DcmirrorError, ExitStatus
from dcmirror.processes.reconcile_timer import PARENT
from dcmirror.settings import Settings

#: A list's lines that are complained of one by one.
_MOST_COMPLAINTS = 50
STANDARD_INPUT = Path("-")


@dataclass(frozen=True, slots=True)
class ReconcileOptions:
    """What the command line says; ``grace`` in seconds."""

    settings: Settings
    under: str | None = None
    names: Path | None = None
    trust_size: bool = False
    limit: int | None = None
    grace: float | None = None
    dry_run: bool = False
    restart: bool = False
    ignore: frozenset[DifferenceKind] = field(default_factory=frozenset)
    form: Form = Form.TEXT
    instance: str | None = None
    verbosity: int = 0


def reconcile(options: ReconcileOptions) -> ExitStatus | int:
    """Compare, copy unless it is a dry run, and print what was found.

    Raises:
        ConfigError: ``under`` or the list of files cannot be used.
        LockedError: another reconcile runs on this state directory.
        DoorError: the source cannot be listed.
        BooksError, DirectoryError: catalogue or mirror cannot be used.
    """
    parent = os.environ.get(PARENT, "")
    if parent.isdigit():  # a watch began it: [reconcile] every_hours
        die_with_parent(int(parent), signal.SIGTERM)
    settings = options.settings
    path_map = path_map_of(settings.dcache)
    root = path_map.under(options.under)
    state = prepare(resolve(settings, options.instance))
    with ExitStack() as stack:
        stack.enter_context(acquire(state.lock("reconcile"), LOOK_SECONDS))
        spool = _spool(options, state, root)
        store = stack.enter_context(spool.opened(restart=options.restart))
        work = Work(
            settings=settings,
            state=state,
            path_map=path_map,
            filter=Filter.parse(settings.filter.rules),
            root=root,
            store=store,
            journal=spool.journal,
            started=float(store.fact("started") or time.time()),
            grace=_grace(options),
            trusts_size=options.trust_size,
            limit=options.limit,
            instance=options.instance,
            verbosity=options.verbosity,
            names=stack.enter_context(_names(options, path_map, root)),
            refuse=Complaints(),
        )
        store.learn_failures(_failures(settings, state))
        with Comparison(work, is_dry=options.dry_run) as comparison:
            if comparison.is_resumed:
                say("goes on where an earlier run was interrupted")
            try:
                ended = (run_dry if options.dry_run else run_engine)(comparison)
            except DcmirrorError:
                if spool.journal is not None:
                    say("what was compared is kept: the next run goes on from here")
                raise
        return _conclude(options, store, spool, ended)


def _spool(options: ReconcileOptions, state: StateDirectory, root: str) -> Spool:
    kind = Kind.DRY if options.dry_run else Kind.COPY
    kind = Kind.LIST if options.names is not None else kind
    same = fingerprint(options.settings, root, trusts_size=options.trust_size)
    return Spool(state.path, kind, same)


def form_of(*, as_json: bool, as_csv: bool) -> Form:
    """How it is printed."""
    if as_json:
        return Form.JSON
    return Form.CSV if as_csv else Form.TEXT


def _grace(options: ReconcileOptions) -> float:
    if options.grace is not None:
        return options.grace
    return options.settings.reconcile.grace_minutes * 60.0


def _failures(
    settings: Settings, state: StateDirectory
) -> Iterator[tuple[str, str, str | None]]:
    path = failures_path(settings, state.path)
    for row in scan(path):
        if row is not None:
            yield row.path, row.failure_class, row.pnfsid


# -- a list of files --------------------------------------------------------------


class Complaints:
    """Says which lines of a list cannot be used."""

    def __init__(self) -> None:
        self.number = 0

    def __call__(self, line: int, why: str) -> None:
        """One more."""
        self.number += 1
        if self.number <= _MOST_COMPLAINTS:
            say(f"line {line}: {why}")
        elif self.number == _MOST_COMPLAINTS + 1:
            say("more such lines are only counted")


@contextmanager
def _names(
    options: ReconcileOptions, path_map: PathMap, root: str
) -> Iterator[Iterator[NamedFile | BadLine] | None]:
    if options.names is None:
        yield None
        return

    def tell(form: ListForm) -> None:
        if options.verbosity >= 0:
            say(f"--from {options.names} is {form.value}")

    try:
        with _opened(options.names) as lines:
            yield read_names(lines, path_map, root, tell)
    except OSError as exc:
        raise ConfigError(f"--from {options.names}: {exc.strerror}") from exc


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    if path == STANDARD_INPUT:
        yield sys.stdin.buffer
        return
    with open(path, "rb") as lines:
        yield lines


# -- the end ----------------------------------------------------------------------


def _conclude(
    options: ReconcileOptions,
    store: FindingStore,
    spool: Spool,
    ended: Ended,
) -> ExitStatus | int:
    summary = without(ended.summary, options.ignore)
    if options.form is not Form.TEXT or options.verbosity >= 0 or not summary.is_equal:
        show(summary, _chosen(store, options), options.form, sys.stdout)
        sys.stdout.flush()
    if ended.summary.is_complete:
        spool.forget()
    else:
        say(f"{ended.why}; the next run goes on from here, --restart begins anew")
    if ended.stopped_by is not None:
        return SIGNALLED + ended.stopped_by
    return ExitStatus.DONE if summary.is_equal else ExitStatus.SOURCE_DIFFERS


def _chosen(store: FindingStore, options: ReconcileOptions) -> Iterator[Finding]:
    """A run that copies lists as text only what it left."""
    remaining = options.form is Form.TEXT and not options.dry_run
    for finding in store.findings(remaining=remaining):
        if finding.kind not in options.ignore:
            yield finding


def without(summary: Summary, ignore: frozenset[DifferenceKind]) -> Summary:
    """The same without some kinds, which then do not make a difference."""
    names = {kind.value for kind in ignore}
    return replace(
        summary,
        found={k: n for k, n in summary.found.items() if k not in names},
        found_bytes={k: n for k, n in summary.found_bytes.items() if k not in names},
        remaining={k: n for k, n in summary.remaining.items() if k not in names},
        old_names=0 if DifferenceKind.ONLY_HERE in ignore else summary.old_names,
    )
