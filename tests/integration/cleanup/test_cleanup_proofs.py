"""The proofs that are looked at again at the last moment, and after a kill."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from cleanup_site import Site
from copies import RAW, copy_here
from dcmirror.adapters.failed_csv import FailedCsv, FailedRow
from dcmirror.core.paths import isolated_name

APART = isolated_name("killed")


def publish(site: Site, name: str) -> None:
    """Another file gets the copy's name, as watch does it."""
    path = site.mirror / name
    newer = path.with_name("newer")
    newer.write_bytes(path.read_bytes())
    os.replace(newer, path)


def test_a_copy_that_is_replaced_at_the_rename_gives_its_source_the_name_back(
    site: Site,
) -> None:
    site.copies("a", "b")

    def replace(path: str) -> None:
        if path == f"{RAW}/a":
            publish(site, "a")

    with site.source.before("MOVE", replace):
        assert site.run() == 21
    assert site.left() == {"a"}
    assert sorted(row[:2] for row in site.results()) == [
        ("a", "not-deleted"),
        ("b", "deleted"),
    ]


def set_apart(site: Site) -> None:
    """A kill left ``a`` under its other name; its own is taken by another file."""
    site.copies("a")
    site.intend("a", f"{RAW}/{APART}")
    site.source.move(f"{RAW}/a", f"{RAW}/{APART}")
    site.upload("a", size=50)


def mirrored(site: Site) -> None:
    """Watch has copied the newer file since: the older one has no copy any more."""
    copy_here(site.mirror, site.state / "catalogue.db", site.source, [f"{RAW}/a"])


def lost(site: Site) -> None:
    (site.mirror / "a").unlink()


def touched(site: Site) -> None:
    os.utime(site.mirror / "a", (1, 1))


@pytest.mark.parametrize("change", [mirrored, lost, touched])
def test_what_was_set_apart_stays_where_its_copy_proves_it_no_more(
    site: Site, change: Callable[[Site], None]
) -> None:
    set_apart(site)
    change(site)
    site.set(exclude=("*",))

    assert site.run() == 21
    assert site.left() == {"a", APART}
    assert site.source.deletions == []
    assert [row[:2] for row in site.results()] == [("a", None)]


def test_what_was_set_apart_goes_where_its_copy_still_proves_it(site: Site) -> None:
    set_apart(site)
    site.set(exclude=("*",))

    assert site.run() == 0
    assert site.left() == {"a"}
    assert [row[:2] for row in site.results()] == [("a", "deleted")]


def test_a_failure_that_arrives_during_a_run_keeps_its_source(site: Site) -> None:
    """Of a newer file under the same name, which is not copied yet."""
    names = [f"f{number:03}" for number in range(200)]
    site.copies(*names)
    last = f"{RAW}/{names[-1]}"
    rows: list[FailedRow] = []

    def fail(path: str) -> None:
        if not rows:
            rows.append(failed(last))
            FailedCsv(site.state / "failed.csv").append(rows)

    with site.source.before("MOVE", fail):
        assert site.run() == 0
    assert site.left() == {names[-1]}


def failed(path: str) -> FailedRow:
    return FailedRow(
        time=1e9, task="t", path=path, url="", failure_class="gone", error="it failed"
    )
