"""The words, figures and tables on a report's page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dcmirror.core.escapes import shown
from dcmirror.core.histogram import ACCURACY
from dcmirror.core.markup import Html, el, join
from dcmirror.core.report import Report
from dcmirror.core.report_charts import meter, whisker
from dcmirror.core.report_figures import Figures
from dcmirror.core.report_groups import OTHERS, NamedGroups
from dcmirror.core.report_page_times import busiest
from dcmirror.core.report_scales import log_decades
from dcmirror.core.report_tables import By, Heading, classes, moment
from dcmirror.core.report_words import (
    PHASES,
    SKIPS,
    number,
    plural,
    rate,
    share,
    size,
    span,
)

_LONGEST_NAME = 100
_DIRECTORIES = 15

Cell = tuple[str, str]


def name(text: str) -> Html:
    """Foreign text: no disguises, its own direction, not endless."""
    text = shown(text)
    if len(text) > _LONGEST_NAME:
        half = _LONGEST_NAME // 2
        text = f"{text[:half]} … {text[-half:]}"
    return el("bdi", text)


def lead(report: Report) -> Html:
    """The report in a few sentences."""
    total = report.total()
    when = f"From {_day(report, first=True)} to {_day(report, first=False)}, "
    if not total.files:
        return join(when, "no file arrived in the mirror.", *_failed_words(report))
    files = f"{plural(total.files, 'file')} ({_unbroken(size(total.bytes))})"
    parts = [when, el("strong", files), " arrived in the mirror. ", _proved(total)]
    delay = total.delay.percentiles()
    if delay.count > 1:
        parts.append(
            f" Half of them were there {_unbroken(span(delay.p50))} after dCache's "
            f"event, 95\u00a0% within {_unbroken(span(delay.p95))}."
        )
    return join(*parts, *_failed_words(report))


def cards(report: Report) -> Html:
    """Headline figures."""
    total = report.total()
    delay, throughput = total.delay.percentiles(), total.throughput.percentiles()
    proved = total.files - total.unproved
    is_proved = "good" if total.files and not total.unproved else ""
    found = [
        _card(
            "Files mirrored",
            number(total.files),
            f"{share(proved, total.files)} with a proved checksum"
            if total.files
            else "",
            is_proved,
        ),
        _card("Bytes mirrored", size(total.bytes), f"{number(total.bytes)} bytes"),
        _card(
            "Median delay",
            span(delay.p50),
            f"99 % within {_unbroken(span(delay.p99))}" if delay.count else "",
        ),
        _card(
            "Median throughput of a file",
            rate(throughput.p50),
            f"95 % faster than {_unbroken(rate(throughput.p5))}"
            if throughput.count
            else "",
        ),
        _card(
            "Failed jobs",
            number(total.failed),
            f"{share(total.failed, total.jobs)} of all jobs" if total.jobs else "",
        ),
        _remaining(report),
        _card("Retries", number(total.retries), _requests(report, total)),
        _last_card(report),
    ]
    return el("ul", *found, class_="cards")


def failures(report: Report, heading: Heading) -> Html:
    """By class: how many, how many are left, and what that means."""
    table = classes(report, heading.meanings or {})
    if not table.rows:
        return Html("")
    rows = [
        (_named(row[0], el("span", row[4], class_="small")), row[1], row[2], row[3])
        for row in table.rows
    ]
    columns = (
        ("class", ""),
        ("failed", "n"),
        ("still in failed.csv", "n"),
        ("retries", "n"),
    )
    return _table("Failures by class", columns, rows)


def directories(report: Report, heading: Heading) -> Html:
    """Where the bytes went."""
    top = min(heading.top, _DIRECTORIES) if heading.by is not By.DIRECTORY else None
    found = report.directories.top(top or heading.top)
    if len(found) < 2 and not (found and found[0][0] != "."):
        return Html("")
    columns = (
        ("directory", ""),
        ("bytes", "n"),
        ("files", "n"),
        ("failed", "n"),
        ("retries", "n wide"),
        ("delay p95", "n wide"),
    )
    rows = [
        (
            _bar(label, figures.bytes, found[0][1].bytes, report.directories),
            size(figures.bytes),
            number(figures.files),
            number(figures.failed),
            number(figures.retries),
            span(figures.delay.percentile(95)),
        )
        for label, figures in found
    ]
    return join(el("h2", "Where it went"), _table("", columns, rows))


def doors(report: Report, heading: Heading) -> Html:
    """Through which doors the files had been written, if that was asked for."""
    found = report.doors.top(heading.top)
    if heading.by is not By.DOOR or not found:
        return Html("")
    columns = (
        ("door", ""),
        ("bytes copied", "n"),
        ("copies", "n"),
        ("failed", "n"),
        ("retries", "n wide"),
        ("rate p50", "n wide"),
    )
    rows = [
        (
            _bar(label, figures.copied_bytes, found[0][1].copied_bytes, report.doors),
            size(figures.copied_bytes),
            number(figures.copies),
            number(figures.failed),
            number(figures.retries),
            rate(figures.throughput.percentile(50)),
        )
        for label, figures in found
    ]
    return join(
        el("h2", "Doors the files were written through"), _table("", columns, rows)
    )


def phases(report: Report) -> Html:
    """What a copy spends its time with."""
    known = [
        (words, report.work.phases[key].percentiles())
        for key, words in PHASES.items()
        if key in report.work.phases
    ]
    if not known:
        return Html("")
    ends = [v for _, p in known for v in (p.p5, p.p95) if v]
    scale = log_decades(ends)
    rows = []
    for words, found in [
        *known,
        ("the whole copy", report.work.duration.percentiles()),
    ]:
        if found.p50 is None or found.p5 is None or found.p95 is None:
            continue
        drawn = whisker(scale, found.p5, found.p50, found.p95)
        label = _named(words, drawn)
        rows.append((label, span(found.p50), span(found.p95), span(found.p99)))
    columns = (("step", ""), ("median", "n"), ("95 %", "n"), ("99 %", "n"))
    told = (
        "Each bar reaches from the 5th to the 95th percentile on a logarithmic scale "
        f"from {span(scale.low)} to {span(scale.high)}; the mark is the median."
    )
    return join(
        el("h2", "Where a copy spends its time"),
        el("p", told, class_="quiet"),
        _table("", columns, rows),
    )


def skipped(report: Report) -> Html:
    """Why records and jobs needed no copy."""
    found = report.work.skips.most_common()
    if not found:
        return Html("")
    rows = [
        (
            _named(
                shown(reason),
                el("span", SKIPS.get(reason, ""), class_="small"),
                meter(count / found[0][1]),
            ),
            number(count),
        )
        for reason, count in found
    ]
    return join(
        el("h2", "What needed no copy"),
        _table("", (("reason", ""), ("events and jobs", "n")), rows),
    )


def holds(report: Report) -> Html:
    """What work waited for."""
    rows = [
        (_named(shown(kind)), number(held.count), span(held.seconds))
        for kind, held in sorted(report.work.holds.items())
    ]
    if not rows:
        return Html("")
    columns = (("cause", ""), ("times", "n"), ("together", "n"))
    told = "While a cause lasts, work of its kind waits and nothing is lost."
    return join(
        el("h2", "What work had to wait for"),
        el("p", told, class_="quiet"),
        _table("", columns, rows),
    )


def how_it_was_made(report: Report, heading: Heading) -> Html:
    """What the figures are, and where from."""
    sources = report.sources
    reach = "It is empty."
    if sources.reaches_from is not None:
        reach = f"It is whole from {moment(report, sources.reaches_from)} on."
    told = (
        "Files, bytes and delay are those of the catalogue's current copies that were "
        "made in the period: a file that was copied twice counts once, when it was "
        "copied last. Delay is from dCache's event to the finished copy.",
        "Jobs that failed, retries, throughput, steps and what needed no copy come "
        f"from the journal ({plural(sources.lines, 'line')} read). {reach} A file that "
        "failed again in a replay has failed twice. "
        "What no replay has cured is still in failed.csv.",
        f"Percentiles are within {ACCURACY * 100:.0f} % of the true ones. "
        "Units are decimal: 1 TB is 10¹² bytes. "
        f"Times are those of UTC{_offset(report, heading.made_at)} where they name no "
        "other.",
    )
    paragraphs = (el("p", text, class_="quiet") for text in told)
    return el("footer", *paragraphs)


def _day(report: Report, *, first: bool) -> str:
    query = report.query
    if first:
        at = report.first_copy if query.since is None else query.since
    else:
        at = query.until
    if at is None:
        return "the beginning" if first else "now"
    day = report.zone(at)
    return f"{day:%a} {day.day} {day:%B %Y} {day:%H:%M}"


def _unbroken(words: str) -> str:
    """A number and its unit stay on one line."""
    return words.replace(" ", "\u00a0")


def _offset(report: Report, at: float) -> str:
    text = report.zone(at).isoformat()[-6:]
    return "" if text == "+00:00" else text


def _proved(total: Figures) -> str:
    if not total.unproved:
        who = "It" if total.files == 1 else "Each"
        return f"{who} has the checksum that the source gave."
    return (
        f"{plural(total.unproved, 'of them has', 'of them have')} no proved checksum."
    )


def _failed_words(report: Report) -> Iterable[str]:
    total, left = report.total(), report.remaining.in_period
    if total.failed:
        yield (
            f" {plural(total.failed, 'job')} failed "
            f"({_unbroken(share(total.failed, total.jobs))})"
        )
        yield "; " if left else ", and nothing is left to replay."
    if left:
        yield el("strong", f"{'' if total.failed else ' '}{plural(left, 'file')}")
        yield f" {'is' if left == 1 else 'are'} still in failed.csv."


def _card(label: str, figure: str, more: str, style: str = "") -> Html:
    return el(
        "li",
        el("span", label, class_="name"),
        el("strong", figure),
        el("span", more, class_="more"),
        class_=style or None,
    )


def _remaining(report: Report) -> Html:
    left = report.remaining
    more = "failed in this period, not replayed"
    if not left.in_period:
        more = "nothing is left to replay"
    elif left.outranked:
        more = f"{number(left.outranked)} of them in the mirror meanwhile"
    style = "bad" if left.in_period > left.outranked else "good"
    return _card("Still in failed.csv", number(left.in_period), more, style)


def _requests(report: Report, total: Figures) -> str:
    if not total.copies or not report.work.requests:
        return "attempts that were repeated"
    return f"{report.work.requests / total.copies:.2f} requests for each copy"


def _last_card(report: Report) -> Html:
    deleted = report.deleted
    if deleted.files:
        more = f"{size(deleted.bytes)} made free at the source"
        return _card("Sources deleted", number(deleted.files), more)
    found = busiest(report)
    if found is None or not found[1].bytes:
        return _card("Skipped", number(report.total().skipped), "needed no copy")
    return _card("Busiest", size(found[1].bytes), found[0])


def _named(label: str, *below: Html) -> Html:
    """A name with something under it."""
    return join(name(label), *(el("div", each) for each in below if each))


def _bar(label: str, value: int, most: int, groups: NamedGroups) -> Html:
    if label == OTHERS:
        return _named(f"{number(groups.others_count)} others")
    return _named(label, meter(value / most if most else 0))


def _table(
    caption: str, columns: Sequence[Cell], rows: Iterable[Sequence[str]]
) -> Html:
    head = (
        el("th", text, scope="col", class_=style or None) for text, style in columns
    )
    body = (
        el("tr", el("th", row[0], scope="row"), *_cells(row[1:], columns[1:]))
        for row in rows
    )
    return el(
        "table",
        el("caption", caption) if caption else Html(""),
        el("thead", el("tr", *head)),
        el("tbody", *body),
    )


def _cells(row: Sequence[str], columns: Sequence[Cell]) -> Iterable[Html]:
    for cell, (_, style) in zip(row, columns, strict=True):
        quiet = " zero" if cell == "0" else ""
        yield el("td", cell, class_=f"{style}{quiet}")
