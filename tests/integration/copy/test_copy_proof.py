"""One copy at a time: sizes and checksums."""

from __future__ import annotations

import zlib
from dataclasses import replace

import pytest

from copy_site import MIB, Site, configured, failure_of
from dcmirror.core.failures import FailureClass
from dcmirror.core.jobs import ResultKind


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
