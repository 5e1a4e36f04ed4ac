"""The mark's encoding: what goes in comes out, and nothing else is taken for one."""

from __future__ import annotations

import dataclasses
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcmirror.core import marks
from dcmirror.core.marks import Mark

MARKS = st.builds(
    Mark,
    pnfsid=st.none() | st.text(max_size=64),
    adler32=st.none() | st.integers(0, 2**32 - 1),
    verified=st.booleans(),
    size=st.integers(0, 2**63 - 1),
    mtime_ns=st.integers(-(2**63), 2**63 - 1),
    event_time=st.none() | st.floats(allow_nan=False, allow_infinity=False),
    name=st.none() | st.text(max_size=100),
)
EXAMPLE = Mark("0000A1B2", 0x00620062, True, 1, 1_600_000_000_123_456_789, 1.6e9)


@given(MARKS)
def test_a_mark_survives_its_encoding(mark: Mark) -> None:
    assert mark == marks.decode(marks.encode(mark))


@given(MARKS)
def test_every_mark_fits_an_ext4_attribute(mark: Mark) -> None:
    assert len(marks.encode(mark)) < 4000


@given(st.binary(max_size=300))
def test_garbage_is_no_mark(value: bytes) -> None:
    assert marks.decode(value) is None


@given(MARKS, st.integers(0, 10_000))
def test_a_cut_mark_is_no_mark(mark: Mark, length: int) -> None:
    value = marks.encode(mark)

    assert marks.decode(value[: min(length, len(value) - 1)]) is None


@given(MARKS, st.binary(min_size=1, max_size=20))
def test_a_mark_with_something_behind_it_is_no_mark(mark: Mark, more: bytes) -> None:
    assert marks.decode(marks.encode(mark) + more) is None


def test_a_mark_of_dcache_fits_into_an_inode_of_ext4() -> None:
    # 92 bytes for all attributes of a 256-byte inode; 24 of them for ours and its name
    pnfsid = "0000F5A2B1C3D4E5F60718293A4B5C6D7E8F"
    assert len(marks.encode(dataclasses.replace(EXAMPLE, pnfsid=pnfsid))) <= 68


@pytest.mark.parametrize(
    ("offset", "change"),
    [
        pytest.param(3, b"2", id="another version"),
        pytest.param(4, b"\xff", id="an unknown flag"),
        pytest.param(25, struct.pack("<d", float("nan")), id="no time"),
        pytest.param(33, b"\xff\xff", id="a length beyond the end"),
        pytest.param(4, b"\x08", id="a pnfsid that is no text"),
    ],
)
def test_a_wrong_field_makes_it_no_mark(offset: int, change: bytes) -> None:
    value = bytearray(marks.encode(dataclasses.replace(EXAMPLE, pnfsid="FFFE")))
    value[offset : offset + len(change)] = change

    assert marks.decode(bytes(value)) is None


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"dcm1",
        b"\xff\xfe",
        b'{"v":1,"size":1}',
        b" " + marks.encode(EXAMPLE),
        b" " * 5000 + marks.encode(EXAMPLE),
    ],
)
def test_foreign_values_are_no_mark(value: bytes) -> None:
    assert marks.decode(value) is None


def test_the_mark_of_a_part_is_not_the_mark_of_a_file() -> None:
    assert marks.decode(marks.PART_MARK) is None


@pytest.mark.parametrize("event_time", [float("nan"), float("inf"), -float("inf")])
def test_a_time_that_is_no_number_is_left_out(event_time: float) -> None:
    mark = Mark(None, None, False, 0, 0, event_time)

    assert marks.decode(marks.encode(mark)) == Mark(None, None, False, 0, 0, None)


def test_an_overlong_pnfsid_is_left_out() -> None:
    mark = Mark("A" * 65, None, False, 0, 0, None)

    assert marks.decode(marks.encode(mark)) == Mark(None, None, False, 0, 0, None)


def test_a_mark_tells_a_mirrored_part_name_from_a_left_over_part() -> None:
    long = "x" * 250 + ".part"
    own = marks.decode(marks.encode(Mark(None, None, False, 0, 0, None, name=long)))

    assert marks.names_itself(own, long)
    assert not marks.names_itself(own, "a.part")
    assert not marks.names_itself(EXAMPLE, "a.part")
    assert not marks.names_itself(None, "a.part")
