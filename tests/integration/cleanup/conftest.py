"""What tests of cleanup share: a fake dCache, and a site that may delete."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cleanup_site import Site, make_site
from dcmirror.testing.fake_dcache import FakeDCache
from dcmirror.testing.pki import Pki


@pytest.fixture
def source(pki: Pki) -> Iterator[FakeDCache]:
    """A fake dCache that tells nobody."""
    with FakeDCache(pki) as running:
        yield running


@pytest.fixture
def site(
    tmp_path: Path, source: FakeDCache, pki: Pki, monkeypatch: pytest.MonkeyPatch
) -> Site:
    """One that may delete at once."""
    monkeypatch.setenv("DCMIRROR_TEST_PROBE_SCALE", "0.005")
    return make_site(tmp_path, source, pki)
