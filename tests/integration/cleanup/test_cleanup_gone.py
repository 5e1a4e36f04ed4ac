"""Sources that are not there any more: believed only as far as it can be undone."""

from __future__ import annotations

import time

from cleanup_site import Site
from copies import RAW
from dcmirror.commands.reconcile import ReconcileOptions, reconcile
from dcmirror.core.differences import DifferenceKind


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
