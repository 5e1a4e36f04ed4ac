"""What reconcile prints: its differences, and what they add up to."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from enum import Enum
from itertools import islice
from typing import TextIO

from dcmirror.core.amounts import bytes_text, count_text, plural, span_text
from dcmirror.core.differences import DifferenceKind
from dcmirror.core.escapes import shown
from dcmirror.core.findings import (
    COUNTS,
    CSV_HEADER,
    Finding,
    Summary,
    csv_line,
    document,
    summary_document,
)

#: Differences that a terminal shows; a file or a pipe gets all of them.
_MOST_ON_A_TERMINAL = 500
_VERSION = 1
_WORDS = {
    "equal": "equal",
    "recent": "too young to judge; their events may be on their way",
    "left": "removed here, and left so ([destination] missing)",
    "excluded": "excluded by [filter]",
    "isolated": "set apart by cleanup",
}


class Form(Enum):
    """How it is printed."""

    TEXT = "text"
    JSON = "json"
    CSV = "csv"


def show(
    summary: Summary, findings: Iterable[Finding], form: Form, stream: TextIO
) -> None:
    """Print everything; the findings are read one by one."""
    if form is Form.CSV:
        stream.write(CSV_HEADER)
        stream.writelines(csv_line(finding) for finding in findings)
    elif form is Form.JSON:
        stream.writelines(_json(summary, findings))
    else:
        _show_text(summary, findings, stream)


def _json(summary: Summary, findings: Iterable[Finding]) -> Iterator[str]:
    """One document, written as it comes: there may be 400,000 differences."""
    head = {"version": _VERSION, **summary_document(summary)}
    yield json.dumps(head, indent=2)[:-2] + ',\n  "differences": ['
    between = "\n    "
    for finding in findings:
        yield between + json.dumps(document(finding))
        between = ",\n    "
    yield "\n  ]\n}\n" if between.startswith(",") else "]\n}\n"


def _show_text(summary: Summary, findings: Iterable[Finding], stream: TextIO) -> None:
    rest = iter(findings)
    most = _MOST_ON_A_TERMINAL if stream.isatty() else None
    lines = 0
    for finding in islice(rest, most):
        stream.write(_line(finding) + "\n")
        lines += 1
    more = sum(1 for _ in rest)
    if more:
        stream.write(f"... and {plural(more, 'more difference')}: --csv lists all\n")
    if lines:
        stream.write("\n")
    stream.writelines(f"{line}\n" for line in summary_lines(summary))


def _line(finding: Finding) -> str:
    size = "" if finding.size is None else bytes_text(finding.size)
    outcome = f" [{finding.outcome}]" if finding.outcome else ""
    detail = f"  ({shown(finding.detail)})" if finding.detail else ""
    path = shown(finding.path)
    return f"{finding.kind.value:<13} {size:>8}  {path}{detail}{outcome}"


def summary_lines(summary: Summary) -> Iterator[str]:
    """The totals, as text."""
    yield (
        f"{plural(summary.files, 'file')} ({bytes_text(summary.size)}) in "
        f"{count_text(summary.directories)} directories compared"
        f"{'' if summary.is_complete else '; not all, see above'}"
    )
    for kind in DifferenceKind:
        found = summary.found.get(kind.value, 0)
        if found:
            yield _kind_line(summary, kind, found)
    for name in COUNTS:
        if summary.counts.get(name):
            yield f"  {name:<13} {count_text(summary.counts[name]):>10}  {_WORDS[name]}"
    yield from _outcome_lines(summary)
    yield _impact_line(summary)


def _kind_line(summary: Summary, kind: DifferenceKind, found: int) -> str:
    size = bytes_text(summary.found_bytes.get(kind.value, 0))
    remaining = summary.remaining.get(kind.value, 0)
    rest = ""
    if not summary.is_dry:
        rest = f", {count_text(remaining)} remain" if remaining else ", none remains"
    return f"  {kind.value:<13} {count_text(found):>10}  {size}{rest}"


def _outcome_lines(summary: Summary) -> Iterator[str]:
    if summary.outcomes:
        done = ", ".join(
            f"{count_text(number)} {name}"
            for name, number in sorted(summary.outcomes.items())
        )
        yield f"{done}; {bytes_text(summary.copied_bytes)} copied"
    if summary.outcomes.get("failed"):
        yield "what failed is in failed.csv: `dcmirror replay` tries it again"
    if summary.found.get(DifferenceKind.KNOWN_FAILURE.value):
        yield "known failures are left to `dcmirror replay`"
    if summary.old_names:
        yield f"{plural(summary.old_names, 'old name')} of renamed files still here"
    if summary.unlisted:
        number = count_text(summary.unlisted)
        yield f"directories not listed, or not to the end: {number}; the rest of them "
        yield "is not judged"
    if summary.garbage:
        yield f"{plural(summary.garbage, 'line')} of the list could not be used"


def _impact_line(summary: Summary) -> str:
    impact = summary.impact
    return (
        f"the door had {plural(impact.requests, 'request')} in "
        f"{span_text(impact.seconds)} ({impact.per_second:.1f}/s): "
        f"{count_text(impact.listing)} for listing, "
        f"{count_text(impact.copying)} for copies"
    )
