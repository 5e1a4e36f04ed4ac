"""One copy at a time: for those who want it anew, in haste, or proved."""

from __future__ import annotations

import os
from dataclasses import replace

from copy_site import Site
from dcmirror.core.jobs import Job, JobKind, ResultKind


def reconciled(job: Job, **over: object) -> Job:
    """The job that a listing would make of it."""
    return replace(job, kind=JobKind.RECONCILE, **over)  # type: ignore[arg-type]


def rot(site: Site, name: str, data: bytes) -> None:
    """Other bytes under the same mark, size and time."""
    path = site.mirror / name
    now = path.stat()
    path.write_bytes(data)
    os.utime(path, ns=(now.st_atime_ns, now.st_mtime_ns))


def test_a_copy_that_rotted_is_fetched_anew_though_its_mark_speaks_for_it(
    site: Site,
) -> None:
    job = site.upload("file", b"content")
    site.copy(job)
    rot(site, "file", b"CONTENT")
    assert ResultKind.ADOPTED is site.copy(job).kind
    inode = (site.mirror / "file").stat().st_ino

    result = site.copy(replace(job, refetch=True))

    assert ResultKind.MIRRORED is result.kind
    assert b"content" == site.content("file")
    assert inode != (site.mirror / "file").stat().st_ino
    assert [] == site.leftovers()


def test_what_cannot_be_fetched_anew_stays_as_it_is(site: Site) -> None:
    job = site.upload("file", b"content")
    site.copy(job)
    site.dcache.faults.add("status", status=403)

    result = site.copy(replace(job, refetch=True))

    assert ResultKind.FAILED is result.kind
    assert b"content" == site.content("file")


def test_the_right_size_is_enough_for_who_trusts_it_and_is_said_so(site: Site) -> None:
    job = site.upload("file", b"content")
    (site.mirror / "file").write_bytes(b"CONTENT")
    site.forget_requests()

    result = site.copy(reconciled(job, trusts_size=True))

    assert ResultKind.ADOPTED is result.kind
    assert (False, None, job.pnfsid) == (
        result.copy.verified,
        result.copy.adler32,
        result.copy.pnfsid,
    )
    assert [] == site.asked()
    assert b"CONTENT" == site.content("file")


def test_another_size_is_not_trusted(site: Site) -> None:
    job = site.upload("file", b"content")
    (site.mirror / "file").write_bytes(b"CONT")

    assert ResultKind.MIRRORED is site.copy(reconciled(job, trusts_size=True)).kind
    assert b"content" == site.content("file")


def test_what_a_mark_proves_is_not_merely_trusted(site: Site) -> None:
    job = site.upload("file", b"content")
    site.copy(job)

    result = site.copy(reconciled(job, trusts_size=True))

    assert (ResultKind.ADOPTED, True) == (result.kind, result.copy.verified)


def test_an_unverified_row_is_proved_by_who_asks_for_proof(site: Site) -> None:
    job = site.upload("file", b"content")
    (site.mirror / "file").write_bytes(b"content")
    trusted = site.copy(reconciled(job, trusts_size=True)).copy

    event = site.copy(replace(job, known=trusted))
    proved = site.copy(reconciled(job, known=trusted))

    assert (ResultKind.ADOPTED, False) == (event.kind, event.copy.verified)
    assert (ResultKind.ADOPTED, True) == (proved.kind, proved.copy.verified)
    assert site.dcache.files[job.path].adler32 == proved.copy.adler32


def test_an_unverified_row_that_is_wrong_is_replaced_by_who_asks_for_proof(
    site: Site,
) -> None:
    job = site.upload("file", b"content")
    (site.mirror / "file").write_bytes(b"CONTENT")
    trusted = site.copy(reconciled(job, trusts_size=True)).copy

    result = site.copy(reconciled(job, known=trusted))

    assert ResultKind.MIRRORED is result.kind
    assert b"content" == site.content("file")


def test_the_time_that_a_listing_told_is_the_copys(site: Site) -> None:
    job = replace(site.upload("file", b"content"), event_time=None)
    site.copy(reconciled(job, modified=1_234_567_890.0))

    told = (site.mirror / "file").stat().st_mtime
    assert told in (1_234_567_890.0, float(int(site.dcache.files[job.path].mtime)))
