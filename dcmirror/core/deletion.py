"""What becomes of one deletion: the words of ``deletions.result``, and the proofs.

Pure.  The rule (G8): a source is deleted only while the catalogue holds a verified
copy, the copy is there unchanged, and the source is still the file that was copied.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from dcmirror.core.jobs import CopyRecord
from dcmirror.core.listing import Entry
from dcmirror.core.marks import Mark


class Result(StrEnum):
    """What a deletion ended in; a row of ``deletions`` without one is an intent."""

    DELETED = "deleted"  # the door deleted it, and does not show it any more
    GONE = "already-gone"  # it was not there: somebody else removed it
    # An interrupted run deleted it, or somebody overwrote it: another file is there.
    DELETED_OR_REPLACED = "deleted-or-replaced"
    NOT_DELETED = "not-deleted"  # it is where it was; `error` says why
    REPLACED = "replaced"  # another file has its place: that one was not touched
    KEPT = "kept-by-door"  # the door said that it deleted it, and still shows it


#: After these the source is no longer there.
ENDS = frozenset({Result.DELETED, Result.GONE, Result.DELETED_OR_REPLACED})


class Kept(StrEnum):
    """Why the check just before a deletion kept a source."""

    OUTSIDE = "outside-folder"
    ROW_CHANGED = "row-changed"
    COPY_MISSING = "copy-missing"
    COPY_CHANGED = "copy-changed"
    COPY_UNREADABLE = "copy-unreadable"
    COPY_DAMAGED = "copy-damaged"
    REPLACED = "replaced"
    NO_DIGEST = "no-digest"
    INCOMPLETE = "incomplete"
    DIRECTORY = "directory"
    GONE = "gone"
    UNREADABLE = "unreadable"
    FORBIDDEN = "forbidden"
    LOCKED = "locked"
    NO_RENAME = "no-rename"
    ODD_NAME = "odd-name"
    BY_DOOR = "kept-by-door"
    DOOR = "door-trouble"
    LEFT_APART = "left-apart"
    STOPPED = "stopped"
    INTERRUPTED = "interrupted"


#: These need nobody: the next run sees to them.
HARMLESS = frozenset({Kept.ROW_CHANGED, Kept.STOPPED, Kept.INTERRUPTED})


@dataclass(frozen=True, slots=True)
class Keep:
    """A source is kept: the word for it, and what it says of this file."""

    why: Kept
    text: str


#: An audit has read the bytes; size, time and mark may still be right.
DAMAGED = Keep(Kept.COPY_DAMAGED, "an audit has read the copy, and it is damaged")


@dataclass(frozen=True, slots=True)
class CopySeen:
    """The copy as it is on disk now; ``mark`` only if it speaks of the file as is."""

    exists: bool
    size: int = 0
    mtime_ns: int = 0
    mark: Mark | None = None


def copy_differs(copy: CopyRecord, seen: CopySeen) -> Keep | None:
    """Why the file in the mirror is not the copy that the row tells of."""
    if not seen.exists:
        return Keep(Kept.COPY_MISSING, "the copy is not in the mirror")
    if seen.size != copy.size:
        text = f"the copy has {seen.size} bytes, the catalogue says {copy.size}"
        return Keep(Kept.COPY_CHANGED, text)
    if seen.mtime_ns != copy.mtime_ns:
        return Keep(Kept.COPY_CHANGED, "the copy was modified after it was made")
    mark = seen.mark
    if mark is not None and (
        not mark.verified
        or mark.adler32 != copy.adler32
        or (_both(copy.pnfsid, mark.pnfsid) and not same_id(copy.pnfsid, mark.pnfsid))
    ):
        return Keep(Kept.COPY_CHANGED, "the copy's mark tells of another file")
    return None


def source_differs(copy: CopyRecord, entry: Entry) -> Keep | None:
    """Why what is at the source is not, or not provably, the file that was copied."""
    if entry.is_directory:
        return Keep(Kept.DIRECTORY, "a directory has its place at the source")
    if entry.trouble:
        return Keep(Kept.UNREADABLE, entry.trouble)
    if _both(entry.pnfsid, copy.pnfsid) and not same_id(entry.pnfsid, copy.pnfsid):
        text = f"replaced at the source: pnfsid {entry.pnfsid}, copied {copy.pnfsid}"
        return Keep(Kept.REPLACED, text)
    if entry.size is None:
        return Keep(Kept.INCOMPLETE, "the source does not tell its size")
    if entry.size != copy.size:
        text = f"replaced at the source: {entry.size} bytes, copied {copy.size}"
        return Keep(Kept.REPLACED, text)
    if entry.adler32 is None or copy.adler32 is None:
        return Keep(Kept.NO_DIGEST, "the source does not tell its Adler-32")
    if entry.adler32 != copy.adler32:
        text = (
            f"replaced at the source: Adler-32 {entry.adler32:08x}, "
            f"copied {copy.adler32:08x}"
        )
        return Keep(Kept.REPLACED, text)
    if _both(entry.pnfsid, copy.pnfsid):
        return None
    return _younger(copy, entry)


def is_same_source(copy: CopyRecord, entry: Entry) -> bool:
    """Whether what is at the source is the file that was copied, as far as it tells."""
    if _both(entry.pnfsid, copy.pnfsid):
        return same_id(entry.pnfsid, copy.pnfsid)
    return source_differs(copy, entry) is None


def _younger(copy: CopyRecord, entry: Entry) -> Keep | None:
    """Without pnfsids: whether the source was written after it was copied."""
    if entry.modified is None:
        text = "the source tells neither a pnfsid nor when it was modified"
        return Keep(Kept.REPLACED, text)
    if not entry.modified <= copy.copied_at:
        return Keep(Kept.REPLACED, "the source was modified after it was copied")
    return None


def _both(one: str | None, other: str | None) -> bool:
    return bool(one) and bool(other)


def same_id(one: str | None, other: str | None) -> bool:
    """Whether two pnfsids are the same; dCache writes them in capitals, mostly."""
    return (one or "").upper() == (other or "").upper()
