"""Charts of a report, as SVG that is as wide as there is room.

Horizontal places are percentages and letters stay as large as they are, so that one
drawing is right for a wall and for a telephone; only curves are stretched.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise

from dcmirror.core.markup import Html, el, join, percent, pixels
from dcmirror.core.report_groups import Step
from dcmirror.core.report_scales import Scale

_HEIGHT = 170
_TOP = 8
_BELOW = 24
_SIDE = 76
_WIDE = 1000  # units across a stretched drawing
_MOST_LABELS = 8
_WIDEST_BAR = 0.08
_NARROW_BAR = 0.82

Words = Callable[[float], str]


@dataclass(frozen=True, slots=True)
class Axis:
    """The groups of time below a chart: their labels, and how long each is."""

    labels: tuple[str, ...]
    step: Step

    def __len__(self) -> int:
        return len(self.labels)

    def short(self, number: int) -> str:
        """A label that fits below a mark."""
        label = self.labels[number]
        if self.step is Step.HOUR:
            return label[11:16]
        day = date.fromisoformat(label[:10])
        return f"{day:%b %Y}" if self.step is Step.MONTH else f"{day.day} {day:%b}"

    def center(self, number: int) -> float:
        """Where a group is, as a share of the width."""
        return (number + 0.5) / max(len(self), 1)


@dataclass(frozen=True, slots=True)
class Series:
    """One value for each group; None where nothing is known."""

    name: str
    values: tuple[float | None, ...]
    style: str


@dataclass(frozen=True, slots=True)
class Chart:
    """What every chart has: an id, words for those who do not see it, axes, hints."""

    name: str
    title: str
    description: str
    axis: Axis
    scale: Scale
    words: Words
    hints: Sequence[str]


def bars(chart: Chart, series: Sequence[Series]) -> Html:
    """Bars, the series on top of each other."""
    count = len(chart.axis)
    width = min(_NARROW_BAR / max(count, 1), _WIDEST_BAR)
    drawn: list[str] = []
    for number in range(count):
        left = chart.axis.center(number) - width / 2
        low = 0.0
        for each in series:
            value = each.values[number] or 0.0
            if value:
                drawn.append(_bar(chart.scale, left, width, low, low + value, each))
                low += value
    return _frame(chart, *drawn)


def lines(chart: Chart, series: Sequence[Series], band: Series | None = None) -> Html:
    """Curves; ``band`` holds the lower ends, the last series the upper ones."""
    paths: list[str] = []
    if band is not None:
        d = _area(chart, band.values, series[-1].values)
        paths.append(el("path", d=d, class_=band.style))
    paths += [el("path", d=_curve(chart, s.values), class_=s.style) for s in series]
    stretched = el(
        "svg",
        *paths,
        viewBox=f"0 0 {_WIDE} {_HEIGHT}",
        preserveAspectRatio="none",
        width="100%",
        height=_HEIGHT,
        y=_TOP,
        overflow="visible",
    )
    return _frame(chart, stretched)


def legend(series: Sequence[Series]) -> Html:
    """What the colours mean."""
    return el(
        "ul",
        *(
            el(
                "li",
                el("span", class_=f"key {each.style}", aria_hidden="true"),
                each.name,
            )
            for each in series
        ),
        class_="legend",
    )


def meter(share: float) -> Html:
    """A small bar below a name in a table."""
    return el(
        "svg",
        el("rect", width="100%", height=6, rx=3, class_="rail"),
        el("rect", width=percent(max(share, 0.004)), height=6, rx=3, class_="bar"),
        class_="meter",
        width="100%",
        height=6,
        aria_hidden="true",
    )


def whisker(scale: Scale, low: float, middle: float, high: float) -> Html:
    """From the 5th to the 95th percentile, with a mark at the median."""
    left, center, right = (scale.share(value) for value in (low, middle, high))
    return el(
        "svg",
        el("rect", width="100%", height=10, rx=3, class_="rail"),
        el(
            "rect",
            x=percent(left),
            width=percent(max(right - left, 0.006)),
            height=10,
            rx=3,
            class_="bar soft",
        ),
        el("line", x1=percent(center), x2=percent(center), y1=0, y2=10, class_="mark"),
        class_="meter",
        width="100%",
        height=10,
        aria_hidden="true",
    )


def _frame(chart: Chart, *drawn: str) -> Html:
    """Axes around a drawing; hints above it, so that the pointer finds them."""
    title, description = f"{chart.name}-title", f"{chart.name}-text"
    height = _TOP + _HEIGHT + _BELOW
    plot = el(
        "svg",
        el("title", chart.title, id=title),
        el("desc", chart.description, id=description),
        *(_grid(chart.scale, mark) for mark in chart.scale.marks),
        *drawn,
        *_below(chart.axis),
        *_hints(chart),
        class_="plot",
        width="100%",
        height=height,
        role="img",
        aria_labelledby=f"{title} {description}",
    )
    labels = (_label(chart, mark) for mark in chart.scale.marks)
    side = el(
        "svg", *labels, class_="side", width=_SIDE, height=height, aria_hidden="true"
    )
    return el("div", side, plot, class_="chart")


def _y(scale: Scale, value: float) -> float:
    return _TOP + _HEIGHT * (1 - scale.share(value))


def _bar(
    scale: Scale, left: float, width: float, low: float, high: float, each: Series
) -> Html:
    top, bottom = _y(scale, high), _y(scale, low)
    return el(
        "rect",
        x=percent(left),
        width=percent(width),
        y=pixels(top),
        # A file among a million is still there to be seen.
        height=pixels(max(bottom - top, 0.8)),
        class_=each.style,
    )


def _grid(scale: Scale, mark: float) -> Html:
    y = pixels(_y(scale, mark))
    is_base = mark == scale.low
    return el("line", x1=0, x2="100%", y1=y, y2=y, class_="base" if is_base else "grid")


def _label(chart: Chart, mark: float) -> Html:
    y = pixels(_y(chart.scale, mark) + 4)
    return el("text", chart.words(mark), x=_SIDE - 8, y=y, text_anchor="end")


def _below(axis: Axis) -> list[Html]:
    """Labels of a few groups; a narrow screen leaves out every other one."""
    every = max(-(-len(axis) // _MOST_LABELS), 1)
    found = []
    for place, number in enumerate(range(0, len(axis), every)):
        center = axis.center(number)
        anchor = "start" if center < 0.03 else "end" if center > 0.97 else "middle"
        x = {"start": 0.0, "end": 1.0}.get(anchor, center)
        found.append(
            el(
                "text",
                axis.short(number),
                x=percent(x),
                y=_TOP + _HEIGHT + 18,
                text_anchor=anchor,
                class_="wide" if place % 2 else None,
            )
        )
    return found


def _hints(chart: Chart) -> list[Html]:
    count = len(chart.axis)
    return [
        el(
            "rect",
            el("title", hint),
            x=percent(number / count),
            width=percent(1 / count),
            y=_TOP,
            height=_HEIGHT,
            class_="hint",
        )
        for number, hint in enumerate(chart.hints)
    ]


def _point(chart: Chart, number: int, value: float) -> str:
    x = _WIDE * chart.axis.center(number)
    return f"{pixels(x)} {pixels(_y(chart.scale, value) - _TOP)}"


def _runs(values: Sequence[float | None]) -> list[list[int]]:
    """Numbers of neighbours that all have a value."""
    known = [number for number, value in enumerate(values) if value is not None]
    runs: list[list[int]] = [known[:1]] if known else []
    for before, number in pairwise(known):
        if number == before + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return runs


def _curve(chart: Chart, values: Sequence[float | None]) -> str:
    parts = []
    for run in _runs(values):
        points = [_point(chart, n, values[n] or 0.0) for n in run]
        # A lone point is a line to itself, which a round end makes a dot.
        parts.append("M" + "L".join(points if points[1:] else points * 2))
    return "".join(parts)


def _area(
    chart: Chart, low: Sequence[float | None], high: Sequence[float | None]
) -> str:
    parts = []
    for run in _runs(low):
        upper = [_point(chart, n, high[n] or 0.0) for n in run]
        lower = [_point(chart, n, low[n] or 0.0) for n in reversed(run)]
        parts.append("M" + "L".join([*upper, *lower]) + "Z")
    return "".join(parts)


def figure(title: str, drawing: Html, *more: Html) -> Html:
    """A chart with its heading."""
    return el("figure", el("figcaption", title), join(*more), drawing)
