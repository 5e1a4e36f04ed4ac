"""A source that announces nothing, and a dcmirror of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from deployment import Deployment

from dcmirror.testing.fake_dcache import FakeDCache

NOBODY = "127.0.0.1:9"  # reconcile asks no broker


@pytest.fixture
def deployment(deploy: Callable[..., Deployment], source: FakeDCache) -> Deployment:
    """A dcmirror of it."""
    made = deploy(NOBODY, source.door_url, reconcile={"requests_per_second": 200.0})
    made.state.mkdir()
    return made
