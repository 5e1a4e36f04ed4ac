"""What cleanup would do, by settings, catalogue and failed.csv; and if it may."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from dcmirror.adapters.catalogue_deletions import DeletionBook
from dcmirror.adapters.failed_names import FailedNames
from dcmirror.adapters.free_space import ask_program
from dcmirror.core.amounts import bytes_text, span_text
from dcmirror.core.cleanup_plan import (
    Budget,
    Census,
    Chooser,
    Known,
    Policy,
    Reason,
    brake,
    excluding,
    is_limit,
    most_files,
)
from dcmirror.core.jobs import CopyRecord
from dcmirror.core.paths import path_map_of
from dcmirror.errors import ConfigError
from dcmirror.settings import Settings

_DAY = 86400.0
_REFRESH = 64
_FACT = "cleanup.dry_run"
# What may change without another dry run: it changes nothing of what is deleted.
_FREE = frozenset({"allowed", "parallel", "requests_per_second", "part_age_hours"})


@dataclass(frozen=True, slots=True)
class Scope:
    """What the command line narrows it down to."""

    under: str | None = None
    limit: int | None = None


class Planning:
    """One plan; ``pros`` are the reasons for each file that may go.

    Raises:
        ConfigError: a glob, failed.csv or the free space cannot be read.
    """

    def __init__(
        self,
        settings: Settings,
        book: DeletionBook,
        failed_csv: Path,
        scope: Scope,
        now: float,
        free_bytes: Callable[[], int | None],
    ) -> None:
        cleanup, dcache = settings.cleanup, settings.dcache
        self.now = now
        self.path_map = path_map_of(dcache)
        self.failed = FailedNames(failed_csv)
        self.failed.refresh()
        self._book = book
        self._open = book.open_relatives()
        self._damaged = book.damaged()
        self._asked = 0
        self._last: Known | None = None
        self._max_fraction = cleanup.max_fraction
        self.policy = Policy(
            now=now,
            min_age=cleanup.min_age_days * _DAY,
            relative=self.path_map.relative,
            excluded=excluding(cleanup.exclude),
            max_bytes=cleanup.max_bytes,
            under=scope.under and f"{self.path_map.under(scope.under).rstrip('/')}/",
        )
        self.pros = [f"proved, and copied {span_text(self.policy.min_age)} ago or more"]
        self.budget = Budget(
            files=min(cleanup.max_files, scope.limit or cleanup.max_files),
            bytes=cleanup.max_bytes,
            wanted=self._wanted(settings, free_bytes),
        )

    def _wanted(
        self, settings: Settings, free_bytes: Callable[[], int | None]
    ) -> int | None:
        """The bytes that the source lacks; None: whatever is old enough may go."""
        least = settings.cleanup.when_free_below
        if least is None:
            return None
        command = settings.cleanup.free_command
        free = ask_program(command) if command else free_bytes()
        if free is None:
            raise ConfigError(
                "the door does not tell how much space is free "
                "(quota-available-bytes); set [cleanup] free_command"
            )
        self.pros.append(
            f"the source has {bytes_text(free)} free, less than {bytes_text(least)}"
        )
        return max(least - free, 0)

    def chooser(self) -> Chooser:
        """Judges rows anew, for a run: the brake holds whatever was kept in the end."""
        most = most_files(self._book.sources_there(), self._max_fraction)
        return Chooser(self.policy, self._known, self.budget.copy(most))

    def copies(self) -> Iterator[CopyRecord]:
        """What is old enough, the oldest first."""
        return self._book.candidates(self.now - self.policy.min_age)

    def judged(
        self, *, with_young: bool = False
    ) -> Iterator[tuple[CopyRecord, list[Reason]]]:
        """Every row with what speaks against it; once a limit is reached, it is."""
        chooser = Chooser(self.policy, self._known, self.budget.copy())
        reached = list[Reason]()
        rows = self._book.candidates() if with_young else self.copies()
        for copy in rows:
            reasons = chooser.judge(copy) or reached
            if is_limit(reasons):
                reached = reasons
            yield copy, reasons

    def census(self) -> Census:
        """The plan in figures, as far as the limits reach."""
        census = Census(there=self._book.sources_there())
        for copy, reasons in self.judged():
            if is_limit(reasons):
                break
            census.count(reasons, copy.size)
        return census

    def brake(self, census: Census) -> Reason | None:
        """Why nothing is deleted at all."""
        return brake(census, self._max_fraction)

    def _known(self) -> Known:
        """As of a few rows ago: a new failure is of another file than was copied."""
        if self._asked % _REFRESH == 0 or self._last is None:
            self.failed.refresh()
            self._last = Known(
                self.failed.paths, self.failed.pnfsids, self._open, self._damaged
            )
        self._asked += 1
        return self._last


class DryRunFact:
    """Remembers that a dry run has shown what a configuration would delete."""

    def __init__(self, book: DeletionBook, settings: Settings, scope: Scope) -> None:
        self._book = book
        self._whole = _digest(settings, Scope())
        self._digest = _digest(settings, scope)
        self._key = _FACT if scope == Scope() else f"{_FACT}.part"

    def remember(self) -> None:
        """There was one."""
        self._book.remember(self._key, self._digest)

    def is_known(self) -> bool:
        """Whether there was one, of all files or of the same part of them."""
        return (
            self._book.fact(_FACT) == self._whole
            or self._book.fact(self._key) == self._digest
        )


def _digest(settings: Settings, scope: Scope) -> str:
    cleanup = asdict(settings.cleanup)
    told = {key: value for key, value in cleanup.items() if key not in _FREE}
    dcache = settings.dcache
    where = [dcache.url, dcache.pool, dcache.folder, settings.local.downloadfolder]
    text = json.dumps([told, [str(each) for each in where], asdict(scope)], default=str)
    return hashlib.sha256(text.encode()).hexdigest()
