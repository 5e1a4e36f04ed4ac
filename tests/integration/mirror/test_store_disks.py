"""The mirror on real file systems: what disks can do and cannot."""

from __future__ import annotations

import errno
import os
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dcmirror.adapters import directory_probe
from dcmirror.adapters.mirror_store import ABSENT, MirrorStore
from dcmirror.core import marks
from mirror_words import names_below, publish
from store_children import TAG, make_store


def test_a_full_disk_is_told_and_the_part_can_be_discarded(mounted: object) -> None:
    root = mounted("tmpfs")  # type: ignore[operator]
    store = make_store(root)
    part = store.claim("file", ABSENT)
    with pytest.raises(OSError, match="No space left") as caught:
        part.write(bytes(2_000_000))

    assert caught.value.errno == errno.ENOSPC
    assert shutil.disk_usage(root).free == 0
    part.discard()
    assert shutil.disk_usage(root).free > 900_000
    store.probe_write()
    assert names_below(root) == []


def test_no_room_for_a_new_name_is_told_and_leaves_nothing(mounted: object) -> None:
    root = mounted("tmpfs", "nr_inodes=8")  # type: ignore[operator]
    store = make_store(root)
    claimed = []
    with pytest.raises(OSError, match="No space left"):
        claimed.extend(store.claim(f"f{number}", ABSENT) for number in range(9))

    assert len(names_below(root)) < 8
    assert all(os.getxattr(root / n, marks.ATTRIBUTE) for n in names_below(root))


def test_a_read_only_mirror_is_told(mounted: object) -> None:
    root = mounted("tmpfs", "ro")  # type: ignore[operator]
    with pytest.raises(OSError, match="Read-only") as caught:
        make_store(root).probe_write()
    assert caught.value.errno == errno.EROFS
    with pytest.raises(OSError, match="Read-only"):
        make_store(root).claim("a/file", ABSENT)


def test_without_attributes_there_is_no_mark_and_parts_carry_the_tag(
    mounted: object,
) -> None:
    root = mounted("ramfs", "rw")  # type: ignore[operator]
    store = make_store(root)
    part = store.claim("a", ABSENT)
    names = names_below(root)
    part.write(b"half")
    part.close()
    results = [publish(store, name, b"x") for name in ("a.part", "a")]
    look = store.look("a")

    assert names == [f".a.{TAG}.part"]
    assert [result.error for result in results] == [None, None]
    assert (look.exists, look.mark) == (True, None)
    assert names_below(root) == ["a", "a.part"]


def test_probe_write_leaves_nothing(store: MirrorStore, root: Path) -> None:
    store.probe_write()

    assert names_below(root) == []


@contextmanager
def room_for_a_little() -> Iterator[None]:
    """Files may have 1000 bytes: of a larger write the kernel takes only a part."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_probe_that_is_written_in_part_has_failed(
    store: MirrorStore, root: Path
) -> None:
    with room_for_a_little():
        state = directory_probe.look_at(root)
        with pytest.raises(OSError, match="File too large"):
            store.probe_write()

    assert state.trouble is not None
    assert names_below(root) == []


def test_data_that_is_written_in_part_is_trouble(store: MirrorStore) -> None:
    part = store.claim("file", ABSENT)
    with room_for_a_little(), pytest.raises(OSError, match="File too large"):
        part.write(memoryview(bytes(2000)))

    part.discard()


def test_sync_directories_of_a_file_that_is_there(
    store: MirrorStore, root: Path
) -> None:
    (root / "a/b").mkdir(parents=True)
    (root / "a/b/file").touch()

    store.sync_directories("a/b/file")
    assert store.tree.unproved("a/b") == []
