"""What cleanup prints: plans, what was deleted, how a run ended."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dcmirror.adapters.catalogue_deletions import Intent
from dcmirror.commands.report import Form
from dcmirror.core.amounts import bytes_text, count_text, plural, span_text
from dcmirror.core.checksums import format_adler32
from dcmirror.core.cleanup_plan import Census, Reason
from dcmirror.core.deletion import Keep, Result
from dcmirror.core.escapes import shown
from dcmirror.core.jobs import CopyRecord
from dcmirror.core.journal_cleanup import CleanupTally

Document = dict[str, Any]

_PLAN = (
    *("decision", "path", "size", "age_seconds", "pnfsid", "adler32"),
    *("copied_at", "copy", "for", "against"),
)
_UNDO = (
    *("path", "pnfsid", "size", "adler32", "deleted_at", "result", "copy"),
    *("copy_is_there",),
)
# It was begun; a killed run leaves it to the next one to find out.
_UNKNOWN = "unknown"


class Sheet:
    """Rows of one kind, printed as they come: lines, one JSON document, or CSV."""

    def __init__(self, form: Form, name: str, columns: tuple[str, ...]) -> None:
        self._form = form
        self._name = name
        self._columns = columns
        self._count = 0
        self._writer = csv.writer(sys.stdout, lineterminator="\n")

    def begin(self) -> None:
        """What stands before the rows."""
        if self._form is Form.CSV:
            self._writer.writerow(self._columns)
        elif self._form is Form.JSON:
            print(f'{{"{self._name}": [', end="")

    def row(self, document: Document, line: str) -> None:
        """One row; ``line`` is it for people."""
        if self._form is Form.CSV:
            self._writer.writerow(map(_cell, document.values()))
        elif self._form is Form.JSON:
            print(",\n " if self._count else "\n ", end="")
            print(json.dumps(document), end="")
        else:
            print(line)
        self._count += 1

    def end(self, summary: Document) -> None:
        """What stands after the rows."""
        if self._form is Form.JSON:
            print(f'\n], "summary": {json.dumps(summary)}}}')


def plan_sheet(form: Form) -> Sheet:
    """For ``plan_row``."""
    return Sheet(form, "files", _PLAN)


def plan_row(
    sheet: Sheet,
    copy: CopyRecord,
    pros: list[str],
    cons: list[Reason],
    *,
    now: float,
    mirror: Path,
) -> None:
    """One source: whether it would go, and why."""
    age = now - copy.copied_at
    decision = "keep" if cons else "delete"
    document = {
        "decision": decision,
        "path": copy.path,
        "size": copy.size,
        "age_seconds": round(age),
        "pnfsid": copy.pnfsid,
        "adler32": _sum(copy.adler32),
        "copied_at": _time(copy.copied_at),
        "copy": str(mirror / copy.relative),
        "for": pros,
        "against": [f"{reason.why}: {reason.text}" for reason in cons],
    }
    why = "; ".join(r.text for r in cons) if cons else "; ".join(pros)
    line = f"{decision}\t{bytes_text(copy.size)}\t{span_text(age)}\t{shown(copy.path)}"
    sheet.row(document, f"{line}\t{shown(why)}")


def census_document(census: Census, brake: Reason | None) -> Document:
    """A plan in figures."""
    return {
        "sources_there": census.there,
        "delete": census.chosen,
        "delete_bytes": census.chosen_bytes,
        "against": {str(why): count for why, count in census.against.items()},
        "brake": None if brake is None else brake.text,
    }


def census_line(census: Census) -> str:
    """A plan in one line."""
    reasons = sorted(census.against.items(), key=lambda item: -item[1])
    kept = ", ".join(f"{count_text(count)} {why}" for why, count in reasons)
    return (
        f"would delete {plural(census.chosen, 'source')} "
        f"({bytes_text(census.chosen_bytes)}) of the {count_text(census.there)} "
        f"that are still there" + (f"; kept: {kept}" if kept else "")
    )


def undo_list(form: Form, rows: Iterable[Intent]) -> int:
    """What is not at the source any more, and where its copy is; how many are unknown.

    Only what we deleted is counted; the rest was gone, or replaced, when we looked, or
    is an intent whose end nobody has seen.
    """
    sheet = Sheet(form, "deleted", _UNDO)
    sheet.begin()
    count = size = unknown = 0
    for row in rows:
        unknown += row.result is None
        if row.result == Result.DELETED:
            count, size = count + 1, size + (row.size or 0)
        sheet.row(*_undo_row(row))
    sheet.end({"deleted": count, "deleted_bytes": size})
    return unknown


def _undo_row(row: Intent) -> tuple[Document, str]:
    there = bool(row.copy) and Path(row.copy or "").exists()
    document = {
        "path": row.path,
        "pnfsid": row.pnfsid,
        "size": row.size,
        "adler32": _sum(row.adler32),
        "deleted_at": _time(row.ended_at),
        "result": row.result or _UNKNOWN,
        "copy": row.copy,
        "copy_is_there": there,
    }
    cells = (
        document["deleted_at"] or "-",
        document["result"],
        row.pnfsid or "-",
        str(row.size),
        document["adler32"] or "-",
        shown(row.path),
        shown(row.copy or "-") + ("" if there else " (not there)"),
    )
    return document, "\t".join(str(cell) for cell in cells)


def tally_document(
    tally: CleanupTally, examples: list[tuple[str, Keep]], ended: str, seconds: float
) -> Document:
    """A run in figures."""
    return {
        "deleted": tally.deleted,
        "deleted_bytes": tally.deleted_bytes,
        "already_gone": tally.already_gone,
        "resolved": tally.resolved,
        "kept": {str(why): count for why, count in tally.kept.items()},
        "kept_examples": [
            {"path": path, "why": str(keep.why), "text": keep.text}
            for path, keep in examples
        ],
        "parts_removed": tally.parts,
        "segments_removed": tally.segments,
        "directories_removed": tally.directories,
        "requests": tally.requests,
        "longest_window_ms": round(tally.longest_window * 1e3, 3),
        "seconds": round(seconds, 3),
        "ended": ended or "done",
    }


def tally_lines(
    tally: CleanupTally, examples: list[tuple[str, Keep]], seconds: float
) -> list[str]:
    """A run for people."""
    more = [
        (tally.already_gone, "already gone"),
        (tally.resolved, "left by earlier runs resolved"),
        (tally.parts, "old parts removed"),
        (tally.segments, "journal segments removed"),
        (tally.directories, "empty directories removed"),
    ]
    said = "".join(f", {count_text(n)} {what}" for n, what in more if n)
    lines = [
        f"deleted {plural(tally.deleted, 'source')} "
        f"({bytes_text(tally.deleted_bytes)}) in {span_text(seconds)} with "
        f"{plural(tally.requests, 'request')}{said}"
    ]
    kept = tally.kept.total()
    if kept:
        words = ", ".join(f"{n} {why}" for why, n in tally.kept.most_common())
        lines.append(f"kept {plural(kept, 'source')} against the plan: {words}")
        lines += [f"kept {shown(path)}: {shown(k.text)}" for path, k in examples]
        if kept > len(examples):
            lines.append(f"and {plural(kept - len(examples), 'other')}")
    return lines


def _sum(adler32: int | None) -> str | None:
    return None if adler32 is None else format_adler32(adler32)


def _time(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = "; ".join(value) if isinstance(value, list) else str(value)
    return shown(text)


def sweep_document(tally: CleanupTally) -> Document:
    """What was swept here, in figures."""
    return {"parts_removed": tally.parts, "segments_removed": tally.segments}


def sweep_line(tally: CleanupTally, *, is_dry: bool) -> str:
    """What was swept here, for people."""
    if is_dry:
        return f"would remove {plural(tally.parts, 'part')}"
    return (
        f"removed {plural(tally.parts, 'part')} and "
        f"{plural(tally.segments, 'journal segment')}"
    )


def json_text(document: Document) -> str:
    """One JSON document; ASCII, so that no name breaks a line."""
    return json.dumps(document, indent=2)
