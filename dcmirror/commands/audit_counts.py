"""Whether spans count each of their offsets once, and no more files than they had."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from dcmirror.adapters.catalogue_audit import AuditReader
from dcmirror.adapters.catalogue_scratch import Scratch
from dcmirror.commands.audit_report import AuditReport
from dcmirror.core.amounts import plural
from dcmirror.core.audit_findings import AuditKind, Finding
from dcmirror.core.audit_spans import (
    Piece,
    is_consistent,
    may_have_files,
    newest,
    range_text,
)
from dcmirror.core.ledger import Span


@dataclass(slots=True)
class SpanTotals:
    """What the spans say.

    ``overlapped`` offsets lie in spans of which some were read again after a reset;
    ``kinds`` counts the others.
    """

    partitions: int = 0
    offsets: int = 0
    overlapped: int = 0
    kinds: Counter[str] = field(default_factory=Counter)


class SpanCounting:
    """What must agree exactly is a span's length and its counts.

    Rows of catalogue and failed.csv are only bounded by them: a newer file takes the
    row of an older one, and a replay takes rows out of failed.csv.
    """

    def __init__(
        self, catalogue: AuditReader, scratch: Scratch, report: AuditReport
    ) -> None:
        self.totals = SpanTotals()
        self._catalogue = catalogue
        self._scratch = scratch
        self._report = report

    def count(self, topic: str, partition: int) -> None:
        """Look at all spans of a partition."""
        ends: dict[int, int] = {}
        for span in self._catalogue.spans(topic, partition):
            self._look_at_span(span, ends)
        for piece in newest(self._catalogue.spans(topic, partition)):
            self._count_piece(piece)

    def _look_at_span(self, span: Span, ends: dict[int, int]) -> None:
        place = f"{span.topic}[{span.partition}]"
        where = f"span {range_text((span.first, span.last))} of epoch {span.epoch}"
        if span.first <= ends.get(span.epoch, -1):
            text = f"{where} overlaps the one before it"
            self._report.take(Finding(kind=AuditKind.OVERLAP, place=place, detail=text))
        ends[span.epoch] = max(ends.get(span.epoch, -1), span.last)
        if not is_consistent(span):
            counted = sum(span.counts.values())
            text = f"{where} counts {plural(counted, 'outcome')}"
            self._report.take(Finding(kind=AuditKind.COUNTS, place=place, detail=text))

    def _count_piece(self, piece: Piece) -> None:
        span, totals = piece.span, self.totals
        offsets = piece.last - piece.first + 1
        totals.offsets += offsets
        if not piece.is_alone:
            totals.overlapped += offsets
            return
        totals.kinds.update(span.counts)
        if not is_consistent(span):
            return
        rows = self._scratch.origins_in(
            span.topic, span.partition, span.first, span.last
        )
        if rows > may_have_files(span):
            text = (
                f"{plural(rows, 'row')} of catalogue and failed.csv come from offsets "
                f"{range_text((span.first, span.last))}, whose span has "
                f"{plural(may_have_files(span), 'outcome')} of files"
            )
            place = f"{span.topic}[{span.partition}]"
            self._report.take(Finding(kind=AuditKind.COUNTS, place=place, detail=text))
