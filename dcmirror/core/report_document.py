"""A report for machines: one JSON document, or its groups as CSV."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from dcmirror.core.escapes import shown
from dcmirror.core.failed_rows import format_line
from dcmirror.core.histogram import ACCURACY, LogHistogram
from dcmirror.core.report import Report
from dcmirror.core.report_figures import Figures
from dcmirror.core.report_tables import By, Heading, groups_of, notes

VERSION = 1

# A spreadsheet takes a cell that begins so for a formula.
_FORMULA = ("=", "+", "-", "@")


def as_json(report: Report, heading: Heading) -> str:
    """Everything; times are ISO 8601, sizes bytes, durations seconds."""
    return json.dumps(document(report, heading), indent=2)


def document(report: Report, heading: Heading) -> dict[str, Any]:
    """The report as plain values."""
    query, sources = report.query, report.sources
    return {
        "report": {
            "version": VERSION,
            "dcmirror": heading.version,
            "instance": heading.instance,
            "host": heading.host,
            "made_at": _time(report, heading.made_at),
            "since": _time(report, query.since),
            "until": _time(report, query.until),
            "under": query.under,
            "by": heading.by.value,
            "depth": query.depth,
            "accuracy": ACCURACY,
        },
        "catalogue": _catalogue(report),
        "journal": {
            "reaches_from": _time(report, sources.reaches_from),
            "covers_period": report.is_covered,
            "lines": sources.lines,
            "bytes": sources.bytes,
            "spoiled_lines": sources.spoiled,
            "odd_lines": sources.odd,
            "repeated_lines": sources.repeated,
            "dropped_lines": sources.dropped,
            "missed_segments": sources.missed,
            **_work(report),
        },
        "failed_csv": _remaining(report),
        "groups": _groups(report, heading),
        "notes": notes(report),
    }


def as_csv(report: Report, heading: Heading) -> str:
    """The groups, one line each."""
    rows = [_flat(group) for group in _groups(report, heading)]
    columns = list(rows[0]) if rows else list(_flat(_group("", Figures(), heading.by)))
    lines = [columns, *([_cell(row[name]) for name in columns] for row in rows)]
    return "".join(format_line(line) for line in lines)


def _catalogue(report: Report) -> dict[str, Any]:
    total, deleted = report.total(), report.deleted
    return {
        "files": total.files,
        "bytes": total.bytes,
        "files_without_proved_checksum": total.unproved,
        "first_copied_at": _time(report, report.first_copy),
        "last_copied_at": _time(report, report.last_copy),
        "delay_seconds": _percentiles(total.delay),
        "sources_deleted": asdict(deleted),
    }


def _work(report: Report) -> dict[str, Any]:
    total, work = report.total(), report.work
    return {
        "copies": total.copies,
        "bytes_copied": total.copied_bytes,
        "adopted": total.adopted,
        "failed": total.failed,
        "failures": dict(total.failures),
        "retries": total.retries,
        "retries_by_class": dict(work.retried),
        "skipped": total.skipped,
        "skipped_by_reason": dict(work.skips),
        "rejected_records": work.garbage,
        "requests": work.requests,
        "connections": work.connections,
        "bytes_received": work.received,
        "throughput_bits_per_second": _percentiles(total.throughput),
        "duration_seconds": _percentiles(work.duration),
        "phase_seconds": {n: _percentiles(v) for n, v in work.phases.items()},
        "holds": {kind: asdict(held) for kind, held in work.holds.items()},
    }


def _remaining(report: Report) -> dict[str, Any]:
    left = report.remaining
    return {
        "path": left.path,
        "rows": left.rows,
        "rows_in_period": left.in_period,
        "rows_in_period_by_class": dict(left.classes),
        "of_these_in_the_mirror": left.outranked,
        "torn_lines": left.torn,
        "trouble": left.trouble or None,
    }


def _groups(report: Report, heading: Heading) -> list[dict[str, Any]]:
    if heading.by is By.CLASS:
        return _classes(report)
    return [
        _group(label, figures, heading.by)
        for label, figures in groups_of(report, heading.by, heading.top)
    ]


def _classes(report: Report) -> list[dict[str, Any]]:
    failures, retried = report.total().failures, report.work.retried
    left = report.remaining.classes
    return [
        {
            "class": name,
            "failed": failures[name],
            "retries": retried[name],
            "still_in_failed_csv": left[name],
        }
        for name in sorted(failures.keys() | retried.keys() | left.keys())
    ]


def _group(label: str, figures: Figures, by: By) -> dict[str, Any]:
    """Nobody knows through which door the catalogue's files were written."""
    if by is By.CLASS:
        return {"class": label, "failed": 0, "retries": 0, "still_in_failed_csv": 0}
    catalogue = {
        "files": figures.files,
        "bytes": figures.bytes,
        "files_without_proved_checksum": figures.unproved,
        "delay_seconds": _percentiles(figures.delay),
    }
    return {
        by.value: label,
        **(catalogue if by is not By.DOOR else {}),
        "copies": figures.copies,
        "bytes_copied": figures.copied_bytes,
        "adopted": figures.adopted,
        "retries": figures.retries,
        "failed": figures.failed,
        "skipped": figures.skipped,
        "throughput_bits_per_second": _percentiles(figures.throughput),
    }


def _percentiles(values: LogHistogram) -> dict[str, float | int | None]:
    found = values.percentiles()
    return {
        "count": found.count,
        "p5": _rounded(found.p5),
        "p50": _rounded(found.p50),
        "p95": _rounded(found.p95),
        "p99": _rounded(found.p99),
        "largest": _rounded(found.largest),
    }


def _rounded(value: float | None) -> float | None:
    """As many digits as mean something."""
    return None if value is None else float(f"{value:.4g}")


def _flat(group: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in group.items():
        if isinstance(value, Mapping):
            flat |= {f"{name}_{key}": each for key, each in value.items()}
        else:
            flat[name] = value
    return flat


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        return str(value)
    text = shown(value)
    return f"./{text}" if text.startswith(_FORMULA) else text


def _time(report: Report, at: float | None) -> str | None:
    return None if at is None else report.zone(at).isoformat(timespec="milliseconds")
