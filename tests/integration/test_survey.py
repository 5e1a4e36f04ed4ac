"""A survey compares pages with a mirror on disk, and its conclusion with the books."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from dcmirror.adapters.catalogue import Catalogue, SettleBatch
from dcmirror.adapters.catalogue_names import CatalogueNames
from dcmirror.adapters.findings import FindingStore
from dcmirror.adapters.mirror_scan import MirrorScan
from dcmirror.core.differences import DifferenceKind, Rules
from dcmirror.core.door_errors import DoorError
from dcmirror.core.failures import FailureClass
from dcmirror.core.filters import Rules as Filter
from dcmirror.core.findings import Finding
from dcmirror.core.jobs import CopyRecord, Job
from dcmirror.core.listing import Entry
from dcmirror.core.paths import PathMap, isolated_name
from dcmirror.errors import DirectoryError
from dcmirror.processes.conclusion import Conclusion
from dcmirror.processes.set_apart import look_again
from dcmirror.processes.survey import Page, Survey, SurveyPlan
from dcmirror.processes.witnesses import Witnesses

ROOT = "/data/raw"
PATHS = PathMap("https://door/", "/data", "raw")
FUTURE = 4e9
K = DifferenceKind


def file(name: str, pnfsid: str | None = None, **over: object) -> Entry:
    """A file at the source."""
    plain = Entry(f"{ROOT}/{name}", False, 4, 1e9, pnfsid or f"ID-{name}", 0x111)
    return replace(plain, **over)  # type: ignore[arg-type]


def directory(name: str) -> Entry:
    """A directory at the source."""
    return Entry(f"{ROOT}/{name}", True, None, None, None, None)


class Bench:
    """A mirror, a catalogue, a store, and pages that somebody lists."""

    def __init__(self, home: Path) -> None:
        self.mirror = home / "mirror"
        self.mirror.mkdir()
        self.books = home / "catalogue.db"
        self.store = FindingStore(home / "findings.db")
        self.stop = threading.Event()
        self.jobs: list[Job] = []
        self.finished: list[str] = []
        self.asked: list[str] = []
        self.requests = 0
        self.pages: list[Page] = []
        self.there: dict[str, Entry | DoorError] = {}
        self.settled_before = FUTURE
        self.began = FUTURE
        Catalogue(self.books).close()

    def __iter__(self) -> Iterator[Page]:
        return iter(self.pages)

    def write(self, name: str, data: bytes = b"data") -> Path:
        """A file of the mirror."""
        path = self.mirror / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    def copied(self, name: str, pnfsid: str | None = None) -> None:
        """A proved copy, with its row."""
        mtime = self.write(name).stat().st_mtime_ns
        self.row(name, pnfsid or f"ID-{name}", mtime)

    def row(self, name: str, pnfsid: str, mtime_ns: int = 0) -> None:
        """A row of the catalogue."""
        copy = CopyRecord(name, f"{ROOT}/{name}", pnfsid, 4, 0x111, True, mtime_ns, 1e9)
        books = Catalogue(self.books)
        books.settle(SettleBatch(copies=(copy,)))
        books.close()

    def set_apart(
        self, name: str, ended_at: float | None = None, was: str = ""
    ) -> None:
        """A deletion, that has ended or not."""
        above, slash, last = name.rpartition("/")
        was = was or f"{above}{slash}was-{last}"
        with closing(sqlite3.connect(self.books)) as database, database:
            database.execute(
                "INSERT INTO deletions (relative, path, isolated, intended_at, "
                "ended_at) VALUES (?, ?, ?, 1, ?)",
                (was, f"{ROOT}/{was}", f"{ROOT}/{name}", ended_at),
            )

    def survey(self, *pages: Page, copies: bool = False, **plan: object) -> Survey:
        """Compare these pages."""
        self.pages = list(pages)
        whole = SurveyPlan(
            PATHS, Filter(), lambda: Rules(2e9, 3e9), self.settled_before
        )
        survey = Survey(
            replace(whole, **plan),  # type: ignore[arg-type]
            self,
            self.store,
            lambda: Catalogue(self.books),
            MirrorScan(self.mirror),
            self.stop,
            self.jobs.append if copies else None,
        )
        survey.run()
        return survey

    def done(self, place: str) -> None:
        """As a walk's."""
        self.finished.append(place)

    def conclude(self) -> Conclusion:
        """Judge what needs the whole."""

        def ask(path: str) -> Entry | DoorError | None:
            self.asked.append(path)
            return self.there.get(path)

        with CatalogueNames(self.books, self.began) as names:
            witnesses = Witnesses(self.store, names, PATHS, ask, self.settled_before)
            conclusion = Conclusion(self.store, names, PATHS, ask, witnesses)
            conclusion.draw()
        return conclusion

    def kinds(self) -> dict[str, str]:
        """What was found."""
        return {each.relative: each.kind.value for each in self.store.findings()}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.store.close()


def whole(*entries: Entry, place: str = ROOT) -> Page:
    """One page that has it all."""
    return Page(place, entries, is_last=True)


def test_pages_are_compared_as_they_come_and_the_directory_is_done(
    bench: Bench,
) -> None:
    bench.copied("a")
    survey = bench.survey(
        Page(ROOT, (file("a"), file("b"))),
        Page(ROOT, (file("c"), directory("d")), is_first=False, is_last=True),
        whole(file("d/e"), place=f"{ROOT}/d"),
    )

    assert bench.kinds() == {"b": "missing", "c": "missing", "d/e": "missing"}
    assert bench.finished == [ROOT, f"{ROOT}/d"]
    assert survey.is_complete
    assert bench.store.counts() == (2, {"files": 4, "bytes": 16, "equal": 1})


def test_a_job_asks_for_what_the_listing_showed(bench: Bench) -> None:
    bench.write("adopt")
    bench.copied("bad", "ID-bad")
    bench.survey(
        whole(
            file("adopt"),
            file("bad", adler32=0x222),
            file("unfinished", size=None),
        ),
        copies=True,
    )
    jobs = {job.relative: job for job in bench.jobs}

    assert set(jobs) == {"adopt", "bad"}
    assert jobs["bad"].refetch
    assert not jobs["adopt"].refetch
    assert jobs["adopt"].url == "https://door/raw/adopt"
    assert (jobs["adopt"].size, jobs["adopt"].pnfsid) == (4, "ID-adopt")
    assert jobs["adopt"].modified == 1e9
    assert bench.finished == []


def test_the_directory_is_done_when_its_jobs_are(bench: Bench) -> None:
    survey = bench.survey(whole(file("a"), file("b")), copies=True)
    survey.outstanding.settle([job.task for job in bench.jobs[:1]])
    assert bench.finished == []
    survey.outstanding.settle([job.task for job in bench.jobs[1:]])

    assert bench.finished == [ROOT]


def test_a_listing_that_began_again_counts_once(bench: Bench) -> None:
    bench.survey(
        Page(ROOT, (file("a"), file("seen-once"))),
        Page(ROOT, (file("a"),), is_first=True, is_last=True),
    )

    assert bench.kinds() == {"a": "missing"}
    assert bench.store.counts() == (1, {"files": 1, "bytes": 4})


def test_only_a_whole_listing_shows_what_only_the_mirror_has(bench: Bench) -> None:
    for name in ("mine", "cut/x", "gone/deep/y", "vanished/z", "refused/w"):
        bench.write(name)
    bench.survey(
        whole(directory("cut"), directory("vanished"), directory("refused")),
        Page(f"{ROOT}/cut", (file("cut/other"),)),
        Page(f"{ROOT}/vanished", (), is_last=True, is_whole=False),
        Page(f"{ROOT}/refused", (), is_last=True, is_whole=False, trouble="403"),
    )
    bench.conclude()
    kinds = bench.kinds()

    assert kinds.pop("refused") == "unreadable"
    assert kinds == {
        "cut/other": "missing",
        "mine": "only-here",
        "gone/deep/y": "only-here",
    }


def test_parts_links_and_what_is_excluded_or_new_are_not_only_here(
    bench: Bench,
) -> None:
    bench.write(".f.0a1b2c3d.part")
    bench.write("f.tmp")
    os.symlink("/nowhere", bench.mirror / "link")
    bench.survey(whole(), filter=Filter.parse(("exclude *.tmp",)))
    bench.conclude()
    assert bench.kinds() == {}

    bench.write("just-now")
    bench.settled_before = time.time() - 60
    bench.survey(whole(), filter=Filter.parse(("exclude *.tmp",)))
    bench.conclude()
    assert bench.kinds() == {}


def test_what_cleanup_deleted_at_the_source_is_not_only_here(bench: Bench) -> None:
    bench.copied("cleaned")
    books = Catalogue(bench.books)
    with books._writing() as database:
        database.execute("UPDATE copies SET source_deleted_at = 1")
    books.close()
    bench.survey(whole())
    bench.conclude()

    assert bench.kinds() == {}


def test_what_cleanup_has_set_apart_is_neither_missing_nor_unreadable(
    bench: Bench,
) -> None:
    bench.set_apart(isolated_name("x"))
    bench.survey(whole(file(isolated_name("x")), file(f"{isolated_name('d')}/f")))

    assert bench.kinds() == {}
    assert bench.store.counts()[1]["isolated"] == 2


@pytest.mark.parametrize("ended_at", [None, FUTURE])
def test_what_cleanup_has_in_hand_or_had_a_moment_ago_is_not_told(
    bench: Bench, ended_at: float | None
) -> None:
    bench.set_apart(isolated_name("x"), ended_at)
    bench.survey(whole(file(isolated_name("x"))))

    assert bench.kinds() == {}


def test_what_is_left_apart_and_nobody_sees_to_is_told_with_what_it_was(
    bench: Bench,
) -> None:
    """It may be a file that has no copy, and has the name of what was deleted."""
    ended, moved, unknown = map(isolated_name, ("ended", "moved", "unknown"))
    bench.set_apart(ended, 1e9)
    bench.set_apart(f"d/{moved}")
    within = file(f"e/{moved}/f")
    apart = [file(ended), directory(f"e/{moved}"), file(unknown), within]
    bench.survey(whole(*apart))
    found = {each.relative: each for each in bench.store.findings()}

    assert {each.kind for each in found.values()} == {K.UNREADABLE}
    assert found.keys() == {ended, f"e/{moved}", unknown}
    assert f"gave {ROOT}/was-{ended} this name" in found[ended].detail
    assert f"gave {ROOT}/d/was-{moved} this name" in found[f"e/{moved}"].detail
    assert "do not know" in found[unknown].detail
    assert bench.store.counts()[1]["isolated"] == 1


def test_what_is_not_apart_any_more_is_no_difference(bench: Bench) -> None:
    left, gone = isolated_name("left"), isolated_name("gone")
    bench.there[f"{ROOT}/{left}"] = file(left)
    bench.survey(whole(file(left), file(gone), file("other")))
    look_again(bench.store, lambda path: bench.there.get(path))

    assert bench.kinds() == {left: "unreadable", "other": "missing"}


def test_a_renamed_file_is_told_by_its_new_name_only(bench: Bench) -> None:
    bench.copied("old", "ID-1")
    bench.survey(whole(file("new", "ID-1")))
    conclusion = bench.conclude()
    (found,) = bench.store.findings()

    assert (found.kind, found.relative) == (K.RENAMED, "new")
    assert found.detail == f"was {ROOT}/old"
    assert conclusion.old_names == 1
    assert bench.asked == [f"{ROOT}/old"]


def test_a_copy_under_two_names_at_the_source_is_missing_and_not_renamed(
    bench: Bench,
) -> None:
    bench.copied("old", "ID-1")
    bench.there[f"{ROOT}/old"] = file("old", "ID-1")
    bench.survey(whole(file("new", "ID-1"), file("old", "ID-1")))
    bench.conclude()

    assert bench.kinds() == {"new": "missing"}
    assert bench.asked == [f"{ROOT}/old"]


@pytest.mark.parametrize(("gone", "kind"), [(True, "renamed"), (False, "missing")])
def test_a_name_in_a_directory_that_was_not_listed_is_asked_for(
    bench: Bench, gone: bool, kind: str
) -> None:
    bench.row("elsewhere/old", "ID-1")
    if not gone:
        bench.there[f"{ROOT}/elsewhere/old"] = file("elsewhere/old", "ID-1")
    bench.survey(whole(file("new", "ID-1")))
    bench.conclude()

    assert bench.asked == [f"{ROOT}/elsewhere/old"]
    assert bench.kinds() == {"new": kind}


@pytest.mark.parametrize("answer", ["there", "refused"])
def test_a_listing_that_lacks_what_is_there_proves_nothing(
    bench: Bench, answer: str
) -> None:
    """dCache cuts a listing short that takes it too long, and tells nobody."""
    for name in ("shown", "cut", "also-cut", "d/gone"):
        bench.copied(name)
    bench.there = {
        f"{ROOT}/{name}": file(name)
        if answer == "there"
        else DoorError("403 for it", FailureClass.FORBIDDEN)
        for name in ("cut", "also-cut")
    }
    bench.survey(
        whole(file("shown"), directory("d"), file("new", "ID-cut")),
        whole(place=f"{ROOT}/d"),
    )
    for _ in range(2):  # it may be killed, and drawn again
        bench.conclude()

        kinds = {"": "unreadable", "d/gone": "only-here", "new": "missing"}
        assert bench.kinds() == kinds
        assert bench.store.counts()[1]["unlisted"] == 1
    detail = next(bench.store.findings()).detail
    assert ("cut short" if answer == "there" else "403 for it") in detail


@pytest.mark.parametrize("ended_at", [1e9, 2e9])
def test_what_was_set_apart_and_put_back_meanwhile_is_no_witness(
    bench: Bench, ended_at: float
) -> None:
    """A listing may lack both of its names."""
    bench.began = 2e9
    for name in ("a", "b", "c"):
        bench.copied(name)
    bench.set_apart(isolated_name("b"), ended_at, was="b")
    bench.there = {f"{ROOT}/b": file("b")}
    bench.survey(whole(file("a"), file("c")))
    bench.conclude()

    assert bench.kinds() == ({} if ended_at == bench.began else {"": "unreadable"})


def test_what_came_after_the_listing_does_not_contradict_it(bench: Bench) -> None:
    bench.copied("again")
    bench.copied("gone")
    bench.there[f"{ROOT}/again"] = file("again", "ID-2", modified=FUTURE + 1)
    bench.survey(whole())
    bench.conclude()

    assert bench.kinds() == {"gone": "only-here"}
    assert "unlisted" not in bench.store.counts()[1]


def test_of_many_names_that_a_listing_lacks_the_youngest_of_ours_are_asked_for(
    bench: Bench,
) -> None:
    for number in range(30):
        bench.copied(f"ours-{number:02}")
        os.utime(bench.mirror / f"ours-{number:02}", (number, number))
        bench.write(f"foreign-{number:02}")
    bench.survey(whole())
    bench.conclude()

    assert bench.asked == [f"{ROOT}/ours-{number}" for number in range(29, 24, -1)]
    assert set(bench.kinds().values()) == {"only-here"}
    assert len(bench.kinds()) == 60


def test_the_conclusion_may_be_drawn_again_after_a_kill(bench: Bench) -> None:
    bench.copied("old", "ID-1")
    bench.write("mine")
    bench.survey(whole(file("new", "ID-1")))
    bench.conclude()
    bench.conclude()

    assert bench.kinds() == {"new": "renamed", "mine": "only-here"}


def test_what_was_copied_since_it_was_compared_is_no_difference(bench: Bench) -> None:
    """A dry run may take hours, or go on with one of last week."""
    bench.survey(whole(file("a"), file("b"), file("c")))
    assert bench.kinds() == {"a": "missing", "b": "missing", "c": "missing"}
    bench.copied("a")
    bench.copied("b", "ID-of-another")
    bench.survey(whole(place=f"{ROOT}/later"))

    assert bench.kinds() == {"b": "missing", "c": "missing"}
    assert bench.store.counts() == (2, {"files": 3, "bytes": 12, "equal": 1})


def test_names_that_cannot_be_used_are_told_and_not_compared(bench: Bench) -> None:
    bench.survey(
        whole(
            file("line\nend"),
            file("\udcff"),
            file("x", trouble="the door cannot show it"),
            file("n" * 256),
        )
    )

    assert set(bench.kinds().values()) == {"unreadable"}
    assert len(bench.kinds()) == 4


def test_a_name_that_cannot_be_used_may_be_excluded(bench: Bench) -> None:
    rules = Filter.parse(("exclude *.tmp",))
    bench.survey(whole(file("line\nend.tmp"), directory("d.tmp")), filter=rules)

    assert bench.kinds() == {}
    assert bench.store.counts()[1] == {"excluded": 1}


def test_what_is_no_plain_file_here_is_told(bench: Bench) -> None:
    os.symlink("/etc/passwd", bench.mirror / "link")
    (bench.mirror / "dir").mkdir()
    bench.survey(whole(file("link"), file("dir"), file("link/below")))

    assert set(bench.kinds().values()) == {"unreadable"}


def test_without_the_mirror_nothing_is_called_missing(bench: Bench) -> None:
    bench.mirror.rmdir()

    with pytest.raises(DirectoryError):
        bench.survey(whole(file("a")))
    assert bench.kinds() == {}


def test_a_row_of_failed_csv_is_known(bench: Bench) -> None:
    bench.store.learn_failures([(f"{ROOT}/a", "forbidden", None)])
    bench.survey(whole(file("a"), file("b")), copies=True)

    assert bench.kinds() == {"a": "known-failure", "b": "missing"}
    assert [job.relative for job in bench.jobs] == ["b"]


@pytest.mark.parametrize("copies", [True, False])
def test_the_limit_ends_it_before_the_directory_is_done(
    bench: Bench, copies: bool
) -> None:
    pages = [whole(file(f"d{n}/f"), place=f"{ROOT}/d{n}") for n in range(5)]
    survey = bench.survey(*pages, copies=copies, limit=2)

    assert survey.at_limit
    assert not survey.is_complete
    assert len(bench.kinds()) in (2, 3)
    assert len(bench.jobs) == (2 if copies else 0)


def test_twenty_thousand_names_in_a_directory_are_told_from_others(
    bench: Bench,
) -> None:
    bench.write("mine")
    bench.survey(
        *(
            Page(
                ROOT,
                tuple(file(f"f{n}", trouble="-") for n in range(at, at + 2000)),
                is_first=at == 0,
                is_last=at == 18_000,
            )
            for at in range(0, 20_000, 2000)
        )
    )
    bench.conclude()

    assert bench.kinds()["mine"] == "only-here"
    assert len(bench.kinds()) == 20_001


def test_findings_survive_what_kills_us_and_a_broken_file_is_begun_anew(
    tmp_path: Path,
) -> None:
    path = tmp_path / "findings.db"
    store = FindingStore(path)
    store.remember("started", "1.5")
    store.begin("/d")
    store.add("/d", [Finding(K.MISSING, "/d/\udcff", "\udcff", detail="x")])
    again = FindingStore(path)
    assert again.fact("started") == "1.5"
    assert [each.relative for each in again.findings()] == ["\\udcff"]
    again.close()
    store.close()
    path.write_bytes(b"no database at all, but longer than a header" * 50)
    fresh = FindingStore(path)

    assert fresh.fact("started") is None
    fresh.close()
