"""The journal event of an audit: what was judged, and what contradicts."""

from __future__ import annotations

from dataclasses import dataclass

from dcmirror.core.journal_document import Event, EventMaker, nanoseconds


@dataclass(frozen=True, slots=True)
class AuditCounts:
    """What an audit judged, and found, by area; bytes are those that were read."""

    offsets: int
    copies: int
    read: int
    read_bytes: int
    sources: int
    books_differ: int
    copies_differ: int
    source_differs: int
    repaired: int

    @property
    def contradictions(self) -> int:
        """All that was found, repaired or not."""
        return self.books_differ + self.copies_differ + self.source_differs


class AuditEvents(EventMaker):
    """An audit's one event."""

    def audit_finished(
        self, at: float, counts: AuditCounts, seconds: float, reason: str
    ) -> Event:
        """It is over; ``reason``: done, or stopped."""
        fields = {
            f"dcmirror.audit.{name}": getattr(counts, name)
            for name in AuditCounts.__dataclass_fields__
        }
        left = counts.contradictions - counts.repaired
        fields |= {
            "event.reason": reason,
            "event.outcome": "failure" if left else "success",
            "event.duration": nanoseconds(seconds),
        }
        message = (
            f"audit: {counts.offsets} offsets, {counts.copies} copies, "
            f"{counts.read} read; {counts.contradictions} contradictions, "
            f"{counts.repaired} repaired"
        )
        level = "error" if left else None
        return self.make("audit-finished", at, message, fields, None, level)
