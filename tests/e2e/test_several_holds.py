"""Several holds that are on together: each ends, and no door is flooded (G5)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from chaos import IMPATIENT, RAW, copied, ended_well
from deployment import Deployment, Running

from dcmirror.testing.fake_dcache import FakeDCache
from dcmirror.testing.pki import Pki
from helpers import free_port

if TYPE_CHECKING:
    from servers.kafka import Kafka

FILES = [f"{number}.dat" for number in range(12)]


class Door:
    """A door that goes and comes back under the same address, with its files."""

    def __init__(self, pki: Pki, kafka: Kafka, topic: str) -> None:
        self._make = lambda: FakeDCache(
            pki, publish=lambda value: kafka.produce(topic, [value]), port=self._port
        )
        self._port = free_port()
        self.url = f"https://localhost:{self._port}"
        self.first = self._make()

    def again(self) -> FakeDCache:
        """The same namespace, behind a door that was just started."""
        door = self._make()
        for path, version in self.first.files.items():
            door.site.namespace.store(path, version)
        return door


def watch(
    deploy: Callable[..., Deployment], kafka: Kafka, door: Door
) -> tuple[Deployment, Running]:
    mirror = deploy(kafka.bootstrap, door.url)
    mirror.variables.update(IMPATIENT)
    return mirror, mirror.watch()


def test_a_door_that_returns_and_refuses_us_once_is_probed_on(
    deploy: Callable[..., Deployment], kafka: Kafka, topic: str, pki: Pki
) -> None:
    kafka.create_topic(topic, 3)
    door = Door(pki, kafka, topic)
    with door.first as first:
        for name in FILES:
            first.upload(f"{RAW}/{name}", size=1000, seed=1)
    mirror, running = watch(deploy, kafka, door)
    running.says("[HOLD] door")
    again = door.again()
    again.faults.add("status", f"{RAW}/*", status=401, times=1)
    with again:
        running.says("[HOLD] credential")
        copied(mirror, *FILES)
        ended_well(running)


def test_a_door_that_dies_under_suspicion_is_not_flooded_when_it_returns(
    deploy: Callable[..., Deployment], kafka: Kafka, topic: str, pki: Pki
) -> None:
    kafka.create_topic(topic, 3)
    door = Door(pki, kafka, topic)
    door.first.faults.add("status", "*", status=403)
    with door.first as first:
        mirror, running = watch(deploy, kafka, door)
        for name in FILES:
            first.upload(f"{RAW}/{name}", size=1000, seed=1)
        running.says("[HOLD] source")
    running.says("[HOLD] door")
    with door.again() as again:
        copied(mirror, *FILES)
        looks = len(again.requests.of("PROPFIND"))
        ended_well(running)

    assert looks < 30
