"""What an audit finds: each contradiction as one value, and how it is told.

Pure.  A note is worth knowing and contradicts nothing: it changes no exit status.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from dcmirror.core import findings
from dcmirror.core.checksums import format_adler32
from dcmirror.core.escapes import shown
from dcmirror.errors import ExitStatus


class Area(StrEnum):
    """What contradicts what; each has an exit status of its own."""

    BOOKS = "books"
    COPIES = "copies"
    SOURCE = "source"


STATUSES = {
    Area.BOOKS: ExitStatus.BOOKS_DIFFER,
    Area.COPIES: ExitStatus.COPIES_DIFFER,
    Area.SOURCE: ExitStatus.SOURCE_DIFFERS,
}


class AuditKind(StrEnum):
    """The kinds of contradictions; those about a file may stand in a CSV report."""

    # books
    GAP = "gap"
    LOST = "offsets-lost"
    OVERLAP = "overlap"
    COUNTS = "counts"
    NO_ROW = "no-row"
    NO_EVENT = "no-event"
    NO_FAILED_ROW = "no-failed-row"
    UNKNOWN_ROW = "unknown-row"
    TORN_ROW = "torn-row"
    OUTBOX = "outbox"
    # copies
    MISSING = "missing"
    SIZE = "size"
    CHANGED = "changed"
    CHECKSUM = "checksum"
    MARK = "mark"
    UNSAFE = "unsafe"
    UNREADABLE = "unreadable"
    LOST_COPY = "lost-copy"
    # source
    GONE = "gone"
    REPLACED = "replaced"
    SOURCE_SIZE = "source-size"
    SOURCE_CHECKSUM = "source-checksum"


_AREAS = {
    **dict.fromkeys(list(AuditKind)[:10], Area.BOOKS),
    **dict.fromkeys(list(AuditKind)[10:18], Area.COPIES),
    **dict.fromkeys(list(AuditKind)[18:], Area.SOURCE),
}

#: Kinds that the engine mends: it looks, and fetches where that is needed.
REPAIRABLE = frozenset(
    {
        AuditKind.NO_ROW,
        AuditKind.NO_FAILED_ROW,
        AuditKind.MISSING,
        AuditKind.SIZE,
        AuditKind.CHANGED,
        AuditKind.CHECKSUM,
        AuditKind.MARK,
        AuditKind.UNREADABLE,
        AuditKind.REPLACED,
        AuditKind.SOURCE_SIZE,
        AuditKind.SOURCE_CHECKSUM,
    }
)


def area_of(kind: AuditKind) -> Area:
    """What a kind of finding contradicts."""
    return _AREAS[kind]


# What lies there looks right and is not: nobody may adopt it.
_DAMAGED = frozenset({AuditKind.CHECKSUM, AuditKind.MARK, AuditKind.UNREADABLE})


def refetches(kind: AuditKind) -> bool:
    """Whether the file must be fetched, whatever its mark or row says."""
    return kind in _DAMAGED or _AREAS[kind] is Area.SOURCE


def speaks_of_source(kind: AuditKind) -> bool:
    """Whether the source is another file than the catalogue has."""
    return _AREAS[kind] is Area.SOURCE


REMEDIES = {
    AuditKind.GAP: "run dcmirror reconcile, and once more to prove it",
    AuditKind.LOST: "run dcmirror reconcile, and once more to prove it",
    AuditKind.OVERLAP: "the catalogue was edited or damaged: restore it, or reconcile",
    AuditKind.COUNTS: "the catalogue was edited or damaged: restore it, or reconcile",
    AuditKind.NO_ROW: "dcmirror reconcile adopts the copy, or fetches it",
    AuditKind.NO_EVENT: "only the event log lacks it; nothing to mend",
    AuditKind.NO_FAILED_ROW: "dcmirror reconcile finds the file and fetches it",
    AuditKind.UNKNOWN_ROW: "replay would try it; take the row out if it is not ours",
    AuditKind.TORN_ROW: "the next replay puts the line aside; reconcile finds its file",
    AuditKind.OUTBOX: "see dcmirror status for why the journal does not take it",
    AuditKind.MISSING: "audit --repair fetches it, or notes that the source lacks it",
    AuditKind.SIZE: "audit --repair fetches it again",
    AuditKind.CHANGED: "audit --repair reads it, and fetches it if it differs",
    AuditKind.CHECKSUM: "audit --repair fetches it again",
    AuditKind.MARK: "audit --repair fetches it again and marks it anew",
    AuditKind.UNSAFE: "see who put that there and remove it, then audit --repair",
    AuditKind.UNREADABLE: "look after the disk; audit --repair fetches it again",
    AuditKind.LOST_COPY: "restore it from a backup: nothing can fetch it any more",
    AuditKind.GONE: "removed or renamed at the source; dcmirror reconcile tells which",
    AuditKind.REPLACED: "its event was lost: reconcile or audit --repair fetches it",
    AuditKind.SOURCE_SIZE: "audit --repair fetches it again",
    AuditKind.SOURCE_CHECKSUM: "audit --deep tells which side is damaged",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One contradiction: what is wrong, where, and what to do about it.

    Those about a file have ``path`` (in the namespace) and ``relative`` (below the
    mirror); size in bytes, ``adler32`` and ``pnfsid`` as the catalogue has them,
    ``modified`` in seconds since the epoch.
    """

    kind: AuditKind
    detail: str
    place: str = ""
    remedy: str = ""
    path: str = ""
    relative: str = ""
    size: int | None = None
    pnfsid: str | None = None
    adler32: int | None = None
    modified: float | None = None

    @property
    def area(self) -> Area:
        """What it belongs to."""
        return area_of(self.kind)

    def line(self) -> str:
        """For eyes, on one line."""
        place = shown(self.path or self.place)
        remedy = self.remedy or REMEDIES[self.kind]
        return f"{self.kind}: {place}: {shown(self.detail)}; {remedy}"

    def document(self) -> dict[str, object]:
        """For JSON, where every name can be written as it is."""
        return {
            "area": str(self.area),
            "kind": str(self.kind),
            "place": self.place or None,
            "path": self.path or None,
            "relative": self.relative or None,
            "size": self.size,
            "pnfsid": self.pnfsid,
            "adler32": None if self.adler32 is None else format_adler32(self.adler32),
            "modified": self.modified,
            "detail": self.detail,
            "remedy": self.remedy or REMEDIES[self.kind],
        }

    def csv_line(self) -> str:
        """A row of the report that ``replay --from-audit`` reads."""
        row = findings.Finding(
            self.kind,  # type: ignore[arg-type]  # the same columns, other kinds
            self.path,
            self.relative,
            self.size,
            self.pnfsid,
            self.adler32,
            self.modified,
            self.detail,
        )
        return findings.csv_line(row)


@dataclass(frozen=True, slots=True)
class Note:
    """Something that contradicts nothing: an explained gap, what could not be judged.

    ``kind`` is a word that stays the same, ``count`` what the text speaks of.
    """

    kind: str
    text: str
    count: int = 1

    def document(self) -> dict[str, object]:
        """For JSON."""
        return {"kind": self.kind, "text": self.text, "count": self.count}


@dataclass(slots=True)
class Tally:
    """What was judged and found, and what of it was repaired, by kind."""

    found: Counter[AuditKind] = field(default_factory=Counter)
    judged: Counter[str] = field(default_factory=Counter)
    repaired: Counter[AuditKind] = field(default_factory=Counter)

    def areas(self) -> dict[Area, int]:
        """Contradictions in each area."""
        counts = dict.fromkeys(Area, 0)
        for kind, number in self.found.items():
            counts[_AREAS[kind]] += number
        return counts

    def status(self) -> ExitStatus:
        """The lowest status of what was found and not repaired."""
        left = self.found - self.repaired
        return status_of(_AREAS[kind] for kind in left)


def status_of(areas: Iterable[Area]) -> ExitStatus:
    """Books before copies before source; DONE where nothing is wrong."""
    return min((STATUSES[area] for area in areas), default=ExitStatus.DONE)
