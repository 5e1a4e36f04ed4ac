"""Walks over trees, in peace and in trouble; each with the real journal file."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

import walk_tree
from dcmirror.adapters.door_client import DoorClient, DoorOptions
from dcmirror.adapters.frontier import Frontier
from dcmirror.adapters.pace import Pace
from dcmirror.core.door_errors import DoorError, DoorStopped
from dcmirror.core.failures import FailureClass
from dcmirror.core.paths import PathMap
from dcmirror.errors import BooksError
from dcmirror.processes.patience import Patience
from dcmirror.processes.walk import DEEPEST, PAGE, Listed, Walk
from dcmirror.testing.pki import Pki
from door_client import Make
from walk_tree import ROOT, Tree, entry, gone, grow, patience, refused


class Walked:
    """A walk and what came of it; ``stop`` ends it."""

    def __init__(
        self,
        tree: Tree,
        journal: Path | None = None,
        *,
        parallel: int = 3,
        root: str = ROOT,
        acknowledge: Callable[[str], bool] = lambda _: True,
        patience: Patience | None = None,
        leaves_out: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self.tree = tree
        self.stop = threading.Event()
        self.pages: list[Listed] = []
        self.acknowledge = acknowledge
        self.walk = Walk(
            tree.client,
            root,
            parallel,
            patience or walk_tree.patience(),
            self.stop,
            journal,
            leaves_out,
        )

    def run(self) -> Walked:
        with self.walk:
            self.iterate()
        return self

    def iterate(self) -> None:
        for page in self.walk:
            self.pages.append(page)
            if page.is_last and self.acknowledge(page.directory):
                self.walk.done(page.directory)

    def end(self) -> bool:
        self.stop.set()
        return False

    @property
    def directories(self) -> list[str]:
        return [page.directory for page in self.pages if page.is_last]

    @property
    def files(self) -> list[str]:
        return [
            found.path
            for page in self.pages
            for found in page.entries
            if not found.is_directory
        ]

    def trouble(self, directory: str) -> str:
        (page,) = [p for p in self.pages if p.directory == directory and p.is_last]
        return page.trouble


def all_files(tree: Tree) -> list[str]:
    return sorted(
        found.path
        for entries in tree.directories.values()
        for found in entries
        if not found.is_directory
    )


@pytest.mark.parametrize("parallel", [1, 4])
@pytest.mark.parametrize("has_journal", [False, True])
def test_every_directory_comes_once_with_all_its_files(
    tmp_path: Path, parallel: int, has_journal: bool
) -> None:
    tree = grow(3, 4)
    journal = tmp_path / "walk.db" if has_journal else None
    walked = Walked(tree, journal, parallel=parallel).run()

    assert sorted(walked.directories) == sorted(tree.directories)
    assert sorted(walked.files) == all_files(tree)
    assert walked.walk.requests == 85
    assert tree.closed == parallel
    assert list(tmp_path.iterdir()) == []


def test_directories_are_listed_side_by_side() -> None:
    tree = grow(2, 8)
    tree.pause = 0.005
    Walked(tree, parallel=4).run()

    assert 1 < tree.most_at_once <= 4


def test_parents_come_before_what_is_in_them() -> None:
    tree = grow(3, 4)
    walked = Walked(tree, parallel=4).run()
    place = {path: n for n, path in enumerate(walked.directories)}

    for path, position in place.items():
        assert path == ROOT or place[os.path.dirname(path)] < position


@pytest.mark.parametrize("count", [0, 1, PAGE - 1, PAGE, PAGE + 1, 2 * PAGE + 5])
def test_a_large_directory_comes_in_pages(count: int) -> None:
    tree = Tree({ROOT: [entry(f"{ROOT}/f{n}") for n in range(count)]})
    pages = Walked(tree).run().pages

    assert sum(len(page.entries) for page in pages) == count
    assert max(len(page.entries) for page in pages) <= PAGE
    assert [page.is_first for page in pages] == [True] + [False] * (len(pages) - 1)
    assert [page.is_last for page in pages] == [False] * (len(pages) - 1) + [True]


def test_a_directory_that_vanished_is_told_and_ends_nothing() -> None:
    tree = grow(2, 3)
    for lost in (f"{ROOT}/d1/d0", f"{ROOT}/d2"):
        del tree.directories[lost]
    walked = Walked(tree).run()

    assert {p.directory for p in walked.pages if p.vanished} == {
        f"{ROOT}/d1/d0",
        f"{ROOT}/d2",
    }
    assert sorted(walked.files) == [
        path for path in all_files(tree) if not path.startswith(f"{ROOT}/d2/")
    ]


def test_a_directory_that_became_a_file_has_vanished() -> None:
    tree = grow(1, 2)
    error = DoorError("no directory", FailureClass.REMOVED)
    tree.errors[f"{ROOT}/d0"] = [error]

    assert [page.directory for page in Walked(tree).run().pages if page.vanished] == [
        f"{ROOT}/d0"
    ]


def test_a_root_that_is_not_there_is_an_error_and_no_empty_tree() -> None:
    with pytest.raises(DoorError, match="404"):
        Walked(Tree({})).run()


def test_a_listing_that_breaks_off_is_begun_again() -> None:
    tree = grow(1, 3, files=2 * PAGE + 10)
    tree.errors[f"{ROOT}/d1"] = [refused("", 503)]
    walked = Walked(tree).run()
    pages = [page for page in walked.pages if page.directory == f"{ROOT}/d1"]

    assert [page.is_first for page in pages].count(True) == 2
    started = max(n for n, page in enumerate(pages) if page.is_first)
    whole = [found.path for page in pages[started:] for found in page.entries]
    assert whole == [found.path for found in tree.directories[f"{ROOT}/d1"]]


def test_directories_of_a_listing_that_broke_off_come_once() -> None:
    tree = grow(2, 6)
    tree.errors[f"{ROOT}/d1"] = [refused("", 503), refused("", 500)]
    walked = Walked(tree).run()

    assert sorted(walked.directories) == sorted(tree.directories)


@pytest.mark.parametrize("status", [403, 500])
def test_a_directory_that_cannot_be_listed_is_told_with_the_reason(
    status: int,
) -> None:
    tree = grow(2, 3)
    tree.errors[f"{ROOT}/d1"] = [refused(f"{ROOT}/d1", status) for _ in range(99)]
    walked = Walked(tree).run()

    assert str(status) in walked.trouble(f"{ROOT}/d1")
    assert not any("/d1/d" in path for path in walked.directories)
    assert walked.trouble(f"{ROOT}/d2") == ""


def test_a_root_that_cannot_be_listed_ends_the_walk() -> None:
    tree = grow(1, 2)
    tree.errors[ROOT] = [refused(ROOT)]

    with pytest.raises(DoorError, match="403"):
        Walked(tree).run()


def test_trouble_everywhere_ends_the_walk() -> None:
    tree = grow(1, 50)
    for path in tree.directories:
        tree.errors[path] = [] if path == ROOT else [refused(path)] * 9
    tree.before[f"{ROOT}/d40"] = lambda: tree.errors.update({ROOT: [refused(ROOT)]})

    with pytest.raises(DoorError, match=f"{ROOT}: 403"):
        Walked(tree).run()
    assert len(tree.asked) < 30


def test_private_directories_side_by_side_end_nothing() -> None:
    tree = grow(1, 60)
    private = {f"{ROOT}/d{number}" for number in range(20, 45)}
    for path in private:
        tree.errors[path] = [refused(path)]
    walked = Walked(tree).run()

    assert {page.directory for page in walked.pages if page.trouble} == private
    assert sorted(walked.directories) == sorted(tree.directories)


def test_a_directory_that_is_left_out_is_not_asked_for() -> None:
    tree = grow(2, 3)
    walked = Walked(tree, leaves_out=lambda path: path == f"{ROOT}/d1").run()

    assert not any(path.startswith(f"{ROOT}/d1") for path in tree.asked)
    assert entry(f"{ROOT}/d1", is_directory=True) in walked.pages[0].entries
    assert len(walked.directories) == 9


def test_a_hold_is_waited_for_and_told_once() -> None:
    said: list[str] = []
    tree = grow(1, 4)
    held = DoorError("401", FailureClass.CREDENTIAL, http_status=401)
    tree.errors[f"{ROOT}/d2"] = [held, held]
    walked = Walked(tree, patience=patience(said)).run()

    assert sorted(set(walked.files)) == all_files(tree)
    assert [line[:4] for line in said] == ["held", "goes"]


def test_a_hold_that_lasts_too_long_ends_the_walk() -> None:
    tree = grow(1, 4)
    held = DoorError("no door", FailureClass.HOST)
    for path in tree.directories:
        tree.errors[path] = [] if path == ROOT else [held] * 9999

    with pytest.raises(DoorError, match="no door"):
        Walked(tree, patience=patience(most_seconds=0.05)).run()


def test_a_name_in_trouble_is_shown_and_not_entered() -> None:
    broken = entry(f"{ROOT}/\udce9", is_directory=True, trouble="not Unicode")
    walked = Walked(Tree({ROOT: [broken, entry(f"{ROOT}/f")]})).run()

    assert walked.directories == [ROOT]
    assert broken in walked.pages[0].entries


def test_a_tree_without_a_bottom_is_left_at_last() -> None:
    class Bottomless(dict[str, list[walk_tree.Entry]]):
        def __contains__(self, path: object) -> bool:
            return True

        def __missing__(self, path: str) -> list[walk_tree.Entry]:
            return [entry(f"{path}/again", is_directory=True)]

    walked = Walked(Tree(Bottomless())).run()

    assert len(walked.directories) == DEEPEST + 2
    assert "more than 200" in walked.trouble(ROOT + "/again" * (DEEPEST + 1))


def test_the_root_of_the_namespace_can_be_walked() -> None:
    tree = Tree(
        {
            "/": [entry("/a", is_directory=True), entry("/f")],
            "/a": [entry("/a/g")],
        }
    )

    assert sorted(Walked(tree, root="/").run().files) == ["/a/g", "/f"]


def test_a_slash_at_the_end_of_the_root_changes_nothing() -> None:
    tree = grow(1, 2)

    assert set(Walked(tree, root=f"{ROOT}/").run().directories) == set(tree.directories)


def test_a_stop_ends_the_walk_soon_and_never_quietly() -> None:
    tree = grow(3, 8)
    tree.pause = 0.02
    walked = Walked(tree)
    threading.Timer(0.3, walked.stop.set).start()
    began = time.monotonic()

    with pytest.raises(DoorStopped):
        walked.run()
    assert time.monotonic() - began < 15
    assert 0 < len(walked.directories) < len(tree.directories)


def test_a_stop_ends_a_hold() -> None:
    tree = grow(1, 2)
    walked = Walked(tree)
    walked.walk = Walk(
        tree.client,
        ROOT,
        2,
        Patience(lambda _: walked.stop.set(), walked.stop),
        walked.stop,
    )
    tree.errors[ROOT] = [DoorError("401", FailureClass.CREDENTIAL, http_status=401)] * 9
    began = time.monotonic()

    with pytest.raises(DoorStopped):
        walked.run()
    assert time.monotonic() - began < 15


def test_who_stops_reading_stops_the_threads() -> None:
    tree = grow(3, 8, files=1)
    before = threading.active_count()
    with Walked(tree).walk as walk:
        for _ in walk:
            break

    assert threading.active_count() == before
    assert tree.closed == 3


def test_a_reader_that_is_slow_is_not_run_over() -> None:
    tree = grow(2, 10)
    with Walked(tree).walk as walk:
        pages = iter(walk)
        next(pages)
        time.sleep(0.3)

        # in the queue, in the threads' hands, and the one that was read
        assert len(tree.asked) <= 3 + 3 + 2


def test_a_bug_in_a_thread_reaches_the_reader() -> None:
    tree = grow(1, 3)

    def fail() -> None:
        raise KeyError("oops")

    tree.before[f"{ROOT}/d1"] = fail
    with pytest.raises(KeyError):
        Walked(tree).run()


def test_what_was_not_acknowledged_is_listed_again(tmp_path: Path) -> None:
    tree, journal = grow(2, 4), tmp_path / "walk.db"
    first = Walked(tree, journal, acknowledge=lambda path: not path.endswith("/d1"))
    first.run()
    second = Walked(tree, journal).run()

    missing = {path for path in tree.directories if path.endswith("/d1")}
    assert second.walk.is_resumed
    assert missing <= set(second.directories)
    assert f"{ROOT}/d2/d3" not in second.directories
    assert not journal.exists()


def test_a_walk_that_was_stopped_goes_on_where_it_was(tmp_path: Path) -> None:
    tree, journal = grow(3, 5), tmp_path / "walk.db"
    first = Walked(tree, journal)
    first.acknowledge = lambda _: len(first.directories) < 40 or first.end()
    with pytest.raises(DoorStopped):
        first.run()
    second = Walked(tree, journal).run()

    assert set(first.directories) | set(second.directories) == set(tree.directories)
    assert len(second.directories) <= len(tree.directories) - 39


def test_a_finished_walk_leaves_nothing_and_the_next_one_begins(
    tmp_path: Path,
) -> None:
    tree, journal = grow(1, 3), tmp_path / "walk.db"
    for _ in range(2):
        walked = Walked(tree, journal).run()

        assert not walked.walk.is_resumed
        assert set(walked.directories) == set(tree.directories)


def test_a_journal_of_another_root_is_of_no_use(tmp_path: Path) -> None:
    journal = tmp_path / "walk.db"
    Walked(grow(2, 3), journal, acknowledge=lambda _: False).run()
    tree = grow(1, 3, root="/other")
    walked = Walked(tree, journal, root="/other").run()

    assert not walked.walk.is_resumed
    assert set(walked.directories) == set(tree.directories)


@pytest.mark.parametrize("rubbish", [b"not a database at all" * 100, b"", b"SQLite"])
def test_a_journal_that_cannot_be_read_costs_only_time(
    tmp_path: Path, rubbish: bytes
) -> None:
    tree, journal = grow(1, 3), tmp_path / "walk.db"
    journal.write_bytes(rubbish)

    assert set(Walked(tree, journal).run().directories) == set(tree.directories)


def test_a_journal_whose_tables_are_others_costs_only_time(tmp_path: Path) -> None:
    tree, journal = grow(1, 3), tmp_path / "walk.db"
    with closing(sqlite3.connect(journal)) as database:
        database.execute("CREATE TABLE directories (x)")
        database.execute("PRAGMA user_version = 1")

    assert set(Walked(tree, journal).run().directories) == set(tree.directories)


def test_a_journal_that_is_damaged_costs_only_time(tmp_path: Path) -> None:
    tree, journal = grow(2, 4), tmp_path / "walk.db"
    Walked(tree, journal, acknowledge=lambda _: False).run()
    data = bytearray(journal.read_bytes())
    data[4096:] = b"\xff" * len(data[4096:])
    journal.write_bytes(data)

    assert set(Walked(tree, journal).run().directories) == set(tree.directories)


def test_a_journal_that_cannot_be_written_is_an_error_that_names_it(
    tmp_path: Path,
) -> None:
    with pytest.raises(BooksError, match=r"nowhere/walk\.db"):
        Walked(grow(1, 1), tmp_path / "nowhere" / "walk.db")


@pytest.mark.parametrize("after", [1, 30, 120])
def test_a_walk_survives_its_killing(tmp_path: Path, after: int) -> None:
    tree, journal = grow(3, 6), tmp_path / "walk.db"
    child = subprocess.Popen(
        [sys.executable, walk_tree.__file__, str(journal)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(walk_tree.__file__).parent)},
    )
    assert child.stdout is not None
    acknowledged = [child.stdout.readline().strip() for _ in range(after)]
    child.send_signal(signal.SIGKILL)
    acknowledged += [line.strip() for line in child.stdout if line.endswith("\n")]
    child.stdout.close()
    child.wait()
    walked = Walked(tree, journal).run()

    assert walked.walk.is_resumed
    assert set(acknowledged).isdisjoint(walked.directories)
    # one may have been acknowledged and not told of
    assert len(set(tree.directories) - set(acknowledged) - set(walked.directories)) <= 1


def test_a_kill_between_the_last_page_and_its_note_repeats_nothing(
    tmp_path: Path,
) -> None:
    """The reader may be done with a directory before its lister has said so."""
    journal, below = tmp_path / "walk.db", [f"{ROOT}/d0", f"{ROOT}/d1"]
    killed = Frontier(journal, ROOT)
    taken = killed.take()
    assert taken is not None
    killed.begin(taken[0])
    killed.found(taken[0], below)
    killed.done(ROOT)
    resumed = Frontier(journal, ROOT)

    assert resumed.is_resumed
    assert [resumed.take(), resumed.take(), resumed.take()] == [
        (3, below[1]),
        (2, below[0]),
        None,
    ]
    for frontier in (killed, resumed):
        frontier.close()


def test_a_wide_tree_needs_no_memory(tmp_path: Path) -> None:
    """30,000 names of directories would be 5 MB, and their entries 10."""
    wide = [f"{ROOT}/directory-{n:06d}" for n in range(30_000)]
    listing = [entry(path, is_directory=True) for path in wide]
    tree = Tree({ROOT: listing})
    with Walked(tree, tmp_path / "walk.db", parallel=1).walk as walk:
        pages = iter(walk)
        tracemalloc.start()
        while not next(pages).is_last:
            pass
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()

    assert peak < 3 * 1024 * 1024


def test_a_walk_over_a_door_finds_what_is_there(
    make: Make, pki: Pki, tmp_path: Path
) -> None:
    fake, _ = make()
    paths = {f"{fake.root}/run {n % 3}/grüße#{n % 7}/f{n:03d}%.dat" for n in range(120)}
    for path in paths:
        fake.upload(path, size=1)
    stop = threading.Event()
    options = DoorOptions(
        pki.proxy, pki.capath, PathMap(fake.door_url, fake.root, ""), 5.0, 10.0
    )
    pace = Pace(10_000, stop=stop)
    walk = Walk(
        lambda: DoorClient(options, pace),
        fake.root,
        4,
        Patience(lambda _: None, stop, proxy=pki.proxy),
        stop,
        tmp_path / "walk.db",
    )
    with walk:
        found = [file.path for page in walk for file in page.entries]

    assert paths <= set(found)
    assert walk.requests == 25


def test_a_vanishing_tree_behind_a_door_is_no_trouble(make: Make, pki: Pki) -> None:
    fake, _ = make()
    for n in range(40):
        fake.upload(f"{fake.root}/run{n}/f.dat", size=1)
    stop = threading.Event()
    options = DoorOptions(
        pki.proxy, pki.capath, PathMap(fake.door_url, fake.root, ""), 5.0, 10.0
    )
    pace = Pace(10_000, stop=stop)
    walk = Walk(
        lambda: DoorClient(options, pace),
        fake.root,
        2,
        Patience(lambda _: None, stop),
        stop,
    )
    vanished = 0
    with walk:
        for page in walk:
            if page.directory == fake.root:
                for n in range(40):
                    fake.remove(f"{fake.root}/run{n}")
            vanished += page.vanished

    assert vanished > 30
    assert gone("x").http_status == 404
