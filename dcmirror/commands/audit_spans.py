"""Whether the settled spans cover every offset up to the committed one, each once."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from dcmirror.adapters.catalogue_audit import AuditReader
from dcmirror.adapters.catalogue_positions import Position
from dcmirror.adapters.catalogue_scratch import Scratch
from dcmirror.adapters.kafka_offsets import KafkaOffsets, LogState, asking
from dcmirror.commands.audit_counts import SpanCounting, SpanTotals
from dcmirror.commands.audit_reading import Story, moment_of
from dcmirror.commands.audit_report import AuditReport
from dcmirror.core.amounts import count_text
from dcmirror.core.audit_findings import AuditKind, Finding
from dcmirror.core.audit_gaps import Cause, Known, NamedGap, cure, explain
from dcmirror.core.audit_spans import (
    Range,
    gaps,
    joined,
    length,
    range_text,
)
from dcmirror.core.ledger import Span
from dcmirror.errors import IntakeError
from dcmirror.settings import Kafka

#: What reading gaps may take in all (seconds).
_READING_SECONDS = 60.0
_MOST_SHOWN = 5
#: The clocks of dCache may be ahead of ours by so much (seconds).
_CLOCK_SECONDS = 300.0

_TEXTS = {
    Cause.OTHERS: "settled by another instance",
    Cause.ELSEWHERE: "not this instance's; --state DIR names the books of another one",
    Cause.EXPIRED: "expired in Kafka: nobody can tell any more what they were",
    Cause.EMPTY: "no records there: compaction, or markers of transactions",
    Cause.UNREAD: "not looked at: Kafka did not answer in time",
    Cause.RECONCILED: "without an outcome, and everything was reconciled since",
}


class SpanAudit:
    """Judges one partition after the other, reading each three times in order."""

    def __init__(
        self,
        catalogue: AuditReader,
        others: Sequence[AuditReader],
        scratch: Scratch,
        report: AuditReport,
        story: Story,
    ) -> None:
        self._counting = SpanCounting(catalogue, scratch, report)
        self._catalogue = catalogue
        self._others = others
        self._scratch = scratch
        self._report = report
        self._story = story
        self._cure = cure(story.reconciled)
        self._kafka: KafkaOffsets | None = None
        self._deadline = 0.0

    @property
    def totals(self) -> SpanTotals:
        """What the spans of all partitions add up to."""
        return self._counting.totals

    def judge(self, kafka: Kafka | None, topic: str) -> None:
        """All partitions; ``kafka`` None: the broker is not asked."""
        with ExitStack() as stack:
            if kafka is not None:
                try:
                    self._kafka = stack.enter_context(asking(kafka))
                except IntakeError as exc:
                    self._without(str(exc))
            else:
                self._without("it was not asked")
            self._deadline = time.monotonic() + _READING_SECONDS
            for place in self._places():
                self._judge_partition(*place, is_current=place[0] == topic)

    def _without(self, why: str) -> None:
        self._kafka = None
        text = f"Kafka: {why}; offsets are judged up to the last acknowledged one"
        self._report.note("kafka-not-asked", text)

    def _places(self) -> list[tuple[str, int]]:
        places = set(self._catalogue.partitions())
        for other in self._others:
            places.update(other.partitions())
        return sorted(places)

    def _judge_partition(self, topic: str, partition: int, *, is_current: bool) -> None:
        self.totals.partitions += 1
        log = self._log(topic, partition) if is_current else None
        position = self._catalogue.position(topic, partition)
        self._counting.count(topic, partition)
        others = list(self._joined_others(topic, partition))
        known, first, until = self._known(topic, partition, log, position, others)
        found: dict[Cause, list[Range]] = {}
        for gap in self._gaps(topic, partition, position, first, until):
            for named in explain(gap, known):
                settled = self._settled(topic, partition, named)
                found.setdefault(settled.cause, []).append(settled.gap)
        for cause, ranges in found.items():
            self._tell(f"{topic}[{partition}]", cause, list(joined(sorted(ranges))))

    # -- what is known ------------------------------------------------------------

    def _log(self, topic: str, partition: int) -> LogState | None:
        """The broker is asked before the books, which are never behind it."""
        if self._kafka is None:
            return None
        try:
            if partition in self._kafka.partitions():
                return self._kafka.state(partition)
        except IntakeError as exc:
            self._without(str(exc))
            return None
        text = f"{topic}[{partition}]: Kafka has no such partition any more"
        self._report.note("no-partition", text)
        return None

    def _joined_others(self, topic: str, partition: int) -> Iterator[Range]:
        ranges = sorted(
            (span.first, span.last)
            for other in self._others
            for span in other.spans(topic, partition)
        )
        return joined(ranges)

    def _known(
        self,
        topic: str,
        partition: int,
        log: LogState | None,
        position: Position | None,
        others: list[Range],
    ) -> tuple[Known, int, int]:
        """What explains gaps, and from where to where there may be none."""
        firsts = [span.first for span in self._first_spans(topic, partition)]
        firsts += [others[0][0]] if others else []
        began, ours_end, until = self._history(topic, partition, position)
        if position is not None:
            firsts.append(began)
        if log is not None and log.committed is not None:
            self._look_at_committed(topic, partition, log.committed, position)
            until = log.committed
        lost = [each for each, _ in self._story.lost.get((topic, partition), ())]
        known = Known(
            ours=(began, ours_end),
            begin=log.begin if log else None,
            lost=list(joined(sorted(lost))),
            others=others,
            knows_others=bool(self._others),
        )
        return known, min(firsts, default=until), until

    def _first_spans(self, topic: str, partition: int) -> Iterator[Span]:
        for span in self._catalogue.spans(topic, partition):
            yield span
            return

    def _history(
        self, topic: str, partition: int, position: Position | None
    ) -> tuple[int, int, int]:
        """Where our present history begins and ends, and what was acknowledged."""
        if position is None:
            return 0, 0, 0
        began = position.began
        if began is None:  # books of schema version 1
            spans = self._catalogue.spans(topic, partition, position.honours_from)
            first = next(spans, None)
            began = position.committable if first is None else first.first
        return began, position.committable, position.acknowledged

    def _look_at_committed(
        self, topic: str, partition: int, committed: int, position: Position | None
    ) -> None:
        if position is None or self._kafka is None:
            return
        if committed >= position.acknowledged:
            return
        # It was asked for before the books were read: it may have moved since.
        try:
            now = self._kafka.committed(partition)
        except IntakeError as exc:
            self._without(str(exc))
            return
        if now is not None and now < position.acknowledged:
            text = (
                f"{topic}[{partition}]: the group was set back to {now}, below "
                f"{position.acknowledged} that we had committed; watch reads on there"
            )
            self._report.note("reset", text)

    # -- gaps ---------------------------------------------------------------------

    def _gaps(
        self,
        topic: str,
        partition: int,
        position: Position | None,
        first: int,
        until: int,
    ) -> Iterator[Range]:
        """Our present history may not lean on spans of an earlier one."""
        since = position.honours_from if position else 0
        began = self._history(topic, partition, position)[0] if position else until
        before = self._catalogue.spans(topic, partition)
        yield from gaps(_ranges(before), first, min(began, until))
        ours = self._catalogue.spans(topic, partition, since)
        yield from gaps(_ranges(ours), max(first, began), until)

    def _settled(self, topic: str, partition: int, named: NamedGap) -> NamedGap:
        """What a look into the log, or into the books, says of a gap."""
        first, last = named.gap
        if named.cause is Cause.LOST:
            is_cured = self._is_reconciled(topic, partition, named.gap)
            return NamedGap(named.gap, Cause.RECONCILED) if is_cured else named
        has_rows = self._scratch.origins_in(topic, partition, first, last) > 0
        if has_rows and named.cause in (Cause.EXPIRED, Cause.UNREAD):
            return NamedGap(named.gap, Cause.RECORDS)
        if named.cause is Cause.UNREAD and self._kafka is not None:
            return NamedGap(named.gap, self._read(partition, first, last))
        return named

    def _read(self, partition: int, first: int, last: int) -> Cause:
        assert self._kafka is not None
        try:
            found = self._kafka.has_records(partition, first, last, self._deadline)
            if found and self._are_older(partition, last):
                return Cause.RECONCILED
        except IntakeError:
            return Cause.UNREAD
        if found is None:
            return Cause.UNREAD
        return Cause.RECORDS if found else Cause.EMPTY

    def _are_older(self, partition: int, last: int) -> bool:
        """Whether what they announce was there when everything was reconciled."""
        assert self._kafka is not None
        if self._cure is None:
            return False
        until = moment_of(self._cure.until) - _CLOCK_SECONDS
        return self._kafka.are_older(partition, last, until)

    def _is_reconciled(self, topic: str, partition: int, gap: Range) -> bool:
        times = [
            at
            for (first, last), at in self._story.lost[(topic, partition)]
            if first <= gap[1] and last >= gap[0]
        ]
        return self._cure is not None and max(times, default="") < self._cure.began

    def _tell(self, place: str, cause: Cause, ranges: list[Range]) -> None:
        shown = ", ".join(range_text(each) for each in ranges[:_MOST_SHOWN])
        more = f" and {count_text(len(ranges) - _MOST_SHOWN)} more ranges"
        offsets = f"offsets {shown}{more if len(ranges) > _MOST_SHOWN else ''}"
        if cause is Cause.RECORDS:
            text = f"{offsets} have records, and no outcome in the books"
            self._report.take(Finding(kind=AuditKind.GAP, place=place, detail=text))
        elif cause is Cause.LOST:
            text = f"Kafka had dropped {offsets} before they were read"
            self._report.take(Finding(kind=AuditKind.LOST, place=place, detail=text))
        else:
            text = f"{place}: {offsets}: {_TEXTS[cause]}"
            self._report.note(cause.value, text, length(ranges))


def _ranges(spans: Iterator[Span]) -> Iterator[Range]:
    return ((span.first, span.last) for span in spans)


def open_others(
    states: Sequence[Path], own: Path, stack: ExitStack
) -> list[AuditReader]:
    """The catalogues of other instances; ``own`` among them explains nothing."""
    return [
        stack.enter_context(AuditReader(each / "catalogue.db"))
        for each in states
        if not each.samefile(own)
    ]
