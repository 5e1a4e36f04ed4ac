"""What an audit has found damaged keeps its source, though it looks as it should."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest

from cleanup_site import Site
from copies import RAW
from dcmirror.adapters.catalogue import Catalogue, SettleBatch
from dcmirror.commands.report import Form
from dcmirror.core.paths import isolated_name


def test_a_copy_that_an_audit_found_damaged_keeps_its_source(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site.copies("a", "b")
    site.spoil("a")

    assert site.audit(deep=True) == 23
    assert site.run() == 0
    assert site.left() == {"a"}
    capsys.readouterr()
    site.run(dry_run=True, form=Form.JSON)
    (row,) = json.loads(capsys.readouterr().out)["files"]
    assert row["against"] == ["damaged: an audit has read the copy, and it is damaged"]


def test_a_copy_that_an_audit_beside_us_finds_damaged_keeps_its_source(
    site: Site,
) -> None:
    """After it was looked at, before its intent."""
    site.copies("a", "b")

    def find(path: str) -> None:
        found(site, lambda book: book.found_damaged(["a"], time.time()))

    with site.source.before("PROPFIND", find):
        assert site.run() == 21
    assert site.left() == {"a"}
    (event,) = (e for e in site.events() if e["event"]["action"] == "source-kept")
    assert event["event"]["reason"] == "copy-damaged"


def found(site: Site, write: Callable[[Catalogue], None]) -> None:
    book = Catalogue(site.state / "catalogue.db")
    write(book)
    book.close()


def test_only_bytes_that_were_copied_or_read_again_clear_it(site: Site) -> None:
    """A mark says what was written once; who adopts by it has read nothing."""
    site.copies("a", "b", "c")
    for name in "abc":
        site.spoil(name)
    site.audit(deep=True)
    book = Catalogue(site.state / "catalogue.db")
    rows = book.lookup(["a", "b"])
    adopted = SettleBatch(copies=tuple(rows.values()), adopted=frozenset({"a"}))
    book.settle(adopted)
    book.scrubbed(["c"], time.time())
    book.close()

    assert site.query("SELECT relative FROM damaged") == [("a",)]
    site.spoil("a")
    assert site.audit(deep=True) == 23  # b and c are damaged, and told again
    assert site.query("SELECT relative FROM damaged") == [("b",), ("c",)]


def test_what_was_set_apart_stays_once_its_copy_is_found_damaged(site: Site) -> None:
    """A kill left it so, and its name is taken: only a good copy would let it go."""
    site.copies("a")
    isolated = set_apart(site, "a")
    site.upload("a", size=7)
    found(site, lambda book: book.found_damaged(["a"], time.time()))

    assert site.run() == 21
    assert site.left() == {"a", isolated}
    assert site.source.deletions == []


def set_apart(site: Site, name: str) -> str:
    """As a killed run left it: with an intent, and under its other name."""
    isolated = isolated_name("killed")
    site.intend(name, f"{RAW}/{isolated}")
    site.source.move(f"{RAW}/{name}", f"{RAW}/{isolated}")
    return isolated
