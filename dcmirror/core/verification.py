"""Whether a copy is the file: what to do before (DESIGN 5.5) and after (5.7) fetching.

Three witnesses are compared: the event, the mirror (mark or catalogue row) and the
source (what HEAD and the body's headers say).  Size alone never proves a copy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

from dcmirror.core.checksums import format_adler32
from dcmirror.core.jobs import CopyRecord
from dcmirror.core.marks import Mark


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the event, or a later HEAD, says the file is; None means unknown."""

    pnfsid: str | None
    size: int | None


@dataclass(frozen=True, slots=True)
class Held:
    """What the mirror's mark or the catalogue's row says of the copy."""

    pnfsid: str | None
    size: int
    adler32: int | None
    verified: bool


class Seen(Protocol):
    """What lies under the name in the mirror; ``mark`` speaks of it as it is."""

    @property
    def exists(self) -> bool: ...
    @property
    def size(self) -> int: ...
    @property
    def mtime_ns(self) -> int: ...
    @property
    def mark(self) -> Mark | None: ...


@dataclass(frozen=True, slots=True)
class Source:
    """What the source says the file is now."""

    pnfsid: str | None = None
    size: int | None = None
    adler32: int | None = None


@dataclass(frozen=True, slots=True)
class Body:
    """What came: bytes counted, and the checksum computed and announced with them."""

    received: int
    computed: int
    digest: int | None


class Look(Enum):
    """What to do about a name in the mirror."""

    ADOPT = auto()
    SUPERSEDED = auto()
    LEFT = auto()
    FETCH = auto()
    ASK = auto()  # HEAD, then judge_source
    READ = auto()  # HEAD, and the local file's own checksum


def held_of(seen: Seen, row: CopyRecord | None) -> Held | None:
    """The mark, else the catalogue's row if it speaks of what is there (or was)."""
    if seen.mark is not None:
        mark = seen.mark
        return Held(mark.pnfsid, mark.size, mark.adler32, mark.verified)
    if row is None:
        return None
    if seen.exists and (row.size, row.mtime_ns) != (seen.size, seen.mtime_ns):
        return None
    return Held(row.pnfsid, row.size, row.adler32, row.verified)


def judge_held(wanted: Wanted, held: Held | None, *, exists: bool, leave: bool) -> Look:
    """The first look, without network.

    ``held`` without ``exists`` is a copy that was recorded and is gone; ``leave`` says
    that such a copy is not made again.
    """
    if not exists:
        return _judge_gone(wanted, held) if held and leave else Look.FETCH
    if held is None:
        return Look.READ
    is_same = wanted.pnfsid is not None and wanted.pnfsid == held.pnfsid
    return Look.ADOPT if is_same and wanted.size in (None, held.size) else Look.ASK


def _judge_gone(wanted: Wanted, held: Held) -> Look:
    if wanted.pnfsid is None or held.pnfsid is None:
        return Look.ASK
    return Look.LEFT if wanted.pnfsid == held.pnfsid else Look.FETCH


def judge_source(wanted: Wanted, held: Held, source: Source, *, exists: bool) -> Look:
    """The second look: HEAD decides whether what is (or was) held is the file."""
    is_current = _is_current(held, source)
    if not exists:
        return Look.LEFT if is_current else Look.FETCH
    if not is_current:
        return Look.FETCH
    is_other = wanted.pnfsid is not None and held.pnfsid not in (None, wanted.pnfsid)
    return Look.SUPERSEDED if is_other else Look.ADOPT


def _is_current(held: Held, source: Source) -> bool:
    if source.size != held.size:
        return False
    if source.pnfsid is None or held.pnfsid is None:
        return source.adler32 is not None and source.adler32 == held.adler32
    return source.pnfsid == held.pnfsid and source.adler32 in (None, held.adler32)


class Verdict(Enum):
    """What a body is worth."""

    GOOD = auto()
    ASK = auto()  # it contradicts the event or its own digest: HEAD decides
    NO_DIGEST = auto()  # nothing to compare with
    OTHER = auto()  # the path is another file by now
    WRONG_SIZE = auto()
    WRONG_CHECKSUM = auto()


def judge_body(wanted: Wanted, body: Body) -> Verdict:
    """Bytes received = event's size, and computed Adler-32 = announced."""
    if wanted.size not in (None, body.received):
        return Verdict.ASK
    if body.digest is None:
        return Verdict.NO_DIGEST
    return Verdict.GOOD if body.digest == body.computed else Verdict.ASK


def judge_body_by_source(wanted: Wanted, body: Body, source: Source) -> Verdict:
    """The same after a HEAD: the source as it is now outranks the event."""
    size = wanted.size if source.size is None else source.size
    is_size = size in (None, body.received)
    digest = body.digest if source.adler32 is None else source.adler32
    if is_size and digest == body.computed:
        return Verdict.GOOD
    if wanted.pnfsid and source.pnfsid and wanted.pnfsid != source.pnfsid:
        return Verdict.OTHER
    if not is_size:
        return Verdict.WRONG_SIZE
    return Verdict.NO_DIGEST if digest is None else Verdict.WRONG_CHECKSUM


def explain(wanted: Wanted, body: Body, source: Source) -> str:
    """Who agrees with whom, for the row in failed.csv."""
    sizes = _witnesses(
        {"event": wanted.size, "body": body.received, "HEAD": source.size}, str
    )
    sums = _witnesses(
        {"computed": body.computed, "answer": body.digest, "HEAD": source.adler32},
        format_adler32,
    )
    return f"size: {sizes}; Adler-32: {sums}"


def _witnesses(said: dict[str, int | None], show: Callable[[int], str]) -> str:
    groups: dict[int | None, list[str]] = {}
    for who, value in said.items():
        groups.setdefault(value, []).append(who)
    return ", ".join(
        f"{'+'.join(who)} {'unknown' if value is None else show(value)}"
        for value, who in groups.items()
    )
