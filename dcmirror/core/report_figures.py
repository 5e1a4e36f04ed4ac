"""What a report counts, for the whole period and for each group of it."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field

from dcmirror.core.histogram import LogHistogram


@dataclass(slots=True)
class Figures:
    """Counts and distributions; two of them can be added.

    The first block comes from the catalogue: current copies.  The second comes from
    the journal: what was done.  ``delay`` is in seconds from dCache's event to the
    finished copy, ``throughput`` in bits per second while a file's data came.
    """

    files: int = 0
    bytes: int = 0
    unproved: int = 0
    delay: LogHistogram = field(default_factory=LogHistogram)

    copies: int = 0
    copied_bytes: int = 0
    adopted: int = 0
    retries: int = 0
    failed: int = 0
    skipped: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    throughput: LogHistogram = field(default_factory=LogHistogram)

    @property
    def weight(self) -> tuple[int, int]:
        """What decides which groups are shown: bytes first, then trouble."""
        return (max(self.bytes, self.copied_bytes), self.failed + self.retries)

    @property
    def rank(self) -> tuple[int, int, int]:
        """The order in which those are shown: what is there counts, then the rest."""
        return (self.bytes, self.copied_bytes, self.failed + self.retries)

    @property
    def jobs(self) -> int:
        """Jobs that ended with a copy made or failed."""
        return self.copies + self.failed

    def merge(self, other: Figures) -> None:
        """Add the other's figures to these."""
        self.files += other.files
        self.bytes += other.bytes
        self.unproved += other.unproved
        self.copies += other.copies
        self.copied_bytes += other.copied_bytes
        self.adopted += other.adopted
        self.retries += other.retries
        self.failed += other.failed
        self.skipped += other.skipped
        self.failures.update(other.failures)
        self.delay.merge(other.delay)
        self.throughput.merge(other.throughput)


@dataclass(slots=True)
class Held:
    """Holds of one kind that ended in the period."""

    count: int = 0
    seconds: float = 0.0


@dataclass(slots=True)
class Sources:
    """The journal's reach, and what of it could not be used.

    ``reaches_from`` is the time of its first line behind the last hole; None: it is
    empty.  ``spoiled`` lines, of those that may matter, have a wrong CRC, ``odd`` ones
    are no events, ``missed`` segments could not be read, or were removed before,
    ``dropped`` lines were never written, ``repeated`` ones are second copies that are
    not counted.
    """

    reaches_from: float | None = None
    lines: int = 0
    bytes: int = 0
    spoiled: int = 0
    odd: int = 0
    missed: int = 0
    dropped: int = 0
    repeated: int = 0


@dataclass(slots=True)
class Deleted:
    """Deletions of sources, by what became of them."""

    files: int = 0
    bytes: int = 0
    failed: int = 0
    unfinished: int = 0


@dataclass(slots=True)
class Remaining:
    """What failed.csv holds now; ``in_period`` of them failed in the period."""

    path: str = ""
    rows: int = 0
    in_period: int = 0
    outranked: int = 0
    torn: int = 0
    classes: Counter[str] = field(default_factory=Counter)
    trouble: str = ""


@dataclass(slots=True)
class Work:
    """Figures of the whole period that no group has, all from the journal."""

    retried: Counter[str] = field(default_factory=Counter)
    skips: Counter[str] = field(default_factory=Counter)
    requests: int = 0
    connections: int = 0
    received: int = 0
    garbage: int = 0
    duration: LogHistogram = field(default_factory=LogHistogram)
    phases: defaultdict[str, LogHistogram] = field(
        default_factory=lambda: defaultdict(LogHistogram)
    )
    holds: dict[str, Held] = field(default_factory=dict)
