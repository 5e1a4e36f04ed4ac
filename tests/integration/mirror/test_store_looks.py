"""The mirror on real file systems: what a look finds, and digests."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest

from dcmirror.adapters.mirror_store import ABSENT, MirrorStore, TargetChanged
from dcmirror.core import marks
from dcmirror.core.checksums import adler32
from mirror_words import publish


def test_a_published_file_is_found_with_its_mark(store: MirrorStore) -> None:
    result = publish(store, "a/b/c", b"content", 1.5e9)
    look = store.look("a/b/c")

    assert (result.error, result.changed) == (None, False)
    assert look.exists
    assert look.mark == result.mark
    assert (look.size, look.mtime_ns) == (7, 1_500_000_000 * 10**9)


@pytest.mark.usefixtures("any_kernel")
@pytest.mark.parametrize("relative", ["file", "no/such/file"])
def test_what_is_not_there_is_absent(store: MirrorStore, relative: str) -> None:
    assert store.look(relative) == ABSENT


def test_a_mark_counts_only_for_the_file_as_it_is(
    store: MirrorStore, root: Path
) -> None:
    publish(store, "file", b"content", 1.5e9)
    os.utime(root / "file", (1.6e9, 1.6e9))
    touched = store.look("file")
    (root / "file").write_bytes(b"CONTENT!")

    assert (touched.exists, touched.mark) == (True, None)
    assert store.look("file").mark is None


def test_a_foreign_file_has_no_mark(store: MirrorStore, root: Path) -> None:
    (root / "file").write_bytes(b"x")
    look = store.look("file")
    os.setxattr(root / "file", marks.ATTRIBUTE, b"\xff garbage")

    assert (look.exists, look.size, look.mark) == (True, 1, None)
    assert store.look("file").mark is None


@pytest.mark.parametrize("mtime", [None, -5.0, 1e300, float("nan"), float("inf")])
def test_without_a_usable_time_the_file_is_of_now(
    store: MirrorStore, root: Path, mtime: float | None
) -> None:
    before = time.time()
    result = publish(store, "file", b"content", mtime)

    assert result.mark is not None
    assert result.mark.mtime_ns == (root / "file").stat().st_mtime_ns
    assert before - 1 <= result.mark.mtime_ns / 1e9 <= time.time() + 1


def test_the_mark_holds_the_time_that_the_file_system_kept(
    store: MirrorStore, root: Path
) -> None:
    result = publish(store, "file", b"content", 1_600_000_000.123456)

    assert result.mark is not None
    assert result.mark.mtime_ns == (root / "file").stat().st_mtime_ns
    assert round(result.mark.mtime_ns / 1e9, 3) == 1_600_000_000.123


def test_digest_steps_end_with_the_adler_32_of_the_file(
    store: MirrorStore, root: Path
) -> None:
    content = random.Random(1).randbytes(2_500_000)
    (root / "file").write_bytes(content)
    steps = list(store.digest_steps("file", store.look("file")))

    assert steps[-1] == adler32(content, 1)
    assert len(steps) >= 3


def test_digest_of_an_empty_file_is_one(store: MirrorStore, root: Path) -> None:
    (root / "file").touch()

    assert [1] == list(store.digest_steps("file", store.look("file")))


def test_digest_steps_notice_that_the_file_changed(
    store: MirrorStore, root: Path
) -> None:
    (root / "file").write_bytes(b"one")
    look = store.look("file")
    (root / "other").write_bytes(b"two")
    (root / "other").rename(root / "file")

    with pytest.raises(TargetChanged):
        list(store.digest_steps("file", look))
    (root / "file").unlink()
    with pytest.raises(TargetChanged):
        list(store.digest_steps("file", look))
