"""Lists of files: paths, or dumps with sizes, whatever is in the lines."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcmirror.core.name_list import BadLine, ListForm, NamedFile, form_of, read_names
from dcmirror.core.paths import PathMap

PATHS = PathMap("https://door/", "/data", "raw")


def read(*lines: bytes, under: str | None = None) -> list[NamedFile | BadLine]:
    return list(read_names(lines, PATHS, under))


def test_each_line_is_a_path_whatever_spaces_and_numbers_it_has() -> None:
    found = read(b"/data/raw/a\n", b"/data/raw/run 12\r\n", b"/data/raw/\xc3\xa9\n")

    assert found == [
        NamedFile(1, "/data/raw/a"),
        NamedFile(2, "/data/raw/run 12"),
        NamedFile(3, "/data/raw/é"),
    ]


def test_a_dump_has_sizes_and_perhaps_checksums() -> None:
    found = read(
        b"/data/raw/a 1000 00000001\n",
        b"/data/raw/run 12\t5\n",
        b"/data/raw/c 0 -\n",
        b"/data/raw/d 12 34\n",
    )

    assert found == [
        NamedFile(1, "/data/raw/a", 1000, 1),
        NamedFile(2, "/data/raw/run 12", 5),
        NamedFile(3, "/data/raw/c", 0),
        NamedFile(4, "/data/raw/d 12", 34),
    ]


@pytest.mark.parametrize(
    "ends",
    [
        ["1", "2", "3"],
        ["1 20251130", "2 20251201"],  # numbers and dates
        ["1", "2 20251201"],
    ],
)
def test_paths_that_end_in_numbers_are_no_dump(ends: list[str]) -> None:
    paths = [f"/data/raw/file {end}" for end in ends]
    lines = [f"{path}\n".encode() for path in paths]

    assert [each.path for each in read(*lines) if isinstance(each, NamedFile)] == paths
    assert form_of(lines) is ListForm.NUMBERED


@pytest.mark.parametrize("proof", [b"b\t2", b"b 2 -", b"b 2 0000000a", b"b\t2\t-"])
def test_one_line_that_is_no_path_makes_a_dump_of_lines_that_may_be(
    proof: bytes,
) -> None:
    found = read(b"/data/raw/a 1\n", b"/data/raw/" + proof + b"\n")

    assert [each.size for each in found if isinstance(each, NamedFile)] == [1, 2]


def test_behind_a_tab_stands_no_part_of_the_name() -> None:
    found = read(b"/data/raw/run 12\t12345678\n", b"/data/raw/run 5\t7\t00000001\n")

    assert found == [
        NamedFile(1, "/data/raw/run 12", 12345678),
        NamedFile(2, "/data/raw/run 5", 7, 1),
    ]


@pytest.mark.parametrize(
    ("lines", "form"),
    [
        ([b"/data/raw/a 1\n"], ListForm.NUMBERED),
        ([b"/data/raw/a\t1\n"], ListForm.DUMP),
        ([b"/data/raw/a\n", b"/data/raw/b\t1\n"], ListForm.PATHS),
        ([b"# a\t1\n", b"\n"], ListForm.PATHS),
    ],
)
def test_what_a_list_is_taken_for_is_told_before_its_first_line(
    lines: list[bytes], form: ListForm
) -> None:
    told: list[ListForm] = []
    next(read_names(lines, PATHS, on_form=told.append), None)

    assert told == [form]


def test_empty_lines_and_comments_name_nothing_but_count() -> None:
    assert read(b"\n", b"# mine\n", b"/data/raw/a") == [NamedFile(3, "/data/raw/a")]


def test_what_cannot_be_used_is_named_by_its_number() -> None:
    found = read(
        b"relative\n",
        b"/data/raw/dir/\n",
        b"/data/raw\n",
        b"\xff\n",
        b"/data/rawer/a\n",
        b"/data/raw/" + b"x" * 20000,
    )

    assert [each.number for each in found] == [1, 2, 3, 4, 5, 6]
    assert all(isinstance(each, BadLine) for each in found)


def test_a_broken_line_of_a_dump_is_no_path_with_a_number() -> None:
    lines = [b"/data/raw/a\t1\n"] * 100 + [b"/data/raw/b\n"]

    assert isinstance(read(*lines)[-1], BadLine)


def test_what_is_not_under_the_wanted_directory_is_left_out_silently() -> None:
    lines = (b"/data/raw/a/x\n", b"/data/raw/ab\n", b"/data/raw/a\n")

    assert [each.number for each in read(*lines, under="/data/raw/a")] == [1, 3]


@given(st.lists(st.binary(max_size=60), max_size=20))
def test_no_bytes_make_it_fail(lines: list[bytes]) -> None:
    for each in read(*lines):
        assert 1 <= each.number <= len(lines)
        if isinstance(each, NamedFile):
            assert PATHS.relative(each.path)


names = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Zs", "Zl", "Zp")),
    min_size=1,
    max_size=20,
).filter(lambda name: not name.endswith("/"))


@given(names, st.integers(0, 2**40), st.none() | st.integers(0, 2**32 - 1))
def test_what_a_dump_says_is_read_as_it_was_written(
    name: str, size: int, adler32: int | None
) -> None:
    digest = "" if adler32 is None else f"\t{adler32:08x}"
    (found,) = read(f"/data/raw/{name}\t{size}{digest}\n".encode())

    assert found == NamedFile(1, f"/data/raw/{name}", size, adler32)
