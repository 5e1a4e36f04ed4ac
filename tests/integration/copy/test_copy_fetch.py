"""One copy at a time: how a file is fetched."""

from __future__ import annotations

import stat
import zlib
from dataclasses import replace

import pytest

from copy_site import MIB, Site, configured, fake
from dcmirror.core.jobs import ResultKind
from dcmirror.testing.fake_namespace import pieces
from dcmirror.testing.pki import Pki
from worker_harness import ROOT


@pytest.mark.parametrize("size", [0, 1, 16384, MIB - 1, MIB, MIB + 1, 3 * MIB + 7])
def test_file_arrives_with_its_bytes_whatever_its_size(site: Site, size: int) -> None:
    job = site.upload("a/b/file.dat", size=size, seed=size)
    expected = zlib.adler32(b"".join(pieces(site.dcache.files[job.path].content)))

    result = site.copy(job)

    assert result.kind is ResultKind.MIRRORED
    assert (size, expected) == (
        result.copy.size,
        result.copy.adler32,
    )
    content = site.content("a/b/file.dat")
    assert len(content) == size
    assert zlib.adler32(content) == result.copy.adler32
    assert site.leftovers() == []


def test_copy_carries_mark_time_and_mode(site: Site) -> None:
    job = site.upload("dir/file", b"content")

    result = site.copy(job)

    status = (site.mirror / "dir/file").stat()
    assert 0o644 == stat.S_IMODE(status.st_mode)
    assert 0o2755 == stat.S_IMODE((site.mirror / "dir").stat().st_mode)
    assert job.event_time == status.st_mtime
    assert status.st_mtime_ns == result.copy.mtime_ns
    mark = site.mark("dir/file")
    assert (job.pnfsid, zlib.adler32(b"content"), True, 7) == (
        mark.pnfsid,
        mark.adler32,
        mark.verified,
        mark.size,
    )
    assert (job.pnfsid, True, 7) == (
        result.copy.pnfsid,
        result.copy.verified,
        result.copy.size,
    )


def test_certificate_goes_to_the_door_only_and_digest_is_asked_of_both(
    site: Site, pki: Pki
) -> None:
    site.copy(site.upload("file", b"x"))

    door, pool = site.dcache.requests.all()
    assert (pki.user_dn, None) == (door.who, pool.who)
    for seen in (door, pool):
        headers = {name.lower(): value for name, value in seen.headers.items()}
        assert "adler32" == headers["want-digest"]
        assert "cookie" not in headers
    assert [302, 200] == [door.status, pool.status]


def test_door_connection_is_kept_and_pool_connections_are_not(site: Site) -> None:
    for number in range(4):
        site.copy(site.upload(f"f{number}", b"x"))

    seen = site.dcache.requests.all()
    door = {one.connection for one in seen if one.server == "door"}
    pool = [one.connection for one in seen if one.server != "door"]
    assert 1 == len(door)
    assert 4 == len(set(pool))


@configured(keep_pool_connections=True)
@fake(pools=1)
def test_pool_connections_are_kept_where_the_site_wants_it(site: Site) -> None:
    for number in range(4):
        site.copy(site.upload(f"f{number}", b"x"))

    pool = site.dcache.requests.of(server="pool")
    assert 1 == len({one.connection for one in pool})


@fake(pool_tls=False)
def test_redirect_to_plain_http_at_an_address_is_followed(site: Site) -> None:
    assert ResultKind.MIRRORED is site.copy(site.upload("file", b"x")).kind


@fake(relays=True)
def test_door_that_sends_the_data_itself_is_fine(site: Site) -> None:
    result = site.copy(site.upload("file", size=2 * MIB, seed=1))

    assert (ResultKind.MIRRORED, 1, None) == (
        result.kind,
        result.requests,
        result.pool_host,
    )


def test_odd_names_are_fetched_by_the_url_they_have(site: Site) -> None:
    name = "grüße % #1?.dat"
    path = f"{ROOT}/{name}"
    pnfsid = site.dcache.upload(path, b"odd")
    job = replace(site.job(name, size=3, pnfsid=pnfsid), url=site.dcache.url_of(path))

    assert ResultKind.MIRRORED is site.copy(job).kind
    assert b"odd" == site.content(name)


def test_size_that_nobody_knows_comes_from_the_answer(site: Site) -> None:
    job = replace(site.upload("file", b"four"), size=None)

    result = site.copy(job)

    assert (ResultKind.MIRRORED, 4, None) == (
        result.kind,
        result.copy.size,
        result.reason,
    )


def test_phases_and_steps_tell_the_story(site: Site) -> None:
    job = site.upload("file", size=2 * MIB, seed=3)

    result = site.copy(job)

    assert {"queued", "connect", "tls", "door", "pool_queue", "data", "publish"} <= set(
        result.phases
    )
    assert all(value >= 0 for value in result.phases.values())
    assert (2, 2, 2 * MIB) == (
        result.requests,
        result.connections,
        result.bytes_received,
    )
    assert ["copy_init", "copy_start", "copy_over", "copy_report"] == [
        step.name for step in site.talk.steps
    ]
    target = site.mirror / "file"
    over = f"{job.url} to {target} (checksum validation: OK)"
    assert [over] == site.talk.texts("copy_over")
    assert site.talk.texts("copy_report")[0].startswith("2 MB copied in ")
    assert not any("uuid" in step.text for step in site.talk.steps)
