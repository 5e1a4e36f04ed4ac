"""What an audit says at its end, for eyes, for machines and for the journal."""

from __future__ import annotations

from typing import Any

from dcmirror.commands.audit_counts import SpanTotals
from dcmirror.commands.audit_repair import Repaired
from dcmirror.commands.audit_report import AuditReport
from dcmirror.core.amounts import bytes_text, count_text, plural
from dcmirror.core.audit_findings import Area, Tally
from dcmirror.core.journal_audit import AuditCounts
from dcmirror.core.tally import Cover

#: Kinds of settled offsets that nobody else calls skipped either.
_COVERED = {f"skipped:{each.value}" for each in Cover}

#: What is judged and stands well, but not as copied; and the words for it.
_STANDINGS = {
    "left": "removed and left so",
    "gone": "gone on both sides",
    "newer": "newer than the catalogue",
    "source_deleted": "deleted at the source by cleanup",
    "source_arriving": "just changed at the source",
    "source_unknown": "that the door would not tell of",
}


def document(
    report: AuditReport, totals: SpanTotals, repaired: Repaired | None
) -> dict[str, Any]:
    """The members of the JSON document behind its findings and notes."""
    tally = report.tally
    found: dict[str, Any] = {
        "contradictions": {str(area): n for area, n in tally.areas().items()},
        "kinds": {str(kind): n for kind, n in tally.found.items()},
        "judged": dict(tally.judged),
        "offsets": {
            "partitions": totals.partitions,
            "settled": totals.offsets,
            "overlapped": totals.overlapped,
            "kinds": dict(totals.kinds),
        },
        "repaired": {str(kind): n for kind, n in tally.repaired.items()},
        "status": int(tally.status()),
    }
    if repaired is not None:
        found["repair_failed"] = repaired.failed
        found["stopped_by_signal"] = repaired.stopped_by
    return found


def lines(
    report: AuditReport, totals: SpanTotals, repaired: Repaired | None
) -> list[str]:
    """The same in a few lines."""
    tally = report.tally
    told = [_offsets(totals), _copies(tally)]
    if tally.judged["read"]:
        read = plural(tally.judged["read"], "file")
        told.append(f"bytes: {read} read, {bytes_text(tally.judged['bytes_read'])}")
    if tally.judged["sources"]:
        told.append(f"sources: {count_text(tally.judged['sources'])} asked for")
    for name, words in _STANDINGS.items():
        if tally.judged[name]:
            told.append(f"{count_text(tally.judged[name])} {words}")
    told.append(_found(tally))
    if repaired is not None:
        mended = sum(tally.repaired.values())
        failed = (
            f", {repaired.failed} failed: see failed.csv" if repaired.failed else ""
        )
        told.append(f"repaired: {count_text(mended)} of these{failed}")
    return told


def counts_of(report: AuditReport, totals: SpanTotals) -> AuditCounts:
    """The same for the journal."""
    tally = report.tally
    found, judged = tally.areas(), tally.judged
    return AuditCounts(
        offsets=totals.offsets,
        copies=judged["copies"],
        read=judged["read"],
        read_bytes=judged["bytes_read"],
        sources=judged["sources"],
        books_differ=found[Area.BOOKS],
        copies_differ=found[Area.COPIES],
        source_differs=found[Area.SOURCE],
        repaired=sum(tally.repaired.values()),
    )


def _offsets(totals: SpanTotals) -> str:
    kinds = totals.kinds
    skips = {kind: n for kind, n in kinds.items() if kind.startswith("skipped:")}
    covered = sum(n for kind, n in skips.items() if kind in _COVERED)
    skipped = sum(skips.values()) - covered
    text = (
        f"offsets: {count_text(totals.offsets)} settled on "
        f"{plural(totals.partitions, 'partition')}: "
        f"{count_text(kinds['mirrored'])} mirrored, {count_text(kinds['failed'])} "
        f"failed, {count_text(skipped)} skipped, {count_text(covered)} covered by "
        f"other records, "
        f"{count_text(kinds['not-ours'] + kinds['garbage'])} not ours"
    )
    if totals.overlapped:
        text += f", {count_text(totals.overlapped)} in spans read again after a reset"
    return text


def _copies(tally: Tally) -> str:
    judged = tally.judged
    return (
        f"copies: {count_text(judged['copies'])} looked at, "
        f"{bytes_text(judged['bytes'])}; "
        f"{plural(judged['failed_rows'], 'row')} in failed.csv"
    )


def _found(tally: Tally) -> str:
    total = sum(tally.found.values())
    if not total:
        return "no contradiction"
    listed = ", ".join(f"{count_text(n)} {kind}" for kind, n in tally.found.items())
    return f"{plural(total, 'contradiction')}: {listed}"
