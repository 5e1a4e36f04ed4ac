"""``dcmirror replay --from-reconcile`` and ``--from-audit``: their findings as jobs."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

from dcmirror.adapters.catalogue import Catalogue
from dcmirror.adapters.failed_csv import FailedCsv
from dcmirror.adapters.mirror_scan import MirrorScan
from dcmirror.adapters.state_directory import StateDirectory, failures_path
from dcmirror.commands.engine_run import SIGNALLED, EngineRun, RunEnd, run_jobs
from dcmirror.commands.progress import Words, jobs_progress
from dcmirror.commands.replay_options import ReplayOptions, Report
from dcmirror.commands.replay_plan import Plan, Planner
from dcmirror.commands.replay_words import counted, say, tell_document, tell_lines
from dcmirror.core.jobs import Job
from dcmirror.core.paths import PathMap
from dcmirror.core.report_rows import NotAReportError, parse_report
from dcmirror.errors import ConfigError, ExitStatus
from dcmirror.processes.assembly import EngineRoom
from dcmirror.processes.listing_feed import JobsFeed

_WORDS = Words("replay", "rows")


def replay_report(
    options: ReplayOptions, state: StateDirectory, report: Report, path_map: PathMap
) -> ExitStatus | int:
    """Copy what the report says is missing or wrong, if it still is.

    The caller holds the lock.  What fails becomes a row of failed.csv.

    Raises:
        ConfigError: the file is not such a report; names the line.
    """
    is_pipe = report.path == Path("-")
    name = "standard input" if is_pipe else str(report.path)
    rows = parse_report(_read(report.path, name), name)
    scan = MirrorScan(options.settings.local.downloadfolder)
    catalogue = Catalogue(state.catalogue)
    planner = Planner(report.command, path_map, scan, catalogue, time.time())
    plan = planner.plan(rows, options.choice)
    for refusal in plan.refusals:
        say(refusal)
    if options.dry_run:
        return _tell(options, plan, name)
    _note(options, plan, name)
    if not plan.jobs:
        return _conclude(options, plan, name, None)
    return _conclude(options, plan, name, _run(options, state, plan))


def _read(path: Path, name: str) -> str:
    try:
        data = sys.stdin.buffer.read() if path == Path("-") else path.read_bytes()
        return data.decode()
    except UnicodeDecodeError as exc:
        line = exc.object[: exc.start].count(b"\n") + 1
        raise NotAReportError(f"{name}:{line}: not a text file in UTF-8") from exc
    except OSError as exc:
        raise ConfigError(f"{name}: {exc.strerror or exc}") from exc


def _run(options: ReplayOptions, state: StateDirectory, plan: Plan) -> RunEnd:
    settings = options.settings
    run = EngineRun(
        settings,
        state,
        "replay",
        instance=options.instance,
        verbosity=options.verbosity,
        failed_csv=FailedCsv(failures_path(settings, state.path)),
    )
    feed = JobsFeed(_each(plan.jobs))
    quiet = options.verbosity < 0
    with jobs_progress(sys.stderr, _WORDS, len(plan.jobs), quiet=quiet) as progress:

        def show(room: EngineRoom) -> None:
            copied = room.engine.tally.bytes_mirrored
            progress(feed.ended, feed.failed, copied)

        return run_jobs(run, feed, on_second=show)


def _each(jobs: list[Job]) -> Iterator[Job | None]:
    yield from jobs


def _note(options: ReplayOptions, plan: Plan, name: str) -> None:
    if options.verbosity < 0:
        return
    if plan.kept:
        say(f"{name}: nothing to copy: {counted(plan.kept.elements())}")
    if plan.mended:
        say(f"{name}: right by now: {plan.mended}")


def _conclude(
    options: ReplayOptions, plan: Plan, name: str, end: RunEnd | None
) -> ExitStatus | int:
    total = len(plan.jobs)
    ended = sum(end.outcomes.values()) if end else 0
    failed = end.failed if end else 0
    stopped_by = end.stopped_by if end else None
    if options.as_json:
        outcome = {"tried": total, "done": ended - failed, "failed": failed}
        tell_document(
            {**plan.document(name), **outcome, "stopped_by_signal": stopped_by}
        )
    if failed or stopped_by or plan.refusals or options.verbosity >= 0:
        text = f"{ended - failed} of {total} done, {failed} failed"
        say(f"{name}: {text}{'; see failed.csv' if failed else ''}")
    if stopped_by is not None:
        return SIGNALLED + stopped_by
    return ExitStatus.ROWS_REMAIN if failed or plan.refusals else ExitStatus.DONE


def _tell(options: ReplayOptions, plan: Plan, name: str) -> ExitStatus:
    if options.as_json:
        would_try = [{"kind": row.kind, "path": row.path} for row in plan.rows]
        tell_document({**plan.document(name), "would_try": would_try})
        return ExitStatus.DONE
    tell_lines((row.kind, row.path, row.detail) for row in plan.rows)
    named = counted(row.kind for row in plan.rows)
    say(f"{name}: would try {len(plan.rows)} rows ({named})")
    _note(options, plan, name)
    return ExitStatus.DONE
