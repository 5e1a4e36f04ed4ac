"""Copies from real servers: XRootD with a grid proxy, nginx with its redirects."""

from __future__ import annotations

import random
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dcmirror.core.failures import FailureClass
from dcmirror.core.jobs import ResultKind
from worker_harness import Talk, make_job, make_settings, worker_in_thread

if TYPE_CHECKING:
    from dcmirror.testing.pki import Pki
    from servers.nginx import Nginx
    from servers.xrootd import XRootD

SIZES = (0, 1, 16384, 65537, 3 * 1024 * 1024 + 1)


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    path = tmp_path / "mirror"
    path.mkdir()
    return path


@pytest.fixture
def files() -> dict[str, bytes]:
    dice = random.Random(11)
    return {f"f{size}": dice.randbytes(size) for size in SIZES}


def copy_all(talk: Talk, url: str, files: dict[str, bytes]) -> None:
    jobs = [make_job(url, name, size=len(data)) for name, data in files.items()]
    for result, data in zip(talk.run(*jobs), files.values(), strict=True):
        assert ResultKind.MIRRORED is result.kind, result
        assert result.copy is not None
        assert (len(data), zlib.adler32(data)) == (
            result.copy.size,
            result.copy.adler32,
        )


def test_xrootd_files_are_fetched_and_proved_with_a_grid_proxy(
    xrootd: XRootD, pki: Pki, mirror: Path, files: dict[str, bytes]
) -> None:
    for name, data in files.items():
        xrootd.upload(f"/copies/{name}", data)
    url = f"{xrootd.url}/copies"
    settings = make_settings(mirror, url)
    with worker_in_thread(settings, proxy=pki.proxy, capath=pki.capath, streams=3) as (
        talk,
        _,
    ):
        copy_all(talk, url, files)
        again = talk.run_one(make_job(url, "f1", size=1))

    assert files == {path.name: path.read_bytes() for path in mirror.iterdir()}
    assert (ResultKind.ADOPTED, 1) == (again.kind, again.requests)


def test_xrootd_lets_us_in_by_the_proxy_and_nobody_else(
    xrootd: XRootD, pki: Pki, mirror: Path, tmp_path: Path
) -> None:
    xrootd.upload("/copies/private", b"x")
    url = f"{xrootd.url}/copies"
    stranger = pki.make_proxy(path=tmp_path / "x509", user=pki.make_user("Stranger"))
    with worker_in_thread(
        make_settings(mirror, url), proxy=stranger, capath=pki.capath
    ) as (talk, _):
        refused = talk.run_one(make_job(url, "private", size=1))
        pki.make_proxy(path=tmp_path / "x509")
        mine = talk.run_one(make_job(url, "private", size=1))

    # 500 where a digest is asked for, 403 else: so does XRootD 5.5
    assert refused.http_status in (403, 500)
    assert (ResultKind.FAILED, ResultKind.MIRRORED) == (refused.kind, mine.kind)


def test_nginx_door_is_followed_to_its_pools_hop_by_hop(
    nginx_door: Nginx, pki: Pki, mirror: Path, tmp_path: Path
) -> None:
    credential = tmp_path / "user.pem"
    credential.write_bytes(pki.user_cert.read_bytes() + pki.user_key.read_bytes())
    # names that end in 0-2, 3-5 and 6-9 lie on different pools; the last bounces on
    files = {f"pool{digit}": bytes([digit]) * 1000 * digit for digit in range(10)}
    for name, data in files.items():
        nginx_door.upload(f"/hops/{name}", data)
    url = f"{nginx_door.door_url}/hops"
    settings = make_settings(mirror, url, missing_digest="accept")
    with worker_in_thread(settings, proxy=credential, capath=pki.capath, streams=3) as (
        talk,
        _,
    ):
        copy_all(talk, url, files)

    assert files == {path.name: path.read_bytes() for path in mirror.iterdir()}
    seen = [line for line in nginx_door.requests if "/hops/" in line]
    port = nginx_door.door_url.rpartition(":")[2]
    at_door = [line for line in seen if line.startswith(port)]
    at_pools = [line for line in seen if not line.startswith(port)]
    assert 10 == len(at_door)
    assert 14 == len(at_pools)
    assert not any(line.endswith(" -") for line in at_door)
    assert all(line.endswith(" -") for line in at_pools)


def test_nginx_refuses_a_proxy_and_that_is_told(
    nginx: Nginx, pki: Pki, mirror: Path
) -> None:
    nginx.upload("/copies/file", b"x")
    with worker_in_thread(
        make_settings(mirror, nginx.url), proxy=pki.proxy, capath=pki.capath
    ) as (talk, _):
        failure = talk.run_one(make_job(f"{nginx.url}/copies", "file", size=1)).failure

    assert failure is not None
    assert (FailureClass.TRANSIENT, 400) == (failure.failure_class, failure.http_status)
