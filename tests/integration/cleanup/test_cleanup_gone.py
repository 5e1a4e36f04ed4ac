"""Sources that are not there any more: believed only as far as it can be undone."""

from __future__ import annotations

import csv
import json
import os
import signal
import time
from typing import Any

import pytest

from cleanup_site import Site
from copies import RAW
from dcmirror.adapters.catalogue_deletions import Ending, Wish
from dcmirror.commands import audit_report
from dcmirror.commands.cleanup_plan import Scope
from dcmirror.commands.reconcile import ReconcileOptions, reconcile
from dcmirror.commands.report import Form
from dcmirror.core.cleanup_plan import Budget
from dcmirror.core.deletion import Result
from dcmirror.core.differences import DifferenceKind
from dcmirror.core.paths import isolated_name


def listed(site: Site) -> None:
    """A dry run of reconcile has seen the source."""
    ignored = frozenset({DifferenceKind.ONLY_HERE})
    options = ReconcileOptions(site.settings, dry_run=True, ignore=ignored)
    reconcile(options)


def deleted(site: Site) -> set[str]:
    """Whose sources are gone, the books say."""
    rows = site.query("SELECT relative FROM copies WHERE source_deleted_at NOT NULL")
    return {name for (name,) in rows}


def test_what_was_only_away_is_seen_to_again_once_a_listing_shows_it(
    site: Site,
) -> None:
    site.copies("a", "d/b", "d/c")
    site.source.move(f"{RAW}/d", f"{RAW}/elsewhere")
    site.run()
    assert deleted(site) == {"a", "d/b", "d/c"}
    listed(site)
    assert deleted(site) == {"a", "d/b", "d/c"}

    site.source.move(f"{RAW}/elsewhere", f"{RAW}/d")
    site.upload("d/c")  # another file by now
    listed(site)
    assert deleted(site) == {"a", "d/c"}
    site.run()
    assert site.left() == {"d/c"}
    assert [row for row in site.results() if row[0] == "d/b"] == [
        ("d/b", "already-gone", None),
        ("d/b", "deleted", None),
    ]


def test_a_source_that_is_deleted_while_the_listing_goes_on_stays_so(
    site: Site,
) -> None:
    """What was listed a moment before is no witness."""
    site.copies("a")
    relatives = {"a"}

    assert site.run() == 0
    later, book = time.time(), site.book()
    assert book.deleted_sources(relatives, later) == relatives
    assert book.deleted_sources(relatives, later - 600) == set()
    book.sources_are_back(book.lookup(relatives).values(), later - 600)
    assert deleted(site) == relatives
    book.close()


def away(site: Site, number: int) -> None:
    """Copies of sources in a directory, that is renamed for a while."""
    site.copies(*(f"d/{each}" for each in range(number)))
    site.source.move(f"{RAW}/d", f"{RAW}/elsewhere")


def test_many_that_are_gone_are_told_and_not_believed(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    away(site, 11)
    site.copies("a")

    assert site.run() == 21
    assert deleted(site) == {"a"}
    said = capsys.readouterr().err
    assert "11 sources are not at the door" in said
    assert "--accept-gone" in said
    reasons = [event["event"].get("reason") for event in site.events()]
    assert reasons.count("gone") == 11
    site.source.move(f"{RAW}/elsewhere", f"{RAW}/d")
    assert site.run() == 0
    assert site.left() == set()


def test_many_that_are_gone_are_believed_when_the_user_says_so(site: Site) -> None:
    away(site, 11)

    assert site.run(accept_gone=True) == 0
    assert len(deleted(site)) == 11
    assert {result for _, result, _ in site.results()} == {"already-gone"}


def test_a_few_that_are_gone_are_believed(site: Site) -> None:
    away(site, 10)

    assert site.run() == 0
    assert len(deleted(site)) == 10


@pytest.mark.parametrize("limits", [{"max_files": 5}, {"max_fraction": 0.25}])
def test_what_is_gone_counts_as_a_file_and_not_as_room(
    site: Site, limits: dict[str, Any]
) -> None:
    """As many as the limit or the brake lets go, and no more are asked for."""
    away(site, 20)
    site.set(**limits)
    scope = Scope(limit=5)

    assert site.run(scope=scope) == 0
    assert len(deleted(site)) == 5
    budget = Budget(files=5, bytes=100, wanted=100)
    budget.spend(60)
    budget.make_no_room(60)
    assert budget == Budget(files=4, bytes=100, wanted=100)


def test_what_goes_at_the_last_moment_is_judged_with_the_rest(site: Site) -> None:
    """After the look, before the rename: all of a directory, in one batch."""
    site.copies(*(f"d/{each}" for each in range(20)))
    site.set(parallel=1)
    moved: list[str] = []

    def rename(path: str) -> None:
        if not moved:
            moved.append(path)
            site.source.move(f"{RAW}/d", f"{RAW}/elsewhere")

    with site.source.before("MOVE", rename):
        assert site.run() == 21
    assert deleted(site) == set()
    assert {result for _, result, _ in site.results()} == {"not-deleted"}
    site.source.move(f"{RAW}/elsewhere", f"{RAW}/d")
    assert site.run() == 0
    assert site.left() == set()


def test_a_run_that_is_stopped_believes_nothing_yet(site: Site) -> None:
    """It has seen a part of them only."""
    away(site, 100)

    def stop(path: str) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    with site.source.before("PROPFIND", stop):
        site.run()
    assert deleted(site) == set()


def test_a_copy_whose_source_was_gone_already_is_not_called_lost(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    """It may have been away: whoever repairs asks for it."""
    site.copies("gone", "ours")
    site.source.move(f"{RAW}/gone", f"{RAW}/elsewhere")
    site.run()
    for name in ("gone", "ours"):
        (site.mirror / name).unlink()
    (site.mirror / "other").touch()  # so that it is mounted
    capsys.readouterr()

    assert site.audit(form=audit_report.Form.JSON) == 23
    found = json.loads(capsys.readouterr().out)["findings"]
    assert {each["relative"]: each["kind"] for each in found} == {
        "gone": "missing",
        "ours": "lost-copy",
    }


def test_what_is_put_back_while_an_audit_looks_is_not_gone(site: Site) -> None:
    """Its deletion has ended by then, and left the copy's row as it was."""
    site.copies("a")
    apart = isolated_name("a")
    looks: list[str] = []

    def look(path: str) -> None:
        looks.append(path)
        if len(looks) == 1:
            site.intend("a", f"{RAW}/{apart}")
            site.source.move(f"{RAW}/a", f"{RAW}/{apart}")
            book = site.book()
            (intent,) = book.unfinished(time.time())
            book.conclude([Ending(intent.number, Result.NOT_DELETED)], time.time())
            book.close()
        else:
            site.source.move(f"{RAW}/{apart}", f"{RAW}/a")

    with site.source.before("PROPFIND", look):
        assert site.audit(source=True) == 0
    assert len(looks) == 2


def test_the_undo_list_counts_only_what_we_deleted(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site.copies("gone", "ours", size=70)
    site.source.remove(f"{RAW}/gone")
    site.run()
    capsys.readouterr()
    site.run(undo_list=True, form=Form.JSON)
    document = json.loads(capsys.readouterr().out)
    site.run(undo_list=True)
    lines = capsys.readouterr().out.splitlines()

    assert document["summary"] == {"deleted": 1, "deleted_bytes": 70}
    assert sorted(line.split("\t")[1] for line in lines) == ["already-gone", "deleted"]


def undo_list(site: Site, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Its rows by their names, in their order."""
    capsys.readouterr()
    site.run(undo_list=True, form=Form.JSON, verbosity=-1)
    printed = capsys.readouterr()
    assert printed.err == ""
    rows = json.loads(printed.out)["deleted"]
    return {row["path"].removeprefix(f"{RAW}/"): row for row in rows}


def kill_amid_deletions(site: Site) -> None:
    """Two intents are open, and one source was noted between them."""
    site.copies("a", "b", "c")
    site.intend("a", None)
    book = site.book()
    (copy,) = book.lookup(["b"]).values()
    book.note([Wish(copy, None)], Result.GONE, time.time(), str(site.mirror))
    book.close()
    site.intend("c", f"{RAW}/.dcmirror-0123456789abcdef.isolated")
    for name in ("b", "c"):
        site.source.remove(f"{RAW}/{name}")


def test_the_undo_list_has_what_a_killed_run_may_have_deleted(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    kill_amid_deletions(site)
    rows = undo_list(site, capsys)

    assert [(name, row["result"]) for name, row in rows.items()] == [
        ("a", "unknown"),
        ("b", "already-gone"),
        ("c", "unknown"),
    ]
    assert rows["a"]["deleted_at"] is None
    assert rows["a"]["copy"] == str(site.mirror / "a")
    site.run()
    assert {row["result"] for row in undo_list(site, capsys).values()} == {
        "already-gone",
        "deleted",
    }


def test_the_undo_list_says_that_some_ends_are_not_known(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    kill_amid_deletions(site)
    site.run(undo_list=True)
    printed = capsys.readouterr()
    site.run(undo_list=True, form=Form.CSV)
    table = list(csv.DictReader(capsys.readouterr().out.splitlines()))

    assert printed.out.startswith("-\tunknown\t")
    assert "what became of 2 sources is not known" in printed.err
    assert [row["result"] for row in table] == ["unknown", "already-gone", "unknown"]
    assert [row["deleted_at"] for row in table[::2]] == ["", ""]
