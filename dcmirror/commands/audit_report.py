"""Where the findings of an audit go: lines, one JSON document, or CSV, as they come."""

from __future__ import annotations

import json
import sys
from collections import Counter
from enum import StrEnum
from typing import Any, TextIO

from dcmirror.adapters.catalogue_scratch import Repair, Scratch
from dcmirror.core.amounts import count_text
from dcmirror.core.audit_findings import (
    REPAIRABLE,
    AuditKind,
    Finding,
    Note,
    Tally,
)
from dcmirror.core.escapes import shown
from dcmirror.core.findings import CSV_HEADER

#: Lines of one kind; the others are counted.
MOST_LINES = 1000


class Form(StrEnum):
    """What goes to standard output."""

    LINES = "lines"
    JSON = "json"
    CSV = "csv"


class AuditReport:
    """Takes findings and notes, writes them at once, and counts.

    Args:
        form: what goes to ``out``; of CSV only what is about a file, the rest and
            everything else that is said goes to ``err``.
        quietness: 1 leaves out notes and the summary where all is well.
    """

    def __init__(
        self,
        scratch: Scratch,
        form: Form = Form.LINES,
        quietness: int = 0,
        out: TextIO | None = None,
        err: TextIO | None = None,
    ) -> None:
        self.tally = Tally()
        self.notes: list[Note] = []
        self.repairable: Counter[AuditKind] = Counter()
        self._scratch = scratch
        self._form = form
        self._quietness = quietness
        # On a terminal a progress bar takes its place, to keep lines off the bar.
        self._given = out or (None if sys.stdout.isatty() else sys.stdout)
        self._err = err or sys.stderr
        self._written = 0

    def begin(self) -> None:
        """What stands before the first finding."""
        if self._form is Form.CSV:
            self._out.write(CSV_HEADER)
        elif self._form is Form.JSON:
            self._out.write('{"findings": [')

    def take(self, finding: Finding) -> None:
        """A contradiction."""
        self.tally.found[finding.kind] += 1
        if finding.relative and finding.kind in REPAIRABLE:
            self._note_repair(finding)
        if self._form is Form.JSON:
            self._out.write(",\n" if self._written else "\n")
            self._out.write(json.dumps(finding.document()))
        elif self._form is Form.CSV and finding.path:
            self._out.write(finding.csv_line())
        elif self.tally.found[finding.kind] <= MOST_LINES:
            print(finding.line(), file=self._err if self._is_csv else self._out)
        self._written += 1

    def note(self, kind: str, text: str, count: int = 1) -> None:
        """Something that contradicts nothing."""
        self.notes.append(Note(kind, text, count))

    def say(self, text: str) -> None:
        """To the user, beside the report."""
        if self._quietness <= 0:
            print(f"dcmirror: {shown(text)}", file=self._err)

    def end(self, summary: dict[str, Any], lines: list[str]) -> None:
        """The summary: as a member of the document, or as lines."""
        if self._form is Form.JSON:
            members = {"notes": [note.document() for note in self.notes], **summary}
            closing = json.dumps(members)[1:]
            self._out.write(
                f"\n],\n{closing}\n" if self._written else f"],\n{closing}\n"
            )
            return
        for kind, number in self.tally.found.items():
            if number > MOST_LINES and not self._is_csv:
                left = count_text(number - MOST_LINES)
                print(f"{kind}: and {left} more; --csv lists all", file=self._out)
        if self._quietness <= 0:
            for note in self.notes:
                self._tell(f"note: {shown(note.text)}")
        if self._quietness <= 0 or self.tally.found:
            for line in lines:
                self._tell(line)

    @property
    def _out(self) -> TextIO:
        return self._given or sys.stdout

    @property
    def _is_csv(self) -> bool:
        return self._form is Form.CSV

    def _tell(self, text: str) -> None:
        print(text, file=self._err if self._is_csv else self._out)

    def _note_repair(self, finding: Finding) -> None:
        self.repairable[finding.kind] += 1
        self._scratch.add_repair(
            Repair(
                finding.relative,
                finding.path,
                finding.size,
                finding.pnfsid,
                str(finding.kind),
            )
        )
