"""Which sources may be deleted: reasons for and against each, the limits, the brake.

Pure: ``dcmirror cleanup`` feeds it the catalogue's rows, the oldest copy first.  What
it allows is proved once more just before each deletion (``core.deletion``).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from enum import StrEnum

from dcmirror.core.amounts import span_text
from dcmirror.core.filters import Rules
from dcmirror.core.jobs import CopyRecord
from dcmirror.core.paths import check_relative
from dcmirror.errors import ConfigError, UnsafePathError


class Against(StrEnum):
    """Why a source is kept; the value is what plans and reports show."""

    OUTSIDE = "outside-folder"
    UNSAFE = "unsafe-path"
    NOT_UNDER = "not-under"
    NOT_VERIFIED = "not-verified"
    NO_CHECKSUM = "no-checksum"
    TOO_YOUNG = "too-young"
    EXCLUDED = "excluded"
    FAILED = "in-failed-csv"
    OPEN = "being-deleted"
    DAMAGED = "damaged"
    TOO_LARGE = "too-large"
    SPACE = "enough-space"
    FILES = "max-files"
    BYTES = "max-bytes"
    BRAKE = "brake"


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason against, and what it says of this file."""

    why: Against
    text: str


@dataclass(frozen=True, slots=True)
class Policy:
    """What the configuration and the command line say.

    Times are seconds since the epoch, ages seconds.  ``relative`` maps a namespace path
    to the path below the mirror, None outside ``folder``.  ``under`` ends with a slash.
    """

    now: float
    min_age: float
    relative: Callable[[str], str | None]
    excluded: Rules = field(default_factory=Rules)
    max_bytes: int | None = None
    under: str | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """What other books say: failed.csv's paths and pnfsids, open intents' relatives.

    And the relatives of copies that an audit has read and found damaged.
    """

    failed_paths: Collection[str] = ()
    failed_pnfsids: Collection[str] = ()
    open_relatives: Collection[str] = ()
    damaged: Collection[str] = ()


def reasons_against(copy: CopyRecord, policy: Policy, known: Known) -> list[Reason]:
    """Why this source must be kept, whatever the limits are; none: it may go."""
    found = [
        _place(copy, policy),
        _proof(copy, known),
        _age(copy, policy),
        _exclusion(copy, policy),
        _books(copy, known),
        _bulk(copy, policy),
    ]
    return [reason for reason in found if reason is not None]


def _place(copy: CopyRecord, policy: Policy) -> Reason | None:
    if copy.path.endswith("/") or policy.relative(copy.path) != copy.relative:
        return Reason(Against.OUTSIDE, "not where the configuration mirrors from")
    try:
        check_relative(copy.relative)
    except UnsafePathError as error:
        return Reason(Against.UNSAFE, str(error))
    if policy.under is not None and not copy.path.startswith(policy.under):
        return Reason(Against.NOT_UNDER, f"not under {policy.under}")
    return None


def _proof(copy: CopyRecord, known: Known) -> Reason | None:
    if copy.adler32 is None:
        return Reason(Against.NO_CHECKSUM, "copied without a checksum")
    if not copy.verified:
        return Reason(Against.NOT_VERIFIED, "the source gave no checksum to verify by")
    if copy.relative in known.damaged:
        return Reason(Against.DAMAGED, "an audit has read the copy, and it is damaged")
    return None


def _age(copy: CopyRecord, policy: Policy) -> Reason | None:
    age = policy.now - copy.copied_at
    if not age >= policy.min_age:
        left = span_text(policy.min_age - age)
        return Reason(Against.TOO_YOUNG, f"copied too lately; may go in {left}")
    return None


def _exclusion(copy: CopyRecord, policy: Policy) -> Reason | None:
    rule = policy.excluded.excluded_by(copy.relative)
    return None if rule is None else Reason(Against.EXCLUDED, rule)


def _books(copy: CopyRecord, known: Known) -> Reason | None:
    if copy.path in known.failed_paths or (
        copy.pnfsid is not None and copy.pnfsid in known.failed_pnfsids
    ):
        return Reason(Against.FAILED, "failed.csv names it; replay it first")
    if copy.relative in known.open_relatives:
        return Reason(Against.OPEN, "an earlier deletion of it has no result yet")
    return None


def _bulk(copy: CopyRecord, policy: Policy) -> Reason | None:
    if policy.max_bytes is not None and copy.size > policy.max_bytes:
        return Reason(Against.TOO_LARGE, "larger than max_bytes by itself")
    return None


def excluding(globs: tuple[str, ...]) -> Rules:
    """[cleanup] exclude as rules.

    Raises:
        ConfigError: one is no glob.
    """
    try:
        return Rules.parse(tuple(f"exclude {glob}" for glob in globs))
    except ConfigError as error:
        raise ConfigError(f"[cleanup] exclude: {error}") from error


@dataclass(slots=True)
class Budget:
    """What may still be deleted in a run; ``wanted`` None: whatever is old enough.

    ``wanted`` are the bytes that the source lacks.  Space comes back late, so that what
    a run has deleted counts as free at once.
    """

    files: int
    bytes: int | None = None
    wanted: int | None = None

    def against(self, size: int) -> Reason | None:
        """Why nothing of this size may go any more."""
        if self.wanted is not None and self.wanted <= 0:
            return Reason(Against.SPACE, "the source has space enough")
        if self.files <= 0:
            return Reason(Against.FILES, "the run's number of files is reached")
        if self.bytes is not None and size > self.bytes:
            return Reason(Against.BYTES, "the run's number of bytes is reached")
        return None

    def spend(self, size: int, files: int = 1) -> None:
        """One of this size goes; with -1 it was kept in the end."""
        self.files -= files
        if self.bytes is not None:
            self.bytes -= size * files
        if self.wanted is not None:
            self.wanted -= size * files

    def make_no_room(self, size: int) -> None:
        """One of this size was gone already: it still counts as a file."""
        if self.bytes is not None:
            self.bytes += size
        if self.wanted is not None:
            self.wanted += size

    def copy(self, most_files: int | None = None) -> Budget:
        """The same, to be spent by itself; with so many files at most."""
        files = self.files if most_files is None else min(self.files, most_files)
        return Budget(files, self.bytes, self.wanted)


#: Of a run, not of a file; whatever is younger is kept as well.
LIMITS = frozenset({Against.SPACE, Against.FILES, Against.BYTES})


def is_limit(reasons: list[Reason]) -> bool:
    """Whether a limit of the run is what keeps a source."""
    return any(reason.why in LIMITS for reason in reasons)


@dataclass(slots=True)
class Census:
    """What a plan comes to."""

    there: int = 0
    chosen: int = 0
    chosen_bytes: int = 0
    against: dict[str, int] = field(default_factory=dict)

    def count(self, reasons: list[Reason], size: int) -> None:
        """One row, and what speaks against it."""
        if not reasons:
            self.chosen += 1
            self.chosen_bytes += size
        for reason in reasons:
            self.against[reason.why] = self.against.get(reason.why, 0) + 1


def brake(census: Census, max_fraction: float) -> Reason | None:
    """Why nothing is deleted at all: a mistake looks like this, too."""
    if census.chosen <= census.there * max_fraction:
        return None
    return Reason(
        Against.BRAKE,
        f"{census.chosen} of the {census.there} sources that are still there would be "
        f"deleted, more than max_fraction = {max_fraction:g} allows; "
        "use --limit, or raise [cleanup] max_fraction",
    )


def most_files(there: int, max_fraction: float) -> int:
    """What the brake lets go at most.

    A census cannot tell it all: where a large source is kept in the end, its bytes are
    free again, and smaller and younger ones go that nobody has counted.
    """
    return int(there * max_fraction)


class Chooser:
    """Rows in the order of their age, each with its reasons; the oldest go first."""

    def __init__(
        self, policy: Policy, known: Callable[[], Known], budget: Budget
    ) -> None:
        self._policy = policy
        self._known = known
        self.budget = budget

    def judge(self, copy: CopyRecord) -> list[Reason]:
        """Why this source is kept; one that is not counts against the budget."""
        reasons = reasons_against(copy, self._policy, self._known())
        if not reasons:
            limit = self.budget.against(copy.size)
            if limit is None:
                self.budget.spend(copy.size)
                return []
            reasons = [limit]
        return reasons
