"""Directories that are renamed while something in them is set apart: nothing stays so
without being told.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from cleanup_site import Site
from copies import RAW
from dcmirror.adapters.catalogue_pruned import PrunedBook
from dcmirror.commands.reconcile import ReconcileOptions, reconcile
from dcmirror.core.differences import DifferenceKind
from dcmirror.core.paths import is_isolated_name, isolated_name

NAME = isolated_name("x")


def listed(site: Site) -> int:
    """The exit status of a dry run of reconcile."""
    ignored = frozenset({DifferenceKind.ONLY_HERE})
    return int(reconcile(ReconcileOptions(site.settings, dry_run=True, ignore=ignored)))


def rename(site: Site, source: str, target: str) -> None:
    site.source.move(f"{RAW}/{source}", f"{RAW}/{target}")


def set_apart(site: Site, name: str) -> None:
    """As a run leaves it that is killed after the MOVE."""
    apart = f"{name.rpartition('/')[0]}/{NAME}"
    site.intend(name, f"{RAW}/{apart}")
    rename(site, name, apart)


def intend_to_prune(site: Site, name: str, apart: str) -> None:
    book = PrunedBook(site.state / "catalogue.db")
    book.intend(f"{RAW}/{name}", f"{RAW}/{apart}", time.time())
    book.close()


def open_rows(site: Site, table: str) -> int:
    return len(site.query(f"SELECT 1 FROM {table} WHERE ended_at IS NULL"))


@contextmanager
def renamed_when_set_apart(site: Site, source: str, target: str) -> Iterator[None]:
    """Somebody renames a directory between the MOVE of what is in it and our look."""
    done = []

    def look(path: str) -> None:
        is_ours = path.startswith(f"{RAW}/{source}/")
        if is_ours and is_isolated_name(path.rpartition("/")[2]) and not done:
            done.append(path)
            rename(site, source, target)

    with site.source.before("PROPFIND", look):
        yield


def test_a_replacement_that_goes_away_with_its_directory_is_never_called_deleted(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    """There is no copy of it, and it has a name under which nobody looks for it."""
    site.copies("d/a", "b")
    site.source.faults.add("replace", f"{RAW}/d/a", methods="MOVE", times=1)
    with renamed_when_set_apart(site, "d", "elsewhere"):
        assert site.run() == 21
    (apart,) = site.left()
    capsys.readouterr()

    assert site.run() == 21
    said = capsys.readouterr().err
    assert f"its directory {RAW}/d is not there" in said
    assert apart.rpartition("/")[2] in said
    assert open_rows(site, "deletions") == 1
    assert listed(site) == 24
    said = capsys.readouterr().out
    assert f"{RAW}/{apart}" in said
    assert f"cleanup gave {RAW}/d/a this name" in said
    rename(site, "elsewhere", "d")
    assert site.run() == 21  # as it was replaced
    assert site.left() == {"d/a"}
    assert dict(r[:2] for r in site.results()) == {"d/a": "replaced", "b": "deleted"}
    assert len(site.source.deletions) == 1


def test_a_source_that_is_away_with_its_directory_is_seen_to_when_it_is_back(
    site: Site,
) -> None:
    site.copies("d/a")
    site.upload("x")
    set_apart(site, "d/a")
    rename(site, "d", "elsewhere")

    assert site.run() == 21
    assert site.results() == [("d/a", None, None)]
    rename(site, "elsewhere", "d")
    assert site.run() == 0
    assert site.left() == {"x"}
    assert [result for _, result, _ in site.results()] == ["not-deleted", "deleted"]


def test_what_is_away_is_closed_when_the_user_says_that_it_is_gone(site: Site) -> None:
    site.copies("d/a", "e/b")
    site.upload("x")
    set_apart(site, "d/a")
    site.intend("e/b", None)
    site.source.remove(f"{RAW}/d")
    site.source.remove(f"{RAW}/e")

    assert site.run() == 21
    assert open_rows(site, "deletions") == 2
    assert site.run(accept_gone=True) == 0
    assert {r[:2] for r in site.results()} == {
        ("d/a", "already-gone"),
        ("e/b", "already-gone"),
    }
    assert site.run() == 0


def test_a_directory_that_we_removed_is_not_away(site: Site) -> None:
    """It had nothing in it then."""
    site.copies("d/a")
    site.upload("x")
    set_apart(site, "d/a")
    site.source.remove(f"{RAW}/d")
    intend_to_prune(site, "d", NAME)
    book = PrunedBook(site.state / "catalogue.db")
    (intent,) = book.unfinished()
    book.conclude(intent, "removed", "", time.time())
    book.close()

    assert site.run() == 0
    assert site.results() == [("d/a", "deleted", None)]


def test_a_new_directory_of_the_same_name_is_looked_into_for_a_day(site: Site) -> None:
    """Nobody can tell it from the old one: the books change when that is back."""
    site.copies("d/a")
    set_apart(site, "d/a")
    rename(site, "d", "old")
    site.source.site.namespace.make_directory(f"{RAW}/d")
    assert site.run() == 0
    assert site.results() == [("d/a", "deleted", None)]
    assert listed(site) == 24

    site.source.remove(f"{RAW}/d")
    rename(site, "old", "d")
    site.set(exclude=("d/a",))
    site.run()
    assert site.left() == {"d/a"}
    assert [result for _, result, _ in site.results()] == ["not-deleted"]
    assert site.query("SELECT source_deleted_at FROM copies") == [(None,)]
    assert listed(site) == 0


def test_a_delete_that_met_no_directory_is_no_deletion(site: Site) -> None:
    """The door answers 404, and shows neither name."""
    site.copies("d/a")
    site.upload("x")
    with site.source.before("DELETE", lambda path: rename(site, "d", "elsewhere")):
        assert site.run() == 21
    assert site.results() == [("d/a", None, None)]

    rename(site, "elsewhere", "d")
    assert site.run() == 0
    assert site.left() == {"x"}


@pytest.mark.parametrize("prune_empty", [True, False])
def test_a_directory_that_is_away_with_the_one_above_is_seen_to_when_it_is_back(
    site: Site, prune_empty: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """It was not empty: somebody had just written into it."""
    site.copies("top/d/a")
    site.upload("x")
    site.run()
    intend_to_prune(site, "top/d", f"top/{NAME}")
    rename(site, "top/d", f"top/{NAME}")
    site.upload(f"top/{NAME}/precious")
    rename(site, "top", "top.old")
    capsys.readouterr()

    assert site.run(prune_empty=prune_empty) == 21
    assert f"its directory {RAW}/top is not there" in capsys.readouterr().err
    assert open_rows(site, "pruned") == 1
    assert listed(site) == 24
    told = f"{RAW}/top.old/{NAME}  (cleanup gave {RAW}/top/d this name"
    assert told in capsys.readouterr().out
    rename(site, "top.old", "top")
    site.run(prune_empty=prune_empty)
    assert site.left() == {"x", "top/d/precious"}
    assert open_rows(site, "pruned") == 0


def test_a_directory_that_is_gone_with_the_one_above_is_closed_by_the_user(
    site: Site,
) -> None:
    site.copies("top/d/a")
    site.upload("x")
    site.run()
    intend_to_prune(site, "top/d", f"top/{NAME}")
    site.source.remove(f"{RAW}/top")

    assert site.run() == 21
    assert site.run(accept_gone=True) == 0
    assert site.query("SELECT result FROM pruned") == [("already-gone",)]


def test_what_cleanup_sees_to_where_it_is_is_no_difference(site: Site) -> None:
    site.copies("d/a")
    set_apart(site, "d/a")

    assert listed(site) == 0


def test_what_another_cleanup_had_in_hand_is_looked_at_again(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    """These books do not know of it."""
    site.copies("d/b")
    site.upload(f"d/{NAME}")
    assert listed(site) == 24
    assert "these books do not know of it" in capsys.readouterr().out

    def end(path: str) -> None:
        if path.endswith(NAME):
            site.source.remove(path)

    with site.source.before("PROPFIND", end):
        assert listed(site) == 0
