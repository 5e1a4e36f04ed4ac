"""The mark: one extended attribute that proves a published file (DESIGN 7, G3).

Two instances on a shared file system have no other common truth, so the format carries
a version, and anything that is not exactly ours reads as "no mark".
"""

from __future__ import annotations

import math
import re
import struct
from dataclasses import dataclass

ATTRIBUTE = "user.dcmirror"
PART_MARK = b"dcmirror part"  # an unpublished file of ours; decodes to None

_MAX_PNFSID = 64  # characters; dCache's have 36
_MAX_NAME = 100

# Binary, because ext4 keeps some 70 bytes in the inode; for a longer value it allots a
# block to every file.  Behind the head come the pnfsid and the name.
_HEAD = struct.Struct("<4sBIQqdHH")
_VERSION = b"dcm1"
_HEX = re.compile(r"(?:[0-9A-F]{2})+", re.ASCII)

# What a mark knows.  A pnfsid of dCache's is hexadecimal and takes half the bytes.
_HAS_ADLER32, _IS_VERIFIED, _HAS_TIME, _HAS_PNFSID, _IS_HEX, _HAS_NAME = (
    1 << bit for bit in range(6)
)


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
    has = _IS_VERIFIED if mark.verified else 0
    event_time, pnfsid, name = 0.0, b"", b""
    if mark.adler32 is not None:
        has |= _HAS_ADLER32
    if mark.event_time is not None and math.isfinite(mark.event_time):
        has |= _HAS_TIME
        event_time = mark.event_time
    if mark.pnfsid is not None and len(mark.pnfsid) <= _MAX_PNFSID:
        has |= _HAS_PNFSID
        if _HEX.fullmatch(mark.pnfsid):
            has |= _IS_HEX
            pnfsid = bytes.fromhex(mark.pnfsid)
        else:
            pnfsid = _bytes(mark.pnfsid)
    if mark.name is not None:
        has |= _HAS_NAME
        name = _bytes(_end(mark.name))
    head = _HEAD.pack(
        _VERSION,
        has,
        mark.adler32 or 0,
        mark.size,
        mark.mtime_ns,
        event_time,
        len(pnfsid),
        len(name),
    )
    return head + pnfsid + name


def decode(value: bytes) -> Mark | None:
    """The mark in ``value``, or None if it is not one of ours in every field."""
    if len(value) < _HEAD.size or not value.startswith(_VERSION):
        return None
    _, has, adler32, size, mtime_ns, event_time, length, _ = _HEAD.unpack_from(value)
    middle = _HEAD.size + length
    try:
        pnfsid = _pnfsid(has, value[_HEAD.size : middle])
        name = _text(value[middle:])
    except UnicodeDecodeError:
        return None
    mark = Mark(
        pnfsid=pnfsid if has & _HAS_PNFSID else None,
        adler32=adler32 if has & _HAS_ADLER32 else None,
        verified=bool(has & _IS_VERIFIED),
        size=size,
        mtime_ns=mtime_ns,
        event_time=event_time if has & _HAS_TIME else None,
        name=name if has & _HAS_NAME else None,
    )
    return mark if encode(mark) == value else None


def names_itself(mark: Mark | None, name: str) -> bool:
    """Whether ``mark`` says that the file was published as ``name``, a part's name."""
    return mark is not None and mark.name == _end(name)


def _pnfsid(has: int, value: bytes) -> str:
    return value.hex().upper() if has & _IS_HEX else _text(value)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogatepass")


def _end(name: str) -> str:
    """A file name that fits the attribute: its end, where the part's name form is."""
    return name[-_MAX_NAME:]
