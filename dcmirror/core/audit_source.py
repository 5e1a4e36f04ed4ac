"""Whether the door still has what the catalogue says that we copied.  Pure."""

from __future__ import annotations

from enum import StrEnum

from dcmirror.core.audit_copies import AuditRow, finding
from dcmirror.core.audit_findings import AuditKind, Finding
from dcmirror.core.checksums import format_adler32
from dcmirror.core.listing import Entry


class Answer(StrEnum):
    """What the door says that contradicts nothing."""

    SAME = "source_same"
    DELETED = "source_deleted"  # and the books say by whom
    ARRIVING = "source_arriving"  # so young that its event may be on its way


def judge_source(
    row: AuditRow, entry: Entry | None, *, fresh_since: float
) -> Answer | Finding:
    """What the source's answer says about the row.

    Args:
        fresh_since: what was written later (epoch seconds) is left to its event.
    """
    if entry is None:
        if row.source_deleted_at is not None:
            return Answer.DELETED
        return finding(AuditKind.GONE, row, "the source is gone, and not by us")
    if entry.is_directory or entry.trouble:
        what = entry.trouble or "a directory has the name now"
        return finding(AuditKind.GONE, row, what)
    if entry.size is None or (entry.modified or 0.0) > fresh_since:
        return Answer.ARRIVING
    return _compared(row, entry) or Answer.SAME


def _compared(row: AuditRow, entry: Entry) -> Finding | None:
    if None not in (row.pnfsid, entry.pnfsid) and row.pnfsid != entry.pnfsid:
        text = f"the source is {entry.pnfsid} now, the copy is of {row.pnfsid}"
        return finding(AuditKind.REPLACED, row, text)
    if entry.size != row.size:
        text = f"{entry.size} bytes at the source, {row.size} in the catalogue"
        return finding(AuditKind.SOURCE_SIZE, row, text)
    if entry.adler32 is None or row.adler32 is None or entry.adler32 == row.adler32:
        return None
    text = (
        f"Adler-32 {format_adler32(entry.adler32)} at the source, "
        f"{format_adler32(row.adler32)} in the catalogue"
    )
    return finding(AuditKind.SOURCE_CHECKSUM, row, text)
