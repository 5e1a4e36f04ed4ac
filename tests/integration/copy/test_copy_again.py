"""One copy at a time: what the mirror or the catalogue has already."""

from __future__ import annotations

import fcntl
import os
from dataclasses import replace
from typing import Any

import pytest

from copy_site import MIB, Site, configured
from dcmirror.core import marks
from dcmirror.core.jobs import CopyRecord, Job, ResultKind
from dcmirror.testing.fake_namespace import pieces


def test_same_event_again_is_adopted_without_a_request(site: Site) -> None:
    job = site.upload("file", b"content")
    first = site.copy(job)
    site.forget_requests()

    second = site.copy(job)

    assert ResultKind.ADOPTED is second.kind
    assert [] == site.asked()
    assert replace(first.copy, copied_at=0.0) == replace(second.copy, copied_at=0.0)


def test_what_the_books_do_not_know_is_made_durable_before_it_is_adopted(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill may have come between the rename and the sync of the directory."""
    synced: list[str] = []
    monkeypatch.setattr(site.store, "sync_directories", synced.append)
    old = site.copy(site.upload("file", b"old")).copy
    job = site.upload("file", b"newer")
    new = site.copy(job).copy
    assert old is not None
    assert new is not None
    assert synced == []

    for known in (None, old, replace(new, mtime_ns=1), new):
        assert site.copy(replace(job, known=known)).kind is ResultKind.ADOPTED

    assert synced == ["file"] * 3


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
