"""The demo's tree is the same for the same numbers, and has what it is to show."""

from __future__ import annotations

from pathlib import Path

from dcmirror.testing.demo_proof import compare
from dcmirror.testing.demo_tree import RULES, Upload, plan
from dcmirror.testing.fake_namespace import pieces


def test_same_numbers_make_the_same_tree() -> None:
    assert plan(100, 7) == plan(100, 7)
    assert plan(100, 7) != plan(100, 8)


def test_second_version_comes_after_the_first() -> None:
    tree = plan(100, 1)
    versions: dict[str, list[Upload]] = {}
    for upload in tree.uploads:
        versions.setdefault(upload.relative, []).append(upload)
    overwritten = [pair for pair in versions.values() if len(pair) > 1]

    assert len(overwritten) == 5
    assert all(new.size == old.size // 2 + 17 for old, new in overwritten)
    assert all(tree.final[new.relative] == new for _, new in overwritten)


def test_tree_has_empty_and_big_files_and_some_that_nobody_wants() -> None:
    tree = plan(300, 1)
    sizes = {upload.size for upload in tree.uploads}

    assert {0, 64 * 1024 * 1024} <= sizes
    assert len(tree.final) == 300
    assert tree.unwanted
    assert tree.strangers
    assert "exclude *.tmp" in RULES


def test_refused_file_is_uploaded_once_only() -> None:
    tree = plan(300, 1)
    versions = [u for u in tree.uploads if u.relative == tree.forbidden]

    assert len(versions) == 1


def store(mirror: Path, upload: Upload, spoil: bool = False) -> None:
    path = mirror / upload.relative
    path.parent.mkdir(parents=True, exist_ok=True)
    data = bytearray(b"".join(pieces(upload.content)))
    if spoil:
        data[-1] ^= 1
    path.write_bytes(data)


def test_comparison_finds_every_difference(tmp_path: Path) -> None:
    wanted = {name: Upload(name, 1000, seed) for seed, name in enumerate("abcd")}
    for name in "ab":
        store(tmp_path, wanted[name])
    store(tmp_path, wanted["c"], spoil=True)
    store(tmp_path, Upload("e.part", 10, 1))
    found = compare(wanted, tmp_path)

    assert (("d",), ("c",), ("e.part",)) == (
        found.missing,
        found.different,
        found.surplus,
    )
    assert not found.is_equal


def test_equal_trees_have_equal_digests(tmp_path: Path) -> None:
    wanted = {name: Upload(name, 1000, seed) for seed, name in enumerate("ab")}
    for upload in wanted.values():
        store(tmp_path, upload)
    found = compare(wanted, tmp_path)

    assert found.is_equal
    assert (found.files, found.bytes) == (2, 2000)
