"""Adler-32: the value, and how servers spell it in their headers.

zlib-ng's is many times as fast as zlib's, which would cost more than decryption does.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import cast

try:
    from zlib_ng import zlib_ng as _library
except ImportError:  # no wheel for this platform: right, only slower
    import zlib as _library  # type: ignore[no-redef]

#: ``adler32(data, value=1)``: the checksum of what ``value`` stands for plus ``data``.
adler32 = cast("Callable[..., int]", _library.adler32)

#: ``crc32(data, value=0)``, of the journal's lines.
crc32 = cast("Callable[..., int]", _library.crc32)

#: The checksum of no bytes at all.
ADLER32_START = 1

_HEX = re.compile(r"[0-9A-Fa-f]{1,8}\Z")
_NAMES = frozenset({"adler32", "adler"})


def parse_digest(header: str) -> int | None:
    """The Adler-32 of a ``Digest`` or ``Repr-Digest`` header, None if it has none.

    Servers leave out leading zeros, write capitals, quote, and list other algorithms
    beside it; what is not one to eight hex digits is not ours to guess.
    """
    for item in header.split(","):
        name, equals, value = item.partition("=")
        if equals and name.strip().lower() in _NAMES:
            digits = value.strip().strip('"')
            if _HEX.match(digits):
                return int(digits, 16)
    return None


def format_adler32(value: int) -> str:
    """Eight hex digits, lower case, as dCache writes it."""
    return f"{value:08x}"
