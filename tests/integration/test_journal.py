"""The journal on a real directory: whole lines, bounded, never in the way."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
import zlib
from unittest.mock import Mock

import pytest

from dcmirror.adapters import checkpoints, journal_space, segment_writer, segments
from dcmirror.adapters.checkpoints import Checkpoint, Position
from dcmirror.adapters.journal import Journal
from dcmirror.core.journal_values import Value
from one_sink import save_checkpoint

KIB = 1024


def line(number, size=0, event_id=None):
    event = {"message": f"event {number}", "pad": "x" * size}
    if event_id:
        event["event"] = {"id": event_id}
    return json.dumps(event)


def numbers(directory):
    """The numbers of all events that any segment holds, in order."""
    return [
        int(json.loads(read.body)["message"].split()[1])
        for segment in segments.list_segments(directory)
        for read in segments.read_segment(segment.path)
        if read.body is not None
    ]


@pytest.fixture
def make(tmp_path):
    made = []

    def make_one(max_bytes=1024 * KIB, segment_bytes=64 * KIB, **options):
        made.append(Journal(tmp_path / "j", max_bytes, segment_bytes, **options))
        return made[-1]

    yield make_one
    for one in made:
        one.close()


def files(directory):
    return [segment.path for segment in segments.list_segments(directory)]


def test_a_line_is_json_with_the_crc_of_what_stands_before_it(make):
    journal = make(started_at=1_579_801_634)
    assert journal.append([line(1), line(2)]) == []

    (path,) = files(journal.directory)
    assert re.fullmatch(r"20200123T174714Z-[0-9a-f]{16}-00000001\.ndjson", path.name)
    for raw in path.read_bytes().splitlines():
        head, _, rest = raw.rpartition(b',"crc":"')
        assert rest == b'%08x"}' % zlib.crc32(head)
        assert json.loads(raw)["message"].startswith("event ")


def test_current_links_to_the_newest_segment(make):
    journal = make(segment_bytes=KIB)
    journal.append([line(1, 600)])
    journal.append([line(2, 600)])

    link = journal.directory / "current.ndjson"
    assert os.readlink(link) == files(journal.directory)[-1].name
    assert json.loads(link.read_bytes())["message"] == "event 2"


def test_segments_end_before_they_grow_too_long(make):
    journal = make(segment_bytes=4 * KIB)
    journal.append([line(n, 100) for n in range(200)])

    assert numbers(journal.directory) == list(range(200))
    assert len(files(journal.directory)) > 4
    assert all(path.stat().st_size <= 4 * KIB for path in files(journal.directory))


def test_two_writers_of_the_same_second_have_segments_of_their_own(make):
    one, two = make(started_at=5.0), make(started_at=5.0)
    one.append([line(1)])
    two.append([line(2)])

    assert one.writer != two.writer
    assert len(files(one.directory)) == 2


def test_a_line_must_be_one_json_object(make):
    for wrong in ("[1]", '{"a":1}\n{"b":2}', "", "{"):
        with pytest.raises(ValueError, match="not a JSON object"):
            make().append([wrong])


def test_a_torn_tail_is_not_read_and_a_spoiled_line_is_told(make):
    journal = make()
    journal.append([line(1), line(2), line(3)])
    (path,) = files(journal.directory)
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"event 2", b"EVENT 2")[:-4])

    read = list(segments.read_segment(path))
    assert [(r.number, r.body is None) for r in read] == [(1, False), (2, True)]
    (rest,) = segments.read_segment(path, read[0].end, read[0].number)
    assert rest == read[1]


def test_a_missing_directory_is_made_again(make):
    journal = make()
    assert journal.append([line(1)]) == []
    journal.close()
    for path in journal.directory.iterdir():
        path.unlink()
    journal.directory.rmdir()

    assert journal.append([line(2)]) == []
    assert numbers(journal.directory) == [2]


def test_the_oldest_shipped_segments_go_first(make, tmp_path):
    old, new = make(8 * KIB, KIB, started_at=1), make(8 * KIB, KIB, started_at=2)
    old.append([line(n, 700) for n in range(3)])
    old.close()
    new.append([line(n, 700) for n in range(10, 13)])
    place = Checkpoint({new.writer: Position(segment=3)})
    save_checkpoint(tmp_path / "checkpoint.json", place)
    left = [new.append([line(n, 700)]) for n in range(13, 18)]

    assert left == [[], [], [], [], []]
    assert new.dropped == 0
    assert {0, 1, 2}.issubset(numbers(new.directory))
    assert 10 not in numbers(new.directory)


def test_what_was_not_shipped_goes_last_and_is_counted(make):
    journal = make(max_bytes=8 * KIB, segment_bytes=KIB)
    for n in range(40):
        journal.append([line(n, 300), line(n, 300)])

    kept = numbers(journal.directory)
    assert journal.dropped_by_kind == {"outcome": 80 - len(kept)}
    assert journal.dropped > 0
    assert kept[-1] == 39
    assert journal.size() <= 8 * KIB


def test_many_short_runs_do_not_leave_segments_without_end(make, monkeypatch):
    monkeypatch.setattr(journal_space, "_MOST_SEGMENTS", 10)
    for n in range(30):
        run = make(started_at=n)
        run.append([line(n)])
        run.close()

    assert numbers(run.directory) == list(range(19, 30))


def test_a_segment_that_another_process_writes_is_never_removed(make):
    busy, other = make(4 * KIB, KIB, started_at=1), make(4 * KIB, KIB, started_at=2)
    busy.append([line(1)])
    for n in range(20):
        other.append([line(n, 700)])

    assert files(busy.directory)[0].name.startswith(busy.writer)


def test_the_newest_segments_know_their_events(make):
    old = make(started_at=1)
    old.append([line(n, event_id=f"id-{n}") for n in range(5)])
    old.append([json.dumps({"message": 'about "id-9"', "event": {"id": "other"}})])
    old.append([json.dumps({"message": "x", "about": "id-8"})])
    old.close()
    (path,) = files(old.directory)
    path.write_bytes(path.read_bytes().replace(b"event 3", b"EVENT 3"))

    asked = ["id-0", "id-3", "id-4", "id-8", "id-9"]
    assert make(started_at=2).holds(asked) == {"id-0", "id-4"}


def test_a_torn_outcome_line_is_not_held(make):
    journal = make()
    journal.append([line(1, event_id="id-1"), line(2, event_id="id-2")])
    (path,) = files(journal.directory)
    path.write_bytes(path.read_bytes()[:-1])

    assert journal.holds(["id-1", "id-2"]) == {"id-1"}


class Disk:
    """Stands in for some calls of ``os`` and fails when told to."""

    def __init__(self, monkeypatch):
        self.error = 0
        self.written = None
        self.syncs = 0
        self._real_write, self._real_sync = os.write, os.fdatasync
        monkeypatch.setattr(segment_writer.os, "write", self.write)
        monkeypatch.setattr(segment_writer.os, "fdatasync", self.fdatasync)

    def fill(self):
        """Not a byte fits any more."""
        self.error, self.written = errno.ENOSPC, 0

    def write(self, fd, data):
        if not self.error:
            return self._real_write(fd, data)
        if self.written is None:
            self.written = self._real_write(fd, data[: len(data) // 2])
            return self.written
        raise OSError(self.error, os.strerror(self.error))

    def fdatasync(self, fd):
        self.syncs += 1
        if self.error:
            raise OSError(self.error, os.strerror(self.error))
        self._real_sync(fd)


@pytest.fixture
def disk(monkeypatch):
    return Disk(monkeypatch)


def test_a_full_disk_tears_nothing_and_gives_outcomes_back(make, disk):
    journal = make()
    journal.append([line(1)])
    disk.fill()
    assert journal.append([line(2), line(3)]) == [0, 1]
    assert "No space left" in journal.trouble or "no space left" in journal.trouble
    assert journal.append([line(4), line(5)], [Value.DETAIL, Value.OUTCOME]) == [1]
    journal.give_up(Value.OUTCOME, 3)
    disk.error = 0
    assert journal.append([line(6)]) == []

    assert journal.trouble is None
    assert journal.dropped_by_kind == {"outcome": 3, "detail": 1}
    assert numbers(journal.directory) == [1, 6]
    assert all(
        read.body
        for path in files(journal.directory)
        for read in segments.read_segment(path)
    )


def test_whole_lines_that_a_full_disk_took_stay(make, disk):
    """The logger may have read them: their places are never given to other lines."""
    journal = make()
    disk.error = errno.EIO
    left = journal.append([line(n) for n in range(9)])
    assert 0 < len(left) < 9
    disk.error = 0
    journal.append([line(left[0])])

    assert numbers(journal.directory) == list(range(left[0] + 1))


def test_a_required_journal_gives_back_all_but_steps(make, disk):
    journal = make(required=True)
    disk.fill()
    values = [Value.STARTED, Value.DETAIL, Value.OUTCOME]
    assert journal.append([line(1), line(2), line(3)], values) == [1, 2]
    disk.error = 0
    assert journal.append([line(2), line(3)], values[1:]) == []

    assert journal.dropped_by_kind == {"started": 1}
    assert numbers(journal.directory) == [2, 3]


def test_a_required_journal_keeps_what_is_not_shipped(make, tmp_path):
    journal = make(max_bytes=4 * KIB, segment_bytes=KIB, required=True)
    left = [n for n in range(20) if journal.append([line(n, 700)])]
    kept = numbers(journal.directory)
    assert kept == list(range(len(kept)))
    assert left == list(range(len(kept), 20))
    assert "not shipped yet" in journal.trouble
    save_checkpoint(
        tmp_path / "checkpoint.json", Checkpoint({journal.writer: Position(99)})
    )

    assert journal.append([line(20, 700)]) == []
    assert numbers(journal.directory)[-1] == 20
    assert journal.dropped == 0


def test_what_root_writes_is_its_directorys_owners(make, tmp_path):
    """The daemon's logger ships it, and runs as that user."""
    if os.geteuid() != 0:
        pytest.skip("only root gives files away")
    os.chown(tmp_path, 65534, 65534)
    journal = make()
    journal.append([line(1), line(2)], [Value.STARTED, Value.OUTCOME])
    paths = [journal.directory, *files(journal.directory)]

    assert len(paths) == 3
    for path in paths:
        owner = path.stat()
        assert (owner.st_uid, owner.st_gid) == (65534, 65534)
        assert owner.st_mode & 0o007 == 0


def test_a_sync_that_failed_is_followed_by_a_new_segment(make, disk):
    journal = make()
    journal.append([line(1)])
    disk.error = errno.EIO
    journal.tick(1.0)
    journal.tick(2.0)
    disk.error = 0
    assert journal.append([line(2)]) == []

    assert len(files(journal.directory)) == 2
    assert numbers(journal.directory) == [1, 2]


def test_a_sync_that_failed_is_made_up_for_by_the_next_one(make, disk, monkeypatch):
    """Bytes are written anew: the kernel holds what it could not write for clean."""
    journal = make()
    journal.append([line(1)])
    assert journal.sync()
    (path,) = files(journal.directory)
    start = path.stat().st_size
    journal.append([line(2)])
    whole = path.read_bytes()
    disk.error = errno.EIO
    assert not journal.sync()
    assert not journal.sync()
    disk.error = 0
    again, write = [], os.pwrite

    def pwrite(fd, data, offset):
        again.append((os.readlink(f"/proc/self/fd/{fd}"), data, offset))
        return write(fd, data, offset)

    monkeypatch.setattr(segment_writer.os, "pwrite", pwrite)
    assert journal.sync()
    assert journal.sync()

    assert again == [(str(path), whole[start:], start)]
    assert path.read_bytes() == whole


@pytest.mark.parametrize("ending", ["tick", "full segment", "full disk"])
def test_a_sync_that_nobody_asked_for_is_not_forgotten_when_it_fails(
    make, disk, monkeypatch, ending
):
    journal = make(segment_bytes=KIB)
    journal.append([line(1, 600)])
    disk.error = errno.EIO
    if ending == "tick":
        journal.tick(1.0)
        journal.tick(2.0)
    elif ending == "full segment":
        journal.append([line(2, 600)])
    else:
        full = OSError(errno.EIO, "no")
        monkeypatch.setattr(segment_writer.os, "ftruncate", Mock(side_effect=full))
        journal.append([line(2)])
    assert not journal.sync()
    disk.error = 0

    assert journal.sync()


def test_what_is_in_doubt_may_be_removed_meanwhile(make, disk):
    journal = make()
    journal.append([line(1)])
    disk.error = errno.EIO
    assert not journal.sync()
    files(journal.directory)[0].unlink()
    disk.error = 0

    assert journal.sync()


def test_events_that_segments_hold_are_durable(make, disk):
    """Who wrote them may have been killed before it came to a sync."""
    make(started_at=1).append([line(1, event_id="id-1"), line(2, event_id="id-2")])
    journal = make(started_at=2)

    assert journal.holds(["id-1", "id-2", "id-3"]) == {"id-1", "id-2"}
    assert disk.syncs == 1


def test_syncs_are_few(make, disk):
    journal = make()
    journal.tick(0.0)
    for n in range(100):
        journal.append([line(n)])
        journal.tick(1.0 + n * 0.001)
    assert disk.syncs == 0
    journal.tick(1.2)
    journal.tick(9.0)
    assert disk.syncs == 1

    journal.append([line(n) for n in range(300)])
    assert disk.syncs == 2


_WRITER = """
import sys
from pathlib import Path
from dcmirror.adapters.journal import Journal
journal = Journal(Path(sys.argv[1]), 1 << 24, 1 << 16)
n = 0
while True:
    journal.append(['{"message":"event %d"}' % k for k in range(n, n + 7)])
    n += 7
    if n == 7 * 100:
        print("running", flush=True)
"""


def test_a_kill_leaves_a_torn_tail_at_most(tmp_path):
    writer = subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(tmp_path / "j")], stdout=subprocess.PIPE
    )
    assert writer.stdout.readline() == b"running\n"
    writer.kill()
    writer.communicate()

    found = numbers(tmp_path / "j")
    assert found == list(range(len(found)))
    assert len(found) >= 700


def test_an_unreadable_checkpoint_counts_as_none(tmp_path):
    path = tmp_path / "checkpoint.json"
    assert checkpoints.load(path) == Checkpoint()
    for spoiled in (b"", b"{", b"[]", b'{"version":1}', b'{"version":2}', b"\xff"):
        path.write_bytes(spoiled)
        assert checkpoints.load(path) == Checkpoint()

    saved = Checkpoint({"w": Position(3, 40, 5)}, {"size": 7}, 9, 1, 2)
    save_checkpoint(path, saved)
    assert checkpoints.load(path) == saved
