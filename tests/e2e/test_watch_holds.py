"""A cause is held, not burned (G5): disk, credential, door, pool, source."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from chaos import (
    IMPATIENT,
    RAW,
    classes,
    copied,
    ended_well,
    given_up,
    holds,
    remount,
    small_disk,
    told_once,
    uncharged,
)
from deployment import Deployment

from dcmirror.testing.fake_dcache import FakeDCache
from helpers import free_port, make_event, wait_until

if TYPE_CHECKING:
    from dcmirror.testing.pki import Pki
    from servers.kafka import Kafka

MIB = 1 << 20


@pytest.fixture
def hasty(mirror: Deployment) -> Deployment:
    """A dcmirror that probes its holds twenty times as often as usual."""
    mirror.variables.update(IMPATIENT)
    return mirror


# -- destination ----------------------------------------------------------------------


def test_a_full_disk_is_waited_for(
    deploy: Callable[..., Deployment], dcache: FakeDCache, kafka: Kafka, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "small", "12m") as disk:
        ballast = disk / "ballast"
        ballast.write_bytes(b"x" * 9 * MIB)
        mirror = deploy(kafka.bootstrap, dcache.door_url, mirror=disk / "mirror")
        mirror.variables.update(IMPATIENT)
        running = mirror.watch()
        for number in range(3):
            dcache.upload(f"{RAW}/{number}.dat", size=2 * MIB, seed=number)
        running.says("[HOLD] destination")
        ballast.unlink()
        copied(mirror, "0.dat", "1.dat", "2.dat")

        told_once(running, "destination")
        uncharged(mirror)
        ended_well(running)
        assert mirror.parts() == []


def test_a_disk_that_fills_behind_our_back_is_waited_for(
    deploy: Callable[..., Deployment], dcache: FakeDCache, kafka: Kafka, tmp_path: Path
) -> None:
    """The space was there when the job was handed out; ENOSPC comes in the middle."""
    dcache.faults.add("trickle", f"{RAW}/*", count=2 * MIB, times=1)
    with small_disk(tmp_path / "small", "12m") as disk:
        ballast = disk / "ballast"
        mirror = deploy(kafka.bootstrap, dcache.door_url, mirror=disk / "mirror")
        mirror.variables.update(IMPATIENT)
        running = mirror.watch()
        dcache.upload(f"{RAW}/a.dat", size=6 * MIB, seed=1)
        wait_until(mirror.parts, 20)
        fill(ballast, 10 * MIB)
        running.says("[HOLD] destination")
        ballast.unlink()
        copied(mirror, "a.dat")

        told_once(running, "destination")
        uncharged(mirror)
        ended_well(running)


def fill(path: Path, size: int) -> None:
    """As much of ``size`` bytes as the disk takes."""
    try:
        with path.open("wb", buffering=0) as file:
            for _ in range(size // 65536):
                file.write(b"x" * 65536)
    except OSError:
        return


def test_less_than_min_free_holds_before_anything_is_written(
    deploy: Callable[..., Deployment], dcache: FakeDCache, kafka: Kafka
) -> None:
    mirror = deploy(kafka.bootstrap, dcache.door_url, destination={"min_free": 1 << 60})
    mirror.variables.update(IMPATIENT)
    running = mirror.watch()
    dcache.upload(f"{RAW}/a.dat", size=1000, seed=1)
    assert "min_free" in running.says("[HOLD] destination")
    assert mirror.files() == set()
    mirror.tables["destination"]["min_free"] = 0
    mirror.write()
    running.signal(1)
    copied(mirror, "a.dat")

    told_once(running, "destination")
    uncharged(mirror)
    ended_well(running)


def test_a_file_of_unknown_size_that_never_fits_stops_nothing(
    deploy: Callable[..., Deployment], dcache: FakeDCache, kafka: Kafka, tmp_path: Path
) -> None:
    names = [f"{number}.dat" for number in range(5)]
    with small_disk(tmp_path / "small", "6m") as disk:
        mirror = deploy(
            kafka.bootstrap,
            dcache.door_url,
            mirror=disk / "mirror",
            destination={"min_free": MIB},
        )
        mirror.variables.update(IMPATIENT)
        running = mirror.watch()
        path = f"{RAW}/big"
        pnfsid = dcache.upload(path, size=12 * MIB, seed=1, publish=False)
        dcache.publish_raw(
            make_event(billingPath=path, transferPath=path, pnfsid=pnfsid, fileSize=...)
        )
        given_up(mirror)
        for number, name in enumerate(names):
            dcache.upload(f"{RAW}/{name}", size=1000, seed=number)
        copied(mirror, *names)

        assert classes(mirror) == {"big": "destination"}
        assert "[HOLD]" not in running.log
        assert len([r for r in dcache.requests.of("GET") if "big" in r.path]) <= 2
        ended_well(running)
        assert mirror.parts() == []


def test_a_directory_that_takes_nothing_does_not_hold_the_others_for_ever(
    hasty: Deployment, dcache: FakeDCache
) -> None:
    """A file system of its own, or a quota: the rest of the mirror has room."""
    stuck = [f"full/{number}.dat" for number in range(3)]
    with small_disk(hasty.mirror / "full", "1m") as disk:
        fill(disk / "ballast", 2 * MIB)
        running = hasty.watch()
        for number, name in enumerate(stuck):
            dcache.upload(f"{RAW}/{name}", size=300_000, seed=number)
        running.says("[HOLD] destination")
        for number in range(20):
            dcache.upload(f"{RAW}/{number}.dat", size=1000, seed=number)
            copied(hasty, f"{number}.dat")
        began = running.log.count("[HOLD] destination")
        for number in range(20, 30):
            dcache.upload(f"{RAW}/{number}.dat", size=1000, seed=number)
            copied(hasty, f"{number}.dat")
        assert running.log.count("[HOLD] destination") == began
        (disk / "ballast").unlink()
        copied(hasty, *stuck, deadline=60)

        assert hasty.failed_rows() == []
        ended_well(running)


def test_a_read_only_mirror_is_waited_for(
    deploy: Callable[..., Deployment], dcache: FakeDCache, kafka: Kafka, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "small", "12m") as disk:
        mirror = deploy(kafka.bootstrap, dcache.door_url, mirror=disk / "mirror")
        mirror.variables.update(IMPATIENT)
        remount(disk, "ro")
        running = mirror.watch()
        dcache.upload(f"{RAW}/a.dat", size=1000, seed=1)
        assert "Read-only" in running.says("[HOLD] destination")
        remount(disk, "rw")
        copied(mirror, "a.dat")

        told_once(running, "destination")
        uncharged(mirror)
        ended_well(running)


def test_a_mirror_that_may_not_be_written_is_waited_for(
    hasty: Deployment, dcache: FakeDCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("gives the mirror to somebody else, which takes root and setpriv")
    powers = "-dac_override,-dac_read_search"
    prefix = ["setpriv", f"--bounding-set={powers}", f"--inh-caps={powers}"]
    plain = hasty.command
    monkeypatch.setattr(hasty, "command", lambda *args: [*prefix, *plain(*args)])
    hasty.mirror.chmod(0o555)
    os.chown(hasty.mirror, 65534, 65534)
    running = hasty.watch()
    for number in range(30):
        dcache.upload(f"{RAW}/{number}.dat", size=1000, seed=number)
    assert "Permission denied" in running.says("[HOLD] destination")
    hasty.mirror.chmod(0o777)
    copied(hasty, *(f"{number}.dat" for number in range(30)))

    told_once(running, "destination")
    uncharged(hasty)
    ended_well(running)


def test_a_file_in_the_place_of_the_mirror_is_waited_for(
    hasty: Deployment, dcache: FakeDCache
) -> None:
    hasty.mirror.rmdir()
    hasty.mirror.write_text("not mounted")
    running = hasty.watch()
    dcache.upload(f"{RAW}/a.dat", size=1000, seed=1)
    assert "Not a directory" in running.says("[HOLD] destination")
    hasty.mirror.unlink()
    hasty.mirror.mkdir()
    copied(hasty, "a.dat")

    told_once(running, "destination")
    uncharged(hasty)
    ended_well(running)


def test_a_mirror_that_is_not_there_yet_is_waited_for(
    hasty: Deployment, dcache: FakeDCache
) -> None:
    hasty.mirror.rmdir()
    running = hasty.watch()
    dcache.upload(f"{RAW}/a.dat", size=1000, seed=1)
    assert str(hasty.mirror) in running.says("[HOLD] destination")
    hasty.mirror.mkdir()
    copied(hasty, "a.dat")

    told_once(running, "destination")
    uncharged(hasty)
    ended_well(running)


def test_a_mirror_that_goes_away_and_returns_is_waited_for(
    hasty: Deployment, dcache: FakeDCache
) -> None:
    running = hasty.watch()
    dcache.upload(f"{RAW}/d/a.dat", size=1000, seed=1)
    copied(hasty, "d/a.dat")
    away = hasty.mirror.with_name("away")
    hasty.mirror.rename(away)
    dcache.upload(f"{RAW}/d/b.dat", size=1000, seed=2)
    running.says("[HOLD] destination")
    away.rename(hasty.mirror)
    copied(hasty, "d/b.dat")

    told_once(running, "destination")
    uncharged(hasty)
    ended_well(running)
    assert hasty.files() == {"d/a.dat", "d/b.dat"}


def test_a_mirror_removed_under_a_transfer_is_waited_for(
    hasty: Deployment, dcache: FakeDCache
) -> None:
    """The part went with it; the copy is made anew where the name now leads."""
    dcache.faults.add("trickle", f"{RAW}/*", count=MIB, times=1)
    running = hasty.watch()
    dcache.upload(f"{RAW}/d/a.dat", size=4 * MIB, seed=1)
    wait_until(hasty.parts, 20)
    shutil.rmtree(hasty.mirror)
    wait_until(lambda: "[HOLD] destination" in running.log, 20)
    hasty.mirror.mkdir()
    copied(hasty, "d/a.dat")

    assert (hasty.mirror / "d/a.dat").stat().st_size == 4 * MIB
    uncharged(hasty)
    ended_well(running)


# -- credential -----------------------------------------------------------------------


def own_proxy(mirror: Deployment, source: Path) -> Path:
    """A proxy file of the test's own, which it may renew."""
    proxy = mirror.home / "x509_proxy"
    shutil.copy2(source, proxy)
    mirror.tables["local"]["proxy"] = str(proxy)
    mirror.write()
    return proxy


def renew(proxy: Path, source: Path) -> None:
    """As voms-proxy-init and its like do it: a new file under the old name."""
    fresh = proxy.with_name("fresh")
    shutil.copy2(source, fresh)
    os.replace(fresh, proxy)


def test_an_expired_proxy_is_waited_for(
    mirror: Deployment, dcache: FakeDCache, pki: Pki
) -> None:
    expired = pki.make_proxy(-60, mirror.home / "expired")
    proxy = own_proxy(mirror, expired)
    running = mirror.watch()
    dcache.upload(f"{RAW}/a.dat", size=1000, seed=1)
    line = running.says("[HOLD] credential")
    running.says("[UPLOAD]")
    assert dcache.requests.all() == []
    renew(proxy, pki.proxy)
    copied(mirror, "a.dat")

    assert "expired" in line
    assert str(proxy) in line
    told_once(running, "credential")
    uncharged(mirror)
    ended_well(running)


def test_a_missing_proxy_is_waited_for(
    mirror: Deployment, dcache: FakeDCache, pki: Pki
) -> None:
    proxy = own_proxy(mirror, pki.proxy)
    proxy.unlink()
    running = mirror.watch()
    dcache.upload(f"{RAW}/a.dat", size=1000, seed=1)
    assert str(proxy) in running.says("[HOLD] credential")
    running.says("[UPLOAD]")
    renew(proxy, pki.proxy)
    copied(mirror, "a.dat")

    told_once(running, "credential")
    uncharged(mirror)
    ended_well(running)


@pytest.mark.parametrize("removed_first", [False, True])
def test_a_renewed_proxy_is_used_over_new_connections(
    mirror: Deployment, dcache: FakeDCache, pki: Pki, removed_first: bool
) -> None:
    proxy = own_proxy(mirror, pki.proxy)
    running = mirror.watch()
    dcache.upload(f"{RAW}/a.dat", size=1000, seed=1)
    copied(mirror, "a.dat")
    before = {r.connection for r in dcache.requests.all() if r.server == "door"}
    if removed_first:
        proxy.unlink()
        running.says("[HOLD] credential")
    renew(proxy, pki.make_proxy(7200, mirror.home / "other"))
    running.says("is a new one")
    for number in range(6):
        dcache.upload(f"{RAW}/b{number}.dat", size=1000, seed=2)
    copied(mirror, *(f"b{number}.dat" for number in range(6)))
    after = {
        r.connection
        for r in dcache.requests.all()
        if r.server == "door" and "/b" in r.path
    }

    assert after
    assert not before & after
    ended_well(running)


def test_a_401_is_held_and_asked_again(hasty: Deployment, dcache: FakeDCache) -> None:
    dcache.faults.add("status", f"{RAW}/*", status=401)
    running = hasty.watch()
    for number in range(5):
        dcache.upload(f"{RAW}/{number}.dat", size=1000, seed=number)
    assert "401" in running.says("[HOLD] credential")
    dcache.faults.clear()
    copied(hasty, *(f"{number}.dat" for number in range(5)))

    told_once(running, "credential")
    uncharged(hasty)
    ended_well(running)


def test_a_certificate_that_the_door_rejects_is_held(
    hasty: Deployment, dcache: FakeDCache, pki: Pki
) -> None:
    """No HTTP at all: the TLS handshake ends with an alert."""
    from dcmirror.testing.pki import make_pki

    stranger = make_pki(hasty.home / "stranger")
    proxy = own_proxy(hasty, stranger.proxy)
    running = hasty.watch()
    dcache.upload(f"{RAW}/a.dat", size=1000, seed=1)
    running.says("[HOLD] credential")
    renew(proxy, pki.proxy)
    copied(hasty, "a.dat")

    told_once(running, "credential")
    uncharged(hasty)
    ended_well(running)


# -- door and pool --------------------------------------------------------------------


def test_a_door_that_is_down_at_the_start_is_waited_for(
    deploy: Callable[..., Deployment], kafka: Kafka, topic: str, pki: Pki
) -> None:
    kafka.create_topic(topic, 3)
    port = free_port()
    mirror = deploy(kafka.bootstrap, f"https://localhost:{port}")
    mirror.variables.update(IMPATIENT)
    running = mirror.watch()

    def publish(value: bytes) -> None:
        kafka.produce(topic, [value])

    # uploads by another door of the same site; ours begins later
    with FakeDCache(pki, publish=publish) as other:
        for number in range(4):
            other.upload(f"{RAW}/{number}.dat", size=1000, seed=number)
        files = dict(other.files)
    running.says("[HOLD] door")
    again = FakeDCache(pki, publish=publish, port=port)
    for path, version in files.items():
        again.site.namespace.store(path, version)
    with again:
        copied(mirror, *(f"{number}.dat" for number in range(4)))

    told_once(running, "door")
    uncharged(mirror)
    ended_well(running)


def test_only_the_files_of_a_refusing_pool_wait(
    hasty: Deployment, dcache: FakeDCache
) -> None:
    dcache.faults.add("pool-refused", f"{RAW}/bad*")
    running = hasty.watch()
    for number in range(8):
        dcache.upload(f"{RAW}/bad{number}", size=1000, seed=number)
        dcache.upload(f"{RAW}/good{number}", size=1000, seed=number)
    running.says("[HOLD] pool")
    copied(hasty, *(f"good{number}" for number in range(8)))
    assert "bad0" not in hasty.files()
    dcache.faults.clear()
    copied(hasty, *(f"bad{number}" for number in range(8)))

    told_once(running, "pool")
    uncharged(hasty)
    ended_well(running)


# -- source ---------------------------------------------------------------------------


def test_ten_refusals_in_a_row_suspect_the_source_and_burn_nothing(
    hasty: Deployment, dcache: FakeDCache
) -> None:
    everything = ("GET", "HEAD", "PROPFIND")
    dcache.faults.add("status", f"{RAW}*", status=403, methods=everything)
    running = hasty.watch()
    for number in range(15):
        dcache.upload(f"{RAW}/{number}", size=1000, seed=number)
    running.says("[HOLD] source")
    wait_until(lambda: [r for r in dcache.requests.all() if r.method == "PROPFIND"], 20)
    assert holds(hasty) or hasty.failed_rows() == []
    dcache.faults.clear()
    copied(hasty, *map(str, range(15)))

    told_once(running, "source")
    uncharged(hasty)
    ended_well(running)


def test_refusals_that_outlive_the_suspicion_are_rows(
    hasty: Deployment, dcache: FakeDCache
) -> None:
    """The folder answers: it was these files after all."""
    dcache.faults.add("status", f"{RAW}/*", status=403)
    running = hasty.watch()
    for number in range(10):
        dcache.upload(f"{RAW}/{number}", size=1000, seed=number)
    running.says("[HOLD] source")
    given_up(hasty, 10)

    assert set(classes(hasty).values()) == {"forbidden"}
    told_once(running, "source")
    ended_well(running)


def test_a_single_refusal_is_a_row_as_soon_as_another_file_comes(
    hasty: Deployment, dcache: FakeDCache
) -> None:
    dcache.faults.add("status", f"{RAW}/bad", status=403)
    running = hasty.watch()
    dcache.upload(f"{RAW}/bad", size=1000, seed=1)
    wait_until(lambda: hasty.status().get("jobs", {}).get("provisional"), 20)
    dcache.upload(f"{RAW}/good", size=1000, seed=2)
    given_up(hasty)

    assert classes(hasty) == {"bad": "forbidden"}
    assert "[HOLD]" not in running.log
    ended_well(running)
