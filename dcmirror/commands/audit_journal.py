"""Whether journal, failed.csv and catalogue contradict each other.

The journal covers a while only; what is older is judged by nothing here, and said so.
The order of reading is the point: an outcome is in failed.csv, then in the catalogue,
then in the journal, so the journal is read first, and once more where it seems behind.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from dcmirror.adapters.catalogue_audit import AuditReader
from dcmirror.adapters.catalogue_scratch import FAILED_AGAIN, FailedLine, Scratch
from dcmirror.adapters.journal_space import find_events
from dcmirror.commands.audit_reading import Story, moment_of, read_journal
from dcmirror.commands.audit_report import AuditReport
from dcmirror.core.amounts import plural
from dcmirror.core.audit_copies import AuditRow, finding
from dcmirror.core.audit_findings import AuditKind, Finding
from dcmirror.core.journal_document import time_text

#: The worker's clock and the supervisor's are one, but it may be set meanwhile.
_SLACK_SECONDS = 5.0
#: Books that are held for want of space write late.
_PATIENCE_SECONDS = 60.0


class JournalAudit:
    """Compares the three; made when journal and failed.csv are in the scratch tables.

    Args:
        began: when the journal began to be read (epoch seconds).
    """

    def __init__(
        self,
        catalogue: AuditReader,
        scratch: Scratch,
        report: AuditReport,
        story: Story,
        journal: Path,
        began: float,
    ) -> None:
        self._catalogue = catalogue
        self._scratch = scratch
        self._report = report
        self._story = story
        self._journal = journal
        self._began = began
        self._waiting: set[str] = set()

    def look_at_rows(self, rows: list[AuditRow]) -> None:
        """Note those that the journal should know and does not."""
        since = self._story.whole_since
        if since is None or self._story.spoiled:
            return
        young = [row for row in rows if row.copied_at >= since + _SLACK_SECONDS]
        if young:
            told = self._scratch.good_of([row.relative for row in young])
            self._scratch.miss_event(
                row.relative for row in young if not _is_told(row, told)
            )

    def compare(self, *, is_running: bool) -> None:
        """Everything that needs all rows to have been read.

        Args:
            is_running: a command of ours writes the books at this moment.
        """
        self._look_at_outbox(is_running=is_running)
        # What was written since the first reading; the outbox held it until then.
        read_journal(self._journal, self._scratch, self._story.reached)
        self._tell_eventless()
        self._tell_rowless()
        self._tell_failures()
        self._look_at_failed_rows()
        self._tell_reach()

    def _look_at_outbox(self, *, is_running: bool) -> None:
        lines = dict(self._catalogue.outbox())
        missing = lines.keys() - find_events(self._journal, lines)
        oldest = self._began
        for event_id in missing:
            event = json.loads(lines[event_id])
            ours = event.get("dcmirror", {}).get("transfer", {})
            self._waiting.update(filter(None, (ours.get("relative"), ours.get("id"))))
            oldest = min(oldest, moment_of(event["@timestamp"]))
        if not missing:
            return
        waits = f"{plural(len(missing), 'outcome line')} not in the journal yet"
        if is_running and self._began - oldest > _PATIENCE_SECONDS:
            place = str(self._journal)
            self._report.take(Finding(kind=AuditKind.OUTBOX, place=place, detail=waits))
        elif not is_running:
            text = f"{waits}: the next start of watch writes them"
            self._report.note("outbox", text, len(missing))

    def _tell_eventless(self) -> None:
        for names in self._scratch.eventless():
            told = self._scratch.good_of(names)
            for row in self._catalogue.rows_of(names).values():
                if not _is_told(row, told) and row.relative not in self._waiting:
                    text = "the journal covers that time, and tells of no such copy"
                    self._report.take(finding(AuditKind.NO_EVENT, row, text))

    def _tell_rowless(self) -> None:
        for page in self._scratch.good():
            rows = self._catalogue.rows_of([each.relative for each in page])
            for each in page:
                if each.relative not in rows:
                    text = (
                        f"the journal has it as copied at {each.at}, the catalogue not"
                    )
                    self._report.take(
                        Finding(
                            kind=AuditKind.NO_ROW,
                            detail=text,
                            path=each.path,
                            relative=each.relative,
                            size=each.size,
                            pnfsid=each.pnfsid,
                        )
                    )

    def _tell_failures(self) -> None:
        """A row is written before its event, and taken out after the cure's one."""
        before = time_text(self._began)
        for each in self._scratch.failures_without_row():
            if each.at < before:
                text = f"it failed at {each.at}, and failed.csv has no row of it"
                self._report.take(
                    Finding(
                        kind=AuditKind.NO_FAILED_ROW,
                        detail=text,
                        path=each.path,
                        relative=each.relative,
                        size=each.size,
                        pnfsid=each.pnfsid,
                    )
                )
        again = sum(1 for _ in self._scratch.failures_without_row(FAILED_AGAIN))
        if again:
            text = (
                f"{plural(again, 'failure')} of replays without a row in failed.csv: "
                "replayed from another file, or taken out by hand"
            )
            self._report.note("replayed-elsewhere", text, again)

    def _look_at_failed_rows(self) -> None:
        outranked = foreign = 0
        for page in self._scratch.failed_rows():
            names = [row.relative for row in page if row.relative]
            copies = self._catalogue.rows_of(names)
            told = self._scratch.outcomes_of([row.task for row in page])
            for row in page:
                copy = copies.get(row.relative or "")
                if copy is not None and copy.pnfsid == row.pnfsid:
                    outranked += 1
                elif self._should_be_told(row) and row.task not in told:
                    if self._is_foreign(row):
                        foreign += 1
                    else:
                        self._report.take(_stranger(row))
        if outranked:
            text = f"{plural(outranked, 'row')} of failed.csv with a good copy"
            self._report.note(
                "outranked", f"{text}: the next replay drops them", outranked
            )
        if foreign:
            text = f"{plural(foreign, 'row')} of failed.csv from offsets that are not"
            self._report.note("foreign-rows", f"{text} this instance's", foreign)

    def _is_foreign(self, row: FailedLine) -> bool:
        """Whether it comes from a record that another instance had, as far as known."""
        return row.origin is not None and not self._catalogue.is_settled(*row.origin)

    def _should_be_told(self, row: FailedLine) -> bool:
        since = self._story.whole_since
        if since is None or self._story.spoiled or row.task in self._waiting:
            return False
        return since + _SLACK_SECONDS <= row.at <= self._began - _PATIENCE_SECONDS

    def _tell_reach(self) -> None:
        story = self._story
        if story.spoiled:
            text = f"{plural(story.spoiled, 'line')} of the journal spoiled"
            self._report.note("journal-spoiled", f"{text}: what they told is unknown")
        if story.whole_since is None:
            self._report.note(
                "journal-empty", "the journal has nothing to compare with"
            )
        else:
            text = f"the journal is whole from {time_text(story.whole_since)} on"
            self._report.note("journal-reach", text)


def _is_told(row: AuditRow, told: Mapping[str, str]) -> bool:
    at = told.get(row.relative)
    return at is not None and at >= time_text(row.copied_at - _SLACK_SECONDS)


def _stranger(row: FailedLine) -> Finding:
    return Finding(
        kind=AuditKind.UNKNOWN_ROW,
        detail="a row of failed.csv of a failure that the journal does not know",
        path=row.path,
        relative=row.relative or "",
        pnfsid=row.pnfsid,
    )
