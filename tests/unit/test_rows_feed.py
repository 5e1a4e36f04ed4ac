"""The rows of failed.csv as jobs, and which of them leave the file."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping

import pytest

from dcmirror.core.failed_rows import FailedRow, Key
from dcmirror.core.failures import FailureClass
from dcmirror.core.jobs import ResultKind
from dcmirror.core.paths import PathMap
from dcmirror.processes.rows_feed import RowsFeed
from engine_history import History

TASK = "11111111-1111-5111-8111-111111111111"


def row(path: str, pnfsid: str) -> FailedRow:
    """All rows here are of one record's task, as after a topic was made anew."""
    return FailedRow(
        time=1.0,
        task=TASK,
        path=path,
        url=f"https://door{path}",
        failure_class="gone",
        error="why",
        pnfsid=pnfsid,
        topic="billing",
        partition=0,
        offset=5,
    )


class Book:
    """Remembers what is taken out and what is changed."""

    def __init__(self) -> None:
        self.dropped: set[Key] = set()
        self.changed: set[Key] = set()

    def rewrite(
        self, drop: Collection[Key], change: Mapping[Key, FailedRow], /
    ) -> None:
        self.dropped |= set(drop)
        self.changed |= set(change)


class Replay:
    """Some rows, their feed and an engine."""

    def __init__(self) -> None:
        self.history, self.book, self.refused = History(), Book(), list[str]()
        self.feed: RowsFeed | None = None

    def offer(self, *rows: FailedRow) -> list[str]:
        """The tasks that are handed out for these rows."""
        paths = PathMap("https://door/", "/", "/x")
        self.feed = feed = RowsFeed(
            list(rows), self.book, paths, lambda row, why: self.refused.append(why)
        )
        feed.engine = self.history.engine
        feed.take(self.history.now, self.history.now)
        return self.history.hand_out()

    def settle(self) -> RowsFeed:
        assert self.feed is not None
        self.feed.settled(self.history.settler.settled)
        self.feed.rewrite()
        return self.feed


@pytest.fixture
def replay() -> Iterator[Replay]:
    made = Replay()
    yield made
    if made.feed is not None:
        os.close(made.feed.fd)


@pytest.mark.parametrize("path", ["/x/new", "/x/old"])
def test_rows_of_one_task_are_jobs_of_their_own(replay: Replay, path: str) -> None:
    old, new = row("/x/old", "A"), row(path, "B")
    first, *more = replay.offer(old, new)
    replay.history.end(first, ResultKind.MIRRORED)
    (second,) = more or replay.history.hand_out()
    replay.history.fail(second, FailureClass.UNSAFE_PATH)

    feed = replay.settle()

    assert first == TASK
    assert replay.book.dropped == {old.key}
    assert replay.book.changed == {new.key}
    assert (feed.done, feed.failed_again, feed.is_exhausted) == (1, 1, True)


def test_the_same_row_twice_is_one_job(replay: Replay) -> None:
    again = row("/x/old", "A")
    (task,) = replay.offer(again, again)
    replay.history.end(task, ResultKind.MIRRORED)

    assert replay.settle().is_exhausted
    assert replay.book.dropped == {again.key}
