"""One copy at a time: a worker against the fake dCache."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dcmirror.adapters.mirror_store import MirrorStore
from dcmirror.adapters.parts import Part
from dcmirror.core import marks
from dcmirror.core.failures import FailureClass
from dcmirror.core.jobs import AttemptResult, CopyRecord, Job, ResultKind
from dcmirror.processes.worker import Worker
from dcmirror.testing.fake_dcache import FakeDCache
from dcmirror.testing.fake_namespace import pieces
from worker_harness import ROOT, Talk, make_job, make_settings, worker_in_thread

if TYPE_CHECKING:
    from dcmirror.testing.pki import Pki

MIB = 1024 * 1024


@dataclass
class Site:
    """A fake dCache, a mirror and a worker between them."""

    dcache: FakeDCache
    mirror: Path
    talk: Talk
    worker: Worker

    def upload(self, name: str, data: bytes | None = None, **options: Any) -> Job:
        """Upload a file; the job that its event would become."""
        pnfsid = self.dcache.upload(f"{ROOT}/{name}", data, **options)
        size = len(data) if data is not None else options["size"]
        return make_job(self.dcache.door_url, name, size=size, pnfsid=pnfsid)

    def job(self, name: str, **fields: Any) -> Job:
        return make_job(self.dcache.door_url, name, **fields)

    def copy(self, job: Job) -> AttemptResult:
        return self.talk.run_one(job)

    def content(self, name: str) -> bytes:
        return (self.mirror / name).read_bytes()

    def mark(self, name: str) -> Any:
        return self.store.look(name).mark

    @property
    def store(self) -> MirrorStore:
        return self.worker.store

    def asked(self) -> list[tuple[str, str, int]]:
        return [
            (seen.server[:4], seen.method, seen.status)
            for seen in self.dcache.requests.all()
        ]

    def forget_requests(self) -> None:
        self.dcache.requests.clear()

    def leftovers(self) -> list[str]:
        return [path.name for path in self.mirror.rglob("*.part")]


def configured(**settings: Any) -> pytest.MarkDecorator:
    """The site's worker gets these settings."""
    return pytest.mark.parametrize("site", [settings], indirect=True, ids=["set"])


def fake(**options: Any) -> pytest.MarkDecorator:
    """The site's dCache is made with these options."""
    return pytest.mark.parametrize("dcache", [options], indirect=True, ids=["fake"])


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


def failure_of(result: AttemptResult) -> Any:
    assert result.kind is ResultKind.FAILED, result
    assert result.failure is not None
    return result.failure


# Fetching


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


# What the mirror has already


def test_same_event_again_is_adopted_without_a_request(site: Site) -> None:
    job = site.upload("file", b"content")
    first = site.copy(job)
    site.forget_requests()

    second = site.copy(job)

    assert ResultKind.ADOPTED is second.kind
    assert [] == site.asked()
    assert replace(first.copy, copied_at=0.0) == replace(second.copy, copied_at=0.0)


def test_copy_that_was_tampered_with_is_made_again(site: Site) -> None:
    job = site.upload("file", b"content")
    site.copy(job)
    (site.mirror / "file").write_bytes(b"CONTENT")

    assert ResultKind.MIRRORED is site.copy(job).kind
    assert b"content" == site.content("file")


def test_another_write_session_of_the_same_file_is_fetched(site: Site) -> None:
    job = site.upload("file", b"first")
    site.copy(job)
    site.dcache.rewrite_nfs(job.path, b"first and second")

    result = site.copy(replace(job, size=16))

    assert (ResultKind.MIRRORED, None) == (result.kind, result.reason)
    assert b"first and second" == site.content("file")


def test_late_event_of_an_earlier_write_session_is_adopted_after_a_head(
    site: Site,
) -> None:
    job = site.upload("file", b"first")
    site.dcache.rewrite_nfs(job.path, b"first and second")
    site.copy(replace(job, size=16))
    site.forget_requests()

    result = site.copy(job)

    assert ResultKind.ADOPTED is result.kind
    assert [("door", "HEAD", 200)] == site.asked()


def test_old_event_of_a_replaced_file_is_superseded(site: Site) -> None:
    old = site.upload("file", b"old")
    new = site.upload("file", b"newer")
    site.copy(new)
    site.forget_requests()

    result = site.copy(old)

    assert ResultKind.SUPERSEDED is result.kind
    assert [("door", "HEAD", 200)] == site.asked()
    assert b"newer" == site.content("file")


def test_replaced_file_is_copied_again_in_place(site: Site) -> None:
    site.copy(site.upload("file", b"old"))
    new = site.upload("file", b"newer")

    result = site.copy(new)

    assert (ResultKind.MIRRORED, new.pnfsid) == (result.kind, result.copy.pnfsid)
    assert b"newer" == site.content("file")


def test_event_of_a_file_replaced_before_the_copy_fetches_what_is_there(
    site: Site,
) -> None:
    old = site.upload("file", b"old")
    new = site.upload("file", b"newer")

    first = site.copy(old)
    site.forget_requests()
    second = site.copy(new)

    assert (ResultKind.MIRRORED, new.pnfsid) == (first.kind, first.copy.pnfsid)
    assert ResultKind.ADOPTED is second.kind
    assert [] == site.asked()


def test_old_file_without_mark_is_adopted_by_its_own_checksum(site: Site) -> None:
    job = site.upload("file", size=3 * MIB, seed=5)
    data = b"".join(pieces(site.dcache.files[job.path].content))
    (site.mirror / "file").write_bytes(data)

    result = site.copy(job)

    assert (ResultKind.ADOPTED, job.pnfsid, True) == (
        result.kind,
        result.copy.pnfsid,
        result.copy.verified,
    )
    assert [("door", "HEAD", 200)] == site.asked()


def test_old_file_of_the_same_size_with_other_bytes_is_replaced(site: Site) -> None:
    (site.mirror / "file").write_bytes(b"aaaa")

    result = site.copy(site.upload("file", b"bbbb"))

    assert ResultKind.MIRRORED is result.kind
    assert b"bbbb" == site.content("file")


def known_copy(site: Site, job: Job, **over: Any) -> CopyRecord:
    record = site.copy(job).copy
    assert record is not None
    return replace(record, **over)


def test_catalogue_row_speaks_for_a_file_that_lost_its_mark(site: Site) -> None:
    job = site.upload("file", b"content")
    known = known_copy(site, job)
    os.removexattr(site.mirror / "file", "user.dcmirror")
    site.forget_requests()

    result = site.copy(replace(job, known=known))

    assert ResultKind.ADOPTED is result.kind
    assert [] == site.asked()


def test_removed_copy_is_made_again(site: Site) -> None:
    job = site.upload("file", b"content")
    known = known_copy(site, job)
    (site.mirror / "file").unlink()

    assert ResultKind.MIRRORED is site.copy(replace(job, known=known)).kind


@configured(missing="leave")
def test_removed_copy_is_left_where_the_site_wants_it(site: Site) -> None:
    job = site.upload("file", b"content")
    known = known_copy(site, job)
    (site.mirror / "file").unlink()
    site.forget_requests()

    assert ResultKind.LEFT is site.copy(replace(job, known=known)).kind
    assert [] == site.asked()
    assert not (site.mirror / "file").exists()


@configured(missing="leave")
def test_new_upload_in_place_of_a_removed_copy_is_copied(site: Site) -> None:
    known = known_copy(site, site.upload("file", b"content"))
    (site.mirror / "file").unlink()

    new = replace(site.upload("file", b"newer"), known=known)

    assert ResultKind.MIRRORED is site.copy(new).kind


def test_name_under_a_live_part_is_busy(site: Site) -> None:
    job = site.upload("file", b"content")
    with (site.mirror / "file.part").open("wb") as other:
        other.write(b"half")
        other.flush()
        os.setxattr(other.fileno(), marks.ATTRIBUTE, marks.PART_MARK)
        fcntl.flock(other, fcntl.LOCK_EX)

        assert ResultKind.BUSY is site.copy(job).kind

    assert ResultKind.MIRRORED is site.copy(job).kind
    assert [] == site.leftovers()


# Verification


@pytest.mark.parametrize("kind", ["digest-unpadded", "digest-upper"])
def test_other_spellings_of_the_digest_are_understood(site: Site, kind: str) -> None:
    site.dcache.faults.add(kind)

    result = site.copy(site.upload("file", b"\x01"))

    assert (ResultKind.MIRRORED, 2) == (result.kind, result.requests)


def test_flipped_byte_is_a_checksum_mismatch(site: Site) -> None:
    job = site.upload("file", size=2 * MIB, seed=1)
    site.dcache.faults.add("flip", after=MIB, times=1)

    failure = failure_of(site.copy(job))

    assert FailureClass.CHECKSUM is failure.failure_class
    assert failure.adler32_expected != failure.adler32_computed
    assert 2 * MIB == failure.received
    assert "computed" in failure.message
    assert [] == list(site.mirror.rglob("*"))
    assert ResultKind.MIRRORED is site.copy(job).kind


def test_wrong_digest_of_the_pool_is_outvoted_by_the_door(site: Site) -> None:
    site.dcache.faults.add("digest-wrong", times=1)

    assert ResultKind.MIRRORED is site.copy(site.upload("file", b"x")).kind


def test_digest_that_comes_late_proves_the_copy(site: Site) -> None:
    job = site.upload("file", b"content", digest=False)
    site.dcache.faults.add("digest-missing", times=1)
    site.dcache.set_digest(job.path, zlib.adler32(b"content"))

    result = site.copy(job)

    assert (ResultKind.MIRRORED, True) == (result.kind, result.copy.verified)
    assert "HEAD" in [method for _, method, _ in site.asked()]


def test_file_without_digest_is_accepted_unverified_after_the_ladder(
    site: Site,
) -> None:
    result = site.copy(site.upload("file", b"content", digest=False))

    assert (ResultKind.MIRRORED, False) == (result.kind, result.copy.verified)
    assert zlib.adler32(b"content") == result.copy.adler32
    assert not site.mark("file").verified
    assert 3 == [method for _, method, _ in site.asked()].count("HEAD")
    assert result.phases["checksum"] >= 150


@configured(missing_digest="accept")
def test_file_without_digest_is_accepted_at_once_where_servers_have_none(
    site: Site,
) -> None:
    result = site.copy(site.upload("file", b"content", digest=False))

    assert (ResultKind.MIRRORED, False, 2) == (
        result.kind,
        result.copy.verified,
        result.requests,
    )


@configured(missing_digest="fail")
def test_file_without_digest_fails_where_the_site_wants_it(site: Site) -> None:
    result = site.copy(site.upload("file", b"content", digest=False))

    assert FailureClass.NO_DIGEST is failure_of(result).failure_class
    assert [] == list(site.mirror.rglob("*"))


def test_size_that_the_event_has_wrong_is_told_not_fatal(site: Site) -> None:
    job = replace(site.upload("file", b"content"), size=3)

    result = site.copy(job)

    assert (ResultKind.MIRRORED, "size_differs_from_event", 7) == (
        result.kind,
        result.reason,
        result.copy.size,
    )


# Failures


def test_short_body_is_transient_and_leaves_nothing(site: Site) -> None:
    site.dcache.faults.add("short-body", count=10)

    failure = failure_of(site.copy(site.upload("file", size=MIB, seed=1)))

    assert (FailureClass.TRANSIENT, MIB - 10) == (
        failure.failure_class,
        failure.received,
    )
    assert failure.curl_code in (18, 56)  # 56 where TLS ends without its own goodbye
    assert [] == list(site.mirror.rglob("*"))


def test_reset_in_the_body_is_transient(site: Site) -> None:
    site.dcache.faults.add("reset-body", after=100_000)

    failure = failure_of(site.copy(site.upload("file", size=MIB, seed=1)))

    assert FailureClass.TRANSIENT is failure.failure_class


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (404, FailureClass.NOT_THERE),
        (500, FailureClass.NOT_THERE),
        (403, FailureClass.FORBIDDEN),
        (410, FailureClass.REMOVED),
        (401, FailureClass.CREDENTIAL),
        (507, FailureClass.TRANSIENT),
        (400, FailureClass.TRANSIENT),
    ],
)
def test_status_of_the_door_decides_the_class(
    site: Site, status: int, expected: FailureClass
) -> None:
    site.dcache.faults.add("status", status=status)

    failure = failure_of(site.copy(site.upload("file", b"x")))

    assert (expected, status) == (failure.failure_class, failure.http_status)
    assert f"localhost:{site.dcache.door_url.rpartition(':')[2]}" == failure.host


def test_retry_after_comes_with_the_failure(site: Site) -> None:
    site.dcache.faults.add("status", status=429, retry_after="17")

    failure = failure_of(site.copy(site.upload("file", b"x")))

    assert (FailureClass.TRANSIENT, 17.0) == (
        failure.failure_class,
        failure.retry_after,
    )


def test_missing_file_is_not_there_yet(site: Site) -> None:
    failure = failure_of(site.copy(site.job("nothing", size=1)))

    assert FailureClass.NOT_THERE is failure.failure_class


@configured(first_byte_seconds=0.4)
def test_silence_before_the_first_byte_has_its_own_limit(site: Site) -> None:
    site.dcache.faults.add("stall", seconds=30)

    failure = failure_of(site.copy(site.upload("file", b"x")))

    assert (FailureClass.TRANSIENT, 28) == (failure.failure_class, failure.curl_code)
    assert "no first byte within 0.4 s" == failure.message


@configured(stall_seconds=0.4)
def test_waiting_for_the_first_byte_is_no_stall(site: Site) -> None:
    site.dcache.faults.add("stall", seconds=1.2)

    assert ResultKind.MIRRORED is site.copy(site.upload("file", b"x")).kind


@configured(stall_seconds=0.4)
def test_body_that_stands_still_is_a_stall(site: Site) -> None:
    site.dcache.faults.add("stall-body", after=100_000, seconds=30)

    failure = failure_of(site.copy(site.upload("file", size=MIB, seed=1)))

    assert FailureClass.TRANSIENT is failure.failure_class
    assert failure.message.startswith("stalled after ")
    assert [] == list(site.mirror.rglob("*"))


@configured(stall_seconds=0.5, stall_bytes_per_second=100_000)
def test_trickle_below_the_rate_is_a_stall(site: Site) -> None:
    site.dcache.faults.add("trickle", count=20_000)

    failure = failure_of(site.copy(site.upload("file", size=MIB, seed=1)))

    assert failure.message.startswith("stalled after ")


@configured(timeout=0.5, stall_seconds=1.0)
def test_timeout_caps_an_attempt_whatever_its_rate(site: Site) -> None:
    site.dcache.faults.add("trickle", count=20_000)

    failure = failure_of(site.copy(site.upload("file", size=100_000, seed=1)))

    assert "time limit of one attempt" in failure.message


@configured(timeout=0.3)
def test_waiting_for_the_first_byte_does_not_count_against_the_timeout(
    site: Site,
) -> None:
    site.dcache.faults.add("stall", seconds=1.0)

    assert ResultKind.MIRRORED is site.copy(site.upload("file", b"x")).kind


def test_door_that_refuses_connections_is_down(site: Site) -> None:
    job = site.upload("file", b"x")
    site.dcache.stop()

    failure = failure_of(site.copy(job))

    assert (FailureClass.HOST, 7) == (failure.failure_class, failure.curl_code)


def test_pool_that_refuses_connections_is_named(site: Site) -> None:
    site.dcache.faults.add("pool-refused")

    failure = failure_of(site.copy(site.upload("file", b"x")))

    assert FailureClass.HOST is failure.failure_class
    assert failure.host not in site.dcache.door_url


def test_expired_proxy_is_the_credential_not_the_network(site: Site, pki: Pki) -> None:
    proxy = site.mirror.parent / "x509up"
    with worker_in_thread(
        make_settings(site.mirror, site.dcache.door_url),
        proxy=pki.make_proxy(-60, proxy),
        capath=pki.capath,
    ) as (talk, _):
        job = site.upload("file", b"x")
        expired = failure_of(talk.run_one(job))
        pki.make_proxy(600, proxy)
        renewed = talk.run_one(replace(job, task="second"))

    assert FailureClass.CREDENTIAL is expired.failure_class
    assert ResultKind.MIRRORED is renewed.kind


def test_missing_proxy_asks_nobody(site: Site, pki: Pki) -> None:
    settings = make_settings(site.mirror, site.dcache.door_url)
    missing = site.mirror.parent / "nowhere"
    with worker_in_thread(settings, proxy=missing, capath=pki.capath) as (talk, _):
        failure = failure_of(talk.run_one(site.upload("file", b"x")))

    assert FailureClass.CREDENTIAL is failure.failure_class
    assert "cannot read the proxy" in failure.message
    assert [] == site.asked()


def test_new_proxy_means_new_connections(site: Site, pki: Pki) -> None:
    proxy = pki.make_proxy(600, site.mirror.parent / "x509up")
    settings = make_settings(site.mirror, site.dcache.door_url)
    with worker_in_thread(settings, proxy=proxy, capath=pki.capath) as (talk, _):
        talk.run(site.upload("a", b"x"), site.upload("b", b"x"))
        pki.make_proxy(600, proxy, user=pki.make_user("Somebody Else"))
        site.dcache.unmapped.add(pki.user_dn)
        later = [talk.run_one(site.upload(f"f{number}", b"x")) for number in range(4)]

    assert [ResultKind.FAILED] * 4 != [result.kind for result in later]
    who = [seen.who for seen in site.dcache.requests.of(server="door")]
    assert {pki.user_dn} == set(who[:2])
    assert pki.user_dn not in who[2:]


def test_server_of_an_unknown_authority_is_refused(
    site: Site, pki: Pki, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    settings = make_settings(site.mirror, site.dcache.door_url)
    with worker_in_thread(settings, proxy=pki.proxy, capath=tmp_path / "empty") as (
        talk,
        _,
    ):
        failure = failure_of(talk.run_one(site.upload("file", b"x")))

    assert (FailureClass.HOST, 60) == (failure.failure_class, failure.curl_code)


def test_full_disk_is_the_destination(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(self: Part, data: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Part, "write", no_space)

    failure = failure_of(site.copy(site.upload("file", size=3 * MIB, seed=1)))

    assert FailureClass.DESTINATION is failure.failure_class
    assert "No space left on device" in failure.message
    assert [] == site.leftovers()


def test_symlink_in_the_way_is_unsafe(site: Site, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (site.mirror / "dir").symlink_to(tmp_path / "elsewhere")

    failure = failure_of(site.copy(site.upload("dir/file", b"x")))

    assert FailureClass.UNSAFE_PATH is failure.failure_class
    assert [] == list((tmp_path / "elsewhere").iterdir())


# Redirects


def test_redirect_loop_ends(site: Site) -> None:
    site.dcache.faults.add("redirect-loop")

    failure = failure_of(site.copy(site.upload("file", b"x")))

    assert FailureClass.REDIRECT is failure.failure_class
    assert 6 == len(site.asked())


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("ftp://localhost/file?dcache-http-uuid=secret", "scheme 'ftp'"),
        ("file:///etc/passwd", "not a URL with a host"),
    ],
)
def test_redirect_against_policy_is_refused_without_its_secret(
    site: Site, url: str, why: str
) -> None:
    site.dcache.faults.add("redirect-to", url=url)

    failure = failure_of(site.copy(site.upload("file", b"x")))

    assert FailureClass.REDIRECT is failure.failure_class
    assert why in failure.message
    assert "secret" not in repr(failure)


@configured(redirect_hosts=("*.example.org",))
def test_redirect_to_a_host_outside_the_list_is_refused(site: Site) -> None:
    failure = failure_of(site.copy(site.upload("file", b"x")))

    assert "host localhost, not in redirect_hosts" in failure.message


@configured(redirect_schemes=("https",))
@fake(pool_tls=False)
def test_redirect_to_http_can_be_forbidden(site: Site) -> None:
    failure = failure_of(site.copy(site.upload("file", b"x")))

    assert FailureClass.REDIRECT is failure.failure_class


def test_pool_that_sends_us_back_is_asked_anew_at_the_door(site: Site) -> None:
    site.dcache.faults.add("bounce", times=1)

    result = site.copy(site.upload("file", b"x"))

    assert (ResultKind.MIRRORED, 4) == (result.kind, result.requests)
    assert [302, 307, 302, 200] == [status for _, _, status in site.asked()]


def test_stale_id_at_the_pool_is_asked_anew_at_the_door(site: Site) -> None:
    site.dcache.faults.add("status", where="pool", status=400, times=1)

    result = site.copy(site.upload("file", b"x"))

    assert (ResultKind.MIRRORED, 4) == (result.kind, result.requests)


def test_kept_connection_that_was_closed_is_tried_again_at_once(site: Site) -> None:
    site.copy(site.upload("a", b"x"))
    site.dcache.close_connections()

    assert ResultKind.MIRRORED is site.copy(site.upload("b", b"x")).kind


def test_kept_connection_that_closes_on_our_request_is_tried_again(site: Site) -> None:
    site.copy(site.upload("a", b"x"))
    site.dcache.faults.add("hang-up", times=1)

    assert ResultKind.MIRRORED is site.copy(site.upload("b", b"x")).kind


def test_new_connection_that_closes_is_a_failure(site: Site) -> None:
    site.dcache.faults.add("hang-up")

    failure = failure_of(site.copy(site.upload("a", b"x")))

    assert FailureClass.TRANSIENT is failure.failure_class


# The job boundary


def test_bug_in_one_copy_fails_that_copy_only(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(MirrorStore, "look", lambda *_: 1 / 0)
        failure = failure_of(site.copy(site.upload("file", b"x")))

    assert FailureClass.TRANSIENT is failure.failure_class
    assert "ZeroDivisionError: division by zero" == failure.message
    assert ResultKind.MIRRORED is site.copy(site.upload("file", b"x")).kind
