"""Paths stay inside the mirror, and URLs say exactly which file is meant."""

from __future__ import annotations

import os.path
import posixpath
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcmirror.core.paths import (
    PathMap,
    check_relative,
    is_own_part_name,
    is_part_name,
    part_name,
)
from dcmirror.errors import ConfigError, UnsafePathError

LSST = PathMap(
    "https://door.example.org:2880/lsst",
    "/pnfs/in2p3.fr/data/lsst",
    "/lsst/user/i/imsim",
)
plain_names = st.text(
    st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"], exclude_characters="/"),
    min_size=1,
    max_size=60,
).filter(lambda name: name not in (".", ".."))
names = st.text(st.characters(exclude_characters="/"), min_size=1)
wild_paths = st.lists(
    st.sampled_from(["..", ".", "", "a", "\n", "\0", "é", "\ud800", "x" * 256]) | names,
    min_size=1,
    max_size=6,
).map("/".join)


def free(_: str) -> bool:
    return False


def is_safe(relative: str) -> bool:
    try:
        check_relative(relative)
    except UnsafePathError:
        return False
    return True


def test_file_of_the_ancestors_log_gets_its_url_and_place() -> None:
    path = (
        "/pnfs/in2p3.fr/data/lsst/lsst/user/i/imsim/23003/23003691/fits_01188251_10.tar"
    )

    assert LSST.relative(path) == "23003/23003691/fits_01188251_10.tar"
    assert LSST.url(path) == (
        "https://door.example.org:2880/lsst/lsst/user/i/imsim/"
        "23003/23003691/fits_01188251_10.tar"
    )


@pytest.mark.parametrize(
    "path",
    [
        "/pnfs/in2p3.fr/data/lsst/lsst/user/i/imsim2/f",
        "/pnfs/in2p3.fr/data/lsst/lsst/user/i/imsim",
        "/pnfs/in2p3.fr/data/lsst/lsst/user/i/imsim/",
        "/pnfs/in2p3.fr/data/lsst/lsst/user/i/imsi/f",
        "/lsst/user/i/imsim/f",
        "pnfs/in2p3.fr/data/lsst/lsst/user/i/imsim/f",
        "/else/pnfs/in2p3.fr/data/lsst/lsst/user/i/imsim/f",
        "0000B1B2:[12345]/a.h5",
        "",
    ],
)
def test_only_whole_components_of_the_folder_count(path: str) -> None:
    assert LSST.relative(path) is None


@pytest.mark.parametrize("url", ["https://d:2880", "https://d:2880/"])
@pytest.mark.parametrize("pool", ["/data", "/data/"])
@pytest.mark.parametrize("folder", ["/exp", "/exp/", "exp", "//exp//"])
def test_slashes_at_either_end_are_tolerated(url: str, pool: str, folder: str) -> None:
    paths = PathMap(url, pool, folder)

    assert paths.root == "/data/exp/"
    assert paths.relative("/data/exp/a/b") == "a/b"
    assert paths.url("/data/exp/a/b") == "https://d:2880/exp/a/b"


@pytest.mark.parametrize("folder", ["", "/"])
def test_pool_may_be_the_root_and_folder_the_pool(folder: str) -> None:
    paths = PathMap("https://d:2880/", "/", folder)

    assert paths.root == "/"
    assert paths.relative("/a/b") == "a/b"
    assert paths.relative("/") is None
    assert paths.url("/a/b") == "https://d:2880/a/b"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/data", "https://d/x/"),
        ("/data/", "https://d/x/"),
        ("/data/exp", "https://d/x/exp/"),
        ("/data/exp/", "https://d/x/exp/"),
        ("/data/e#p/.", "https://d/x/e%23p/./"),
    ],
)
def test_a_directory_has_a_url_that_ends_with_a_slash(path: str, expected: str) -> None:
    assert PathMap("https://d/x", "/data", "/exp").directory_url(path) == expected


def test_a_directory_elsewhere_has_no_url() -> None:
    with pytest.raises(UnsafePathError):
        PathMap("https://d/x", "/data", "/exp").directory_url("/database")


def test_double_slashes_mean_one() -> None:
    paths = PathMap("https://d/x", "/data", "/exp")

    assert paths.relative("//data//exp///a//b") == "a/b"
    assert paths.url("//data//exp///a//b") == "https://d/x/exp/a/b"


def test_url_of_the_recorded_odd_name_is_encoded_per_segment() -> None:
    path = "/data/p%q+r+s#t?u&v;w\"x'y=z[k]~.dat"

    assert PathMap("https://d", "/data", "").url(path) == (
        "https://d/p%25q%2Br%2Bs%23t%3Fu%26v%3Bw%22x%27y%3Dz%5Bk%5D~.dat"
    )


def test_url_is_utf8() -> None:
    assert PathMap("https://d", "/", "").url("/grüße/日") == (
        "https://d/gr%C3%BC%C3%9Fe/%E6%97%A5"
    )


@pytest.mark.parametrize("path", ["/other/f", "/data", "/data/", "/data/\ud800"])
def test_url_of_another_tree_or_of_no_text_is_refused(path: str) -> None:
    with pytest.raises(UnsafePathError):
        PathMap("https://d", "/data", "").url(path)


@given(st.lists(plain_names, min_size=1).map("/".join))
def test_url_round_trips_and_holds_unreserved_characters_only(below: str) -> None:
    url = PathMap("https://d/x", "/data", "exp").url(f"/data/exp/{below}")
    encoded = url.removeprefix("https://d/x/exp/")

    assert below == unquote(encoded, errors="strict")
    assert encoded.isascii()
    assert all(c.isalnum() or c in "-._~%/" for c in encoded)


@pytest.mark.parametrize(
    ("relative", "reason"),
    [
        ("", "empty component"),
        ("/etc/passwd", "empty component"),
        ("a//b", "empty component"),
        ("a/", "empty component"),
        ("..", '".."'),
        ("a/../b", '".."'),
        ("a/.", '"."'),
        ("a\nb", "control character"),
        ("a\0b", "control character"),
        ("a\x7fb", "control character"),
        ("a\x85b", "control character"),
        ("a\u2028b", "control character"),
        ("a\x1b[2Jb", "control character"),
        ("a/\udcffb", "not Unicode"),
        ("a/" + "x" * 256, "255 bytes"),
        ("ü" * 128, "255 bytes"),
        ("/".join(["x" * 255] * 16), "4095 bytes"),
        ("a/.dcmirror-0123456789abcdef.part", "unfinished"),
        ("a/.b.h5.0badcafe.part", "unfinished"),
    ],
    ids=lambda value: ascii(value)[:20],
)
def test_unsafe_path_is_refused_with_its_reason(relative: str, reason: str) -> None:
    with pytest.raises(UnsafePathError, match=reason):
        check_relative(relative)


@pytest.mark.parametrize(
    "relative",
    ["a", "a/b c", "...", "a/..b", "-rf", "~", "ü" * 127, "x" * 255, "a.part"],
)
def test_ordinary_and_merely_odd_paths_are_accepted(relative: str) -> None:
    assert is_safe(relative)


def test_length_of_the_mirror_counts_against_the_longest_path() -> None:
    relative = "/".join(["x" * 200] * 20)

    check_relative(relative, root_bytes=10)
    with pytest.raises(UnsafePathError):
        check_relative(relative, root_bytes=100)


@given(wild_paths)
def test_accepted_path_is_always_inside_the_mirror(relative: str) -> None:
    if not is_safe(relative):
        return
    joined = os.path.join("/mirror", relative)

    assert joined == posixpath.normpath(joined)
    assert joined.startswith("/mirror/")
    assert not any(ord(c) < 32 for c in joined)
    assert all(0 < len(os.fsencode(name)) <= 255 for name in relative.split("/"))


@given(wild_paths)
def test_relative_is_what_follows_the_folder(below: str) -> None:
    relative = PathMap("https://d", "/data", "exp").relative(f"/data/exp/{below}")

    expected = [name for name in below.split("/") if name]
    assert expected == [name for name in (relative or "").split("/") if name]


def test_part_stands_beside_its_file() -> None:
    assert part_name("a.h5", tag=None, taken=free) == "a.h5.part"
    assert part_name("a.h5", tag="0badcafe", taken=free) == ".a.h5.0badcafe.part"


@pytest.mark.parametrize("tag", [None, "0badcafe"])
@pytest.mark.parametrize("name", ["x" * 255, "x" * 251, "ü" * 127])
def test_part_of_a_long_name_is_hidden_under_a_hash(name: str, tag: str | None) -> None:
    part = part_name(name, tag=tag, taken=free)

    assert is_own_part_name(part)
    assert part == part_name(name, tag=tag, taken=free)
    assert part != part_name(name[:-1] + "y", tag=tag, taken=free)


def test_longest_name_that_leaves_room_for_part_keeps_it() -> None:
    assert part_name("x" * 250, tag=None, taken=free) == "x" * 250 + ".part"


def test_long_parts_of_two_instances_never_share_a_name() -> None:
    one, two = (part_name("x" * 255, tag=tag, taken=free) for tag in ("aaaa", "bbbb"))

    assert one != two


def test_part_that_is_a_mirrored_file_gets_another_name() -> None:
    part = part_name("a", tag=None, taken={"a.part"}.__contains__)

    assert is_own_part_name(part)
    assert part != part_name("a", tag=None, taken={"a.part", part}.__contains__)


def test_part_gives_up_when_no_name_is_free() -> None:
    with pytest.raises(UnsafePathError):
        part_name("a", tag=None, taken=lambda _: True)


@given(plain_names, st.none() | st.just("0badcafe"), st.booleans())
def test_part_name_is_a_safe_name_that_is_known_again(
    name: str, tag: str | None, first_is_taken: bool
) -> None:
    answers = iter([first_is_taken])
    part = part_name(name, tag=tag, taken=lambda _: next(answers, False))

    assert is_part_name(part)
    assert is_own_part_name(part) or is_safe(part)
    assert part != name
    assert len(part.encode()) <= 255
    assert part.isprintable() or not name.isprintable()


@pytest.mark.parametrize(
    ("name", "own"),
    [
        (".dcmirror-0123456789abcdef.part", True),
        (".a.h5.0badcafe.part", True),
        ("a.h5.part", False),
        (".a.part", False),
        (".part", False),
        (".dcmirror-0123.part", False),
    ],
)
def test_hidden_forms_are_our_own(name: str, own: bool) -> None:
    assert own == is_own_part_name(name)


def test_only_what_is_below_the_folder_can_be_named_by_under() -> None:
    paths = PathMap("https://d/", "/data", "raw")

    assert paths.under(None) == "/data/raw"
    assert paths.under("/data/raw/") == "/data/raw"
    assert paths.under("/data/raw/a/") == "/data/raw/a"
    for outside in ("/data", "/data/rawer", "raw", "/", ""):
        with pytest.raises(ConfigError):
            paths.under(outside)


def test_the_root_may_be_the_whole_namespace() -> None:
    assert PathMap("https://d/", "/", "").under(None) == "/"
