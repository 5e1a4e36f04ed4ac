"""Which directories --prune-empty looks at: none that it was not allowed, none lost."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cleanup_site import Site
from copies import RAW
from dcmirror.adapters.catalogue_pruned import PrunedBook
from dcmirror.commands.cleanup_plan import Scope


def emptied(site: Site, *names: str) -> None:
    """Directories that an earlier run has emptied."""
    site.copies(*names)
    assert site.run() == 0


def is_there(site: Site, name: str) -> bool:
    return site.source.site.namespace.is_directory(f"{RAW}/{name}")


@pytest.mark.parametrize(
    ("refusal", "answer"),
    [
        ({"max_fraction": 0.5}, {}),
        ({"allowed": False}, {"confirm": lambda question: False}),
        ({"allowed": False}, {}),
    ],
)
def test_after_a_no_nothing_is_removed(
    site: Site, refusal: dict[str, Any], answer: dict[str, Any]
) -> None:
    emptied(site, "sub/x")
    site.copies("y")
    site.set(**refusal)

    assert site.run(prune_empty=True, **answer) == 21
    assert is_there(site, "sub")
    site.set(max_fraction=1.0, allowed=True)
    assert site.run(prune_empty=True) == 0
    assert not is_there(site, "sub")


def test_what_is_not_under_the_path_is_left_to_another_run(site: Site) -> None:
    emptied(site, "a/in/x", "b/y", "ab/z")

    assert site.run(prune_empty=True, scope=Scope(under=f"{RAW}/a")) == 0
    assert not is_there(site, "a/in")
    assert is_there(site, "a")
    assert is_there(site, "ab")
    assert is_there(site, "b")
    assert site.run(prune_empty=True) == 0
    assert not any(is_there(site, name) for name in ("a", "ab", "b"))


def test_a_directory_that_somebody_made_again_is_no_longer_ours(site: Site) -> None:
    """The one above it, outside the scope, stays a candidate for another run."""
    scope = Scope(under=f"{RAW}/a")
    site.copies("a/d/x")
    assert site.run(prune_empty=True, scope=scope) == 0
    assert not is_there(site, "a/d")
    site.source.site.namespace.make_directory(f"{RAW}/a/d")
    assert site.run(prune_empty=True, scope=scope) == 0

    assert is_there(site, "a/d")


def test_what_could_not_be_listed_is_looked_at_again(site: Site) -> None:
    emptied(site, "a/x", "b/y", "c/z")
    site.source.faults.add("status", f"{RAW}/b", status=403, methods="PROPFIND")
    site.source.faults.add("status", f"{RAW}/b/", status=403, methods="PROPFIND")

    assert site.run(prune_empty=True) == 21
    assert [is_there(site, name) for name in "abc"] == [False, True, False]
    site.source.faults.clear()
    assert site.run(prune_empty=True) == 0
    assert not is_there(site, "b")
    book = PrunedBook(site.state / "catalogue.db")
    assert book.emptied() == ({}, 3)
    book.close()


def test_an_intent_of_another_folder_is_told_and_not_followed(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    emptied(site, "a/x")
    book = PrunedBook(site.state / "catalogue.db")
    book.intend("/pnfs/example.org/data/old/d", "/pnfs/example.org/data/old/i", 1.0)
    book.close()

    assert site.run(prune_empty=True) == 21
    assert "may be named /pnfs/example.org/data/old/i" in capsys.readouterr().err
    assert not is_there(site, "a")


@pytest.mark.parametrize(
    "dcache", [{"folder": "/exp/other"}, {"pool": "/pnfs/other", "folder": "/raw"}]
)
def test_an_intent_of_another_configuration_is_told_and_stops_nothing(
    site: Site, capsys: pytest.CaptureFixture[str], dcache: dict[str, str]
) -> None:
    """It stays open; the door is not asked for what is not ours any more."""
    site.copies("a", "b")
    site.intend("a", f"{RAW}/.isolated")
    before = site.settings
    path = f"{dcache.get('pool', '/pnfs/example.org/data')}{dcache['folder']}/new"
    site.source.upload(path, size=100)
    site.settings = replace(before, dcache=replace(before.dcache, **dcache))

    assert site.run() == 21
    said = capsys.readouterr().err
    assert f"it may be named {RAW}/.isolated still" in said
    assert "[dcache]" in said
    assert site.results() == [("a", None, None)]
    site.settings = before
    assert site.run() == 0
    assert site.run() == 0
    assert site.left() == {path}
