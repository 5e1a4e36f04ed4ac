"""A report as one page that needs nothing but itself: no network, no script.

A data manager puts it before a meeting.  Every name in it is foreign text.
"""

from __future__ import annotations

import base64
import hashlib

from dcmirror.core.escapes import shown
from dcmirror.core.markup import Html, el, join
from dcmirror.core.report import Report
from dcmirror.core.report_page_parts import (
    cards,
    directories,
    doors,
    failures,
    holds,
    how_it_was_made,
    lead,
    name,
    phases,
    skipped,
)
from dcmirror.core.report_page_times import Times, arrivals, numbers, speeds, troubles
from dcmirror.core.report_style import STYLE
from dcmirror.core.report_tables import By, Heading, moment, notes


def page(report: Report, heading: Heading) -> str:
    """The whole document."""
    times = Times(report, by_hour=heading.by is By.HOUR)
    body = el(
        "main",
        _header(report, heading),
        cards(report),
        _notes(report),
        arrivals(times),
        speeds(times),
        troubles(times),
        failures(report, heading),
        directories(report, heading),
        doors(report, heading),
        phases(report),
        skipped(report),
        holds(report),
        numbers(times),
        how_it_was_made(report, heading),
    )
    title = f"{shown(heading.instance)}: dcmirror report"
    return (
        f'<!DOCTYPE html>\n<html lang="en">{_head(title)}<body>{body}</body></html>\n'
    )


def _head(title: str) -> Html:
    digest = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'"
    )
    return el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", http_equiv="Content-Security-Policy", content=policy),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="color-scheme", content="light dark"),
        el("meta", name="referrer", content="no-referrer"),
        el("meta", name="generator", content="dcmirror report"),
        el("title", title),
        el("style", Html(STYLE)),
    )


def _header(report: Report, heading: Heading) -> Html:
    query = report.query
    facts = [
        ("Made", moment(report, heading.made_at)),
        ("On", heading.host),
        ("By", f"dcmirror {heading.version}"),
    ]
    if query.under:
        facts.insert(0, ("Only files below", query.under))
    told = (el("div", el("dt", label), el("dd", name(value))) for label, value in facts)
    return el(
        "header",
        el("p", "Mirror report", class_="eyebrow"),
        el("h1", name(heading.instance)),
        el("p", lead(report), class_="lead"),
        el("dl", *told, class_="facts"),
    )


def _notes(report: Report) -> Html:
    told = notes(report)
    if not told:
        return Html("")
    paragraphs = (el("p", note) for note in told)
    return el("aside", join(*paragraphs), class_="notes", aria_label="Notes")
