"""The mirror on real file systems: paths that lead out, directories, modes."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from dcmirror.adapters.mirror_store import ABSENT, MirrorStore
from dcmirror.errors import UnsafePathError
from dcmirror.processes.publisher import Publisher
from helpers import wait_until
from mirror_words import names_below, publish
from store_children import finish, make_store


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
    ):
        with pytest.raises(OSError, match="mirror directory is not there") as caught:
            call()
        assert caught.value.errno == errno.ENODEV
    (tmp_path / "mirror").mkdir()

    store.probe_write()
    assert publish(store, "a", b"x").error is None
