"""The charts over time on a report's page, and the table of their numbers."""

from __future__ import annotations

from datetime import date

from dcmirror.core.markup import Html, el, join
from dcmirror.core.report import Report
from dcmirror.core.report_charts import Axis, Chart, Series, bars, figure, legend, lines
from dcmirror.core.report_figures import Figures
from dcmirror.core.report_groups import Step
from dcmirror.core.report_scales import linear, log_decades, log_spans
from dcmirror.core.report_words import number, rate, size, span

_MOST = {Step.HOUR: 80, Step.DAY: 130, Step.WEEK: 130}
_MOST_ASKED = 400
_CLASSES = 5
_STEPS = {Step.HOUR: "hour", Step.DAY: "day", Step.WEEK: "week", Step.MONTH: "month"}


class Times:
    """The groups of time that suit the length of the period."""

    def __init__(self, report: Report, *, by_hour: bool = False) -> None:
        found = report.times
        for step in (Step.HOUR, Step.DAY, Step.WEEK, Step.MONTH):
            grouped = found.grouped(step)
            limit = _MOST_ASKED if by_hour and step is Step.HOUR else _MOST.get(step)
            if limit is None or grouped.length() <= limit:
                break
        self.step = grouped.step
        self.groups = list(grouped.filled())
        self.axis = Axis(tuple(label for label, _ in self.groups), self.step)

    @property
    def word(self) -> str:
        """``day``."""
        return _STEPS[self.step]

    def figures(self) -> list[Figures]:
        """Of each group."""
        return [figures for _, figures in self.groups]

    def name(self, label: str) -> str:
        """A group as a person names it."""
        if self.step is Step.HOUR:
            return label
        day = date.fromisoformat(label)
        if self.step is Step.MONTH:
            return f"{day:%B %Y}"
        text = f"{day:%a} {day.day} {day:%b %Y}"
        return f"week of {text}" if self.step is Step.WEEK else text

    def hints(self, *told: list[str]) -> list[str]:
        """What each group says when it is pointed at."""
        names = [self.name(label) for label, _ in self.groups]
        return ["\n".join(parts) for parts in zip(names, *told, strict=True)]


def arrivals(times: Times) -> Html:
    """Bytes and files over time."""
    found = times.figures()
    if not any(each.files for each in found):
        return Html("")
    sizes, files = [each.bytes for each in found], [each.files for each in found]
    hints = times.hints(
        [f"{size(each.bytes)} in {number(each.files)} files" for each in found]
    )
    volume = Chart(
        "volume",
        f"Bytes mirrored per {times.word}",
        f"Bars; the highest is {size(max(sizes))}. Below, the numbers are in a table.",
        times.axis,
        linear(max(sizes)),
        size,
        hints,
    )
    count = Chart(
        "files",
        f"Files mirrored per {times.word}",
        f"Bars; the highest is {number(max(files))}.",
        times.axis,
        linear(max(files)),
        number,
        hints,
    )
    return join(
        el("h2", "What arrived"),
        el(
            "div",
            figure(volume.title, bars(volume, [_series("bytes", sizes, "bar")])),
            figure(count.title, bars(count, [_series("files", files, "bar")])),
            class_="pair",
        ),
    )


def speeds(times: Times) -> Html:
    """Delay and throughput over time."""
    drawn = [each for each in (_delay(times), _throughput(times)) if each]
    if not drawn or len(times.groups) < 2:  # a curve needs two points
        return Html("")
    return join(el("h2", "How fast"), el("div", *drawn, class_="pair"))


def troubles(times: Times) -> Html:
    """Failures by class, and retries, over time."""
    found = times.figures()
    drawn = [each for each in (_failed(times), _retried(times)) if each]
    if not drawn:
        told = "No job failed and no attempt had to be repeated in this period."
        has_work = any(each.copies for each in found)
        return join(el("h2", "What failed"), el("p", told)) if has_work else Html("")
    return join(el("h2", "What failed"), el("div", *drawn, class_="pair"))


def numbers(times: Times) -> Html:
    """Everything that is drawn over time, for who would rather read it."""
    if not times.groups:
        return Html("")
    columns = (
        (times.word, ""),
        ("files", "n"),
        ("bytes", "n"),
        ("delay p50", "n wide"),
        ("p95", "n wide"),
        ("p99", "n wide"),
        ("rate p5", "n wide"),
        ("p50", "n wide"),
        ("p95", "n wide"),
        ("retries", "n wide"),
        ("failed", "n"),
    )
    head = (el("th", text, scope="col", class_=style) for text, style in columns)
    rows = (
        _row(times.name(label), figures, [style for _, style in columns[1:]])
        for label, figures in times.groups
    )
    return el(
        "details",
        el("summary", f"The numbers of every {times.word}"),
        el("table", el("thead", el("tr", *head)), el("tbody", *rows)),
    )


def _row(label: str, figures: Figures, styles: list[str]) -> Html:
    delay, throughput = figures.delay.percentiles(), figures.throughput.percentiles()
    cells = (
        number(figures.files),
        size(figures.bytes),
        *(span(value) for value in (delay.p50, delay.p95, delay.p99)),
        *(rate(value) for value in (throughput.p5, throughput.p50, throughput.p95)),
        number(figures.retries),
        number(figures.failed),
    )
    told = (el("td", c, class_=s) for c, s in zip(cells, styles, strict=True))
    return el("tr", el("th", label, scope="row"), *told)


def _series(name: str, values: list[float | None] | list[int], style: str) -> Series:
    return Series(name, tuple(values), style)


def _delay(times: Times) -> Html:
    found = [each.delay.percentiles() for each in times.figures()]
    series = [
        _series("half of the files", [each.p50 for each in found], "line0"),
        _series("95 %", [each.p95 for each in found], "line1"),
        _series("99 %", [each.p99 for each in found], "line2"),
    ]
    values = [v for each in series for v in each.values if v is not None]
    if not values:
        return Html("")
    hints = times.hints(
        [
            f"{span(p.p50)}, 95 % within {span(p.p95)}, 99 % within {span(p.p99)}"
            if p.count
            else "nothing"
            for p in found
        ]
    )
    chart = Chart(
        "delay",
        "From the event at the source to the finished copy",
        "Curves of the 50th, 95th and 99th percentile; the scale is logarithmic.",
        times.axis,
        log_spans(values),
        span,
        hints,
    )
    return figure(chart.title, lines(chart, series), legend(series))


def _throughput(times: Times) -> Html:
    found = [each.throughput.percentiles() for each in times.figures()]
    low = _series("from the 5th to the 95th percentile", [e.p5 for e in found], "band")
    middle = _series("median", [each.p50 for each in found], "line0")
    high = _series("95th", [each.p95 for each in found], "edge")
    values = [v for e in (low, high) for v in e.values if v is not None]
    if not values:
        return Html("")
    hints = times.hints(
        [
            f"median {rate(p.p50)}, from {rate(p.p5)} to {rate(p.p95)}"
            if p.count
            else "nothing"
            for p in found
        ]
    )
    chart = Chart(
        "throughput",
        "Throughput of one file while its data came",
        "A curve of the median within a band from the 5th to the 95th percentile; "
        "the scale is logarithmic.",
        times.axis,
        log_decades(values),
        rate,
        hints,
    )
    drawn = lines(chart, [middle, high], band=low)
    return figure(chart.title, drawn, legend([middle, low]))


def _failed(times: Times) -> Html:
    found = times.figures()
    total = Figures()
    for each in found:
        total.failures.update(each.failures)
    if not total.failures:
        return Html("")
    named = [name for name, _ in total.failures.most_common()]
    shown_names = named if len(named) <= _CLASSES + 1 else named[:_CLASSES]
    series = [
        _series(name, [each.failures[name] for each in found], f"s{n}")
        for n, name in enumerate(shown_names)
    ]
    if len(named) > len(shown_names):
        rest = [
            each.failed - sum(each.failures[name] for name in shown_names)
            for each in found
        ]
        series.append(_series("other classes", rest, "s5"))
    hints = times.hints(
        [
            ", ".join(f"{number(n)} {name}" for name, n in each.failures.most_common())
            or "none"
            for each in found
        ]
    )
    highest = max(each.failed for each in found)
    chart = Chart(
        "failed",
        f"Failed jobs per {times.word}, by class",
        f"Stacked bars; the highest is {number(highest)}.",
        times.axis,
        linear(highest),
        number,
        hints,
    )
    return figure(chart.title, bars(chart, series), legend(series))


def _retried(times: Times) -> Html:
    values = [each.retries for each in times.figures()]
    if not any(values):
        return Html("")
    chart = Chart(
        "retries",
        f"Attempts repeated per {times.word}",
        f"Bars; the highest is {number(max(values))}.",
        times.axis,
        linear(max(values)),
        number,
        times.hints([number(value) for value in values]),
    )
    return figure(chart.title, bars(chart, [_series("retries", values, "bar")]))


def busiest(report: Report) -> tuple[str, Figures] | None:
    """The group of time with most bytes."""
    times = Times(report)
    if not times.groups:
        return None
    label, figures = max(times.groups, key=lambda each: each[1].bytes)
    return times.name(label), figures
