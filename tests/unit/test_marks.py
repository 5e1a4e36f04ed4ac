"""The mark's encoding: what goes in comes out, and nothing else is taken for one."""

from __future__ import annotations

import json

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


@pytest.mark.parametrize(
    "change",
    [
        {"v": 2},
        {"v": None},
        {"size": -1},
        {"size": True},
        {"size": "1"},
        {"size": 1.0},
        {"size": None},
        {"mtime_ns": 1.5},
        {"adler32": 1},
        {"adler32": "0062006"},
        {"adler32": "0062006G"},
        {"adler32": "+0620062"},
        {"adler32": "00A20062"},
        {"verified": 1},
        {"verified": None},
        {"event_time": "now"},
        {"event_time": True},
        {"event_time": 10**400},
        {"pnfsid": 7},
        {"pnfsid": "x" * 300},
        {"name": []},
    ],
)
def test_a_wrong_member_makes_it_no_mark(change: dict[str, object]) -> None:
    fields = json.loads(marks.encode(EXAMPLE)) | change

    assert marks.decode(json.dumps(fields).encode()) is None


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"null",
        b"[]",
        b'"v"',
        b"1",
        b"[" * 100_000,
        b"\xff\xfe",
        b'{"v":1,"size":NaN}',
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
