"""The real command, against a fake dCache and a real or mock broker."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from deployment import Deployment, Tables

from dcmirror.testing.fake_dcache import FakeDCache

if TYPE_CHECKING:
    from dcmirror.testing.pki import Pki
    from servers.kafka import Kafka

ROOT = "/pnfs/example.org/data"
FOLDER = "/exp/raw"
NOBODY = "127.0.0.1:9"  # no broker is there


@pytest.fixture
def topic() -> str:
    """A topic of the test's own."""
    return f"t-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def dcache(pki: Pki, kafka: Kafka, topic: str) -> Iterator[FakeDCache]:
    """A fake dCache that publishes to a topic with three partitions."""
    kafka.create_topic(topic, 3)
    with FakeDCache(
        pki, root=ROOT, publish=lambda value: kafka.produce(topic, [value])
    ) as running:
        yield running


@pytest.fixture
def deploy(
    request: pytest.FixtureRequest, tmp_path: Path, pki: Pki, topic: str
) -> Iterator[Callable[..., Deployment]]:
    """Makes configured dcmirrors; what still runs at the end is killed."""
    made: list[Deployment] = []

    def make(
        bootstrap: str,
        door_url: str,
        client: dict[str, Any] | None = None,
        mirror: Path | None = None,
        **tables: dict[str, Any],
    ) -> Deployment:
        home = tmp_path / f"instance{len(made)}"
        home.mkdir()
        base: Tables = {
            "kafka": {
                "topic": topic,
                "servers": [bootstrap],
                "consumergroup": f"g-{topic}",
            },
            "dcache": {
                "url": door_url,
                "pool": ROOT,
                "folder": FOLDER,
                "retryseconds": 0.1,
                "retrytimes": 5,
                "maxdownloads": 6,
            },
            "local": {
                "proxy": str(pki.proxy),
                "capath": str(pki.capath),
                "downloadfolder": str(mirror or home / "mirror"),
            },
            "source": {"net_seconds": 2.0, "grace_seconds": 20.0},
            "pipeline": {"drain_seconds": 20.0, "workers": 2},
        }
        if client:
            base["kafka"]["client"] = client
        for name, table in tables.items():
            base.setdefault(name, {}).update(table)
        made.append(Deployment(home, base))
        return made[-1]

    yield make
    logs = [deployment.stop_all() for deployment in made]
    request.node.add_report_section("call", "dcmirror", "\n".join(logs)[-20000:])


@pytest.fixture
def mirror(
    deploy: Callable[..., Deployment], dcache: FakeDCache, kafka: Kafka
) -> Deployment:
    """A dcmirror of the fake dCache."""
    return deploy(kafka.bootstrap, dcache.door_url)


@pytest.fixture
def source(pki: Pki) -> Iterator[FakeDCache]:
    """A fake dCache that tells nobody."""
    with FakeDCache(pki, root=ROOT) as running:
        yield running


@pytest.fixture
def deployment(deploy: Callable[..., Deployment], source: FakeDCache) -> Deployment:
    """A dcmirror that hears of nothing."""
    made = deploy(NOBODY, source.door_url)
    made.state.mkdir()
    return made
