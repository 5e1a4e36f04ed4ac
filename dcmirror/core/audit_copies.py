"""Whether a copy is as the catalogue has it: what a look, and what a reading shows.

Pure.  A file that was replaced by a proved one (by the watch beside us a moment ago, or
by another instance) is no damage: its mark speaks for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from dcmirror.core.audit_findings import AuditKind, Finding
from dcmirror.core.checksums import format_adler32
from dcmirror.core.deletion import Result
from dcmirror.core.marks import Mark


class AuditRow(NamedTuple):
    """A row of the catalogue, as the audit reads it; times in seconds, sizes in bytes.

    ``source_result``: what the deletion ended in that ``source_deleted_at`` tells of,
    None where that is not known.  ``gone_at``: when neither side had it any more.
    ``scrubbed_at``: when the copy was last read again and found good.
    """

    relative: str
    path: str
    pnfsid: str | None
    size: int
    adler32: int | None
    verified: int
    mtime_ns: int
    copied_at: float
    topic: str | None
    partition: int | None
    offset: int | None
    source_deleted_at: float | None
    gone_at: float | None
    source_result: str | None = None
    scrubbed_at: float | None = None

    @property
    def proved_at(self) -> float:
        """When its bytes were last known to be right."""
        return max(self.copied_at, self.scrubbed_at or 0.0)

    @property
    def is_source_lost(self) -> bool:
        """Whether we deleted the source, or may have; one that was gone may return."""
        is_ours = self.source_result != Result.GONE
        return self.source_deleted_at is not None and is_ours


class Standing(StrEnum):
    """How a copy stands that contradicts nothing."""

    GOOD = "good"
    LEFT = "left"  # removed, and [destination] missing = "leave"
    GONE = "gone"  # removed here, and not at the source any more either
    NEWER = "newer"  # a proved file that the catalogue does not know (yet)


@dataclass(frozen=True, slots=True)
class Seen:
    """What lies under the name; ``odd`` says why it is no plain file or out of reach.

    ``mark`` only if it speaks of the file as it is.
    """

    exists: bool
    size: int = 0
    mtime_ns: int = 0
    mark: Mark | None = None
    odd: str = ""
    is_broken: bool = False


def judge_look(row: AuditRow, seen: Seen, *, leaves: bool) -> Standing | Finding:
    """What a look at the name says about the row.

    Args:
        leaves: [destination] missing = "leave": a removed copy is not missed.
    """
    if seen.odd:
        kind = AuditKind.UNREADABLE if seen.is_broken else AuditKind.UNSAFE
        return finding(kind, row, seen.odd)
    if not seen.exists:
        if leaves:
            return Standing.LEFT
        if row.gone_at is not None and not row.is_source_lost:
            return Standing.GONE
        return finding(AuditKind.MISSING, row, "the copy is gone")
    if (seen.size, seen.mtime_ns) == (row.size, row.mtime_ns or seen.mtime_ns):
        return Standing.GOOD
    if seen.mark is not None:
        return Standing.NEWER
    if seen.size != row.size:
        text = f"{seen.size} bytes here, {row.size} in the catalogue"
        return finding(AuditKind.SIZE, row, text)
    text = "its modification time is not the one that the catalogue has"
    return finding(AuditKind.CHANGED, row, text)


def judge_bytes(row: AuditRow, mark: Mark | None, computed: int) -> Finding | None:
    """What the checksum of the bytes says, of a file whose size and time are right."""
    if row.adler32 is not None and row.adler32 != computed:
        whole = _is_right(mark, computed)
        known = "; the mark agrees with the bytes" if whole else ""
        text = f"Adler-32 {_hex(computed)} here, {_hex(row.adler32)} in the catalogue"
        return finding(AuditKind.CHECKSUM, row, text + known)
    if mark is not None and mark.adler32 not in (None, computed):
        assert mark.adler32 is not None
        text = (
            f"the mark says Adler-32 {_hex(mark.adler32)}, the bytes {_hex(computed)}"
        )
        return finding(AuditKind.MARK, row, text)
    return None


def _is_right(mark: Mark | None, computed: int) -> bool:
    return mark is not None and mark.adler32 == computed


# What cannot be mended once the source was deleted.
_NEEDS_SOURCE = frozenset(
    {
        AuditKind.MISSING,
        AuditKind.SIZE,
        AuditKind.CHECKSUM,
        AuditKind.UNREADABLE,
    }
)


def finding(kind: AuditKind, row: AuditRow, detail: str) -> Finding:
    """A finding about the row's file."""
    if row.is_source_lost and kind in _NEEDS_SOURCE:
        kind = AuditKind.LOST_COPY
        detail += "; its source was deleted when it was proved"
    return Finding(
        kind=kind,
        detail=detail,
        path=row.path,
        relative=row.relative,
        size=row.size,
        pnfsid=row.pnfsid,
        adler32=row.adler32,
        modified=row.mtime_ns / 1e9 if row.mtime_ns else None,
    )


def _hex(value: int) -> str:
    return format_adler32(value)
