"""One reconcile: the comparison alone, or beside the engine that copies."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import FrameType

from dcmirror.adapters.failed_csv import FailedCsv
from dcmirror.adapters.human_log import HumanLog
from dcmirror.adapters.journal import Journal
from dcmirror.adapters.state_directory import failures_path
from dcmirror.commands.dry_status import DryStatus
from dcmirror.commands.engine_run import EngineRun, run_feed
from dcmirror.commands.reconcile_progress import Progress, Sight, progress_for
from dcmirror.commands.reconcile_work import Comparison, Ended, Work
from dcmirror.processes.assembly import EngineRoom
from dcmirror.processes.priority import WatchFirst
from dcmirror.processes.reconcile_story import ReconcileStory
from dcmirror.processes.signals import leave_now
from dcmirror.processes.survey import Survey
from dcmirror.processes.survey_feed import JobQueue, SurveyFeed
from dcmirror.processes.tellers import make_teller, open_journal, open_log

_SECOND = 1.0


def run_dry(comparison: Comparison) -> Ended:
    """Compare only; TERM and INT end it.

    Raises:
        DcmirrorError: it cannot go on.
    """
    work = comparison.work
    survey = comparison.survey(None)
    story = _own_story(work)
    story.started(comparison.what, is_resumed=comparison.is_resumed)
    quiet = work.verbosity < 0
    with (
        _signals(comparison.stop) as signals,
        progress_for(sys.stderr, copies=False, quiet=quiet) as progress,
        DryStatus(work.settings, work.state, "reconcile", work.instance) as status,
        _every_second(lambda: progress.show(_sight(comparison, survey)), status.show),
    ):
        comparison.run(survey)
    ended = comparison.end(survey, signals.number)
    story.finished(ended.summary, ended.why)
    story.close()
    return ended


def run_engine(comparison: Comparison) -> Ended:
    """Compare, and copy what differs.

    Raises:
        DcmirrorError: it cannot go on; what was copied stays so.
    """
    jobs = JobQueue(comparison.stop)
    survey = comparison.survey(jobs.put)
    feed = _feed(comparison, survey, jobs)
    quiet = comparison.work.verbosity < 0
    with progress_for(sys.stderr, copies=True, quiet=quiet) as progress:
        watcher = _Watcher(comparison, survey, feed, progress)
        comparison.tally, stopped_by = run_feed(_run(comparison.work), feed, watcher)
    if feed.error is not None:
        raise feed.error
    return comparison.end(survey, stopped_by)


def _feed(comparison: Comparison, survey: Survey, jobs: JobQueue) -> SurveyFeed:
    work = comparison.work
    return SurveyFeed(
        lambda: comparison.run(survey),
        jobs,
        survey.outstanding,
        work.store,
        comparison.stop,
        may_offer=WatchFirst(work.state.path, work.settings.dcache.maxdownloads),
    )


def _run(work: Work) -> EngineRun:
    settings = work.settings
    # What a listing has just shown is not late when it is not there: it is gone.
    impatient = replace(settings.source, grace_seconds=0.0)
    path = failures_path(settings, work.state.path)
    return EngineRun(
        replace(settings, source=impatient),
        work.state,
        "reconcile",
        instance=work.instance,
        verbosity=work.verbosity,
        failed_csv=FailedCsv(path),
        suspects_source=True,
    )


class _Watcher:
    """Once a second beside the engine: the progress; at its ends the journal."""

    def __init__(
        self,
        comparison: Comparison,
        survey: Survey,
        feed: SurveyFeed,
        progress: Progress,
    ) -> None:
        self._comparison = comparison
        self._survey = survey
        self._feed = feed
        self._progress = progress
        self._story: ReconcileStory | None = None

    def __call__(self, room: EngineRoom) -> None:
        """First when nothing runs yet, last when all is settled and the feed closed."""
        comparison = self._comparison
        comparison.tally = room.engine.tally
        if self._story is None:
            self._story = _story_on(comparison.work, room.journal, room.log)
            self._story.started(comparison.what, is_resumed=comparison.is_resumed)
        self._progress.show(_sight(comparison, self._survey, self._feed))
        if self._feed.is_closed:
            number = signal.SIGTERM if self._feed.was_stopped else None
            ended = comparison.end(self._survey, number)
            self._story.finished(ended.summary, ended.why)


def _sight(
    comparison: Comparison, survey: Survey, feed: SurveyFeed | None = None
) -> Sight:
    return Sight(
        files=survey.files,
        expected=comparison.expected,
        differences=survey.differences,
        offered=survey.offered,
        ended=feed.ended if feed else 0,
        failed=feed.failed if feed else 0,
        bytes_copied=comparison.tally.bytes_mirrored,
        is_listing=not survey.is_complete,
        is_yielding=feed.is_yielding if feed else False,
    )


def _own_story(work: Work) -> ReconcileStory:
    """Without an engine there is no journal yet."""
    journal = open_journal(work.settings, work.state)
    # Without a log file the human log is the terminal: fewer lines of it there.
    verbosity = work.verbosity - (work.settings.log.file is None)
    return _story_on(work, journal, open_log(work.settings, verbosity))


def _story_on(work: Work, journal: Journal, log: HumanLog) -> ReconcileStory:
    settings, state, instance = work.settings, work.state, work.instance
    return make_teller(
        ReconcileStory, settings, state, "reconcile", instance, journal, log
    )


class _Signals:
    number: int | None = None


@contextmanager
def _signals(stop: threading.Event) -> Iterator[_Signals]:
    """TERM and INT end the comparison; a second one ends the process."""
    heard = _Signals()

    def hear(number: int, frame: FrameType | None) -> None:
        if heard.number is not None:
            leave_now()
        heard.number = number
        stop.set()

    previous = {n: signal.signal(n, hear) for n in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield heard
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def _every_second(*calls: Callable[[], None]) -> Iterator[None]:
    """Call them in a thread of their own, while the main thread compares."""
    over = threading.Event()

    def repeat() -> None:
        while not over.wait(_SECOND):
            for call in calls:
                call()

    thread = threading.Thread(target=repeat, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
