"""``dcmirror audit``: proves that books, copies and source agree, and mends copies."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path

from dcmirror.adapters.catalogue_audit import AuditReader
from dcmirror.adapters.catalogue_scratch import Scratch
from dcmirror.adapters.locks import LOOK_SECONDS, acquire
from dcmirror.adapters.state_directory import prepare, resolve
from dcmirror.adapters.whereabouts import look_for
from dcmirror.commands.audit_counts import SpanTotals
from dcmirror.commands.audit_options import AuditOptions, form_of
from dcmirror.commands.audit_progress import audit_progress
from dcmirror.commands.audit_repair import Repaired, repair
from dcmirror.commands.audit_report import AuditReport
from dcmirror.commands.audit_run import AuditRun
from dcmirror.commands.audit_spans import open_others
from dcmirror.commands.audit_summary import counts_of, document, lines
from dcmirror.commands.engine_run import SIGNALLED
from dcmirror.core.door_errors import DoorError
from dcmirror.errors import DirectoryError, ExitStatus
from dcmirror.processes.audit_story import tell_audit
from dcmirror.processes.garbage import collect_rarely

__all__ = ["AuditOptions", "audit", "form_of"]


def audit(options: AuditOptions) -> ExitStatus | int:
    """Compare everything with everything; tell what contradicts, mend what can be.

    The status is of what is left to do.

    Raises:
        DirectoryError: no state directory, or no mirror, to audit.
        BooksError: the catalogue cannot be read.
        LockedError: another audit repairs.
        DoorError: --source, and the door cannot be asked.
    """
    state = _state_of(options)
    collect_rarely()
    with ExitStack() as stack:
        if options.repair:
            stack.enter_context(acquire(prepare(state).lock("audit"), LOOK_SECONDS))
        scratch = stack.enter_context(Scratch())
        catalogue = stack.enter_context(AuditReader(state / "catalogue.db"))
        others = open_others(options.states, state, stack)
        report = AuditReport(scratch, options.form, -options.verbosity)
        return _audit(options, state, catalogue, others, scratch, report)


def _audit(
    options: AuditOptions,
    state: Path,
    catalogue: AuditReader,
    others: list[AuditReader],
    scratch: Scratch,
    report: AuditReport,
) -> ExitStatus | int:
    began = time.monotonic()
    with audit_progress(sys.stderr, is_quiet=options.verbosity < 0) as progress:
        run = AuditRun(options, state, catalogue, scratch, report, progress)
        run.check_mirror()
        report.begin()
        totals = run.books_and_copies(others)
        if options.deep:
            run.deep()
        trouble = _ask_door(options, run, report)
    repaired = None
    if trouble is None:
        repaired = _repair(options, state, catalogue, scratch, report, run)
    _conclude(options, state, report, totals, repaired, time.monotonic() - began)
    if repaired is not None and repaired.stopped_by is not None:
        return SIGNALLED + repaired.stopped_by
    if trouble is not None:
        raise trouble  # what was found until then is told already
    return report.tally.status()


def _ask_door(
    options: AuditOptions, run: AuditRun, report: AuditReport
) -> DoorError | None:
    if options.source or options.repair:
        try:
            if options.source:
                run.sources()
            if options.repair:
                run.note_gone()
        except DoorError as exc:
            report.note("source-not-asked", f"not all sources were asked for: {exc}")
            return exc
    return None


def _state_of(options: AuditOptions) -> Path:
    state = resolve(options.settings, options.instance)
    for each in (state, *options.states):
        if look_for(each / "catalogue.db") is None:
            raise DirectoryError(
                f"{each}: no catalogue there; has dcmirror watch run here under this "
                "--instance?"
            )
    return state


def _repair(
    options: AuditOptions,
    state: Path,
    catalogue: AuditReader,
    scratch: Scratch,
    report: AuditReport,
    run: AuditRun,
) -> Repaired | None:
    if not options.repair or not scratch.repair_count():
        return None
    repaired = repair(
        options.settings,
        prepare(state),
        catalogue,
        scratch,
        report,
        run.looker,
        instance=options.instance,
        verbosity=options.verbosity,
    )
    report.tally.repaired += repaired.mended
    return repaired


def _conclude(
    options: AuditOptions,
    state: Path,
    report: AuditReport,
    totals: SpanTotals,
    repaired: Repaired | None,
    seconds: float,
) -> None:
    report.end(document(report, totals, repaired), lines(report, totals, repaired))
    stopped = repaired is not None and repaired.stopped_by is not None
    with suppress(OSError):  # whoever may only read leaves no trace
        tell_audit(
            options.settings,
            state,
            options.instance,
            counts_of(report, totals),
            seconds,
            "stopped" if stopped else "done",
        )
