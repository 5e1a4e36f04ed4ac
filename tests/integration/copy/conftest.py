"""One worker and one fake dCache for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from copy_site import Site
from dcmirror.testing.fake_dcache import FakeDCache
from dcmirror.testing.pki import Pki
from worker_harness import make_settings, worker_in_thread


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    path = tmp_path / "mirror"
    path.mkdir()
    return path


@pytest.fixture
def dcache(pki: Pki, request: pytest.FixtureRequest) -> Iterator[FakeDCache]:
    with FakeDCache(pki, **getattr(request, "param", {})) as fake_dcache:
        yield fake_dcache


@pytest.fixture
def site(
    dcache: FakeDCache, pki: Pki, mirror: Path, request: pytest.FixtureRequest
) -> Iterator[Site]:
    settings = make_settings(mirror, dcache.door_url, **getattr(request, "param", {}))
    with worker_in_thread(settings, proxy=pki.proxy, capath=pki.capath) as pair:
        yield Site(dcache, mirror, *pair)
