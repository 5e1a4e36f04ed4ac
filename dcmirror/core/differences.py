"""What one name at the source differs in from its copy: three witnesses, one verdict.

Compared are the listing's entry, the mirror (a stat and the mark), and the catalogue's
row.  Nothing here reads a file: who finds ``Judged.must_read`` set computes the local
checksum and judges again with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from dcmirror.core.checksums import format_adler32
from dcmirror.core.jobs import CopyRecord
from dcmirror.core.listing import Entry
from dcmirror.core.marks import Mark
from dcmirror.core.verification import Held, held_of


class DifferenceKind(StrEnum):
    """Why source and mirror are not equal."""

    MISSING = "missing"  # at the source, not here
    SIZE = "size"
    CHECKSUM = "checksum"
    REPLACED = "replaced"  # another file has the name at the source now
    RENAMED = "renamed"  # here under another name, which the source no longer has
    ONLY_HERE = "only-here"
    INCOMPLETE = "incomplete"  # its upload is not finished
    KNOWN_FAILURE = "known-failure"  # a row of failed.csv
    UNREADABLE = "unreadable"  # a name that cannot be used, here or there
    UNADOPTED = "unadopted"  # it seems right and is not proved, or not in the books


#: What the engine can cure.
COPIED = frozenset(
    {
        DifferenceKind.MISSING,
        DifferenceKind.SIZE,
        DifferenceKind.CHECKSUM,
        DifferenceKind.REPLACED,
        DifferenceKind.UNADOPTED,
    }
)


class Equal(StrEnum):
    """Why there is no difference, or none that counts."""

    EQUAL = "equal"
    RECENT = "recent"  # so young that its event may be on its way
    LEFT = "left"  # removed here, and [destination] missing = "leave"


@dataclass(frozen=True, slots=True)
class Local:
    """What lies under the name in the mirror.

    ``mark`` only if it speaks of the file as it is.  ``adler32`` only if it was read
    for this.  ``odd`` says why it is no plain file that a copy could replace.
    """

    exists: bool
    size: int = 0
    mtime_ns: int = 0
    mark: Mark | None = None
    adler32: int | None = None
    odd: str = ""


@dataclass(frozen=True, slots=True)
class Known:
    """What the books say of a name.

    ``failed`` is the row of failed.csv: its class; ``failed_pnfsid`` whose it was.
    """

    row: CopyRecord | None = None
    failed: str | None = None
    failed_pnfsid: str | None = None


@dataclass(frozen=True, slots=True)
class Judged:
    """The verdict; ``detail`` says how it is known."""

    kind: DifferenceKind | Equal
    detail: str = ""
    must_read: bool = False

    @property
    def difference(self) -> DifferenceKind | None:
        """The difference, None if there is none that counts."""
        return self.kind if isinstance(self.kind, DifferenceKind) else None


@dataclass(frozen=True, slots=True)
class Rules:
    """What counts; times in seconds since the epoch.

    What was written between ``fresh_since`` and ``fresh_until`` is left to its event; a
    time after that is no clock's, but one that somebody has set.  ``trusts_size``: an
    unverified row is good enough.  ``leaves_missing``: a removed copy is not missed.
    """

    fresh_since: float
    fresh_until: float
    trusts_size: bool = False
    leaves_missing: bool = False


def judge(entry: Entry, local: Local, known: Known, rules: Rules) -> Judged:
    """How ``entry``, a file with a usable name, and its copy differ."""
    found = _compare(entry, local, known, rules)
    if found.difference is None or local.odd:
        return found
    if rules.fresh_since < (entry.modified or 0.0) <= rules.fresh_until:
        return Judged(Equal.RECENT, found.kind.value)
    if found.kind in COPIED and _has_failed(entry, known):
        return Judged(
            DifferenceKind.KNOWN_FAILURE, f"{known.failed} ({found.kind.value})"
        )
    return found


def _compare(entry: Entry, local: Local, known: Known, rules: Rules) -> Judged:
    if local.odd:
        return Judged(DifferenceKind.UNREADABLE, local.odd)
    if entry.size is None:
        return Judged(DifferenceKind.INCOMPLETE, "the source tells no size yet")
    if not local.exists:
        return _judge_absent(entry, known.row, rules)
    held = held_of(local, known.row)
    if _is_another(held, entry):
        return Judged(DifferenceKind.REPLACED, f"here is {held.pnfsid}" if held else "")
    if local.size != entry.size:
        return Judged(DifferenceKind.SIZE, f"{local.size} bytes here")
    if held is None:
        return _judge_unknown(entry, local, known.row)
    return _judge_held(entry, held, known.row, rules)


def _judge_absent(entry: Entry, row: CopyRecord | None, rules: Rules) -> Judged:
    if row is None:
        return Judged(DifferenceKind.MISSING)
    is_same = row.pnfsid is None or entry.pnfsid in (None, row.pnfsid)
    if is_same and rules.leaves_missing:
        return Judged(Equal.LEFT)
    what = "the copy" if is_same else "the copy of an earlier file"
    return Judged(DifferenceKind.MISSING, f"{what} that the catalogue has is gone")


def _judge_unknown(entry: Entry, local: Local, row: CopyRecord | None) -> Judged:
    """Neither mark nor row speaks of the file as it lies there."""
    if local.adler32 is not None and entry.adler32 is not None:
        if local.adler32 != entry.adler32:
            return _checksums(local.adler32, entry.adler32)
        return Judged(DifferenceKind.UNADOPTED, "read just now, and right")
    if row is None:
        return Judged(DifferenceKind.UNADOPTED, "neither mark nor row")
    # It was ours and has been changed since: that is worth a look at the bytes.
    text = "changed since it was copied"
    return Judged(DifferenceKind.UNADOPTED, text, must_read=entry.adler32 is not None)


def _judge_held(
    entry: Entry, held: Held, row: CopyRecord | None, rules: Rules
) -> Judged:
    if held.adler32 is not None and entry.adler32 is not None:
        if held.adler32 != entry.adler32:
            return _checksums(held.adler32, entry.adler32)
    elif entry.adler32 is not None and not rules.trusts_size:
        return Judged(DifferenceKind.UNADOPTED, "its checksum was never computed")
    if row is None:
        return Judged(DifferenceKind.UNADOPTED, "a mark proves it; no row yet")
    if (row.pnfsid, row.adler32) != (held.pnfsid, held.adler32):
        return Judged(DifferenceKind.UNADOPTED, "a mark proves it; the row is older")
    is_provable = entry.adler32 is not None and not rules.trusts_size
    if not held.verified and is_provable:
        return Judged(DifferenceKind.UNADOPTED, "unverified; the source has a digest")
    return Judged(Equal.EQUAL)


def _checksums(here: int, there: int) -> Judged:
    text = f"{format_adler32(here)} here, {format_adler32(there)} there"
    return Judged(DifferenceKind.CHECKSUM, text)


def _is_another(held: Held | None, entry: Entry) -> bool:
    if held is None or held.pnfsid is None or entry.pnfsid is None:
        return False
    return held.pnfsid != entry.pnfsid


def _has_failed(entry: Entry, known: Known) -> bool:
    if known.failed is None:
        return False
    failed = known.failed_pnfsid
    return failed is None or entry.pnfsid is None or failed == entry.pnfsid
