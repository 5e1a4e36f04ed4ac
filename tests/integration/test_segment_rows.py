"""The journal's directory, looked at again and again: right, and for little."""

from __future__ import annotations

import builtins
import json
import os
from collections import Counter

import pytest

from dcmirror.adapters import segments
from dcmirror.adapters.checkpoints import Checkpoint, Position
from dcmirror.adapters.journal import Journal
from dcmirror.adapters.journal_reader import JournalReader, backlog
from dcmirror.adapters.journal_space import JournalSpace
from dcmirror.adapters.segment_rows import SegmentRows
from one_sink import save_checkpoint

MIB = 1 << 20
LONG_AGO = 1_000_000_000


class Place:
    """A journal's directory, and writers that come and go."""

    def __init__(self, path):
        self.directory = path / "j"
        self.rows = SegmentRows(self.directory)
        self._open = []

    def run(self, started_at, number=1):
        """What a run leaves that has ended long ago; its file."""
        journal = self.begin(started_at)
        journal.append([json.dumps({"n": n}) for n in range(number)])
        journal.close()
        return self.age(journal)

    def begin(self, started_at):
        self._open.append(
            Journal(self.directory, 16 * MIB, 4 * MIB, started_at=started_at)
        )
        return self._open[-1]

    def age(self, journal):
        path = self.directory / segments.segment_name(journal.writer, 1)
        os.utime(path, (LONG_AGO, LONG_AGO))
        return path

    def seen(self):
        """All segments, when they were looked at often enough."""
        self.rows.look()
        return [each for row in self.rows.look() for each in row.segments]

    def close(self):
        for journal in self._open:
            journal.close()


@pytest.fixture
def place(tmp_path):
    made = Place(tmp_path)
    yield made
    made.close()


@pytest.fixture
def calls(monkeypatch):
    """How often files below a journal were asked for, by the call."""
    counts = Counter()

    def count(where, name):
        real = getattr(where, name)

        def counting(path, *args, **more):
            counts[name] += str(path).endswith(".ndjson")
            return real(path, *args, **more)

        monkeypatch.setattr(where, name, counting)

    count(os, "stat")
    count(os, "open")
    count(builtins, "open")
    return counts


def test_what_has_ended_is_looked_at_once(place, calls):
    for started_at in range(20):
        place.run(started_at)
    assert all(each.has_ended for each in place.seen())
    calls.clear()

    assert 20 == len(place.rows.look())
    assert {} == +calls


def test_what_is_shipped_is_not_opened_again(place, calls, tmp_path):
    """A run each hour leaves thousands, and the logger looks each second."""
    for started_at in range(20):
        place.run(started_at)
    reader = JournalReader(place.directory)
    positions = reader.read({}).positions
    checkpoint = tmp_path / "checkpoint.json"
    save_checkpoint(checkpoint, Checkpoint(dict(positions)))
    space = JournalSpace(place.directory, 16 * MIB, 0, checkpoint, Counter())
    for _ in range(2):
        space.measure()
        reader.read(positions)
        backlog(place.rows.look(), positions)
    calls.clear()
    space.measure()
    batch = reader.read(positions)

    assert (positions, []) == (batch.positions, batch.lines)
    assert 0 == backlog(place.rows.look(), positions).size
    assert {} == +calls
    assert sum(f.stat().st_size for f in place.directory.glob("*-*.ndjson")) == (
        space.used
    )


def test_a_writer_that_lives_has_not_ended_however_quiet_it_is(place):
    journal = place.begin(1)
    journal.append(['{"n":1}'])
    reader = JournalReader(place.directory)
    positions = reader.read({}).positions
    for _ in range(3):
        place.age(journal)
        assert [] == reader.read(positions).lines
        assert [False] == [each.has_ended for each in place.seen()]
    journal.append(['{"n":2}'])

    assert [b'{"n":2}'] == [line.body for line in reader.read(positions).lines]
    assert 0 < backlog(place.rows.look(), positions).size


def test_a_writer_may_begin_while_others_look(place):
    """A new segment has no lock yet, and must get it."""
    path = place.run(1)
    os.utime(path)

    assert [False, False] == [place.seen()[0].has_ended for _ in range(2)]


def test_what_comes_and_goes_is_seen(place):
    gone = place.run(1)
    kept = place.run(2)
    assert [gone, kept] == [each.segment.path for each in place.seen()]
    gone.unlink()
    begun = place.run(3, number=5)

    assert [kept, begun] == [each.segment.path for each in place.seen()]
    assert begun.stat().st_size == place.seen()[-1].size
    kept.unlink()
    begun.unlink()
    assert [] == place.seen()


def test_a_directory_in_a_segments_place_has_not_ended(place):
    path = place.run(1)
    content = path.read_bytes()
    path.unlink()
    path.mkdir()
    os.utime(path, (LONG_AGO, LONG_AGO))
    assert [False] == [each.has_ended for each in place.seen()]
    path.rmdir()
    path.write_bytes(content)

    assert [len(content)] == [each.size for each in place.seen()]


@pytest.mark.parametrize(
    "tail", [b"", b'{"n":', b"x" * (MIB - 1), b"x" * MIB, b"y" * (2 * MIB + 7)]
)
@pytest.mark.parametrize("lines", [0, 3])
def test_the_end_of_what_has_ended_is_where_a_reader_stops(place, lines, tail):
    path = place.run(1, lines + 1)
    whole = b"".join(path.read_bytes().splitlines(keepends=True)[:lines])
    path.write_bytes(whole + tail)
    os.utime(path, (LONG_AGO, LONG_AGO))
    reader = JournalReader(place.directory)
    positions = {}
    for _ in range(5):
        positions = reader.read(positions).positions
    (seen,) = place.seen()
    (position,) = positions.values()

    assert seen.has_ended
    assert seen.end <= position.offset
    assert place.rows.look()[0].is_read(position)
    assert 0 == backlog(place.rows.look(), positions).size
    if lines:
        before = Position(1, len(whole) - 1, lines - 1)
        assert not place.rows.look()[0].is_read(before)


def test_the_oldest_event_is_found_without_opening_every_run(place, calls):
    times = ["2026-01-01T00:00:00.000Z", "2026-01-01T01:00:00.000Z"]
    for hour, text in enumerate(times):
        journal = place.begin(1767225600 + 3600 * hour)
        journal.append([json.dumps({"@timestamp": text})])
        journal.close()
        place.age(journal)
    place.seen()
    calls.clear()
    found = backlog(place.rows.look(), {})

    assert 1767225600 == found.oldest
    assert 1 == calls["open"]
