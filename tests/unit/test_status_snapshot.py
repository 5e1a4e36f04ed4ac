"""What the daemon writes once a second: right, bounded, and cheap."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, cast

import pytest

from dcmirror import config
from dcmirror.core.dispatch import Dispatcher
from dcmirror.core.entries import Entry
from dcmirror.core.failures import FailureClass
from dcmirror.core.holds import HoldKey, HoldKind
from dcmirror.core.jobs import Job, JobKind, Progress, ResultKind
from dcmirror.errors import IntakeError
from dcmirror.processes.status import StatusBoard
from dcmirror.processes.status_parts import MOST_RETRIES, MOST_TRANSFERS
from engine_history import WORKER, History

WALL = 1_800_000_000.0


class StubFleet:
    """Two workers and a logger, the second worker inside a sync."""

    restarts = 0

    def seated(self) -> list[tuple[Any, int]]:
        process = SimpleNamespace(pid=77)
        return [
            (self._child("worker 1", WORKER, 999.0, process), 16),
            (self._child("worker 2", 2, 9999.0, process), 16),
            (self._child("logger", 3, 900.0, process), 0),
        ]

    def vacant(self) -> list[tuple[str, int, float]]:
        return [("worker 3", 2, 1004.0), ("worker 4", 0, float("inf"))]

    @staticmethod
    def _child(name: str, number: int, beat: float, process: Any) -> Any:
        return SimpleNamespace(
            name=name,
            number=number,
            process=process,
            is_ready=True,
            started_at=900.0,
            last_beat=beat,
        )


class StubJournal:
    """A journal that grows."""

    dropped = 0
    trouble: str | None = None
    dropped_by_kind: ClassVar[dict[str, int]] = {"progress": 2}

    def __init__(self) -> None:
        self.used = 4096

    def size(self) -> int:
        return self.used


class Board:
    """A status board over a history."""

    def __init__(self, path: Path) -> None:
        self.history = History()
        self.fleet, self.journal = StubFleet(), StubJournal()
        self.log = SimpleNamespace(lost=0)
        engine = self.history.engine
        cast(Any, engine.settler).backlog = 0
        room = SimpleNamespace(
            engine=engine, fleet=self.fleet, journal=self.journal, log=self.log
        )
        self.path = path
        self.board = StatusBoard(
            path, "watch", SETTINGS, "imsim", cast(Any, room), WALL
        )

    def show(self, **more: Any) -> dict[str, Any]:
        """What a reader of the file sees."""
        now = self.history.now
        self.board.show(now, WALL + now - 1000.0, **more)
        found: dict[str, Any] = json.loads(self.path.read_text())
        return found


SETTINGS = config.parse(
    """
[kafka]
topic = "billing"
servers = ["127.0.0.1:9092"]
consumergroup = "imsim"
[dcache]
url = "https://door.example.org:2880/lsst"
pool = "/pnfs/example.org/data"
folder = "/raw"
[local]
downloadfolder = "/mirror"
""",
    "test",
    {},
)


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Board]:
    """A board that writes to a file of its own."""
    return Board(tmp_path / "status.json")


def progress(task: str, phase: str, received: int, since: float = WALL) -> Progress:
    return Progress(task, phase, received, 100, since)


def test_a_quiet_engine_is_told_whole(board: Board) -> None:
    status = board.show(lag={0: 5})

    assert ("watch", "imsim", WALL) == (
        status["command"],
        status["instance"],
        status["started"],
    )
    assert "https://door.example.org:2880/lsst below /raw" == status["source"]
    assert {"0": 5} == status["lag"]
    assert ([], [], None) == (status["transfers"], status["holds"], status["queue_age"])
    assert {"60", "300", "900"} == status["rates"].keys()


def test_a_backlog_that_was_there_is_no_growth(board: Board) -> None:
    """Nor is what partitions bring that another host had."""
    board.show(lag={})
    for second in range(1, 8):
        board.history.wait(100.0)
        mine = {0: 50_000 - 100 * second}
        status = board.show(lag=mine if second < 5 else {**mine, 1: 9000})

    assert -600 == status["rates"]["900"]["lag"]
    assert {"0": 49_300, "1": 9000} == status["lag"]


def test_a_transfer_has_speed_phase_and_age(board: Board) -> None:
    history = board.history
    history.offer("a", size=100)
    history.hand_out()
    history.engine.progress["a"] = progress("a", "data", 10)
    board.show()
    history.wait(2.0)
    history.engine.progress["a"] = progress("a", "data", 50, since=WALL + 1.5)
    (told,) = board.show()["transfers"]

    assert {"path": "/d/a", "bytes": 50, "bytes_per_second": 20, "phase": "data"} == {
        key: told[key] for key in ("path", "bytes", "bytes_per_second", "phase")
    }
    assert (2.0, 0.5) == (told["for"], told["phase_for"])


def test_running_transfers_come_before_those_that_wait_in_a_worker(
    board: Board,
) -> None:
    history = board.history
    history.offer("a", "b")
    history.hand_out()
    history.engine.progress["b"] = progress("b", "door", 0)
    told = board.show()["transfers"]

    assert ["/d/b", "/d/a"] == [each["path"] for each in told]
    assert "queued" == told[1]["phase"]


def test_a_busy_worker_is_one_whose_streams_run(board: Board) -> None:
    history = board.history
    history.offer("a", "b", "c")
    history.hand_out()
    history.engine.progress["a"] = progress("a", "data", 1)
    history.engine.progress["b"] = progress("b", "queued", 0)
    first, second, logger = board.show()["workers"]

    assert (16, 1, 3) == (first["streams"], first["busy"], first["jobs"])
    assert (1.0, False) == (first["beat_age"], first["publishing"])
    assert (0.0, True) == (second["beat_age"], second["publishing"])
    assert 0 == logger["streams"]


def test_only_posts_that_will_be_filled_again_are_missing(board: Board) -> None:
    assert [{"name": "worker 3", "deaths": 2, "in": 4.0}] == board.show()["missing"]


def test_the_next_retries_come_with_class_and_due_time(board: Board) -> None:
    history = board.history
    history.offer("a", "b")
    history.hand_out()
    history.fail("a", FailureClass.TRANSIENT)
    history.fail("b", FailureClass.NOT_THERE)
    status = board.show()

    assert {"transient", "not-there-yet"} == {r["class"] for r in status["retries_due"]}
    assert status["retries_due"][0]["in"] == status["next_due"]
    assert status["retries_due"] == sorted(status["retries_due"], key=lambda r: r["in"])


def test_a_hold_has_its_wall_time_and_next_probe(board: Board) -> None:
    history = board.history
    history.engine.hold_desk.begin(HoldKey(HoldKind.DOOR, "door:443"), "x\n", 1000.0)
    history.wait(1.5)
    (hold,) = board.show()["holds"]

    assert ("door door:443", "x\\n", 1.5, WALL, 0.5) == (
        hold["kind"],
        hold["cause"],
        hold["for"],
        hold["since"],
        hold["probe_in"],
    )


def test_a_credential_that_only_its_file_can_cure_has_no_probe(board: Board) -> None:
    engine = board.history.engine
    engine.hold_desk.begin(HoldKey(HoldKind.CREDENTIAL), "expired", 1000.0)
    hold = engine.holds.get(HoldKey(HoldKind.CREDENTIAL))
    assert hold is not None
    hold.probe_at = float("inf")

    assert board.show()["holds"][0]["probe_in"] is None


def test_the_queue_is_as_old_as_the_job_that_is_next(board: Board) -> None:
    board.history.offer("a", accepted_at=WALL - 30.0)
    board.history.offer("b", accepted_at=WALL)

    assert 30.0 == board.show()["queue_age"]


POOL = HoldKey(HoldKind.POOL, "pool:1")


def tried_again(history: History) -> None:
    entry = history.engine.dispatcher.entries["a"]
    history.engine.dispatcher.wait_until(entry, history.now + 7200.0, history.now)
    history.wait(7200.0)


def held_for_a_pool(history: History) -> None:
    history.engine.hold_desk.begin(POOL, "away", history.now)
    history.engine.dispatcher.hold(history.engine.dispatcher.entries["a"], POOL)
    history.wait(7200.0)
    history.engine.hold_desk.end(POOL, history.now)


def fetched_until_the_worker_died(history: History) -> None:
    history.wait(7200.0)
    history.engine.worker_died(WORKER, history.now, WALL)


@pytest.mark.parametrize(
    "happens", [tried_again, held_for_a_pool, fetched_until_the_worker_died]
)
def test_time_in_which_a_job_could_not_run_makes_no_queue_old(
    board: Board, happens: Callable[[History], None]
) -> None:
    board.history.offer("a", accepted_at=WALL)
    board.history.hand_out()
    happens(board.history)
    board.history.wait(5.0)

    assert 5.0 == board.show()["queue_age"]


def test_a_job_that_comes_back_untried_waits_as_long_as_before(board: Board) -> None:
    board.history.offer("a", accepted_at=WALL)
    board.history.wait(60.0)
    board.history.hand_out()
    board.history.end("a", ResultKind.PARKED)

    assert 60.0 == board.show()["queue_age"]


def test_outcomes_are_dated_and_summed(board: Board) -> None:
    history = board.history
    board.show()
    history.offer("a", "b")
    history.hand_out()
    history.wait(3.0)
    history.end("a", ResultKind.MIRRORED, bytes_received=10)
    history.fail("b", FailureClass.CHECKSUM)
    status = board.show()

    assert WALL + 3.0 == status["mirrored_at"]
    assert (1, 3.0) == (
        status["rates"]["60"]["files"],
        status["rates"]["60"]["seconds"],
    )


def test_the_log_says_once_that_many_wait_for_their_first_byte(board: Board) -> None:
    history = board.history
    history.offer("a", "b", "c")
    history.hand_out()
    for task in "abc":
        history.engine.progress[task] = progress(task, "pool_queue", 0)
    for _ in range(300):
        board.show()
        history.wait(1.0)

    assert 1 == history.story.told.count("note")


def test_space_tells_what_is_reserved(board: Board) -> None:
    history = board.history
    history.engine.space.free_bytes = 1000
    history.offer("a", size=100)
    history.hand_out()
    history.engine.progress["a"] = progress("a", "data", 30)
    status = board.show()

    assert (1000, 70, 0) == (
        status["free_bytes"],
        status["reserved_bytes"],
        status["min_free"],
    )


def test_lists_are_bounded_and_say_how_much_there_is(board: Board) -> None:
    engine = board.history.engine
    engine.dispatcher.seat(9, streams=1000)
    board.history.offer(*(f"t{n}" for n in range(600)))
    board.history.hand_out()
    for entry in engine.dispatcher.out()[:100]:
        board.history.engine.dispatcher.wait_until(entry, 2000.0, 1000.0)
    status = board.show()

    assert MOST_TRANSFERS == len(status["transfers"])
    assert status["transfers_total"] == len(engine.dispatcher.out()) > MOST_TRANSFERS
    assert MOST_RETRIES == len(status["retries_due"])
    assert 100 == status["jobs"]["waiting"]
    assert board.path.stat().st_size < 150_000


def test_the_journal_is_as_large_as_it_is_now(board: Board) -> None:
    """Also in the first seconds, when most of what it has is new."""
    for used in (0, 4096, 8192):
        board.journal.used = used

        assert used == board.show()["journal"]["bytes"]
        board.history.wait(1.0)


def test_lines_that_the_log_could_not_take_are_counted(board: Board) -> None:
    board.log.lost = 3

    assert 3 == board.show()["log_lost"]


def test_no_name_stands_in_the_file_as_it_came(board: Board) -> None:
    evil = "a\x1b[2J\n\u202e\udc80"
    board.history.offer(evil)
    board.history.hand_out()
    (told,) = board.show()["transfers"]

    assert told["path"].isprintable()


def test_an_orderly_end_is_the_last_word(board: Board) -> None:
    with board.board.until_the_end():
        board.show()

    assert None is json.loads(board.path.read_text())["ended"]["error"]


@pytest.mark.parametrize(
    ("error", "text"),
    [(IntakeError("Kafka\nhangs"), "Kafka\\nhangs"), (KeyError(), "unexpectedly")],
)
def test_an_error_is_the_last_word(board: Board, error: Exception, text: str) -> None:
    board.show()
    with pytest.raises(type(error)), board.board.until_the_end():
        raise error

    assert text in json.loads(board.path.read_text())["ended"]["error"]


def test_a_disk_that_is_full_does_not_make_the_daemon_look_stuck(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    board.show()
    before = board.path.stat()

    def full(self: Path, text: str) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    while board.path.stat().st_mtime_ns == before.st_mtime_ns:
        board.board.show(board.history.now, WALL)

    assert board.path.stat().st_ino == before.st_ino


# -- the next of very many ------------------------------------------------------------


def waiting(count: int) -> Dispatcher:
    dispatcher = Dispatcher()
    for n in range(count):
        name = f"t{n}"
        entry: Entry = dispatcher.add(Job(name, JobKind.TRIGGER, name, name, name))
        dispatcher.wait_until(entry, float(n * 7919 % count), 0.0)
    return dispatcher


def test_the_next_of_many_waiting_jobs_are_found() -> None:
    found = waiting(20_000).next_waiting(20)

    assert [float(n) for n in range(20)] == [entry.due for entry in found]


def test_jobs_that_no_longer_wait_are_not_among_the_next() -> None:
    dispatcher = waiting(100)
    for entry in dispatcher.next_waiting(5):
        dispatcher.ready_again(entry)

    assert [5.0, 6.0] == [entry.due for entry in dispatcher.next_waiting(2)]
    assert [] == Dispatcher().next_waiting(2)
