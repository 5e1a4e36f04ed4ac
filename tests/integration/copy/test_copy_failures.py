"""One copy at a time: what fails, as what, and what it leaves."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from copy_site import MIB, Site, configured, failure_of
from dcmirror.adapters import curl_handle, linux
from dcmirror.adapters.mirror_store import MirrorStore
from dcmirror.adapters.parts import Part
from dcmirror.core.failures import FailureClass
from dcmirror.core.jobs import AttemptResult, Job, ResultKind
from dcmirror.core.messages import RunJobs
from dcmirror.testing.pki import Pki
from worker_harness import make_settings, worker_in_thread


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
    assert 3 * MIB == failure.needed
    assert "No space left on device" in failure.message
    assert [] == site.leftovers()


def copy_beside(site: Site, job: Job, free: int) -> AttemptResult:
    """Copy, while all but so many bytes are to stay free."""
    space = site.worker.room.space()[0]
    assert space is not None
    site.talk.results.pop(job.task, None)
    site.talk.send(RunJobs((job,), min_free=space - free))
    return site.talk.wait_for(job)[0]


def test_body_of_unknown_size_that_finds_no_room_is_refused_unwritten(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = replace(site.upload("file", size=100 * MIB, seed=1), size=None)
    monkeypatch.setattr(Part, "write", lambda *_: pytest.fail("it was written"))

    failure = failure_of(copy_beside(site, job, 50 * MIB))

    assert (FailureClass.DESTINATION, 100 * MIB) == (
        failure.failure_class,
        failure.needed,
    )
    assert "[destination] min_free" in failure.message
    assert [] == site.leftovers()


def test_body_larger_than_its_event_said_finds_its_room_too(site: Site) -> None:
    job = replace(site.upload("file", size=100 * MIB, seed=1), size=10)

    failure = failure_of(copy_beside(site, job, 50 * MIB))

    assert (FailureClass.DESTINATION, 100 * MIB) == (
        failure.failure_class,
        failure.needed,
    )


def test_body_without_a_length_stops_where_the_room_ends(site: Site) -> None:
    site.dcache.faults.add("chunked")
    job = replace(site.upload("file", size=100 * MIB, seed=1), size=None)

    failure = failure_of(copy_beside(site, job, 50 * MIB))

    assert FailureClass.DESTINATION is failure.failure_class
    assert 40 * MIB < failure.needed <= 60 * MIB
    assert [] == site.leftovers()


def test_body_without_a_length_that_fits_is_copied(site: Site) -> None:
    site.dcache.faults.add("chunked")
    job = replace(site.upload("file", size=3 * MIB, seed=1), size=None)

    assert ResultKind.MIRRORED is copy_beside(site, job, 50 * MIB).kind


def test_what_was_reserved_may_be_written(site: Site) -> None:
    """The supervisor judged it when it handed the job out."""
    job = site.upload("file", size=MIB, seed=1)

    assert ResultKind.MIRRORED is copy_beside(site, job, 0).kind


def test_plain_file_in_the_place_of_the_mirror_is_the_destination(site: Site) -> None:
    site.mirror.rmdir()
    site.mirror.write_text("not mounted")

    failure = failure_of(site.copy(site.upload("file", b"x")))

    assert FailureClass.DESTINATION is failure.failure_class
    assert failure.message.endswith(f"Not a directory: {site.mirror}")


def refuse_claims(patch: pytest.MonkeyPatch, below: str) -> None:
    """Nobody may make a part in that directory."""
    claim = MirrorStore.claim

    def refused(self: MirrorStore, relative: str, expected: Any) -> Part:
        if relative.startswith(below):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return claim(self, relative, expected)

    patch.setattr(MirrorStore, "claim", refused)


def test_one_directory_that_may_not_be_written_is_its_own_files_trouble(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_claims(monkeypatch, "closed/")

    failure = failure_of(site.copy(site.upload("closed/file", b"x")))

    assert FailureClass.TRANSIENT is failure.failure_class
    assert "Permission denied" in failure.message
    assert ResultKind.MIRRORED is site.copy(site.upload("open/file", b"x")).kind


def test_mirror_that_may_not_be_written_is_the_destination(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_claims(monkeypatch, "")
    probes = []

    def refused(self: MirrorStore) -> None:
        probes.append(self)
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(MirrorStore, "probe_write", refused)
    jobs = [site.upload(f"file{number}", b"x") for number in range(5)]

    failures = [failure_of(result) for result in site.talk.run(*jobs)]

    assert {FailureClass.DESTINATION} == {f.failure_class for f in failures}
    assert {f"cannot write in the mirror: Permission denied: {site.mirror}"} == {
        f.message for f in failures
    }
    assert len(probes) < len(jobs)


def test_symlink_in_the_way_is_unsafe(site: Site, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (site.mirror / "dir").symlink_to(tmp_path / "elsewhere")

    failure = failure_of(site.copy(site.upload("dir/file", b"x")))

    assert FailureClass.UNSAFE_PATH is failure.failure_class
    assert [] == list((tmp_path / "elsewhere").iterdir())


def test_bug_in_one_copy_fails_that_copy_only(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(MirrorStore, "look", lambda *_: 1 / 0)
        failure = failure_of(site.copy(site.upload("file", b"x")))

    assert FailureClass.TRANSIENT is failure.failure_class
    assert "ZeroDivisionError: division by zero" == failure.message
    assert ResultKind.MIRRORED is site.copy(site.upload("file", b"x")).kind


NO_DESCRIPTOR = OSError(errno.EMFILE, os.strerror(errno.EMFILE))


def exhausted(*_: object, **__: object) -> Any:
    raise NO_DESCRIPTOR


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (MirrorStore, "look"),
        (MirrorStore, "claim"),
        (Part, "write"),
        (Part, "seal"),
        (Path, "read_bytes"),  # of the proxy
    ],
)
def test_attempt_without_a_descriptor_is_given_back_uncharged(
    site: Site, owner: type, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = site.upload("file", size=MIB, seed=1)
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, exhausted)
        site.worker.transfers.forget_credential()
        result = site.copy(job)

    assert (ResultKind.BUSY, None) == (result.kind, result.failure)
    assert "Too many open files" in (result.reason or "")
    assert [] == site.leftovers()
    assert ResultKind.MIRRORED is site.copy(replace(job, task="again")).kind


def test_host_is_not_down_for_want_of_descriptors(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What libcurl says of them is that it could not connect."""
    job = site.upload("file", b"x")
    site.dcache.stop()
    monkeypatch.setattr(linux, "is_short_of_descriptors", lambda _: True)

    result = site.copy(job)

    assert (ResultKind.BUSY, "Too many open files") == (result.kind, result.reason)


def test_no_socket_for_a_pool_prints_nothing(
    site: Site, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(curl_handle, "socket", SimpleNamespace(socket=exhausted))
        patch.setattr(linux, "is_short_of_descriptors", lambda _: True)
        result = site.copy(site.upload("file", b"x"))

    assert ResultKind.BUSY is result.kind
    assert "" == capfd.readouterr().err
