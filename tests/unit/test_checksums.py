"""Adler-32 and its spellings."""

from __future__ import annotations

import random
import zlib

import pytest

from dcmirror.core.checksums import (
    ADLER32_START,
    adler32,
    format_adler32,
    parse_digest,
)


def test_value_is_zlibs_whatever_the_pieces() -> None:
    dice = random.Random(7)
    for _ in range(50):
        data = dice.randbytes(dice.randrange(200_000))
        cut = dice.randrange(len(data) + 1)
        value = adler32(data[cut:], adler32(memoryview(data)[:cut], ADLER32_START))

        assert zlib.adler32(data) == value


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("adler32=62c6af46", 0x62C6AF46),
        ("ADLER32=62C6AF46", 0x62C6AF46),
        ("adler32=1", 1),
        ("adler32=00000001", 1),
        (" md5=HUXZLQLMuI/KZ5KDcJPcOA== , adler32=0a1b2c3d", 0x0A1B2C3D),
        ('adler="0a1b2c3d"', 0x0A1B2C3D),
        ("adler32 = 5", 5),
        ("", None),
        ("adler32", None),
        ("adler32=", None),
        ("adler32=123456789", None),
        ("adler32=0x12", None),
        ("adler32=-1", None),
        ("adler32=1_0", None),
        ("adler32=YsavRg==", None),
        ("sha-256=:abcdef12:", None),
        ("xadler32=12345678", None),
    ],
)
def test_digest_header_gives_its_adler32_or_nothing(
    header: str, expected: int | None
) -> None:
    assert expected == parse_digest(header)


def test_what_is_written_can_be_read() -> None:
    for value in (0, 1, 0xABC, 0xFFFFFFFF):
        assert value == parse_digest(f"adler32={format_adler32(value)}")
        assert 8 == len(format_adler32(value))
