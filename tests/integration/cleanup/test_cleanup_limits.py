"""No run deletes more than its limits and the brake allow, whatever is kept in it."""

from __future__ import annotations

from typing import Any

import pytest

from cleanup_site import Site
from copies import DAY, RAW


@pytest.mark.parametrize("limits", [{"max_bytes": 2000}, {"when_free_below": 3000}])
def test_the_brake_holds_where_large_sources_are_kept_and_small_ones_go(
    site: Site, limits: dict[str, Any]
) -> None:
    """The plan counts two large ones and stops; kept, they leave room for twenty."""
    site.copies("big/1", "big/2", size=1000, age=30 * DAY)
    site.copies(*(f"small/{number}" for number in range(20)), size=20)
    for number in (1, 2):
        (site.mirror / f"big/{number}").unlink()
    site.source.set_quota(RAW, 1000)
    site.set(max_fraction=0.25, **limits)

    assert site.run() == 21
    assert len(site.source.deletions) == 5
    assert {"big/1", "big/2"} < site.left()
