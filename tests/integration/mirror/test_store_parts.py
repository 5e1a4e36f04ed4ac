"""The mirror on real file systems: parts, alone and beside other instances."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from pathlib import Path

import pytest

from dcmirror.adapters import parts
from dcmirror.adapters.mirror_store import ABSENT, MirrorStore, PartBusy, TargetChanged
from mirror_words import names_below, publish
from store_children import TAG, finish, make_store, mark_of


def test_a_live_part_is_busy(store: MirrorStore, root: Path) -> None:
    part = store.claim("a/file", ABSENT)
    with pytest.raises(PartBusy):
        make_store(root).claim("a/file", ABSENT)
    part.discard()

    make_store(root).claim("a/file", ABSENT).discard()
    assert names_below(root) == ["a"]


def test_a_left_over_part_is_made_anew(store: MirrorStore, root: Path) -> None:
    part = store.claim("file", ABSENT)
    part.write(b"half of a former attempt")
    part.close()
    left_over = (root / "file.part").stat().st_ino
    keeper = os.open(root / "file.part", os.O_RDONLY)  # so that the inode stays in use
    new = store.claim("file", ABSENT)

    assert new.identity[1] != left_over
    assert os.fstat(new.fd).st_size == 0
    new.discard()
    os.close(keeper)


def test_a_left_over_part_with_its_final_mark_is_made_anew(
    store: MirrorStore, root: Path
) -> None:
    finished = finish(store, "file", b"content")
    finished.part.seal(finished.mark, None)
    finished.part.close()

    assert publish(store, "file", b"other").error is None
    assert names_below(root) == ["file"]


def test_a_mirrored_file_with_a_parts_name_is_left_alone(
    store: MirrorStore, root: Path
) -> None:
    publish(store, "a.part", b"a file of that name")
    part = store.claim("a", ABSENT)
    names = names_below(root)
    part.discard()
    result = publish(store, "a", b"a")

    assert "a.part" in names
    assert [name for name in names if name.startswith(".dcmirror-")] == [part.part_name]
    assert result.error is None
    assert (root / "a.part").read_bytes() == b"a file of that name"
    assert names_below(root) == ["a", "a.part"]


def test_a_strangers_file_with_a_parts_name_is_left_alone(
    store: MirrorStore, root: Path
) -> None:
    (root / "a.part").write_bytes(b"not ours")

    assert publish(store, "a", b"a").error is None
    assert (root / "a.part").read_bytes() == b"not ours"
    assert names_below(root) == ["a", "a.part"]


def test_the_part_of_a_part_name_can_be_mirrored_too(
    store: MirrorStore, root: Path
) -> None:
    for name in ("a.part.part", "a.part", "a"):
        assert publish(store, name, name.encode()).error is None
    for name in ("a", "a.part", "a.part.part"):
        assert publish(store, name, b"again " + name.encode()).error is None

    assert names_below(root) == ["a", "a.part", "a.part.part"]
    assert (root / "a.part").read_bytes() == b"again a.part"


def test_a_name_of_255_bytes_can_be_mirrored(store: MirrorStore, root: Path) -> None:
    name = "ü" * 127 + "x"

    assert publish(store, name, b"x").error is None
    assert names_below(root) == [name]


def test_discard_leaves_a_part_that_is_not_ours(store: MirrorStore, root: Path) -> None:
    part = store.claim("file", ABSENT)
    (root / "file.part").unlink()
    (root / "file.part").write_bytes(b"somebody else's")
    part.discard()
    part.discard()

    assert (root / "file.part").read_bytes() == b"somebody else's"


def test_a_claim_for_a_file_that_changed_since_the_look_is_refused(
    store: MirrorStore, root: Path
) -> None:
    publish(store, "file", b"one", 1.5e9)
    old = store.look("file")
    publish(store, "file", b"two", 1.6e9)

    with pytest.raises(TargetChanged):
        store.claim("file", old)
    assert names_below(root) == ["file"]


def test_a_part_that_lost_its_lock_race_is_not_used(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process unlinks our part as a stale one between our open and our lock."""
    flock = fcntl.flock
    raced = []

    def race(fd: int, operation: int) -> None:
        if not raced:
            raced.append(fd)
            (root / "file.part").unlink()
        flock(fd, operation)

    monkeypatch.setattr(fcntl, "flock", race)
    part = make_store(root).claim("file", ABSENT)

    assert (root / "file.part").stat().st_ino == part.identity[1]
    part.discard()


def test_a_mark_that_does_not_fit_the_size_is_not_written(store: MirrorStore) -> None:
    part = store.claim("file", ABSENT)
    part.write(b"content")
    with pytest.raises(OSError, match="7 bytes, not 3"):
        part.seal(mark_of(b"abc"), None)
    part.discard()


def test_a_busy_stale_part_is_not_removed(store: MirrorStore, root: Path) -> None:
    part = store.claim("file", ABSENT)
    directory_fd = os.open(root, os.O_PATH)
    try:
        with pytest.raises(PartBusy):
            parts.remove_stale(directory_fd, "file.part", tagged=False)
    finally:
        os.close(directory_fd)
    part.discard()


def test_shared_parts_carry_the_tag(root: Path) -> None:
    part = make_store(root, shared=True).claim("file", ABSENT)

    assert names_below(root) == [f".file.{TAG}.part"]
    part.discard()


def test_another_instances_fresh_part_is_busy(root: Path) -> None:
    theirs = make_store(root, tag="11111111", shared=True).claim("file", ABSENT)
    theirs.write(b"x")
    theirs.close()  # no lock: as seen from another host
    with pytest.raises(PartBusy):
        make_store(root, shared=True).claim("file", ABSENT)

    assert names_below(root) == [".file.11111111.part"]


def test_another_instances_old_part_is_no_obstacle(root: Path) -> None:
    theirs = make_store(root, tag="11111111", shared=True).claim("file", ABSENT)
    theirs.close()
    long_ago = time.time() - 31
    os.utime(root / ".file.11111111.part", (long_ago, long_ago))

    make_store(root, shared=True).claim("file", ABSENT).discard()
    assert names_below(root) == [".file.11111111.part"]


def test_parts_of_other_files_are_no_obstacle(root: Path) -> None:
    ours = make_store(root, shared=True)
    for name in ("file2", "fil", "fi[l]e"):
        make_store(root, tag="11111111", shared=True).claim(name, ABSENT).close()

    ours.claim("file", ABSENT).discard()
    ours.claim("fi?e", ABSENT).discard()


def test_of_two_instances_that_claim_at_once_one_goes_on(root: Path) -> None:
    stores = [make_store(root, tag=tag, shared=True) for tag in ("1" * 8, "2" * 8)]
    for number in range(20):
        barrier = threading.Barrier(2)
        claimed, errors = [], []

        def claim(store: MirrorStore, relative: str) -> None:
            barrier.wait(10)  # noqa: B023
            try:
                claimed.append(store.claim(relative, ABSENT))  # noqa: B023
            except PartBusy as error:
                errors.append(error)  # noqa: B023

        threads = [
            threading.Thread(target=claim, args=(store, f"f{number}"))
            for store in stores
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)

        assert (len(claimed), len(errors)) == (1, 1)
        claimed[0].discard()


def test_the_sweep_removes_dead_parts_of_ours_and_nothing_else(
    store: MirrorStore, root: Path
) -> None:
    dead = store.claim("a/dead", ABSENT)
    dead.write(b"x")
    dead.close()
    sealed = finish(store, "sealed", b"x")
    sealed.part.seal(sealed.mark, None)
    sealed.part.close()
    live = store.claim("a/live", ABSENT)
    (root / "strange.part").write_bytes(b"x")
    publish(store, "mirrored.part", b"x")
    (root / "out").symlink_to("/tmp")

    assert ["a/dead.part", "sealed.part"] == sorted(make_store(root).sweep_own_parts())
    assert names_below(root) == [
        "a",
        "a/live.part",
        "mirrored.part",
        "out",
        "strange.part",
    ]
    live.discard()


def test_the_sweep_of_a_shared_mirror_leaves_other_instances_parts(root: Path) -> None:
    for tag in (TAG, "11111111"):
        make_store(root, tag=tag, shared=True).claim(f"f{tag}", ABSENT).close()
    swept = list(make_store(root, shared=True).sweep_own_parts())

    assert swept == [f".f{TAG}.{TAG}.part"]
    assert names_below(root) == [".f11111111.11111111.part"]
