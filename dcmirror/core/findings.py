"""One row of reconcile's report, and what all its rows add up to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from dcmirror.core.checksums import format_adler32
from dcmirror.core.differences import COPIED, DifferenceKind
from dcmirror.core.escapes import kept
from dcmirror.core.failed_rows import format_line

COLUMNS = (
    *("kind", "path", "relative", "size", "pnfsid", "adler32", "modified"),
    *("detail", "outcome"),
)

#: Outcomes after which a difference is no more.
CURED = frozenset(
    {"copied", "adopted", "vanished", "superseded", "already-mirrored", "left"}
)
#: A renamed file is copied to its new name like any other that is missing.
CURABLE = COPIED | {DifferenceKind.RENAMED}


@dataclass(frozen=True, slots=True)
class Finding:
    """One difference.

    ``size``, ``pnfsid``, ``adler32`` and ``modified`` are the source's, but those of
    the mirror for what is only here.  ``outcome``: what was done about it, "" for
    nothing (yet).
    """

    kind: DifferenceKind
    path: str
    relative: str
    size: int | None = None
    pnfsid: str | None = None
    adler32: int | None = None
    modified: float | None = None
    detail: str = ""
    outcome: str = ""

    @property
    def remains(self) -> bool:
        """Whether source and mirror differ there still."""
        return self.outcome not in CURED


def cells(finding: Finding) -> list[str]:
    """A row of CSV; names with line ends or escapes in them are escaped."""
    adler32 = finding.adler32
    return [
        finding.kind.value,
        kept(finding.path),
        kept(finding.relative),
        "" if finding.size is None else str(finding.size),
        finding.pnfsid or "",
        "" if adler32 is None else format_adler32(adler32),
        _time(finding.modified) or "",
        kept(finding.detail),
        finding.outcome,
    ]


def csv_line(finding: Finding) -> str:
    """The row with its newline."""
    return format_line(cells(finding))


CSV_HEADER = format_line(COLUMNS)


def document(finding: Finding) -> dict[str, Any]:
    """The row for JSON, where every name can be written as it is."""
    adler32 = finding.adler32
    return {
        "kind": finding.kind.value,
        "path": finding.path,
        "relative": finding.relative,
        "size": finding.size,
        "pnfsid": finding.pnfsid,
        "adler32": None if adler32 is None else format_adler32(adler32),
        "modified": _time(finding.modified),
        "detail": finding.detail,
        "outcome": finding.outcome,
    }


def _time(at: float | None) -> str | None:
    if at is None:
        return None
    try:
        moment = datetime.fromtimestamp(at, UTC)
    except (OverflowError, ValueError, OSError):
        return None
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


#: What is counted of names that are no difference.
COUNTS = ("equal", "recent", "left", "excluded", "isolated")


@dataclass(frozen=True, slots=True)
class Impact:
    """What the source felt of it: requests, and over how many seconds."""

    listing: int = 0
    copying: int = 0
    seconds: float = 0.0

    @property
    def requests(self) -> int:
        """All of them."""
        return self.listing + self.copying

    @property
    def per_second(self) -> float:
        """Requests per second."""
        return self.requests / max(self.seconds, 0.001)


@dataclass(frozen=True, slots=True)
class Summary:
    """Everything at once.

    ``found`` and ``remaining`` count by kind, ``counts`` by COUNTS, ``outcomes`` what
    was done.  ``unlisted``: directories that could not be listed.  ``is_complete``:
    everything that was to be compared was.  ``is_whole``: that was all of the folder,
    as it was at ``settled_before`` at least; it began at ``started`` (epoch seconds).
    """

    is_complete: bool
    is_dry: bool
    directories: int = 0
    files: int = 0
    size: int = 0
    unlisted: int = 0
    garbage: int = 0
    old_names: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)
    found: Mapping[str, int] = field(default_factory=dict)
    found_bytes: Mapping[str, int] = field(default_factory=dict)
    remaining: Mapping[str, int] = field(default_factory=dict)
    outcomes: Mapping[str, int] = field(default_factory=dict)
    copied_bytes: int = 0
    impact: Impact = field(default_factory=Impact)
    is_whole: bool = False
    started: float = 0.0
    settled_before: float = 0.0

    @property
    def is_equal(self) -> bool:
        """Whether source and mirror are proved to agree."""
        left = sum(self.remaining.values()) + self.old_names
        return self.is_complete and not (left or self.unlisted or self.garbage)


def summary_document(summary: Summary) -> dict[str, Any]:
    """The summary for JSON."""
    impact = summary.impact
    return {
        "complete": summary.is_complete,
        "equal": summary.is_equal,
        "dry_run": summary.is_dry,
        "directories": summary.directories,
        "files": summary.files,
        "bytes": summary.size,
        "unlisted": summary.unlisted,
        "garbage_lines": summary.garbage,
        "old_names": summary.old_names,
        "no_difference": {name: summary.counts.get(name, 0) for name in COUNTS},
        "found": _by_kind(summary.found),
        "remaining": _by_kind(summary.remaining),
        "outcomes": dict(sorted(summary.outcomes.items())),
        "copied_bytes": summary.copied_bytes,
        "requests": {
            "listing": impact.listing,
            "copying": impact.copying,
            "seconds": round(impact.seconds, 3),
            "per_second": round(impact.per_second, 3),
        },
    }


def _by_kind(counts: Mapping[str, int]) -> dict[str, int]:
    return {kind.value: counts.get(kind.value, 0) for kind in DifferenceKind}
