"""The mirror on real file systems: safe paths, claims, parts, races and kills."""

from __future__ import annotations

import errno
import fcntl
import multiprocessing
import os
import random
import stat
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dcmirror.adapters import linux, parts
from dcmirror.adapters.mirror_store import (
    ABSENT,
    MirrorStore,
    PartBusy,
    TargetChanged,
)
from dcmirror.core import marks
from dcmirror.core.checksums import adler32
from dcmirror.errors import UnsafePathError
from dcmirror.processes.publisher import Published, Publisher
from helpers import wait_until
from store_children import (
    TAG,
    finish,
    make_store,
    mark_of,
    publish_for_ever,
    race_for_one_name,
    results_of,
)

children = multiprocessing.get_context("forkserver")
children.set_forkserver_preload(["store_children"])


@pytest.fixture(params=["disk", "tmpfs"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A mirror on the file system of the test directory, and one on tmpfs."""
    if request.param == "disk":
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        yield Path(directory)


@pytest.fixture(params=["openat2", "walk"])
def any_kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With openat2, and as on a kernel that has none."""
    if request.param == "walk":

        def missing(*_: object) -> int:
            raise NotImplementedError

        monkeypatch.setattr(linux, "open_beneath", missing)


@pytest.fixture
def store(root: Path) -> MirrorStore:
    return make_store(root)


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[object]:
    """A function that mounts a small file system; skips where we are not allowed."""
    points: list[Path] = []

    def mount(kind: str, options: str = "size=1m") -> Path:
        point = tmp_path / f"mount-{len(points)}"
        point.mkdir()
        command = ["mount", "-t", kind, "-o", options, kind, str(point)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"cannot mount {kind}: {done.stderr.strip()}")
        points.append(point)
        return point

    yield mount
    for point in points:
        subprocess.run(["umount", "--lazy", str(point)], check=True)


def publish(
    store: MirrorStore, relative: str, content: bytes, mtime: float | None = None
) -> Published:
    publisher = Publisher(store)
    publisher.submit(finish(store, relative, content, mtime))
    publisher.start()
    publisher.close(30)
    (result,) = publisher.take_results()
    return result


def names_below(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


# Looking


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


# Paths that lead out


@pytest.mark.usefixtures("any_kernel")
@pytest.mark.parametrize("relative", ["link/file", "a/link/file", "a/link/deep/file"])
def test_a_symlink_as_a_parent_leads_nowhere(
    store: MirrorStore,
    root: Path,
    tmp_path_factory: pytest.TempPathFactory,
    relative: str,
) -> None:
    outside = tmp_path_factory.mktemp("outside")
    (root / "a").mkdir()
    (root / "link").symlink_to(outside)
    (root / "a/link").symlink_to(outside)

    with pytest.raises(UnsafePathError, match="link' in the mirror is a symbolic link"):
        store.look(relative)
    with pytest.raises(UnsafePathError, match="link' in the mirror is a symbolic link"):
        store.claim(relative, ABSENT)
    assert names_below(outside) == []


@pytest.mark.usefixtures("any_kernel")
def test_a_symlink_inside_the_mirror_is_not_followed_either(
    store: MirrorStore, root: Path
) -> None:
    (root / "real").mkdir()
    (root / "link").symlink_to("real")

    with pytest.raises(UnsafePathError):
        store.claim("link/file", ABSENT)
    assert names_below(root) == ["link", "real"]


@pytest.mark.usefixtures("any_kernel")
@pytest.mark.parametrize(
    "relative",
    ["", "/etc/x", "..", "../x", "a/../x", "a/..", ".", "a/./x", "a//x", "a/", "a\0b"],
)
def test_a_path_that_is_not_plain_is_refused(
    store: MirrorStore, root: Path, relative: str
) -> None:
    (root / "a").mkdir()

    with pytest.raises(UnsafePathError):
        store.look(relative)
    with pytest.raises(UnsafePathError):
        store.claim(relative, ABSENT)
    assert names_below(root) == ["a"]


@pytest.mark.parametrize("relative", ["...", ".hidden", "a..b/c", "..a/b.", "a/..."])
def test_dots_in_names_are_fine(store: MirrorStore, root: Path, relative: str) -> None:
    assert publish(store, relative, b"x").error is None
    assert (root / relative).read_bytes() == b"x"


@pytest.mark.usefixtures("any_kernel")
def test_a_file_as_a_parent_is_named(store: MirrorStore, root: Path) -> None:
    (root / "a").touch()

    with pytest.raises(UnsafePathError, match="'a' in the mirror is a file"):
        store.look("a/b")
    with pytest.raises(UnsafePathError, match="'a' in the mirror is a file"):
        store.claim("a/b/c", ABSENT)


@pytest.mark.parametrize("kind", ["symlink", "directory", "fifo"])
def test_a_final_name_that_is_no_plain_file_is_refused(
    store: MirrorStore, root: Path, kind: str
) -> None:
    if kind == "symlink":
        (root / "name").symlink_to("/etc/passwd")
    elif kind == "directory":
        (root / "name").mkdir()
    else:
        os.mkfifo(root / "name")

    with pytest.raises(UnsafePathError, match="not a plain file"):
        store.look("name")


def test_a_symlink_that_replaces_the_parent_after_the_claim_gets_nothing(
    store: MirrorStore, root: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("outside")
    finished = finish(store, "a/file", b"content")
    (root / "a").rename(root / "moved")
    (root / "a").symlink_to(outside)
    publisher = Publisher(store)
    publisher.submit(finished)
    publisher.start()
    publisher.close(30)
    (result,) = publisher.take_results()

    assert (result.changed, result.error) == (True, None)
    assert names_below(outside) == []
    assert not (root / "moved/file").exists()


def test_a_planted_part_symlink_is_not_written_through(
    store: MirrorStore, root: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    victim = tmp_path_factory.mktemp("outside") / "victim"
    victim.write_bytes(b"precious")
    (root / "file.part").symlink_to(victim)
    result = publish(store, "file", b"content")

    assert result.error is None
    assert victim.read_bytes() == b"precious"
    assert (root / "file").read_bytes() == b"content"


# Directories and modes


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_modes_do_not_depend_on_the_umask(root: Path, mask: int) -> None:
    old = os.umask(mask)
    try:
        store = make_store(root, mode=0o2775)
        assert publish(store, "a/b/file", b"x").error is None
    finally:
        os.umask(old)

    assert stat.S_IMODE((root / "a").stat().st_mode) == 0o2775
    assert stat.S_IMODE((root / "a/b").stat().st_mode) == 0o2775
    assert stat.S_IMODE((root / "a/b/file").stat().st_mode) == 0o664


def test_directories_that_were_there_keep_their_mode(root: Path) -> None:
    (root / "a").mkdir(mode=0o700)
    publish(make_store(root, mode=0o2775), "a/b/file", b"x")

    assert stat.S_IMODE((root / "a").stat().st_mode) == 0o700


def test_a_part_knows_which_directories_were_made(
    store: MirrorStore, root: Path
) -> None:
    (root / "a").mkdir()
    part = store.claim("a/b/c/file", ABSENT)
    again = store.claim("a/b/c/other", ABSENT)

    assert part.made_directories == ("a/b", "a/b/c")
    assert again.made_directories == ()
    part.discard()
    again.discard()


def test_a_directory_removed_meanwhile_is_made_again(
    store: MirrorStore, root: Path
) -> None:
    publish(store, "a/b/one", b"x")
    (root / "a/b/one").unlink()
    (root / "a/b").rmdir()
    (root / "a").rmdir()

    assert publish(store, "a/b/two", b"x").error is None
    assert names_below(root) == ["a", "a/b", "a/b/two"]


def test_a_directory_replaced_meanwhile_is_not_confused_with_the_new_one(
    store: MirrorStore, root: Path
) -> None:
    publish(store, "a/one", b"x")
    (root / "a").rename(root / "old")
    (root / "a").mkdir()

    assert publish(store, "a/two", b"x").error is None
    assert names_below(root) == ["a", "a/two", "old", "old/one"]


def test_a_root_replaced_meanwhile_is_noticed(tmp_path: Path) -> None:
    root = tmp_path / "mirror"
    root.mkdir()
    store = make_store(root)
    publish(store, "a/one", b"x")
    root.rename(tmp_path / "old")
    root.mkdir()

    wait_until(lambda: store.look("a/one") == ABSENT, what="the new root is seen")
    assert publish(store, "a/two", b"x").error is None
    assert names_below(root) == ["a", "a/two"]


def test_a_root_that_goes_away_is_trouble_at_the_destination(tmp_path: Path) -> None:
    (tmp_path / "mirror").mkdir()
    store = make_store(tmp_path / "mirror")
    store.claim("a/file", ABSENT).discard()
    (tmp_path / "mirror/a").rmdir()
    (tmp_path / "mirror").rmdir()

    with pytest.raises(OSError, match="mirror directory is not there"):
        store.claim("a/file", ABSENT)


def test_a_missing_root_is_trouble_at_the_destination_until_it_comes(
    tmp_path: Path,
) -> None:
    store = make_store(tmp_path / "mirror")
    for call in (
        lambda: store.look("a"),
        lambda: store.claim("a", ABSENT),
        store.probe_write,
        store.free_bytes,
    ):
        with pytest.raises(OSError, match="mirror directory is not there") as caught:
            call()
        assert caught.value.errno == errno.ENODEV
    (tmp_path / "mirror").mkdir()

    store.probe_write()
    assert publish(store, "a", b"x").error is None


# Parts


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


# Shared mirrors


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


# What the disk can do


def test_a_full_disk_is_told_and_the_part_can_be_discarded(mounted: object) -> None:
    root = mounted("tmpfs")  # type: ignore[operator]
    store = make_store(root)
    part = store.claim("file", ABSENT)
    with pytest.raises(OSError, match="No space left") as caught:
        part.write(bytes(2_000_000))

    assert caught.value.errno == errno.ENOSPC
    assert store.free_bytes() == 0
    part.discard()
    assert store.free_bytes() > 900_000
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


def test_free_bytes_are_those_of_an_unprivileged_user(
    store: MirrorStore, root: Path
) -> None:
    room = os.statvfs(root)

    assert abs(store.free_bytes() - room.f_bavail * room.f_frsize) < 2**30
    assert not store.is_network_filesystem


def test_probe_write_leaves_nothing(store: MirrorStore, root: Path) -> None:
    store.probe_write()

    assert names_below(root) == []


def test_sync_directories_of_a_file_that_is_there(
    store: MirrorStore, root: Path
) -> None:
    (root / "a/b").mkdir(parents=True)
    (root / "a/b/file").touch()

    store.sync_directories("a/b/file")
    assert store.tree.unproved("a/b") == []


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


# Races and kills


def test_threads_that_race_for_one_name_end_in_one_good_copy(
    store: MirrorStore, root: Path
) -> None:
    publisher = Publisher(store)
    publisher.start()
    results: list[Published] = []
    for number in range(10):
        barrier = threading.Barrier(4)
        submitted: list[bytes] = []

        def run(content: bytes, relative: str) -> None:
            barrier.wait(10)  # noqa: B023
            try:
                finished = finish(store, relative, content)
            except PartBusy:
                return
            submitted.append(content)  # noqa: B023
            publisher.submit(finished)

        threads = [
            threading.Thread(target=run, args=(bytes([n]) * 5000, f"r/{number}"))
            for n in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        results += results_of(publisher, len(submitted))

        assert (root / f"r/{number}").read_bytes() in submitted
    publisher.close(30)

    assert [result.error for result in results if result.error] == []
    assert names_below(root) == ["r", *sorted(f"r/{number}" for number in range(10))]


def test_processes_that_race_for_one_name_end_in_one_good_copy(root: Path) -> None:
    contents = [bytes([n]) * 20_000 for n in range(3)]
    pipes, racers = [], []
    for content in contents:
        receive, send = children.Pipe(duplex=False)
        racer = children.Process(
            target=race_for_one_name, args=(root, content, 30, send)
        )
        racer.start()
        send.close()
        pipes.append(receive)
        racers.append(racer)
    outcomes = [pipe.recv() for pipe in pipes if pipe.poll(60)]
    for racer in racers:
        racer.join(30)
    for pipe in pipes:
        pipe.close()

    assert len(outcomes) == 3
    assert {outcome for one in outcomes for outcome in one} <= {
        "published",
        "busy",
        "changed",
    }
    for number in range(30):
        assert "published" in {one[number] for one in outcomes}
        assert (root / f"race/{number}").read_bytes() in contents
    assert [name for name in names_below(root) if "part" in name] == []


@pytest.mark.parametrize("sync", ["none", "group"])
def test_a_kill_at_any_moment_leaves_whole_files_and_parts_that_can_be_replaced(
    root: Path, sync: str
) -> None:
    rng = random.Random(7)
    found_parts = kills = 0
    while kills < 8 or (found_parts == 0 and kills < 40):
        receive, send = children.Pipe(duplex=False)
        child = children.Process(
            target=publish_for_ever, args=(root, kills, sync, send)
        )
        child.start()
        send.close()
        assert receive.poll(60)
        # The moment of the kill is the point of this pause.
        threading.Event().wait(rng.uniform(0, 0.04))
        child.kill()
        child.join(30)
        receive.close()
        kills += 1
        found_parts += assert_all_files_whole(root)

    store = make_store(root)
    for name in [f"d{n % 3}/f{n}" for n in range(10)]:
        assert publish(store, name, b"after all").error is None
    assert [name for name in names_below(root) if name.endswith(".part")] == []
    assert found_parts > 0, "no kill hit a part: the pauses do not fit this machine"


def assert_all_files_whole(root: Path) -> int:
    """Every final name has right bytes and mark; returns how many parts lie about."""
    store = make_store(root)
    found_parts = 0
    for name in names_below(root):
        if not (root / name).is_file():
            continue
        if name.endswith(".part"):
            found_parts += 1
            continue
        look = store.look(name)
        assert look.mark is not None, name
        assert look.mark.adler32 == adler32((root / name).read_bytes(), 1)
    return found_parts


# Linux


def test_syncfs_reports_a_bad_descriptor() -> None:
    with pytest.raises(OSError, match="syncfs") as caught:
        linux.syncfs(-1)
    assert caught.value.errno == errno.EBADF


def test_file_systems_are_known_by_their_magic(tmp_path: Path) -> None:
    assert linux.file_system_magic("/dev/shm") == 0x01021994
    assert linux.network_file_system(str(tmp_path)) is None
    with pytest.raises(FileNotFoundError):
        linux.file_system_magic(str(tmp_path / "missing"))


def test_a_pipe_gets_the_size_that_was_asked_for() -> None:
    reading, writing = os.pipe()
    try:
        assert linux.set_pipe_size(writing, 262_144) == 262_144
        assert linux.set_pipe_size(writing, 4096) == 4096
    finally:
        os.close(reading)
        os.close(writing)


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
