"""Fakes that tests of one real thing share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from dcmirror.testing.fake_dcache import FakeDCache
from dcmirror.testing.pki import Pki
from door_client import Client, Events, Make


@pytest.fixture
def events() -> Events:
    """What the fake dCaches of this test have published."""
    return Events()


@pytest.fixture
def make(pki: Pki, events: Events) -> Iterator[Make]:
    """Starts fake dCaches, each with a client: ``fake, client = make(mode="both")``."""
    started = []

    def start(**options: Any) -> tuple[FakeDCache, Client]:
        fake = FakeDCache(pki, publish=events, **options)
        fake.start()
        started.append(fake)
        return fake, Client(fake, pki)

    yield start
    for fake in started:
        fake.stop()
