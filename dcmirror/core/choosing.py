"""Which rows of failed.csv, or of a report, a replay is to try."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dcmirror.config_globs import compiled
from dcmirror.core.failed_rows import FailedRow
from dcmirror.core.paths import PathMap


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What a row must be; the defaults ask for nothing.

    ``globs`` are those of the filter's rules.  They match the path below the folder, or
    the whole namespace path.  ``since`` and ``until`` are seconds since the epoch, the
    second one exclusive; the attempts are inclusive.
    """

    classes: tuple[str, ...] = ()
    under: str | None = None
    globs: tuple[str, ...] = ()
    since: float | None = None
    until: float | None = None
    min_attempts: int | None = None
    max_attempts: int | None = None
    limit: int | None = None


class Chooser:
    """Says yes or no to each row, as a choice wants it."""

    __slots__ = ("_choice", "_map", "_patterns", "_under")

    def __init__(self, choice: Choice, path_map: PathMap) -> None:
        self._choice = choice
        self._map = path_map
        self._patterns = tuple(compiled(glob) for glob in choice.globs)
        self._under = choice.under.rstrip("/") + "/" if choice.under else None

    def wants(self, row: FailedRow) -> bool:
        """Whether this row is chosen; the limit is another matter."""
        choice = self._choice
        return (
            (not choice.classes or row.failure_class in choice.classes)
            and _is_within(row.time, choice.since, choice.until)
            and _is_between(row.attempts, choice.min_attempts, choice.max_attempts)
            and self.wants_path(row.path)
        )

    def wants_path(self, path: str) -> bool:
        """Whether a namespace path lies where the choice looks."""
        if self._under is not None and not path.startswith(self._under):
            return False
        if not self._patterns:
            return True
        names = (path.lstrip("/"), self._map.relative(path))
        return any(
            pattern.fullmatch(name)
            for pattern in self._patterns
            for name in names
            if name is not None
        )


def choose(
    rows: Iterable[FailedRow], choice: Choice, path_map: PathMap
) -> list[FailedRow]:
    """The rows that a choice names: one for each file and task, oldest first."""
    chooser = Chooser(choice, path_map)
    wanted = {row.key: row for row in rows if chooser.wants(row)}
    return list(wanted.values())[: choice.limit]


def _is_within(value: float, first: float | None, end: float | None) -> bool:
    return (first is None or value >= first) and (end is None or value < end)


def _is_between(value: int, least: int | None, most: int | None) -> bool:
    return (least is None or value >= least) and (most is None or value <= most)
