"""``dcmirror replay``: tries the rows of failed.csv again, in the same engine."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from dcmirror.adapters.failed_csv import FailedCsv, FailedRow
from dcmirror.adapters.locks import LOOK_SECONDS, acquire
from dcmirror.adapters.state_directory import StateDirectory, prepare, resolve
from dcmirror.commands.engine_run import SIGNALLED, EngineRun, run_feed
from dcmirror.commands.replay_progress import progress_for
from dcmirror.core.escapes import shown
from dcmirror.core.paths import PathMap
from dcmirror.errors import ExitStatus
from dcmirror.processes.assembly import EngineRoom
from dcmirror.processes.rows_feed import RowsFeed
from dcmirror.settings import Settings


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    """What the command line says."""

    settings: Settings
    csv: Path | None = None
    classes: tuple[str, ...] = ()
    under: str | None = None
    since: float | None = None
    limit: int | None = None
    dry_run: bool = False
    instance: str | None = None
    verbosity: int = 0


def replay(options: ReplayOptions) -> ExitStatus | int:
    """Try the chosen rows again; those that succeed leave the file.

    Raises:
        ConfigError: the file is not a list of failures; names the line.
        LockedError: another replay runs on this state directory.
    """
    settings = options.settings
    state = prepare(resolve(settings, options.instance))
    path = options.csv or settings.local.failedtasksfile or state.failed_csv
    failed_csv = FailedCsv(path)
    with acquire(state.lock("replay"), LOOK_SECONDS):
        rows, torn = failed_csv.read()
        chosen = choose(rows, options)
        if torn:
            _say(f"{path}: {torn} lines are no whole rows; they are left out")
        if options.dry_run:
            return _tell(chosen, len(rows), path)
        if not chosen:
            _say(f"{path}: nothing to replay ({len(rows)} rows)")
            return ExitStatus.ROWS_REMAIN if rows else ExitStatus.DONE
        return _run(options, state, failed_csv, chosen)


def choose(rows: list[FailedRow], options: ReplayOptions) -> list[FailedRow]:
    """The rows that the options name, one for each file and task, oldest first."""
    under = options.under.rstrip("/") + "/" if options.under else None
    wanted = {
        row.key: row
        for row in rows
        if (not options.classes or row.failure_class in options.classes)
        and (under is None or row.path.startswith(under))
        and (options.since is None or row.time >= options.since)
    }
    return list(wanted.values())[: options.limit]


def _run(
    options: ReplayOptions,
    state: StateDirectory,
    failed_csv: FailedCsv,
    rows: list[FailedRow],
) -> ExitStatus | int:
    settings, dcache = options.settings, options.settings.dcache
    path_map = PathMap(dcache.url, dcache.pool, dcache.folder)
    feed = RowsFeed(rows, failed_csv, path_map, _refused)
    run = EngineRun(
        settings,
        state,
        "replay",
        instance=options.instance,
        verbosity=options.verbosity,
    )
    with progress_for(sys.stderr, len(rows)) as progress:

        def show(room: EngineRoom) -> None:
            ended = feed.done + feed.failed_again + feed.refused
            copied = room.engine.tally.bytes_mirrored
            progress.show(ended, feed.failed_again, copied)

        _, stopped_by = run_feed(run, feed, show)
    return _conclude(failed_csv, feed, stopped_by)


def _conclude(
    failed_csv: FailedCsv, feed: RowsFeed, stopped_by: int | None
) -> ExitStatus | int:
    left, _ = failed_csv.read()
    _say(
        f"{feed.done} of {feed.total} done, {feed.failed_again} failed again; "
        f"{len(left)} rows remain in {failed_csv.path}"
    )
    if stopped_by is not None:
        return SIGNALLED + stopped_by
    return ExitStatus.ROWS_REMAIN if left else ExitStatus.DONE


def _tell(rows: list[FailedRow], total: int, path: Path) -> ExitStatus:
    """What a replay would try, for --dry-run."""
    for row in rows:
        print(f"{row.failure_class}\t{shown(row.path)}\t{shown(row.error)}")
    classes = Counter(row.failure_class for row in rows)
    named = ", ".join(f"{count} {name}" for name, count in classes.most_common())
    _say(f"{path}: would try {len(rows)} of {total} rows ({named or 'none'})")
    return ExitStatus.DONE


def _refused(row: FailedRow, why: str) -> None:
    _say(f"left as it is: {shown(why)}")


def _say(text: str) -> None:
    print(f"dcmirror: {text}", file=sys.stderr)
