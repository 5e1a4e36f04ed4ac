"""Groups of a report's figures, few enough to be kept and to be read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum

from dcmirror.core.report_figures import Figures

# The zone a report is in: the moment of an epoch time, with its own offset.
Zone = Callable[[float], datetime]

OTHERS = "(others)"

# More hours than this become days, and so on: about seven months.
_MOST_TIMES = 5000
_QUARTER = 900
_QUARTERS_KEPT = 100_000


class Step(StrEnum):
    """How long a group of time is."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"


_COARSER = {Step.HOUR: Step.DAY, Step.DAY: Step.WEEK, Step.WEEK: Step.MONTH}


class TimeGroups:
    """Figures by local hour; by day, week or month where that would be too many.

    An hour's key is its beginning in seconds since the epoch, that of the others is the
    number of their first day.
    """

    def __init__(self, zone: Zone, step: Step = Step.HOUR) -> None:
        self.step = step
        self._zone = zone
        self._groups: dict[int, Figures] = {}
        self._keys: dict[int, int] = {}

    def __repr__(self) -> str:
        return f"<TimeGroups {self.step} {len(self._groups)}>"

    def at(self, moment: float) -> Figures:
        """The group of an epoch time."""
        quarter = int(moment // _QUARTER)
        key = self._keys.get(quarter)
        if key is None:
            key = self._learn(quarter)
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = Figures()
            if len(self._groups) > _MOST_TIMES and self.step in _COARSER:
                self._coarsen(_COARSER[self.step])
                return self.at(moment)
        return group

    def total(self) -> Figures:
        """The sum of all groups."""
        total = Figures()
        for group in self._groups.values():
            total.merge(group)
        return total

    def length(self) -> int:
        """How many groups there are, with the empty ones between."""
        if not self._groups:
            return 0
        unit = {Step.HOUR: 3600, Step.DAY: 1, Step.WEEK: 7, Step.MONTH: 28}[self.step]
        return (max(self._groups) - min(self._groups)) // unit + 1

    def grouped(self, step: Step) -> TimeGroups:
        """The same figures in groups of ``step``, or coarser if these are."""
        other = TimeGroups(self._zone, step)
        if list(Step).index(step) <= list(Step).index(self.step):
            other.step, other._groups = self.step, self._groups
            return other
        for key, figures in self._groups.items():
            target = other._groups.setdefault(self._key_in(key, step), Figures())
            target.merge(figures)
        return other

    def items(self) -> Iterator[tuple[str, Figures]]:
        """Label and figures, in order of time."""
        for key in sorted(self._groups):
            yield self._label(key), self._groups[key]

    def filled(self) -> Iterator[tuple[str, Figures]]:
        """The same with the empty groups between the first and the last."""
        if not self._groups:
            return
        key, last = min(self._groups), max(self._groups)
        while key <= last:
            yield self._label(key), self._groups.get(key) or Figures()
            key = self._next(key)

    def _learn(self, quarter: int) -> int:
        if len(self._keys) >= _QUARTERS_KEPT:
            self._keys.clear()
        # No zone of today has an offset that is not a multiple of a quarter.
        begin = quarter * _QUARTER
        minute = self._zone(begin).minute
        key = self._key_in(begin - minute // 15 * _QUARTER, self.step, Step.HOUR)
        self._keys[quarter] = key
        return key

    def _coarsen(self, step: Step) -> None:
        coarse = self.grouped(step)
        self.step, self._groups = step, coarse._groups
        self._keys.clear()

    def _key_in(self, key: int, step: Step, own: Step | None = None) -> int:
        """The key of a finer group's time in groups of ``step``."""
        if step is Step.HOUR:
            return key
        is_hour = (own or self.step) is Step.HOUR
        day = self._zone(key).date() if is_hour else date.fromordinal(key)
        if step is Step.WEEK:
            day -= timedelta(days=day.weekday())
        elif step is Step.MONTH:
            day = day.replace(day=1)
        return day.toordinal()

    def _next(self, key: int) -> int:
        if self.step is Step.HOUR:
            return key + 3600
        if self.step is Step.MONTH:
            day = date.fromordinal(key) + timedelta(days=31)
            return day.replace(day=1).toordinal()
        return key + (7 if self.step is Step.WEEK else 1)

    def _label(self, key: int) -> str:
        if self.step is Step.HOUR:
            return self._zone(key).isoformat(sep=" ", timespec="minutes")
        return date.fromordinal(key).isoformat()


class NamedGroups:
    """Figures by name: all of the heaviest, the rest in one group.

    Names that come together, as those of a sorted list do, are judged by their whole
    weight; of others, those that became known last may be judged too early.
    """

    def __init__(self, most: int) -> None:
        self.others = Figures()
        self.others_count = 0
        self._most = most
        self._groups: dict[str, Figures] = {}

    def __repr__(self) -> str:
        return f"<NamedGroups {len(self._groups)} others={self.others_count}>"

    def at(self, name: str) -> Figures:
        """The group of a name."""
        group = self._groups.get(name)
        if group is None:
            if len(self._groups) >= 2 * self._most:
                self._fold(self._most)
            group = self._groups[name] = Figures()
        return group

    def top(self, count: int) -> list[tuple[str, Figures]]:
        """The heaviest, by name and figures; the rest as ``OTHERS`` if there is any."""
        self._fold(count)
        found = sorted(self._groups.items(), key=lambda each: each[0])
        found.sort(key=lambda each: each[1].rank, reverse=True)
        return [*found, (OTHERS, self.others)] if self.others_count else found

    def _fold(self, count: int) -> None:
        """Keep ``count`` groups; put the others together."""
        by_weight = sorted(
            self._groups.items(), key=lambda each: each[1].weight, reverse=True
        )
        for name, figures in by_weight[count:]:
            del self._groups[name]
            self.others.merge(figures)
            self.others_count += 1


def utc(moment: float) -> datetime:
    """The zone of whoever wants none."""
    return datetime.fromtimestamp(moment, UTC)
