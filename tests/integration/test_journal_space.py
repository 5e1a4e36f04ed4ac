"""The journal when space is short: on a small disk, and with a small budget."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dcmirror.adapters import segments
from dcmirror.adapters.checkpoints import Checkpoint, Position
from dcmirror.adapters.journal import Journal
from dcmirror.adapters.journal_reader import JournalReader
from dcmirror.adapters.journal_space import JournalSpace
from dcmirror.core.journal_table import value_of
from dcmirror.core.journal_values import Lane, Value
from one_sink import save_checkpoint

KIB = 1024
MIB = 1024 * KIB

ACTION = {
    Value.PROGRESS: ("transfer-step", "copy_run"),
    Value.STARTED: ("transfer-step", "copy_init"),
    Value.DETAIL: ("transfer-retry", ""),
    Value.OUTCOME: ("transfer-finished", ""),
}


def line(value, number, size=0):
    action, step = ACTION[value]
    event = {"event": {"action": action}, "message": number, "pad": "x" * size}
    return json.dumps(event | ({"step": step} if step else {}), separators=(",", ":"))


def found(directory):
    """The numbers of the lines of each value that are in whole lines on disk."""
    numbers = {value: [] for value in Value}
    for segment in segments.list_segments(directory):
        for read in segments.read_segment(segment.path):
            event = json.loads(read.body)
            value = value_of(event["event"]["action"], event.get("step", ""))
            numbers[value].append(event["message"])
    return numbers


def append(journal, value, number, size=0):
    return journal.append([line(value, number, size)], [value])


@pytest.fixture
def disk(tmp_path):
    """A disk of 1 MiB of our own."""
    point = tmp_path / "disk"
    point.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(point)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"cannot mount a tmpfs: {done.stderr.strip()}")
    yield point
    subprocess.run(["umount", "-l", str(point)], check=True)


class Ballast:
    """What somebody else has on the disk."""

    def __init__(self, disk):
        self._path = disk / "ballast"

    def fill(self, leave=0):
        """Take all but ``leave`` bytes."""
        free = os.statvfs(self._path.parent)
        size = free.f_bavail * free.f_frsize - leave
        with open(self._path, "ab") as file:
            file.write(b"\0" * max(size, 0))

    def drop(self):
        self._path.unlink()


@pytest.fixture
def ballast(disk):
    return Ballast(disk)


def test_on_a_full_disk_outcomes_wait_and_the_rest_is_counted(disk, ballast):
    journal = Journal(disk / "j", 16 * MIB, 64 * KIB, min_free=0)
    journal.append([line(Value.OUTCOME, 0)])
    ballast.fill()
    values = [*Value] * 20
    lines = [line(value, n, 400) for n, value in enumerate(values, start=1)]
    left = journal.append(lines, values)
    taken = found(disk / "j")

    assert journal.trouble is not None
    waiting = [place + 1 for place in left]
    assert {values[place] for place in left} == {Value.OUTCOME}
    assert taken[Value.OUTCOME] + waiting == [
        0,
        *(n for n, v in enumerate(values, start=1) if v is Value.OUTCOME),
    ]
    for value in (Value.PROGRESS, Value.STARTED, Value.DETAIL):
        assert journal.dropped_by_kind[value.kind] + len(taken[value]) == 20

    ballast.drop()
    journal.tick(10.0)
    journal.tick(20.0)
    assert journal.append([lines[place] for place in left]) == []
    assert journal.trouble is None
    assert found(disk / "j")[Value.OUTCOME] == taken[Value.OUTCOME] + waiting
    journal.close()


def test_below_the_floor_nothing_is_written_though_there_is_space(disk, ballast):
    journal = Journal(disk / "j", 16 * MIB, 64 * KIB, min_free=256 * KIB)
    assert append(journal, Value.OUTCOME, 0) == []
    ballast.fill(leave=200 * KIB)
    journal.tick(10.0)
    assert append(journal, Value.DETAIL, 1) == []
    assert append(journal, Value.OUTCOME, 2) == [0]
    free = os.statvfs(disk)
    assert free.f_bavail * free.f_frsize >= 190 * KIB
    ballast.drop()
    journal.tick(20.0)
    assert append(journal, Value.OUTCOME, 2) == []

    assert journal.dropped_by_kind == {"detail": 1}
    assert found(disk / "j")[Value.OUTCOME] == [0, 2]
    journal.close()


def test_shipped_segments_and_then_steps_make_room_on_a_full_disk(disk, ballast):
    """Written in turns; the shipped ones are the first of each row."""
    journal = Journal(disk / "j", 4 * MIB, 32 * KIB, min_free=0)
    for number in range(120):
        append(journal, Value.STARTED, number, 2 * KIB)
        append(journal, Value.OUTCOME, number, 2 * KIB)
    steps = segments.lane_writer(journal.writer, Lane.STEPS)
    shipped = Checkpoint({journal.writer: Position(3), steps: Position(3)})
    save_checkpoint(disk / "checkpoint.json", shipped)
    ballast.fill()
    left = sum(
        len(append(journal, Value.OUTCOME, number, 2 * KIB))
        for number in range(120, 200)
    )
    rest = segments.list_segments(disk / "j")

    assert left == 0
    assert min(s.number for s in rest if s.lane is Lane.STORY) == 3
    kept = found(disk / "j")
    assert kept[Value.OUTCOME][-1] == 199
    lost = journal.dropped_by_kind
    assert set(lost) == {"started"}
    assert lost["started"] == 120 - len(kept[Value.STARTED]) - 2 * 15
    journal.close()


def test_the_default_floor_is_a_hundredth_of_the_disk(disk, ballast):
    journal = Journal(disk / "j", 16 * MIB, 64 * KIB)
    ballast.fill(leave=MIB // 100 // 4096 * 4096)

    assert append(journal, Value.OUTCOME, 0) == [0]
    ballast.drop()
    assert append(journal, Value.OUTCOME, 0) == []
    journal.close()


def fill_up(journal, count=400):
    """Files that are copied while nothing is shipped: steps, details, outcomes."""
    for number in range(count):
        append(journal, Value.STARTED, number, 300)
        append(journal, Value.PROGRESS, number, 300)
        append(journal, Value.DETAIL, number, 100)
        append(journal, Value.OUTCOME, number, 500)
        if number % 10 == 0:
            journal.tick(float(number))


def test_while_nothing_is_shipped_progress_ends_first_and_outcomes_last(tmp_path):
    journal = Journal(tmp_path / "j", 256 * KIB, 16 * KIB, min_free=0)
    fill_up(journal)
    kept = found(tmp_path / "j")
    last = {value: max(numbers, default=-1) for value, numbers in kept.items()}
    first_lost = 400 - len(kept[Value.OUTCOME])

    assert last[Value.PROGRESS] <= last[Value.STARTED] < last[Value.DETAIL]
    assert last[Value.DETAIL] < last[Value.OUTCOME] == 399
    assert kept[Value.OUTCOME] == list(range(first_lost, 400))
    assert "full of events that are not shipped" in journal.trouble
    assert sum(p.stat().st_size for p in (tmp_path / "j").iterdir()) <= 290 * KIB
    journal.close()


def test_steps_are_written_again_when_the_journal_was_shipped(tmp_path):
    journal = Journal(tmp_path / "j", 256 * KIB, 16 * KIB, min_free=0)
    fill_up(journal)
    assert append(journal, Value.PROGRESS, 1000) == []
    steps = segments.lane_writer(journal.writer, Lane.STEPS)
    shipped = Checkpoint({journal.writer: Position(999), steps: Position(999)})
    save_checkpoint(tmp_path / "checkpoint.json", shipped)
    journal.tick(1e6)
    append(journal, Value.PROGRESS, 1001)

    assert journal.trouble is None
    assert found(tmp_path / "j")[Value.PROGRESS][-1] == 1001
    journal.close()


def test_an_outcome_goes_only_when_no_step_is_left_that_could_go(tmp_path):
    """Only the two segments that are open may hold steps while outcomes go."""
    journal = Journal(tmp_path / "j", 256 * KIB, 16 * KIB, min_free=0)
    number = 0
    while not journal.dropped_by_kind["outcome"]:
        append(journal, Value.STARTED, number, 300)
        append(journal, Value.OUTCOME, number, 300)
        number += 1
        assert number < 2000
    steps = [
        segment
        for segment in segments.list_segments(tmp_path / "j")
        if segment.lane is Lane.STEPS
    ]

    assert len(steps) == 1
    journal.close()


def test_of_what_is_shipped_the_oldest_goes_whichever_row_it_is_in(tmp_path):
    """Else a long run would keep its steps, and lose what became of its files."""
    journal = Journal(tmp_path / "j", 512 * KIB, 16 * KIB, min_free=0)
    for number in range(2000):
        append(journal, Value.STARTED, number, 300)
        append(journal, Value.OUTCOME, number, 300)
        for segment in segments.list_segments(tmp_path / "j")[::-1]:
            # A second for each, so that no clock of a file system is too coarse.
            if segment.path.stat().st_mtime > 1e9:
                os.utime(segment.path, (number, number))
        if number % 20 == 0:
            ship_everything(tmp_path)
    kept = found(tmp_path / "j")
    first = {value: kept[value][0] for value in (Value.STARTED, Value.OUTCOME)}
    in_a_segment = 16 * KIB // 300

    assert journal.dropped == 0
    assert 500 < first[Value.OUTCOME]
    assert abs(first[Value.OUTCOME] - first[Value.STARTED]) <= 2 * in_a_segment
    for value in first:
        assert kept[value] == list(range(first[value], 2000))
    journal.close()


def test_an_older_run_goes_before_a_newer_one(tmp_path):
    """Though it has the newest file: the oldest run tells where the journal begins."""
    for started_at in (1, 2):
        run = Journal(
            tmp_path / "j", 512 * KIB, 16 * KIB, min_free=0, started_at=started_at
        )
        for number in range(200):
            append(run, Value.STARTED, number, 300)
            append(run, Value.OUTCOME, number, 300)
        run.close()
    before = segments.list_segments(tmp_path / "j")
    older = [segment for segment in before if segment.run != run.writer]
    for segment in older:
        os.utime(segment.path, (2e9, 2e9))
    ship_everything(tmp_path)
    journal = Journal(tmp_path / "j", 192 * KIB, 16 * KIB, min_free=0)
    assert append(journal, Value.OUTCOME, 0) == []
    gone = set(before) - set(segments.list_segments(tmp_path / "j"))

    assert gone
    assert gone < set(older)
    journal.close()


def ship_everything(home):
    """Say of all that is there that it is shipped."""
    positions = {
        segment.writer: Position(segment.number, segment.path.stat().st_size, 1)
        for segment in segments.list_segments(home / "j")
    }
    save_checkpoint(home / "checkpoint.json", Checkpoint(positions))


def test_a_required_journal_drops_no_detail_however_full_it_is(tmp_path):
    journal = Journal(tmp_path / "j", 256 * KIB, 16 * KIB, min_free=0, required=True)
    number = 0
    while not append(journal, Value.DETAIL, number, 300):
        journal.tick(10.0 * number)
        number += 1
        assert number < 2000

    assert journal.dropped == 0
    assert found(tmp_path / "j")[Value.DETAIL] == list(range(number))
    assert "detail" not in journal.trouble
    ship_everything(tmp_path)
    journal.tick(10.0 * number)
    assert append(journal, Value.DETAIL, number, 300) == []
    journal.close()


def killed_run(home, number):
    """A writer that was killed long ago in the middle of a line."""
    journal = Journal(home / "j", 64 * KIB, 16 * KIB, started_at=number)
    for _ in range(15):
        append(journal, Value.OUTCOME, number, 900)
    journal.close()
    path = home / "j" / segments.segment_name(journal.writer, 1)
    with open(path, "ab") as file:
        file.write(b'{"event":{"action":"transfer-fin')
    os.utime(path, (1e9, 1e9))
    return path


def test_half_lines_of_killed_writers_do_not_fill_a_required_journal(tmp_path):
    """Nobody will ever ship them; what stands before them is shipped."""
    torn = [killed_run(tmp_path, number) for number in range(4)]
    read = JournalReader(tmp_path / "j").read({})
    positions = read.positions
    assert 4 * 15 == len(read.lines)
    save_checkpoint(tmp_path / "checkpoint.json", Checkpoint(dict(positions)))
    journal = Journal(tmp_path / "j", 64 * KIB, 16 * KIB, min_free=0, required=True)
    left = [append(journal, Value.OUTCOME, n, 900) for n in range(20)]

    assert [] == [place for places in left for place in places]
    assert journal.trouble is None
    assert journal.dropped == 0
    assert not torn[0].exists()
    journal.close()


def test_a_whole_line_of_a_killed_writer_is_kept_until_it_is_shipped(tmp_path):
    """Its half line beside it or not."""
    torn = [killed_run(tmp_path, number) for number in range(4)]
    positions = {
        segment.writer: Position(1, next(segments.read_segment(segment.path)).end, 1)
        for segment in segments.list_segments(tmp_path / "j")
    }
    save_checkpoint(tmp_path / "checkpoint.json", Checkpoint(positions))
    journal = Journal(tmp_path / "j", 64 * KIB, 16 * KIB, min_free=0, required=True)

    assert append(journal, Value.OUTCOME, 1, 900) == [0]
    assert all(path.exists() for path in torn)
    journal.close()


def test_a_half_line_of_a_writer_that_lives_may_still_get_its_end(tmp_path):
    path = killed_run(tmp_path, 1)
    positions = JournalReader(tmp_path / "j").read({}).positions
    save_checkpoint(tmp_path / "checkpoint.json", Checkpoint(dict(positions)))
    space = JournalSpace(
        tmp_path / "j", 2 * KIB, 0, tmp_path / "checkpoint.json", Counter()
    )
    with open(path, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        with pytest.raises(OSError, match="not shipped yet"):
            space.make_room(0, Lane.STORY, keeps_story=True)
    space.make_room(0, Lane.STORY, keeps_story=True)

    assert not path.exists()


STORY = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.sampled_from(Value), st.integers(0, 900)),
        st.tuples(st.just("ship"), st.just(0), st.just(0)),
    ),
    min_size=20,
    max_size=150,
)


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(STORY)
def test_whatever_happens_every_line_is_there_shipped_or_counted(
    tmp_path_factory, story
):
    home = tmp_path_factory.mktemp("space")
    journal = Journal(home / "j", 16 * KIB, 2 * KIB, min_free=0)
    steps = segments.lane_writer(journal.writer, Lane.STEPS)
    told, shipped = Counter(), {}
    for number, (what, value, size) in enumerate(story):
        journal.tick(float(10 * number))
        if what == "append":
            told[value] += 1
            assert append(journal, value, number, size) == []
            continue
        # Shipped is what is in the segments now.
        positions = {}
        for segment in segments.list_segments(home / "j"):
            for read in segments.read_segment(segment.path):
                event = json.loads(read.body)
                shipped[event["message"]] = value_of(
                    event["event"]["action"], event.get("step", "")
                )
                positions[segment.writer] = Position(
                    segment.number, read.end, read.number
                )
        save_checkpoint(home / "checkpoint.json", Checkpoint(positions))
    journal.close()
    there = found(home / "j")
    for value in Value:
        known = set(there[value]) | {n for n, v in shipped.items() if v is value}
        assert len(known) + journal.dropped_by_kind[value.kind] == told[value]
    assert sum(s.path.stat().st_size for s in segments.list_segments(home / "j")) <= (
        16 * KIB + 2 * 2 * KIB
    )
    assert set(journal.dropped_by_kind) <= {value.kind for value in Value}
    assert steps != journal.writer


_WRITER = """
import sys
from pathlib import Path
from dcmirror.adapters.journal import Journal
from dcmirror.adapters.journal_reader import JournalReader
from dcmirror.adapters.journal_space import JournalSpace
from dcmirror.core.journal_values import Value
journal = Journal(Path(sys.argv[1]), 1 << 24, 1 << 16, min_free=0)
n = 0
values = [Value.STARTED, Value.OUTCOME] * 40
while True:
    lines = ['{"event":{"action":"x"},"message":%d,"pad":"%s"}' % (k, "x" * 700)
             for k in range(n, n + 80)]
    left = journal.append(lines, values)
    if left:
        sys.exit("outcomes are left: %r" % left)
    n += 80
    if n == 80 * 20:
        print("running", flush=True)
"""


@pytest.mark.parametrize("seed", range(3))
def test_a_kill_in_the_middle_of_a_write_tears_one_line_of_each_row_at_most(
    tmp_path, seed
):
    home = tmp_path / "j"
    writer = subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(home)], stdout=subprocess.PIPE
    )
    assert writer.stdout.readline() == b"running\n"
    writer.kill()
    writer.communicate()

    torn = Counter()
    for segment in segments.list_segments(home):
        whole = list(segments.read_segment(segment.path))
        assert all(read.body is not None for read in whole)
        end = whole[-1].end if whole else 0
        torn[segment.lane] += segment.path.stat().st_size > end
    assert all(count <= 1 for count in torn.values())
    successor = Journal(home, 1 << 24, 1 << 16, min_free=0)
    assert successor.append([line(Value.OUTCOME, 1)]) == []
    assert successor.dropped == 0
    successor.close()


def test_another_process_counts_what_it_removes(tmp_path):
    """Segments of a dead writer: replay makes room for its own outcomes."""
    dead = Journal(tmp_path / "j", 256 * KIB, 16 * KIB, min_free=0, started_at=1)
    fill_up(dead, 150)
    dead.close()
    before = {value: len(n) for value, n in found(tmp_path / "j").items()}
    journal = Journal(tmp_path / "j", 256 * KIB, 16 * KIB, min_free=0)
    for number in range(1000, 1150):
        assert append(journal, Value.OUTCOME, number, 900) == []
    after = found(tmp_path / "j")

    assert journal.dropped > 0
    for value in (Value.PROGRESS, Value.STARTED, Value.DETAIL):
        lost = journal.dropped_by_kind[value.kind]
        assert lost == before[value] - len(after[value])
    old = [number for number in after[Value.OUTCOME] if number < 1000]
    assert journal.dropped_by_kind["outcome"] == before[Value.OUTCOME] - len(old)
    journal.close()


def test_the_path_of_the_journal_may_be_missing(tmp_path: Path):
    journal = Journal(tmp_path / "j", 256 * KIB, 16 * KIB)

    assert journal.size() == 0
    assert append(journal, Value.OUTCOME, 1) == []
    assert journal.size() > 0
    journal.close()
