"""The logger as a process: in order, once each, whatever is killed or rotated."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings

from dcmirror.adapters import checkpoints, locks, segments, shipping_report
from dcmirror.adapters.journal import Journal
from dcmirror.adapters.journal_reader import JournalReader
from dcmirror.adapters.sinks import FileSink, NoSink, Receipt, ShippedLine
from dcmirror.processes.logger import LoggerBoot, logger_main
from dcmirror.processes.route import CheckpointBook, Route, Stop, say
from dcmirror.settings import DCache, Kafka, Local, Settings
from foreign_words import FOREIGN
from helpers import wait_until

SETTINGS = Settings(
    kafka=Kafka(topic="t", servers=("a:1",), consumergroup="g"),
    dcache=DCache(url="https://d/", pool="/", folder="/f"),
    local=Local(downloadfolder=Path("/m")),
)


class Bench:
    """A state directory with a journal, and loggers that ship it."""

    def __init__(self, path):
        self.journal_directory = path / "journal"
        self.checkpoint = path / "checkpoint.json"
        self.export = path / "export.ndjson"
        self._context = multiprocessing.get_context("spawn")
        self._loggers = []

    def journal(self, started_at=None, segment_bytes=4096):
        return Journal(
            self.journal_directory, 1 << 24, segment_bytes, started_at=started_at
        )

    def start(self, export=True, name="logger"):
        boot = LoggerBoot(
            SETTINGS,
            self.journal_directory,
            self.checkpoint,
            self.export if export else None,
            name,
        )
        process = self._context.Process(target=logger_main, args=(boot,))
        process.start()
        self._loggers.append(process)
        return process

    def stop(self, process):
        os.kill(process.pid, signal.SIGTERM)
        process.join(20)
        return process.exitcode

    def exported(self, path=None):
        """All whole lines: the last one may be in the middle of being written."""
        path = path or self.export
        if not path.exists():
            return []
        lines = path.read_bytes().rpartition(b"\n")[0].splitlines()
        return [json.loads(line)["n"] for line in lines]

    def report(self):
        return shipping_report.read(shipping_report.path_beside(self.checkpoint))

    def exported_lines(self):
        """How many, the last one perhaps in the middle of being written."""
        return self.export.read_bytes().count(b"\n") if self.export.exists() else 0

    def is_caught_up(self, last):
        """It ends with this line; read with care, since it may be half written."""
        end = b'{"n": %d}\n' % last
        return lambda: self.export.is_file() and self.export.read_bytes().endswith(end)

    def close(self):
        for process in self._loggers:
            process.kill()
            process.join(10)
            process.close()


@pytest.fixture
def bench(tmp_path):
    made = Bench(tmp_path)
    yield made
    made.close()


def write(journal, numbers):
    journal.append([json.dumps({"n": n}) for n in numbers])


def test_every_line_is_shipped_once_and_in_order(bench):
    journal = bench.journal()
    write(journal, range(500))
    logger = bench.start()
    wait_until(bench.is_caught_up(499))
    for n in range(500, 1500, 10):
        write(journal, range(n, n + 10))
    wait_until(bench.is_caught_up(1499))

    assert bench.stop(logger) == 0
    assert bench.exported() == list(range(1500))
    assert len(segments.list_segments(bench.journal_directory)) > 3
    journal.close()


def test_a_restart_goes_on_at_the_checkpoint(bench):
    journal = bench.journal()
    write(journal, range(100))
    first = bench.start()
    wait_until(bench.is_caught_up(99))
    assert bench.stop(first) == 0
    write(journal, range(100, 200))
    second = bench.start()
    wait_until(bench.is_caught_up(199))

    assert bench.stop(second) == 0
    assert bench.exported() == list(range(200))
    journal.close()


def test_term_ships_what_is_there(bench):
    journal = bench.journal()
    logger = bench.start()
    wait_until(lambda: (bench.checkpoint.parent / "shipper.lock").exists())
    write(journal, range(3000))

    assert bench.stop(logger) == 0
    assert bench.exported() == list(range(3000))
    journal.close()


def test_int_is_ignored(bench):
    journal = bench.journal()
    write(journal, [1])
    logger = bench.start()
    wait_until(bench.is_caught_up(1))
    os.kill(logger.pid, signal.SIGINT)
    write(journal, [2])
    wait_until(bench.is_caught_up(2))

    assert bench.stop(logger) == 0
    journal.close()


def test_kill_9_at_any_time_loses_and_doubles_nothing(bench):
    journal = bench.journal()
    total = 0
    for _ in range(5):
        logger = bench.start()
        for _ in range(100):
            write(journal, range(total, total + 20))
            total += 20
        half = total // 2
        wait_until(lambda half=half: bench.exported_lines() > half)
        logger.kill()
        logger.join(10)
    last = bench.start()
    wait_until(bench.is_caught_up(total - 1))

    assert bench.stop(last) == 0
    assert bench.exported() == list(range(total))
    journal.close()


def test_without_an_export_it_only_checkpoints(bench):
    journal = bench.journal()
    write(journal, range(10))
    logger = bench.start(export=False)
    wait_until(lambda: checkpoints.load(bench.checkpoint).shipped == 10)

    assert bench.stop(logger) == 0
    assert not bench.export.exists()
    journal.close()


def test_several_writers_are_shipped_with_a_position_each(bench):
    one, two = bench.journal(started_at=1), bench.journal(started_at=2)
    write(one, range(5))
    write(two, range(10, 15))
    logger = bench.start()
    wait_until(lambda: len(bench.exported()) == 10)
    write(one, range(5, 8))
    write(two, range(15, 18))
    wait_until(lambda: len(bench.exported()) == 16)

    assert bench.stop(logger) == 0
    shipped = bench.exported()
    assert [n for n in shipped if n < 10] == list(range(8))
    assert [n for n in shipped if n >= 10] == list(range(10, 18))
    positions = checkpoints.load(bench.checkpoint).writers
    assert {one.writer: 8, two.writer: 8} == {w: p.line for w, p in positions.items()}
    one.close()
    two.close()


def test_one_logger_ships_at_a_time_and_the_other_takes_over(bench):
    journal = bench.journal()
    write(journal, range(10))
    first = bench.start()
    wait_until(bench.is_caught_up(9))
    second = bench.start(name="second")
    write(journal, range(10, 20))
    wait_until(bench.is_caught_up(19))
    assert second.is_alive()
    first.kill()
    first.join(10)
    write(journal, range(20, 30))
    wait_until(bench.is_caught_up(29))

    assert bench.stop(second) == 0
    assert bench.exported() == list(range(30))
    journal.close()


def test_a_logger_that_stands_by_leaves_on_term(bench):
    with locks.acquire(bench.checkpoint.with_name("shipper.lock")):
        journal = bench.journal()
        write(journal, [1])
        logger = bench.start()
        wait_until(lambda: handles_term(logger.pid))

        assert bench.stop(logger) == 0
    assert bench.exported() == []
    journal.close()


def handles_term(pid):
    """Whether the process has put its handler in place."""
    status = Path(f"/proc/{pid}/status").read_text()
    caught = next(s for s in status.splitlines() if s.startswith("SigCgt")).split()[1]
    return int(caught, 16) >> (signal.SIGTERM - 1) & 1


def test_a_rotated_export_is_left_and_a_new_one_begun(bench):
    journal = bench.journal()
    write(journal, range(10))
    logger = bench.start()
    wait_until(bench.is_caught_up(9))
    rotated = bench.export.with_suffix(".1")
    bench.export.rename(rotated)
    write(journal, range(10, 20))
    wait_until(bench.is_caught_up(19))
    with open(bench.export, "r+b") as file:
        file.truncate(0)
    write(journal, range(20, 30))
    wait_until(bench.is_caught_up(29))

    assert bench.stop(logger) == 0
    assert bench.exported(rotated) == list(range(10))
    assert bench.exported() == list(range(20, 30))
    journal.close()


def test_spoiled_lines_are_set_aside_and_stop_nothing(bench):
    journal = bench.journal()
    write(journal, range(5))
    (segment,) = segments.list_segments(bench.journal_directory)
    content = segment.path.read_bytes()
    segment.path.write_bytes(content.replace(b'"n": 2', b'"n": 7'))
    write(journal, range(5, 8))
    journal.close()
    with open(segment.path, "ab") as file:
        file.write(b'{"n": 9,"crc"')
    logger = bench.start()
    wait_until(bench.is_caught_up(7))

    assert bench.stop(logger) == 0
    assert bench.exported() == [0, 1, 3, 4, 5, 6, 7]
    assert checkpoints.load(bench.checkpoint).spoiled == 1
    corrupt = bench.journal_directory / "corrupt" / segment.name
    assert corrupt.read_bytes().startswith(b'{"n": 7')


def test_every_line_is_shipped_or_counted_as_dropped(bench):
    small = Journal(bench.journal_directory, 16384, 2048)
    for n in range(0, 2000, 5):
        write(small, range(n, n + 5))
    logger = bench.start()
    wait_until(bench.is_caught_up(1999))

    assert bench.stop(logger) == 0
    shipped = bench.exported()
    assert small.dropped > 0
    assert shipped == list(range(small.dropped, 2000))
    assert checkpoints.load(bench.checkpoint).missed > 0
    small.close()


def test_segments_that_went_unread_are_counted(bench):
    journal = bench.journal(segment_bytes=64)
    for n in range(5):
        write(journal, [n])
    made = segments.list_segments(bench.journal_directory)
    for segment in made[:2]:
        segment.path.unlink()
    logger = bench.start()
    wait_until(bench.is_caught_up(4))

    assert bench.stop(logger) == 0
    assert checkpoints.load(bench.checkpoint).missed == 2
    journal.close()


def out_of_reach(path):
    """Nobody, not even root, can read it now; returns what puts it right."""
    aside = path.with_name("aside")
    path.rename(aside)
    path.mkdir()

    def put_right():
        path.rmdir()
        aside.rename(path)

    return put_right


def test_a_segment_that_cannot_be_read_keeps_back_its_own_writer_only(bench):
    """It is told, and no line of it passes for shipped."""
    old = bench.journal(started_at=1)
    write(old, [1])
    old.close()
    mine = bench.journal()
    write(mine, [2])
    segment = segments.list_segments(bench.journal_directory)[0]
    put_right = out_of_reach(segment.path)
    process = bench.start()
    wait_until(bench.is_caught_up(2), 20)
    wait_until(lambda: segment.name in str(bench.report()), 20)
    told = bench.report()
    assert process.is_alive()
    assert "cannot read the journal" in told.reason
    assert told.oldest_age_s is not None

    put_right()
    wait_until(bench.is_caught_up(1), 20)
    wait_until(lambda: bench.report().reason is None, 20)
    assert bench.stop(process) == 0
    assert bench.exported() == [2, 1]
    assert (0, 2) == (bench.report().missed, bench.report().shipped)


def test_a_journal_that_cannot_be_read_at_all_is_waited_for(bench):
    bench.journal_directory.touch()
    process = bench.start()
    wait_until(lambda: "NotADirectory" in str(bench.report()), 20)
    bench.journal_directory.unlink()
    write(bench.journal(), [1])
    wait_until(bench.is_caught_up(1), 40)

    assert bench.stop(process) == 0


def test_an_export_that_cannot_be_written_is_tried_again(bench):
    journal = bench.journal()
    write(journal, range(5))
    bench.export.mkdir()
    logger = bench.start()
    wait_until(lambda: handles_term(logger.pid))
    bench.export.rmdir()
    wait_until(bench.is_caught_up(4))

    assert bench.stop(logger) == 0
    assert bench.exported() == list(range(5))
    journal.close()


class KilledError(BaseException):
    """What a kill looks like from within."""


class KilledSink(FileSink):
    """Dies when the lines are written, before anybody could have noted that."""

    def ship(self, lines):
        super().ship(lines)
        self.close()
        raise KilledError


def route(bench, kind, stop):
    book = CheckpointBook(bench.checkpoint, ("file",))
    reader = JournalReader(bench.journal_directory)
    return Route("logger", reader, kind(bench.export), book, stop)


def shipped_then_killed(bench):
    with pytest.raises(KilledError):
        route(bench, KilledSink, Stop()).run()


def ship_the_rest(bench):
    stop = Stop()
    last = route(bench, FileSink, stop)
    thread = threading.Thread(target=last.run, daemon=True)
    thread.start()
    wait_until(lambda: last.state.name == "idle", 20)
    stop.ask(5.0)
    thread.join(10)


def nothing(export):
    """As it is at the very first start."""


def somebody_wrote(export):
    export.write_bytes(b'{"n": -1}\n')


def rotated(export):
    export.write_bytes(b'{"n": -2}\n')
    export.rename(export.with_suffix(".old"))


@pytest.mark.parametrize("before", [nothing, somebody_wrote, rotated])
def test_a_kill_before_the_first_checkpoint_doubles_no_line(bench, before):
    journal = bench.journal()
    before(bench.export)
    there = bench.exported()
    write(journal, range(10))
    for _ in range(3):
        shipped_then_killed(bench)
    ship_the_rest(bench)

    assert bench.exported() == [*there, *range(10)]
    journal.close()


@pytest.mark.parametrize("removes", [True, False])
def test_a_kill_after_the_export_was_taken_away_doubles_no_line(bench, removes):
    """Removed, a new file mostly gets the number of the old one."""
    journal = bench.journal()
    write(journal, range(10))
    ship_the_rest(bench)
    bench.export.unlink() if removes else rotated(bench.export)
    write(journal, range(10, 13))
    shipped_then_killed(bench)
    shipped_then_killed(bench)
    ship_the_rest(bench)

    assert bench.exported() == [10, 11, 12]
    journal.close()


class RefusingSink(NoSink):
    """Says why not, in words of others: at first it fails, then it answers."""

    def __init__(self, said):
        self.said = said
        self.fails = True

    def ship(self, lines):
        if self.fails:
            self.fails = False
            raise OSError(self.said)
        return Receipt(0, trouble=f"503: {self.said}", pause=1.0, rest=tuple(lines))


@hypothesis_settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(said=FOREIGN)
def test_nothing_that_a_server_says_forges_a_line_or_commands_a_terminal(
    capfd, tmp_path_factory, said
):
    bench = Bench(tmp_path_factory.mktemp("said"))
    journal = bench.journal()
    write(journal, [1])
    book, stop = CheckpointBook(bench.checkpoint, ("none",)), Stop()
    reader = JournalReader(bench.journal_directory)
    made = Route("logger", reader, RefusingSink(said), book, stop)
    stop.ask(60.0)
    for _ in ("fails", "answers"):
        made.run()
    journal.close()
    told = capfd.readouterr().err
    lines = told.splitlines()

    assert told.count("\n") == len(lines) == 2
    kinds = {unicodedata.category(character) for character in told.replace("\n", "")}
    assert not kinds & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert all(line.startswith("dcmirror: logger: none: ") for line in lines)


def test_no_password_of_a_url_reaches_standard_error(capfd):
    say("logger", "no answer from https://elastic:S3CR@ET@es:9200/_bulk?key=S3CRET")

    assert capfd.readouterr().err == (
        "dcmirror: logger: no answer from https://es:9200/_bulk?...\n"
    )


class ForgetfulSink(FileSink):
    """Sets two of ten lines aside, and has no place for what lay there."""

    def ship(self, lines):
        receipt = super().ship(lines)
        return replace(receipt, dead=2, lost=7, trouble="set aside: because")


def test_dead_letters_that_had_to_go_are_told(bench, capfd):
    journal, stop = bench.journal(), Stop()
    write(journal, range(10))
    stop.ask(5.0)
    last = route(bench, ForgetfulSink, stop)
    last.run()

    told = checkpoints.load(bench.checkpoint)
    assert (8, 2, 7) == (told.shipped, told.dead_letters, told.dead_letters_lost)
    assert "file: 7 dead letters lost for want of space\n" in capfd.readouterr().err
    journal.close()


def test_an_export_of_another_instance_is_not_cut(tmp_path):
    one, two = FileSink(tmp_path / "e"), FileSink(tmp_path / "e")
    one.ship([ShippedLine("s", 1, b'{"n":1}')])
    memory = one.settle()
    one.ship([ShippedLine("s", 2, b'{"n":2}')])
    two.resume(memory)

    with pytest.raises(OSError, match="another process"):
        two.ship([ShippedLine("s", 2, b'{"n":2}')])
    one.close()
    two.ship([ShippedLine("s", 2, b'{"n":2}')])
    assert (tmp_path / "e").read_bytes() == b'{"n":1}\n{"n":2}\n'
    two.close()


def test_nothing_heavy_is_imported():
    code = (
        "import sys, dcmirror.processes.logger; "
        "print([m for m in ('kafka', 'pycurl', 'click', 'rich', 'cryptography', "
        "'elasticsearch', 'sqlite3', 'ssl', 'asyncio') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "[]"
