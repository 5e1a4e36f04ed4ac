"""The loop without children: how it ends, and with what status."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path
from typing import Any, cast

import pytest

from dcmirror.core.dispatch import Dispatcher
from dcmirror.core.holds import HoldBook, HoldKey, HoldKind
from dcmirror.core.jobs import CopyRecord
from dcmirror.core.retry import RetryPolicy
from dcmirror.errors import BooksError, DcmirrorError, ExitStatus, IntakeError
from dcmirror.processes.engine import Engine, EnginePlan
from dcmirror.processes.fleet import Fleet
from dcmirror.processes.kafka_feed import LONGEST_SILENCE, KafkaFeed
from dcmirror.processes.supervisor import Supervisor


class QuietStory:
    """Says nothing to anybody, and remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **more: self.told.append(name)


class FullStory(QuietStory):
    """Its journal, which is required, takes nothing at first."""

    def __init__(self, failures: int) -> None:
        super().__init__()
        self.failures = failures

    def flush(self) -> None:
        self.told.append("flush")
        if self.failures:
            self.failures -= 1
            raise BooksError("journal: disk full")


class StubSettler:
    """Books that may be broken for a while."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.backlog = 0
        self.fresh: dict[str, CopyRecord] = {}
        self.flushes = 0

    def prove(self) -> None:
        """As the real one."""

    def flush(self) -> None:
        self.flushes += 1
        if self.failures:
            self.failures -= 1
            raise BooksError("catalogue.db: disk full")


class ScriptedFeed:
    """A feed that does one thing per pass of the loop, and then is exhausted."""

    def __init__(self, *script: Any) -> None:
        self.fd = os.eventfd(1, os.EFD_NONBLOCK)
        self.script = list(script)
        self.calls: list[str] = []
        self.error: DcmirrorError | None = None

    def take(self, now: float, wall: float) -> None:
        step = self.script.pop(0) if self.script else None
        if callable(step):
            step()
        elif isinstance(step, BooksError):
            raise step
        elif isinstance(step, DcmirrorError):
            self.error = step

    def throttle(self, *, is_paused: bool) -> None:
        self.calls.append("pause" if is_paused else "resume")

    def tick(self, now: float) -> None:
        """It has nothing to do."""

    def next_due(self) -> float | None:
        return 0.0  # at once: no pass of the loop waits

    def trouble(self, now: float) -> DcmirrorError | None:
        return self.error

    @property
    def is_exhausted(self) -> bool:
        return not self.script

    def stop_intake(self) -> None:
        self.calls.append("stop")

    def close(self) -> None:
        self.calls.append("close")


class CountingHooks:
    """Counts."""

    def __init__(self) -> None:
        self.reloads = 0

    def reload(self) -> None:
        self.reloads += 1

    def every_second(self, now: float, wall: float) -> None:
        """Nothing is looked at."""


class Loop:
    """A supervisor whose feed follows a script."""

    def __init__(
        self,
        home: Path,
        *script: Any,
        settler: StubSettler | None = None,
        story: QuietStory | None = None,
    ) -> None:
        self.story = story or QuietStory()
        self.feed, self.hooks = ScriptedFeed(*script), CountingHooks()
        plan = EnginePlan(RetryPolicy(1.0, 1, 1.0, 1.0), 1.0, 10, 10, 0)
        self.settler = settler or StubSettler()
        self.engine = Engine(
            plan,
            Dispatcher(),
            HoldBook("door:443", scale=0.001),
            cast(Any, self.settler),
            cast(Any, self.story),
            lambda names: {},
            random.Random(1),
        )
        self.supervisor = Supervisor(
            self.engine,
            Fleet([], home / "children.lock"),
            self.feed,
            self.hooks,
            drain_seconds=1.0,
        )


def send(number: int) -> Any:
    """A step that sends this process a signal."""
    return lambda: os.kill(os.getpid(), number)


def test_an_exhausted_feed_ends_the_work(tmp_path: Path) -> None:
    loop = Loop(tmp_path, None, None)

    assert loop.supervisor.run() == ExitStatus.DONE
    assert loop.feed.calls == ["close"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_commits_and_is_remembered(tmp_path: Path, number: int) -> None:
    before = signal.getsignal(number)
    loop = Loop(tmp_path, send(number), *[None] * 1000)

    assert loop.supervisor.run() == ExitStatus.DONE
    assert loop.feed.calls == ["stop", "close"]
    assert loop.supervisor.stopped_by == number
    assert signal.getsignal(number) == before


def test_hup_reloads_and_work_goes_on(tmp_path: Path) -> None:
    loop = Loop(tmp_path, send(signal.SIGHUP), None, None)

    assert loop.supervisor.run() == ExitStatus.DONE
    assert loop.hooks.reloads == 1


def test_an_intake_that_died_ends_the_work_with_its_status(tmp_path: Path) -> None:
    loop = Loop(tmp_path, IntakeError("the intake is dead"), *[None] * 1000)
    with pytest.raises(IntakeError, match="dead") as caught:
        loop.supervisor.run()

    assert caught.value.exit_status == 11
    assert loop.feed.calls == ["stop", "close"]


def test_books_that_fail_hold_intake_and_it_goes_on_by_itself(tmp_path: Path) -> None:
    loop = Loop(tmp_path, BooksError("catalogue.db: disk full"), *[None] * 3)

    assert loop.supervisor.run() == ExitStatus.DONE
    assert loop.story.told.count("hold_began") == 1
    assert loop.story.told.count("hold_ended") == 1
    assert loop.feed.calls == ["pause", "resume", "close"]


def test_books_are_tried_again_until_they_can_be_written(tmp_path: Path) -> None:
    settler = StubSettler(failures=3)
    loop = Loop(tmp_path, *[None] * 3, settler=settler)
    loop.engine.hold_desk.begin(HoldKey(HoldKind.BOOKS), "disk full", 0.0)

    assert loop.supervisor.run() == ExitStatus.DONE
    assert settler.failures == 0
    assert settler.flushes > 3


def test_the_story_goes_on_while_the_books_cannot_be_written(tmp_path: Path) -> None:
    settler = StubSettler(failures=3)
    loop = Loop(tmp_path, *[None] * 3, settler=settler)
    loop.supervisor.run()

    assert loop.story.told.count("flush") >= settler.flushes > 3


def test_nothing_is_settled_before_what_a_required_journal_has_to_tell(
    tmp_path: Path,
) -> None:
    loop = Loop(tmp_path, *[None] * 3, story=FullStory(failures=3))
    settle = loop.settler.flush
    settled_after: list[int] = []

    def noted() -> None:
        settled_after.append(loop.story.told.count("flush"))
        settle()

    loop.settler.flush = noted  # type: ignore[method-assign]
    loop.supervisor.run()

    assert settled_after[0] == 4
    assert loop.story.told.count("hold_began") == 1


def test_a_loop_whose_books_are_held_does_not_spin(tmp_path: Path) -> None:
    """Its feed has something to do at once, and nobody lets it."""
    settler = StubSettler(failures=3)
    loop = Loop(tmp_path, *[None] * 3, settler=settler)
    loop.engine.hold_desk.begin(HoldKey(HoldKind.BOOKS), "disk full", 0.0)
    passes = 0
    tick = loop.engine.tick

    def counted(now: float, wall: float) -> None:
        nonlocal passes
        passes += 1
        tick(now, wall)

    loop.engine.tick = counted  # type: ignore[method-assign]
    loop.supervisor.run()

    assert passes < 40
    assert loop.feed.calls == ["pause", "resume", "close"]


class SilentIntake:
    """An intake whose thread hangs."""

    last_beat = 1000.0


def test_a_silent_intake_is_a_dead_one() -> None:
    wake = os.eventfd(0, os.EFD_NONBLOCK)
    feed = KafkaFeed(cast(Any, SilentIntake()), wake, cast(Any, None), cast(Any, None))

    assert feed.trouble(1000.0 + LONGEST_SILENCE) is None
    error = feed.trouble(1001.0 + LONGEST_SILENCE)
    assert isinstance(error, IntakeError)
    assert "silent" in str(error)
    os.close(wake)


def test_nobody_is_blamed_for_the_time_in_which_we_were_frozen_too() -> None:
    wake = os.eventfd(0, os.EFD_NONBLOCK)
    feed = KafkaFeed(cast(Any, SilentIntake()), wake, cast(Any, None), cast(Any, None))

    assert feed.trouble(1001.0) is None
    assert feed.trouble(5000.0) is None
    assert feed.trouble(5000.0 + LONGEST_SILENCE) is None
    for late in range(1, 13):  # a loop whose turns are slow finds it all the same
        error = feed.trouble(5000.0 + LONGEST_SILENCE + 10.0 * late)
    assert isinstance(error, IntakeError)
    os.close(wake)
