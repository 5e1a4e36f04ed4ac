"""Reads journal and failed.csv once, into the tables in which an audit compares."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

from dcmirror.adapters.catalogue_scratch import (
    FAILED_AGAIN,
    FailedLine,
    GoodCopy,
    Outcome,
    Scratch,
)
from dcmirror.adapters.failed_csv_scan import scan
from dcmirror.adapters.journal_scan import JournalScan
from dcmirror.commands.audit_report import AuditReport
from dcmirror.core.amounts import plural
from dcmirror.core.audit_findings import AuditKind, Finding
from dcmirror.core.audit_gaps import Reconciled
from dcmirror.core.audit_spans import Range
from dcmirror.core.failed_rows import FailedRow
from dcmirror.core.jobs import JobKind
from dcmirror.core.journal_values import Lane
from dcmirror.core.paths import PathMap
from dcmirror.core.report_figures import Sources

_ACTIONS = (
    "transfer-finished",
    "offsets-lost",
    "journal-dropped",
    "reconcile-finished",
)
_GOOD = frozenset({"mirrored", "adopted"})
_AT_ONCE = 1000


@dataclass(slots=True)
class Story:
    """What the journal told besides outcomes.

    ``whole_since``: from then on (epoch seconds) it has every outcome; None: it has
    none at all.  ``lost`` maps topic and partition to ranges and when they were missed.
    ``reconciled`` are the reconciles of everything.
    """

    whole_since: float | None = None
    spoiled: int = 0
    lost: dict[tuple[str, int], list[tuple[Range, str]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    reconciled: list[Reconciled] = field(default_factory=list)
    reached: dict[str, int] = field(default_factory=dict)


def read_journal(
    directory: Path, scratch: Scratch, behind: Mapping[str, int] | None = None
) -> Story:
    """Put every outcome of the journal into the scratch tables.

    Args:
        behind: ``Story.reached`` of an earlier reading, of which this is the rest.
    """
    story, sources = Story(), Sources()
    scan_of = JournalScan(directory, _ACTIONS, sources, lane=Lane.STORY, behind=behind)
    documents = scan_of.documents()
    while chunk := list(islice(documents, _AT_ONCE)):
        outcomes = [
            made for each in chunk if (made := _outcome_of(each, story)) is not None
        ]
        scratch.add_outcomes(outcomes)
        scratch.add_good(_good_ones(outcomes))
    story.spoiled = sources.spoiled
    story.reached = scan_of.reached
    if sources.reaches_from is not None:
        story.whole_since = max(sources.reaches_from, story.whole_since or 0.0)
    return story


def _outcome_of(event: dict[str, Any], story: Story) -> Outcome | None:
    action = event.get("event", {}).get("action")
    if action == "transfer-finished":
        groups, file = event.get("dcmirror", {}), event.get("file", {})
        ours = groups.get("transfer", {})
        return Outcome(
            task=ours.get("id", ""),
            at=event["@timestamp"],
            state=_state_of(ours),
            relative=ours.get("relative", ""),
            path=file.get("path", ""),
            pnfsid=groups.get("dcache", {}).get("pnfsid"),
            size=file.get("size"),
        )
    _take_other(action, event, story)
    return None


def _state_of(transfer: dict[str, Any]) -> str:
    """What became of it; the row of a replay's failure is in the file it was given."""
    state = str(transfer.get("state", ""))
    is_again = state == "failed" and transfer.get("kind") == JobKind.REPLAY
    return FAILED_AGAIN if is_again else state


def _take_other(action: str, event: dict[str, Any], story: Story) -> None:
    ours, at = event.get("dcmirror", {}), event["@timestamp"]
    if action == "offsets-lost":
        log = ours["kafka"]
        if log["lost_from"] < log["lost_to"]:
            key = (log["topic"], log["partition"])
            story.lost[key].append(((log["lost_from"], log["lost_to"] - 1), at))
    elif action == "journal-dropped":
        kinds = ours.get("spool", {}).get("dropped_by_kind", {})
        if kinds.get("outcome"):
            story.whole_since = max(story.whole_since or 0.0, moment_of(at))
    elif action == "reconcile-finished" and _has_cured(event["event"], ours):
        run = ours["reconcile"]
        missed = run.get("found", {}).get("missing", 0)
        began, until = event["event"]["start"], run["settled_before"]
        story.reconciled.append(Reconciled(began, at, until, missed))


def _has_cured(event: dict[str, Any], ours: dict[str, Any]) -> bool:
    """Whether a reconcile of everything ran to its end, and left what it found cured.

    What could not be copied is in failed.csv, and told there.
    """
    run = ours.get("reconcile", {})
    saw_all = run.get("whole") and not run.get("unlisted") and "reason" not in event
    is_done = not run.get("dry_run") or event.get("outcome") == "success"
    return bool(saw_all) and is_done


def _good_ones(outcomes: list[Outcome]) -> Iterator[GoodCopy]:
    for each in outcomes:
        if each.state in _GOOD and each.relative:
            yield GoodCopy(each.relative, each.at, each.path, each.pnfsid, each.size)


def read_failed(
    path: Path, path_map: PathMap, report: AuditReport, scratch: Scratch
) -> None:
    """Put the rows of failed.csv into the scratch tables; lines that are none are told.

    Raises:
        NotOursError: the file is not ours.
        BooksError: it cannot be read.
    """
    torn = 0
    rows = scan(path)
    while chunk := list(islice(rows, _AT_ONCE)):
        whole = [row for row in chunk if row is not None]
        torn += len(chunk) - len(whole)
        report.tally.judged["failed_rows"] += len(whole)
        lines = [_line_of(row, path_map) for row in whole]
        scratch.add_failed(lines)
        scratch.add_origins(filter(None, (line.origin for line in lines)))
    scratch.index_failed()
    if torn:
        text = (
            f"{plural(torn, 'line')} that {'is' if torn == 1 else 'are'} no whole row"
        )
        report.take(Finding(kind=AuditKind.TORN_ROW, place=str(path), detail=text))


def _line_of(row: FailedRow, path_map: PathMap) -> FailedLine:
    return FailedLine(
        row.task,
        row.path,
        path_map.relative(row.path),
        row.pnfsid,
        row.time,
        row.topic,
        row.partition,
        row.offset,
    )


def moment_of(at: str) -> float:
    """A time of the journal in seconds since the epoch."""
    return datetime.fromisoformat(at).timestamp()
