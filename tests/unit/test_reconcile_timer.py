"""watch begins a reconcile each so many hours, over restarts, one at a time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dcmirror.errors import BooksError
from dcmirror.processes.reconcile_timer import ReconcileTimer

HOUR = 3600.0
NOW = 1e9


class Facts(dict[str, str]):
    """The catalogue's."""

    def fact(self, key: str) -> str | None:
        return self.get(key)

    def remember(self, key: str, value: str) -> None:
        self[key] = value


class BrokenFacts(Facts):
    def fact(self, key: str) -> str | None:
        raise BooksError("disk")


class Child:
    def __init__(self) -> None:
        self.status: int | None = None
        self.terminated = 0

    def poll(self) -> int | None:
        return self.status

    def terminate(self) -> None:
        self.terminated += 1


class Site:
    """What a timer sees and does."""

    def __init__(self, every: float | None = 2.0, facts: Facts | None = None) -> None:
        self.facts = Facts() if facts is None else facts
        self.notes: list[str] = []
        self.children: list[Child] = []
        self.commands: list[Sequence[str]] = []
        self.fails = False
        self.timer = ReconcileTimer(
            every,
            self.facts,
            self.notes.append,
            ["--config", "/c"],
            Path("/report"),
            spawn=self.spawn,
        )

    def spawn(self, arguments: Sequence[str], report: Path) -> Child:
        if self.fails:
            raise OSError("no processes")
        self.commands.append(arguments)
        self.children.append(Child())
        return self.children[-1]

    def look(self, hours: float, *, is_stopping: bool = False) -> None:
        self.timer.look(NOW + hours * HOUR, is_stopping=is_stopping)


def test_it_never_runs_unless_configured() -> None:
    site = Site(None)
    site.look(0)
    site.look(1e5)

    assert site.children == []
    assert site.facts == {}


def test_it_does_not_run_at_once_but_after_the_interval() -> None:
    site = Site()
    site.look(0)
    site.look(1.9)
    assert site.children == []
    site.look(2.0)

    assert site.commands == [("reconcile", "--config", "/c")]


def test_the_due_time_outlives_a_restart() -> None:
    first = Site()
    first.look(0)
    second = Site(facts=first.facts)
    second.look(1.5)
    assert second.children == []
    second.look(2.1)

    assert len(second.children) == 1


def test_one_at_a_time_and_its_end_is_one_line() -> None:
    site = Site()
    for hours in (0, 2, 5, 9):
        site.look(hours)
    assert len(site.children) == 1
    site.children[0].status = 24
    site.look(9.1)
    ended = [note for note in site.notes if "ended" in note]

    assert ended == [
        "reconcile ended: source and mirror differ; its report is in /report"
    ]
    site.look(9.2)
    assert len(site.children) == 2


def test_it_ends_with_the_daemon() -> None:
    site = Site()
    for hours in (0, 2):
        site.look(hours)
    site.look(2.1, is_stopping=True)
    site.look(2.2, is_stopping=True)

    assert site.children[0].terminated == 1


def test_none_begins_while_the_daemon_stops() -> None:
    site = Site()
    site.look(0)
    site.look(3, is_stopping=True)

    assert site.children == []


def test_a_shorter_interval_than_before_counts_at_once() -> None:
    facts = Facts()
    Site(1000.0, facts).look(0)
    site = Site(1.0, facts)
    site.look(0)
    site.look(1.1)

    assert len(site.children) == 1


def test_nonsense_in_the_books_is_no_due_time() -> None:
    for text in ("nan", "inf", "soon", "", "-1"):
        site = Site(facts=Facts({"reconcile-due": text}))
        site.look(0)
        assert site.children == []
        site.look(2.1)
        assert len(site.children) == 1


def test_books_that_cannot_be_read_and_processes_that_do_not_start_end_nothing() -> (
    None
):
    broken = Site(facts=BrokenFacts())
    broken.look(5)
    assert broken.children == []

    site = Site()
    site.fails = True
    site.look(0)
    site.look(2)
    assert "could not be started" in site.notes[-1]
    site.fails = False
    site.look(4.1)
    assert len(site.children) == 1
