"""The feed of commands that find their own jobs."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from dcmirror.core.jobs import Job, JobKind
from dcmirror.errors import BooksError
from dcmirror.processes.listing_feed import JobsFeed
from dcmirror.processes.settler import Settlement


def job(number: int) -> Job:
    return Job(str(number), JobKind.RECONCILE, f"/d/{number}", str(number), "https://d")


class Engine:
    """As much of an engine as a feed sees."""

    def __init__(self) -> None:
        self.offered: list[str] = []
        self.is_full = False
        self.is_yielding = False
        self.suspects = 0
        self.settled_suspects = 0
        self.dispatcher = SimpleNamespace(entries={}, count=lambda state: self.suspects)
        self.source_watch = SimpleNamespace(settle_everything=self._settle)

    def offer(self, job: Job) -> None:
        self.offered.append(job.task)
        self.dispatcher.entries[job.task] = job

    def _settle(self) -> None:
        self.settled_suspects += 1


def feed_of(jobs: Any, **options: Any) -> tuple[JobsFeed, Engine]:
    feed, engine = JobsFeed(jobs, **options), Engine()
    feed.engine = engine  # type: ignore[assignment]
    return feed, engine


def settle(feed: JobsFeed, engine: Engine, *tasks: str, kind: str = "mirrored") -> None:
    for task in tasks:
        engine.dispatcher.entries.pop(task, None)
    feed.settled([Settlement(task, kind) for task in tasks])


def test_it_is_exhausted_when_all_jobs_are_offered_and_settled() -> None:
    feed, engine = feed_of([job(1), job(2)])
    feed.take(0.0, 0.0)
    assert engine.offered == ["1", "2"]
    assert not feed.is_exhausted
    settle(feed, engine, "1")
    settle(feed, engine, "2", kind="failed")

    assert feed.is_exhausted
    assert (feed.ended, feed.failed) == (2, 1)


def test_none_means_nothing_yet_and_not_the_end() -> None:
    jobs = iter([None, job(1), None])

    feed, engine = feed_of(jobs)
    feed.take(0.0, 0.0)
    assert (engine.offered, feed.is_exhausted) == ([], False)
    feed.take(1.0, 1.0)
    assert engine.offered == ["1"]
    feed.take(2.0, 2.0)
    settle(feed, engine, "1")

    assert feed.is_exhausted


def test_no_more_are_offered_than_it_may_be_ahead() -> None:
    feed, engine = feed_of(map(job, range(1_000_000)), ahead=3)
    feed.take(0.0, 0.0)
    assert len(engine.offered) == 3
    settle(feed, engine, "0", "1")
    feed.take(0.0, 0.0)

    assert len(engine.offered) == 5


def test_nothing_is_offered_while_the_engine_is_full_or_intake_is_paused() -> None:
    feed, engine = feed_of([job(1)])
    engine.is_full = True
    feed.take(0.0, 0.0)
    engine.is_full = False
    feed.throttle(is_paused=True)
    feed.take(0.0, 0.0)
    assert engine.offered == []
    feed.throttle(is_paused=False)
    feed.take(0.0, 0.0)

    assert engine.offered == ["1"]


def test_while_it_gives_way_nothing_is_offered_and_nothing_is_begun() -> None:
    may = [False]
    feed, engine = feed_of([job(1)], may_offer=lambda: may[0])
    feed.take(0.0, 0.0)
    assert engine.is_yielding
    assert engine.offered == []
    assert feed.next_due() == 1.0
    may[0] = True
    feed.take(1.0, 1.0)

    assert not engine.is_yielding
    assert engine.offered == ["1"]


def test_an_error_ends_the_jobs_but_not_those_that_were_offered() -> None:
    def jobs() -> Iterator[Job]:
        yield job(1)
        raise BooksError("no more")

    feed, engine = feed_of(jobs())
    feed.take(0.0, 0.0)
    assert not feed.is_exhausted
    settle(feed, engine, "1")

    assert feed.is_exhausted
    assert isinstance(feed.error, BooksError)


def test_told_to_stop_it_offers_nothing_more() -> None:
    feed, engine = feed_of(map(job, range(10)), ahead=2)
    feed.take(0.0, 0.0)
    feed.stop_intake()
    settle(feed, engine, "0", "1")
    feed.take(0.0, 0.0)

    assert engine.offered == ["0", "1"]
    assert feed.is_exhausted


@pytest.mark.parametrize(("suspects", "settles"), [(0, 0), (1, 0), (2, 1)])
def test_suspects_are_settled_once_nothing_else_is_left(
    suspects: int, settles: int
) -> None:
    feed, engine = feed_of([job(1), job(2)])
    engine.suspects = suspects
    feed.take(0.0, 0.0)

    assert engine.settled_suspects == settles
