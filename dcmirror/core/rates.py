"""How much happened in the last minutes, from totals that only grow.

Bounded: one point each few seconds, as far back as the longest window.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence

#: The windows of status and metrics, in seconds: 1, 5 and 15 minutes.
WINDOWS = (60, 300, 900)
_STEP = 5.0
#: A transfer's speed is that of so many seconds.
_SPEED_SECONDS = 5.0


class Rates:
    """The last points of a few running totals.

    Args:
        names: what is counted, in the order of the values given to ``observe``.
        longest: how far back ``over`` can be asked (seconds).
    """

    def __init__(
        self, names: Sequence[str], *, longest: float = WINDOWS[-1], step: float = _STEP
    ) -> None:
        self._names = tuple(names)
        self._step = step
        self._points: deque[tuple[float, tuple[int, ...]]] = deque(
            maxlen=int(longest / step) + 2
        )
        self._last: tuple[float, tuple[int, ...]] | None = None

    def observe(self, now: float, totals: Mapping[str, int]) -> None:
        """The totals as they are at ``now`` (monotonic seconds)."""
        point = (now, tuple(totals.get(name, 0) for name in self._names))
        self._last = point
        if not self._points or now - self._points[-1][0] >= self._step:
            self._points.append(point)

    def over(self, seconds: float) -> dict[str, float]:
        """By how much each total grew in the last ``seconds``, or since the start.

        ``seconds`` in the answer is the time that it really covers.
        """
        if self._last is None:
            return {**dict.fromkeys(self._names, 0), "seconds": 0.0}
        now, totals = self._last
        then, before = self._point_at(now - seconds)
        grown = (total - earlier for total, earlier in zip(totals, before, strict=True))
        return {
            **dict(zip(self._names, grown, strict=True)),
            "seconds": round(now - then, 1),
        }

    def _point_at(self, moment: float) -> tuple[float, tuple[int, ...]]:
        """The youngest point that is not younger than ``moment``, else the oldest."""
        for point in reversed(self._points):
            if point[0] <= moment:
                return point
        return self._points[0]


class Drift:
    """By how much levels rose or fell in all; one that comes or goes did neither."""

    def __init__(self) -> None:
        self.total = 0
        self._levels: Mapping[int, int] = {}

    def observe(self, levels: Mapping[int, int]) -> None:
        """The levels as they are now, by what has them."""
        before, self._levels = self._levels, dict(levels)
        self.total += sum(levels[key] - before[key] for key in levels if key in before)


class Speeds:
    """Bytes per second of running transfers, each over its last few seconds."""

    def __init__(self) -> None:
        self._points: dict[str, deque[tuple[float, int]]] = {}

    def observe(self, now: float, received: Mapping[str, int]) -> dict[str, float]:
        """The speed of every transfer in ``received``; the others are forgotten."""
        for task in self._points.keys() - received.keys():
            del self._points[task]
        return {task: self._speed(task, now, got) for task, got in received.items()}

    def _speed(self, task: str, now: float, got: int) -> float:
        points = self._points.setdefault(task, deque())
        if points and got < points[-1][1]:
            points.clear()  # another attempt, from the first byte on
        points.append((now, got))
        while len(points) > 2 and now - points[1][0] >= _SPEED_SECONDS:
            points.popleft()
        then, before = points[0]
        return (got - before) / (now - then) if now > then else 0.0
