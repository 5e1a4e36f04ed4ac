"""The mark: one extended attribute that proves a published file (DESIGN 7, G3).

Two instances on a shared file system have no other common truth, so the format carries
a version, and anything that is not exactly ours reads as "no mark".
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, TypeGuard

ATTRIBUTE = "user.dcmirror"
PART_MARK = b'{"v":1,"part":true}'  # an unpublished file of ours; decodes to None

_VERSION = 1
_MAX_BYTES = 4096  # what ext4 can hold; ours has some 200
_MAX_PNFSID = 64  # characters; dCache's have 36
_MAX_TEXT = 255


@dataclass(frozen=True, slots=True)
class Mark:
    """What a published file is, as its publisher knew it.

    ``name`` is set only where the file's own name looks like a part's: it tells a
    mirrored ``a.part`` from a part of ``a`` that a crash left behind with its mark on.
    """

    pnfsid: str | None
    adler32: int | None
    verified: bool
    size: int
    mtime_ns: int
    event_time: float | None
    name: str | None = None


def encode(mark: Mark) -> bytes:
    """The attribute's value.

    A pnfsid much longer than dCache's comes from a forged event and might not fit: it
    is left out, which only costs an adoption.
    """
    adler32 = None if mark.adler32 is None else f"{mark.adler32:08x}"
    event_time = mark.event_time if _is_finite(mark.event_time) else None
    name = "" if mark.name is None else f',"name":{_json(_digestible(mark.name))}'
    # By hand, because a JSON encoder takes as long as writing the file does.
    return (
        f'{{"v":{_VERSION},"pnfsid":{_json(_short(mark.pnfsid))}'
        f',"adler32":{_json(adler32)},"verified":{"true" if mark.verified else "false"}'
        f',"size":{mark.size},"mtime_ns":{mark.mtime_ns}'
        f',"event_time":{"null" if event_time is None else repr(event_time)}{name}}}'
    ).encode("ascii")


def decode(value: bytes) -> Mark | None:
    """The mark in ``value``, or None if it is not one of ours in every field."""
    if len(value) > _MAX_BYTES:
        return None
    try:
        fields = json.loads(value)
    except (ValueError, RecursionError):
        return None
    if not isinstance(fields, dict) or fields.get("v") != _VERSION:
        return None
    return _from_fields(fields)


def names_itself(mark: Mark | None, name: str) -> bool:
    """Whether ``mark`` says that the file was published as ``name``, a part's name."""
    return mark is not None and mark.name == _digestible(name)


def _from_fields(fields: dict[str, Any]) -> Mark | None:
    adler32 = _checksum(fields.get("adler32"))
    size, mtime_ns = fields.get("size"), fields.get("mtime_ns")
    event_time, verified = fields.get("event_time"), fields.get("verified")
    if not (_is_integer(size) and size >= 0 and _is_integer(mtime_ns)):
        return None
    if not isinstance(verified, bool) or adler32 is _WRONG:
        return None
    if not (event_time is None or _is_finite(event_time)):
        return None
    pnfsid, name = fields.get("pnfsid"), fields.get("name")
    if not (_is_text_or_none(pnfsid) and _is_text_or_none(name)):
        return None
    return Mark(
        pnfsid=pnfsid,
        adler32=adler32,
        verified=verified,
        size=size,
        mtime_ns=mtime_ns,
        event_time=None if event_time is None else float(event_time),
        name=name,
    )


_WRONG = -1


def _checksum(text: object) -> int | None:
    """An Adler-32 of eight lower-case hex digits; ``_WRONG`` for anything else."""
    if text is None:
        return None
    if not isinstance(text, str) or len(text) != 8:
        return _WRONG
    if not all(digit in "0123456789abcdef" for digit in text):
        return _WRONG
    return int(text, 16)


def _is_integer(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_finite(value: object) -> TypeGuard[float]:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _is_text_or_none(value: object) -> TypeGuard[str | None]:
    return value is None or (isinstance(value, str) and len(value) <= _MAX_TEXT)


def _json(text: str | None) -> str:
    return "null" if text is None else json.encoder.encode_basestring_ascii(text)


def _short(pnfsid: str | None) -> str | None:
    fits = pnfsid is not None and len(pnfsid) <= _MAX_PNFSID
    return pnfsid if fits else None


def _digestible(name: str) -> str:
    """A file name that fits the attribute: its end, where the part's name form is."""
    return name[-100:]
