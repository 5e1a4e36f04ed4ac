"""``dcmirror replay``: tries the rows of failed.csv again, in the same engine."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from dcmirror.adapters.failed_csv import FailedCsv, FailedRow
from dcmirror.adapters.failed_csv_scan import scan
from dcmirror.adapters.locks import LOOK_SECONDS, acquire
from dcmirror.adapters.piped_rows import PipedRows
from dcmirror.adapters.state_directory import (
    StateDirectory,
    failures_path,
    prepare,
    resolve,
)
from dcmirror.adapters.whereabouts import look_for
from dcmirror.commands.engine_run import SIGNALLED, EngineRun, run_feed
from dcmirror.commands.progress import Words, jobs_progress
from dcmirror.commands.replay_options import PIPE, ReplayOptions
from dcmirror.commands.replay_report import replay_report
from dcmirror.commands.replay_words import counted, say, tell_document, tell_lines
from dcmirror.core.choosing import choose
from dcmirror.core.escapes import shown
from dcmirror.core.failed_rows import document
from dcmirror.core.paths import path_map_of
from dcmirror.errors import ExitStatus
from dcmirror.processes.assembly import EngineRoom
from dcmirror.processes.rows_feed import RowsBook, RowsFeed

_WORDS = Words("replay", "rows", "failed again")


class Book(RowsBook, Protocol):
    """Where the rows come from: the file, or a pipe."""

    path: Any

    def read(self) -> tuple[list[FailedRow], int]:
        """The rows that remain, and how many lines are none."""


@dataclass(frozen=True, slots=True)
class _Chosen:
    """What of a book is tried; ``total`` rows are in it, ``torn`` lines are none."""

    book: Book
    rows: list[FailedRow]
    total: int
    torn: int

    def document(self) -> dict[str, Any]:
        return {"file": str(self.book.path), "rows": self.total, "torn": self.torn}


def replay(options: ReplayOptions) -> ExitStatus | int:
    """Try the chosen rows again; those that succeed leave the file.

    Raises:
        ConfigError: the file is no list of failures, or no report; names the line.
        LockedError: another replay runs on this state directory.
    """
    settings = options.settings
    state = prepare(resolve(settings, options.instance))
    with acquire(state.lock("replay"), LOOK_SECONDS):
        if options.report is not None:
            path_map = path_map_of(settings.dcache)
            return replay_report(options, state, options.report, path_map)
        if options.csv == PIPE:
            return _through_a_pipe(options, state)
        path = options.csv or failures_path(settings, state.path)
        if look_for(path) is None:
            return _missing(options, path)
        for _ in scan(path):  # beside a file that is not ours no lock is made
            break
        return _work(options, state, FailedCsv(path))


def _missing(options: ReplayOptions, path: Path) -> ExitStatus:
    if options.verbosity >= 0:
        say(f"{path}: no such file")
    nothing = _Chosen(FailedCsv(path), [], 0, 0)
    return _tell(options, nothing) if options.dry_run else _nothing(options, nothing)


def _through_a_pipe(options: ReplayOptions, state: StateDirectory) -> ExitStatus | int:
    piped = PipedRows(sys.stdin.buffer)
    try:
        return _work(options, state, piped)
    finally:
        # However it ended: whoever gave us the rows gets back what is not done.
        if not options.dry_run:
            piped.write(sys.stdout)


def _work(
    options: ReplayOptions, state: StateDirectory, book: Book
) -> ExitStatus | int:
    rows, torn = book.read()
    wanted = choose(rows, options.choice, path_map_of(options.settings.dcache))
    chosen = _Chosen(book, wanted, len(rows), torn)
    if torn:
        say(f"{book.path}: {torn} lines are no whole rows; they are left out")
    if options.dry_run:
        return _tell(options, chosen)
    if not wanted:
        return _nothing(options, chosen)
    return _run(options, state, chosen)


def _nothing(options: ReplayOptions, chosen: _Chosen) -> ExitStatus:
    if chosen.total or options.verbosity >= 0:
        say(f"{chosen.book.path}: nothing to replay ({chosen.total} rows)")
    if options.as_json:
        tell_document(_outcome(chosen, None, chosen.total, None))
    return _remaining(chosen, chosen.total)


def _run(
    options: ReplayOptions, state: StateDirectory, chosen: _Chosen
) -> ExitStatus | int:
    settings = options.settings
    feed = RowsFeed(chosen.rows, chosen.book, path_map_of(settings.dcache), _refused)
    run = EngineRun(
        settings,
        state,
        "replay",
        instance=options.instance,
        verbosity=options.verbosity,
    )
    quiet = options.verbosity < 0
    with jobs_progress(sys.stderr, _WORDS, len(chosen.rows), quiet=quiet) as progress:

        def show(room: EngineRoom) -> None:
            ended = feed.done + feed.failed_again + feed.refused
            copied = room.engine.tally.bytes_mirrored
            progress(ended, feed.failed_again, copied)

        _, stopped_by = run_feed(run, feed, show)
    return _conclude(options, chosen, feed, stopped_by)


def _conclude(
    options: ReplayOptions, chosen: _Chosen, feed: RowsFeed, stopped_by: int | None
) -> ExitStatus | int:
    left = len(chosen.book.read()[0])
    if left or stopped_by is not None or options.verbosity >= 0:
        say(
            f"{feed.done} of {feed.total} done, {feed.failed_again} failed again; "
            f"{left} rows remain in {chosen.book.path}"
        )
    if options.as_json:
        tell_document(_outcome(chosen, feed, left, stopped_by))
    if stopped_by is not None:
        return SIGNALLED + stopped_by
    return _remaining(chosen, left)


def _remaining(chosen: _Chosen, left: int) -> ExitStatus:
    """A torn line may be a file that failed: somebody has to look at it."""
    return ExitStatus.ROWS_REMAIN if left or chosen.torn else ExitStatus.DONE


def _outcome(
    chosen: _Chosen, feed: RowsFeed | None, left: int, stopped_by: int | None
) -> dict[str, Any]:
    return {
        **chosen.document(),
        "tried": len(chosen.rows),
        "done": feed.done if feed else 0,
        "failed_again": feed.failed_again if feed else 0,
        "refused": feed.refused if feed else 0,
        "remain": left,
        "stopped_by_signal": stopped_by,
    }


def _tell(options: ReplayOptions, chosen: _Chosen) -> ExitStatus:
    """What a replay would try, for --dry-run."""
    rows = chosen.rows
    if options.as_json:
        would_try = [document(row) for row in rows]
        tell_document({**chosen.document(), "would_try": would_try})
        return ExitStatus.DONE
    tell_lines((row.failure_class, row.path, row.error) for row in rows)
    named = counted(row.failure_class for row in rows)
    say(f"{chosen.book.path}: would try {len(rows)} of {chosen.total} rows ({named})")
    return ExitStatus.DONE


def _refused(row: FailedRow, why: str) -> None:
    say(f"left as it is: {shown(why)}")
