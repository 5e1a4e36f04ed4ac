"""A copy that is adopted by its mark: nobody has seen its source."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import pytest

from cleanup_site import Site
from copies import RAW, copy_here
from dcmirror.adapters.catalogue import Catalogue, SettleBatch
from dcmirror.commands import audit_report
from dcmirror.commands.reconcile import ReconcileOptions, reconcile

NAMES = tuple(f"f{number:02}" for number in range(12))


def adopt(site: Site, *names: str, age: float = 0.0, **over: object) -> None:
    """Their records were read again, and the mark was believed."""
    book = Catalogue(site.state / "catalogue.db")
    rows = book.lookup(names).values()
    over = {"copied_at": time.time() - age, **over}
    copies = tuple(replace(row, **over) for row in rows)  # type: ignore[arg-type]
    book.settle(SettleBatch(copies=copies, adopted=frozenset(names)))
    book.close()


def deleted(site: Site) -> set[str]:
    """Whose sources are gone, the books say."""
    rows = site.query("SELECT relative FROM copies WHERE source_deleted_at NOT NULL")
    return {name for (name,) in rows}


def findings(site: Site, capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """What an audit that asks the door tells, by file."""
    capsys.readouterr()
    site.audit(source=True, form=audit_report.Form.JSON)
    found = json.loads(capsys.readouterr().out)["findings"]
    return {each["relative"]: each["kind"] for each in found}


def test_sources_that_we_deleted_stay_so_when_their_copies_are_adopted(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site.copies(*NAMES, "there")
    site.source.faults.add("status", f"{RAW}/there", status=403, methods="MOVE")
    site.run()
    adopt(site, *NAMES, age=8 * 86400)
    book = site.book()

    assert deleted(site) == set(NAMES)
    assert book.sources_there() == 1
    book.close()
    site.source.faults.clear()
    assert site.run() == 0
    assert findings(site, capsys) == {}


def test_a_copy_that_was_adopted_is_lost_when_its_source_was_deleted_before(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site.copies(*NAMES)
    site.run()
    adopt(site, *NAMES)
    (site.mirror / "f00").unlink()

    assert findings(site, capsys) == {"f00": "lost-copy"}
    assert site.audit(repair=True) == 23
    assert findings(site, capsys) == {"f00": "lost-copy"}


@pytest.mark.parametrize("over", [{"pnfsid": "0000AB"}, {"size": 101}])
def test_another_file_of_the_name_has_a_source_of_its_own(
    site: Site, over: dict[str, object]
) -> None:
    site.copies("a")
    site.run()
    adopt(site, "a", **over)

    assert deleted(site) == set()


def test_bytes_that_were_fetched_anew_had_a_source(site: Site) -> None:
    site.copies("a")
    site.run()
    site.upload("a")
    copy_here(site.mirror, site.state / "catalogue.db", site.source, [f"{RAW}/a"])

    assert deleted(site) == set()


def test_a_deletion_is_known_though_its_copy_was_adopted_before_it_ended(
    site: Site,
) -> None:
    site.copies("a")
    site.intend("a", None)
    site.source.remove(f"{RAW}/a")
    adopt(site, "a", age=-1)

    assert site.run() == 0
    assert deleted(site) == {"a"}


def test_what_is_found_gone_was_deleted_by_us_if_we_had_deleted_it(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    """As books say that forgot it when the copy was adopted."""
    site.copies("ours", "gone")
    site.source.faults.add("status", f"{RAW}/gone", status=403, methods="MOVE")
    site.run()
    site.source.faults.clear()
    site.source.remove(f"{RAW}/gone")
    book = site.book()
    (ours,) = book.lookup(["ours"]).values()
    book.settle(SettleBatch(copies=(ours,)))
    book.close()
    assert site.run() == 0
    assert [row[:2] for row in site.results()] == [
        ("ours", "deleted"),
        ("gone", "not-deleted"),
        ("ours", "already-gone"),
        ("gone", "already-gone"),
    ]
    for name in ("ours", "gone"):
        (site.mirror / name).unlink()
    (site.mirror / "other").touch()  # so that it is mounted

    assert findings(site, capsys) == {"ours": "lost-copy", "gone": "missing"}


def test_a_source_that_a_reconcile_has_listed_is_there_though_its_copy_is_adopted(
    site: Site,
) -> None:
    site.copies("a", "b")
    site.source.move(f"{RAW}/a", f"{RAW}/elsewhere")
    site.run()
    assert deleted(site) == {"a", "b"}
    site.source.move(f"{RAW}/elsewhere", f"{RAW}/a")
    book = Catalogue(site.state / "catalogue.db")
    (row,) = book.lookup(["a"]).values()
    book.close()
    adopt(site, "a", copied_at=row.copied_at, adler32=1)  # older than the mark
    assert deleted(site) == {"a", "b"}

    reconcile(ReconcileOptions(site.settings, grace=0.0))

    assert deleted(site) == {"b"}
    assert site.query("SELECT adler32 > 1 FROM copies WHERE relative = 'a'") == [(1,)]
    assert site.source.requests.of("GET") == []


def test_what_neither_side_had_is_told_again_once_the_source_is_listed(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site.copies("a", "b")
    (site.mirror / "a").unlink()
    site.source.move(f"{RAW}/a", f"{RAW}/elsewhere")
    site.audit(repair=True)
    assert findings(site, capsys) == {}
    site.source.move(f"{RAW}/elsewhere", f"{RAW}/a")
    reconcile(ReconcileOptions(site.settings, dry_run=True, grace=0.0))

    assert findings(site, capsys) == {"a": "missing"}
