"""The group commit: its order, its failures, its groups."""

from __future__ import annotations

import errno
import os
import select
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from dcmirror.adapters import linux
from dcmirror.adapters.mirror_store import ABSENT, MirrorStore
from dcmirror.processes.publisher import (
    DurabilityCalls,
    FinishedPart,
    Published,
    Publisher,
)
from helpers import wait_until
from store_children import finish, make_store, mark_of, results_of


class Recorder:
    """Does what it is asked to, tells in which order, and fails on demand."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.story: list[tuple[str, str]] = []
        self.told: list[int] = []  # whether results were out before a call
        self.failing: set[tuple[str, str]] = set()
        self.publisher: Publisher | None = None

    @property
    def calls(self) -> DurabilityCalls:
        return DurabilityCalls(self.fsync, self.syncfs, self.rename)

    def fsync(self, fd: int) -> None:
        self._tell("fsync", os.readlink(f"/proc/self/fd/{fd}"))
        os.fsync(fd)

    def syncfs(self, fd: int) -> None:
        self._tell("syncfs", str(self.root))
        linux.syncfs(fd)

    def rename(self, directory_fd: int, old: str, new: str, replace: bool) -> None:
        directory = os.readlink(f"/proc/self/fd/{directory_fd}")
        self._tell("rename", f"{directory}/{new}")
        DurabilityCalls().rename(directory_fd, old, new, replace)

    def _tell(self, call: str, path: str) -> None:
        relative = os.path.relpath(path, self.root)
        self.story.append((call, relative))
        if self.publisher:
            self.told.extend(select.select([self.publisher.fd], [], [], 0)[0])
        if (call, relative) in self.failing:
            raise OSError(errno.EIO, "Input/output error")

    def count(self, call: str) -> int:
        return sum(1 for name, _ in self.story if name == call)

    def position(self, call: str, path: str) -> int:
        return self.story.index((call, path))


@pytest.fixture
def store(tmp_path: Path) -> MirrorStore:
    return make_store(tmp_path)


@pytest.fixture
def recorder(tmp_path: Path) -> Recorder:
    return Recorder(tmp_path)


@pytest.fixture
def publisher(store: MirrorStore) -> Iterator[Publisher]:
    publisher = Publisher(store)
    publisher.start()
    yield publisher
    publisher.close(30)
    assert not publisher.is_alive()


def publish_group(
    store: MirrorStore,
    recorder: Recorder,
    finished: list[FinishedPart],
    sync: str = "group",
) -> list[Published]:
    """All of ``finished`` in one group."""
    publisher = Publisher(store, sync=sync, calls=recorder.calls)
    recorder.publisher = publisher
    publisher.submit(*finished)
    publisher.start()
    publisher.close(60)
    return publisher.take_results()


def files_below(root: Path) -> list[str]:
    return sorted(
        str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()
    )


def test_content_is_on_disk_before_the_name_and_the_name_before_the_result(
    store: MirrorStore, recorder: Recorder
) -> None:
    finished = [finish(store, f"a/b/{n}", b"x") for n in range(3)]
    results = publish_group(store, recorder, finished)

    last_part = max(recorder.position("fsync", f"a/b/{n}.part") for n in range(3))
    first_name = min(recorder.position("rename", f"a/b/{n}") for n in range(3))
    last_name = max(recorder.position("rename", f"a/b/{n}") for n in range(3))
    assert last_part < first_name
    for directory in ("a/b", "a", "."):
        assert last_name < recorder.position("fsync", directory)
    assert recorder.told == []
    assert [(result.error, result.changed) for result in results] == [(None, False)] * 3


def test_from_eight_parts_on_the_file_system_is_synced_at_once(
    store: MirrorStore, recorder: Recorder
) -> None:
    results = publish_group(
        store, recorder, [finish(store, f"d/{n}", b"x") for n in range(8)]
    )

    assert recorder.story[0] == ("syncfs", ".")
    assert [call for call, _ in recorder.story[1:9]] == ["rename"] * 8
    assert recorder.story[9:] == [("fsync", "d")]
    assert recorder.told == []
    assert [result.error for result in results] == [None] * 8


def test_many_directories_are_synced_at_once_too(
    store: MirrorStore, recorder: Recorder
) -> None:
    publish_group(store, recorder, [finish(store, f"d{n}/f", b"x") for n in range(9)])

    assert recorder.story[0] == recorder.story[-1] == ("syncfs", ".")
    assert (recorder.count("rename"), recorder.count("fsync")) == (9, 0)


def test_seven_parts_are_synced_each(store: MirrorStore, recorder: Recorder) -> None:
    publish_group(store, recorder, [finish(store, f"{n}", b"x") for n in range(7)])

    assert recorder.count("syncfs") == 0
    assert recorder.count("fsync") == 8


def test_where_a_whole_sync_proves_nothing_each_part_is_synced(
    store: MirrorStore, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linux, "syncfs_is_proof", lambda fd: False)
    publish_group(store, recorder, [finish(store, f"d/{n}", b"x") for n in range(20)])

    assert recorder.count("syncfs") == 0
    assert recorder.count("fsync") == 20 + 2


def test_directories_known_to_be_on_disk_are_not_synced_again(
    store: MirrorStore, recorder: Recorder
) -> None:
    publish_group(store, recorder, [finish(store, "a/b/1", b"x")])
    recorder.story.clear()
    publish_group(store, recorder, [finish(store, "a/b/2", b"x")])

    assert recorder.story == [
        ("fsync", "a/b/2.part"),
        ("rename", "a/b/2"),
        ("fsync", "a/b"),
    ]


def test_a_directory_that_another_process_made_is_synced_once(
    store: MirrorStore, recorder: Recorder, tmp_path: Path
) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    publish_group(store, recorder, [finish(store, "a/b/1", b"x")])

    assert [path for call, path in recorder.story if call == "fsync"] == [
        "a/b/1.part",
        "a/b",
        "a",
        ".",
    ]


def test_a_directory_made_again_is_synced_again(
    store: MirrorStore, recorder: Recorder, tmp_path: Path
) -> None:
    publish_group(store, recorder, [finish(store, "a/1", b"x")])
    (tmp_path / "a/1").unlink()
    (tmp_path / "a").rmdir()
    recorder.story.clear()
    publish_group(store, recorder, [finish(store, "a/1", b"x")])

    assert ("fsync", ".") in recorder.story


def test_sync_file_treats_each_file_by_itself(
    store: MirrorStore, recorder: Recorder
) -> None:
    finished = [finish(store, f"d/{n}", b"x") for n in range(10)]
    results = publish_group(store, recorder, finished, sync="file")

    assert recorder.count("syncfs") == 0
    for number in range(10):
        synced = recorder.position("fsync", f"d/{number}.part")
        assert recorder.story[synced + 1 : synced + 3] == [
            ("rename", f"d/{number}"),
            ("fsync", "d"),
        ]
    assert [result.error for result in results] == [None] * 10


def test_parts_can_be_published_in_the_callers_thread(
    store: MirrorStore, tmp_path: Path
) -> None:
    publisher = Publisher(store, sync="none")
    publisher.submit(*[finish(store, f"d/{n}", b"x") for n in range(3)])

    assert len(publisher.take_results()) == 3
    assert files_below(tmp_path) == ["d/0", "d/1", "d/2"]
    publisher.close()


def test_sync_none_syncs_nothing(
    store: MirrorStore, recorder: Recorder, tmp_path: Path
) -> None:
    finished = [finish(store, f"d/{n}", b"x") for n in range(10)]
    publish_group(store, recorder, finished, sync="none")

    assert {call for call, _ in recorder.story} == {"rename"}
    assert len(files_below(tmp_path)) == 10


@pytest.mark.parametrize("count", [3, 12])
def test_a_failed_sync_throws_the_whole_group_away_and_is_not_repeated(
    store: MirrorStore, recorder: Recorder, tmp_path: Path, count: int
) -> None:
    finished = [finish(store, f"d/{n}", b"x") for n in range(count)]
    recorder.failing = {("syncfs", "."), ("fsync", "d/0.part")}
    results = publish_group(store, recorder, finished)

    assert [result.error and result.error.errno for result in results] == [
        errno.EIO
    ] * count
    assert [result.mark for result in results] == [None] * count
    assert len(recorder.story) == 1
    assert files_below(tmp_path) == []


@pytest.mark.parametrize("directory", ["a/b", "a", "."])
def test_a_name_that_could_not_be_made_durable_is_withdrawn(
    store: MirrorStore, recorder: Recorder, tmp_path: Path, directory: str
) -> None:
    recorder.failing = {("fsync", directory)}
    (result,) = publish_group(store, recorder, [finish(store, "a/b/file", b"x")])

    assert result.error is not None
    assert result.error.errno == errno.EIO
    assert recorder.story.count(("fsync", directory)) == 1
    assert files_below(tmp_path) == []
    assert store.look("a/b/file") == ABSENT


def test_after_a_failed_directory_sync_the_next_attempt_syncs_it_again(
    store: MirrorStore, recorder: Recorder
) -> None:
    recorder.failing = {("fsync", ".")}
    publish_group(store, recorder, [finish(store, "a/file", b"x")])
    recorder.failing.clear()
    recorder.story.clear()
    (result,) = publish_group(store, recorder, [finish(store, "a/file", b"x")])

    assert result.error is None
    assert ("fsync", ".") in recorder.story


def test_one_bad_part_does_not_harm_its_group(
    store: MirrorStore, recorder: Recorder, tmp_path: Path
) -> None:
    finished = [finish(store, f"d/{n}", b"x") for n in range(9)]
    wrong = FinishedPart(finished[4].part, mark_of(b"wrong size"), None, "wrong")
    results = publish_group(store, recorder, [*finished[:4], wrong, *finished[5:]])

    assert [result.token for result in results if result.error] == ["wrong"]
    assert len(files_below(tmp_path)) == 8


@pytest.fixture(params=["renameat2", "rename"])
def any_file_system(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that can refuse to replace, and one, such as NFS, that cannot."""
    if request.param == "rename":

        def missing(*_: object) -> None:
            raise NotImplementedError

        monkeypatch.setattr(linux, "rename_new", missing)


@pytest.mark.usefixtures("any_file_system")
def test_a_new_name_is_published(
    store: MirrorStore, recorder: Recorder, tmp_path: Path
) -> None:
    (result,) = publish_group(store, recorder, [finish(store, "file", b"ours")])

    assert (result.changed, result.error) == (False, None)
    assert (tmp_path / "file").read_bytes() == b"ours"


@pytest.mark.usefixtures("any_file_system")
def test_a_name_that_appeared_meanwhile_is_kept(
    store: MirrorStore, recorder: Recorder, tmp_path: Path
) -> None:
    finished = finish(store, "file", b"ours")
    (tmp_path / "file").write_bytes(b"theirs")
    (result,) = publish_group(store, recorder, [finished])

    assert (result.changed, result.error, result.mark) == (True, None, None)
    assert (tmp_path / "file").read_bytes() == b"theirs"
    assert files_below(tmp_path) == ["file"]


def test_a_name_that_vanished_or_changed_meanwhile_is_told(
    store: MirrorStore, recorder: Recorder, tmp_path: Path
) -> None:
    for name in ("gone", "touched", "same"):
        (tmp_path / name).write_bytes(b"old")
    finished = [finish(store, name, b"new") for name in ("gone", "touched", "same")]
    (tmp_path / "gone").unlink()
    os.utime(tmp_path / "touched", (1.0, 1.0))
    results = publish_group(store, recorder, finished)

    assert [result.changed for result in results] == [True, True, False]
    assert (tmp_path / "touched").read_bytes() == b"old"
    assert (tmp_path / "same").read_bytes() == b"new"
    assert files_below(tmp_path) == ["same", "touched"]


def test_a_part_that_was_replaced_is_not_published(
    store: MirrorStore, recorder: Recorder, tmp_path: Path
) -> None:
    finished = finish(store, "file", b"ours")
    (tmp_path / "file.part").unlink()
    (tmp_path / "file.part").write_bytes(b"planted")
    (result,) = publish_group(store, recorder, [finished])

    assert result.changed
    assert (tmp_path / "file.part").read_bytes() == b"planted"
    assert files_below(tmp_path) == ["file.part"]


def test_a_directory_removed_meanwhile_is_a_change(
    store: MirrorStore, recorder: Recorder, tmp_path: Path
) -> None:
    finished = finish(store, "a/file", b"x")
    (tmp_path / "a/file.part").unlink()
    (tmp_path / "a").rmdir()
    (result,) = publish_group(store, recorder, [finished])

    assert (result.changed, result.error) == (True, None)


def test_a_directory_in_the_way_is_a_change(
    store: MirrorStore, recorder: Recorder, tmp_path: Path
) -> None:
    finished = finish(store, "file", b"x")
    (tmp_path / "file").mkdir()
    (result,) = publish_group(store, recorder, [finished])

    assert result.changed
    assert files_below(tmp_path) == []


def test_the_old_version_stays_until_the_new_one_has_its_name(
    store: MirrorStore, publisher: Publisher, tmp_path: Path
) -> None:
    publisher.submit(finish(store, "file", b"old"))
    results_of(publisher, 1)
    part = store.claim("file", store.look("file"))
    part.write(b"new and longer")
    during = (tmp_path / "file").read_bytes()
    publisher.submit(FinishedPart(part, mark_of(b"new and longer"), None, 0))
    results_of(publisher, 1)

    assert during == b"old"
    assert (tmp_path / "file").read_bytes() == b"new and longer"


def test_the_descriptor_becomes_readable_with_something_to_do_only(
    store: MirrorStore, publisher: Publisher
) -> None:
    before = select.select([publisher.fd], [], [], 0)[0]
    publisher.submit(finish(store, "file", b"x"))
    results = results_of(publisher, 1)

    assert before == []
    assert [result.token for result in results] == ["file"]
    assert select.select([publisher.fd], [], [], 0)[0] == []
    assert publisher.take_results() == []


def test_the_next_group_is_what_gathered_during_the_last(
    store: MirrorStore, tmp_path: Path
) -> None:
    inside, go_on = threading.Event(), threading.Event()
    syncs: list[int] = []

    def slow_fsync(fd: int) -> None:
        inside.set()
        assert go_on.wait(30)
        syncs.append(fd)

    whole: list[int] = []
    calls = DurabilityCalls(fsync=slow_fsync, syncfs=whole.append)
    publisher = Publisher(store, calls=calls)
    publisher.start()
    publisher.submit(finish(store, "first", b"x"))
    assert inside.wait(30)
    was_publishing = publisher.publishing
    for number in range(20):
        publisher.submit(finish(store, f"{number}", b"x"))
    go_on.set()
    results = results_of(publisher, 21)
    publisher.close(30)

    assert was_publishing
    assert len(whole) == 1
    assert results[0].token == "first"
    wait_until(lambda: not publisher.publishing)
    assert len(files_below(tmp_path)) == 21


def test_close_publishes_what_was_submitted(store: MirrorStore, tmp_path: Path) -> None:
    publisher = Publisher(store)
    for number in range(30):
        publisher.submit(finish(store, f"{number}", b"x"))
    publisher.start()
    publisher.close(30)

    assert len(publisher.take_results()) == 30
    assert len(files_below(tmp_path)) == 30


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_dying_publisher_wakes_its_worker(store: MirrorStore) -> None:
    def broken(_: int) -> None:
        raise RuntimeError("a bug")

    publisher = Publisher(store, calls=DurabilityCalls(fsync=broken))
    finished = finish(store, "file", b"x")
    publisher.submit(finished)
    publisher.start()

    assert select.select([publisher.fd], [], [], 30)[0] == [publisher.fd]
    publisher.join(30)
    assert not publisher.is_alive()
    finished.part.discard()


def test_no_descriptor_leaks(store: MirrorStore, publisher: Publisher) -> None:
    def round_of_ten(prefix: str) -> int:
        for number in range(10):
            finished = finish(store, f"{prefix}/{number % 3}/{number}", b"x")
            publisher.submit(finished)
        store.claim(f"{prefix}/discarded", ABSENT).discard()
        results_of(publisher, 10)
        store.tree.forget_root()  # and with it the directories kept for a moment
        store.look("nothing")
        return len(os.listdir("/proc/self/fd"))

    before = round_of_ten("a")

    assert [round_of_ten(prefix) for prefix in "bcd"] == [before] * 3
