"""A report: what counts, in which group, and what the page makes of foreign names."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import re
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dcmirror.core.markup import el
from dcmirror.core.report import Query, Report, directory_of
from dcmirror.core.report_document import as_csv, as_json
from dcmirror.core.report_groups import OTHERS, NamedGroups, Step, TimeGroups, utc
from dcmirror.core.report_page import page
from dcmirror.core.report_scales import linear
from dcmirror.core.report_style import STYLE
from dcmirror.core.report_tables import By, Heading, notes, plain, tables
from dcmirror.core.report_words import rate, share, size, span

AT = 1_790_892_000.0
HEADING = Heading("prod", "dtn1", "1.0", AT)
HOSTILE = '<script>alert(1)</script>"&\x1b[31m\u202egpj'


def berlin(moment: float) -> datetime:
    return datetime.fromtimestamp(moment, ZoneInfo("Europe/Berlin"))


def report(**query: Any) -> Report:
    return Report(Query(**query), utc, lambda path: path.removeprefix("/p/"))


def copy(
    gathered: Report, at: float = AT, path: str = "/p/run/f", size: int = 7
) -> None:
    gathered.take_copy(path.removeprefix("/p/"), path, size, 1, at, at - 2)


def finished(at: float = AT, *, event_id: str | None = None, **over: Any) -> dict:
    moment = datetime.fromtimestamp(at, utc(at).tzinfo).isoformat()
    transfer = {"state": "mirrored", "bytes": 7, "throughput_bps": 8e6}
    return {
        "@timestamp": moment,
        "event": {"action": "transfer-finished", "outcome": "success", "id": event_id},
        "file": {"path": "/p/run/f"},
        "dcmirror": {"transfer": transfer | {"relative": "run/f", "requests": 2}},
    } | over


def failed(at: float = AT, name: str = "gone") -> dict:
    event = {"action": "transfer-finished", "outcome": "failure"}
    return finished(at, event=event, error={"type": name})


def test_the_period_has_its_beginning_and_not_its_end() -> None:
    gathered = report(since=AT, until=AT + 10)
    for at in (AT - 1, AT, AT + 9, AT + 10):
        copy(gathered, at)

    assert (2, 14) == (gathered.total().files, gathered.total().bytes)


@pytest.mark.parametrize("under", ["/p/run", "/p/run/", "/p/run/f"])
def test_under_takes_whole_components(under: str) -> None:
    gathered = report(under=under)
    copy(gathered)
    copy(gathered, path="/p/runaway/f")

    assert 1 == gathered.total().files


def test_a_second_copy_of_a_line_counts_once() -> None:
    gathered = report()
    for _ in range(2):
        gathered.take_event(finished(event_id="one"))

    assert (1, 1) == (gathered.total().copies, gathered.sources.repeated)


def test_a_failure_counts_in_its_class_and_its_directory() -> None:
    gathered = report()
    gathered.take_event(failed())
    gathered.take_event(failed(name="transient"))

    assert {"gone": 1, "transient": 1} == dict(gathered.total().failures)
    assert 2 == gathered.directories.at("run").failed


@pytest.mark.parametrize(
    ("state", "reason", "counted"),
    [
        ("adopted", None, "adopted"),
        ("adopted", "already-mirrored", "skipped"),
        ("superseded", "superseded", "skipped"),
        ("mirrored", "size_differs_from_event", "copies"),
    ],
)
def test_what_becomes_of_a_job_counts_as_one_thing(
    state: str, reason: str | None, counted: str
) -> None:
    gathered = report()
    event = finished(
        dcmirror={"transfer": {"state": state, "relative": "run/f"}},
        event={"action": "transfer-finished", "outcome": "success", "reason": reason},
    )
    gathered.take_event(event)
    total = gathered.total()

    names = ("adopted", "skipped", "copies")
    assert [int(name == counted) for name in names] == [
        getattr(total, name) for name in names
    ]


@given(st.recursive(st.none() | st.text() | st.integers(), lambda x: st.lists(x)))
def test_what_is_no_event_is_counted_and_does_no_harm(value: Any) -> None:
    gathered = report()
    gathered.take_event({"@timestamp": value, "event": value, "file": value})

    assert 1 == gathered.sources.odd


def test_local_hours_of_a_clock_change_are_two_groups() -> None:
    times = TimeGroups(berlin)
    before = datetime.fromisoformat("2026-10-25T02:30+02:00").timestamp()
    for moment in (before, before + 3600):
        times.at(moment).files += 1

    assert ["2026-10-25 02:00+02:00", "2026-10-25 02:00+01:00"] == [
        label for label, _ in times.items()
    ]
    assert [("2026-10-25", 2)] == [
        (label, f.files) for label, f in times.grouped(Step.DAY).items()
    ]


def test_years_of_hours_become_days_and_lose_nothing() -> None:
    times = TimeGroups(utc)
    for hour in range(9000):
        times.at(AT + hour * 3600).files += 1

    assert (Step.DAY, 9000) == (times.step, times.total().files)
    assert times.length() <= 377


def test_the_heaviest_names_are_kept_and_the_rest_is_one_group() -> None:
    groups = NamedGroups(10)
    for number in range(1000):
        group = groups.at(f"d{number:04}")
        group.bytes += 5000 if number in (3, 700) else 1
    top = groups.top(2)

    assert [("d0003", 5000), ("d0700", 5000), (OTHERS, 998)] == [
        (name, figures.bytes) for name, figures in top
    ]


def test_names_come_in_the_order_of_what_is_there_and_not_of_what_was_copied() -> None:
    groups = NamedGroups(10)
    groups.at("replaced").bytes = 54
    groups.at("replaced").copied_bytes = 200
    groups.at("large").bytes = groups.at("large").copied_bytes = 104
    groups.at("failed").copied_bytes = 300

    assert ["large", "replaced", "failed"] == [name for name, _ in groups.top(3)]


@pytest.mark.parametrize(
    ("relative", "depth", "expected"),
    [
        ("f", 1, "."),
        ("a/f", 1, "a"),
        ("a/b/f", 2, "a/b"),
        ("a/f", 3, "a"),
        ("f", 2, "."),
    ],
)
def test_a_directory_is_the_first_components(
    relative: str, depth: int, expected: str
) -> None:
    assert expected == directory_of(relative, depth)


def test_a_journal_that_begins_after_the_first_copy_is_told() -> None:
    gathered = report()
    copy(gathered)
    gathered.sources.reaches_from = AT + 86400

    assert not gathered.is_covered
    assert "reaches back to 2026-10-02" in notes(gathered)[0]


def test_a_journal_from_before_the_first_copy_covers() -> None:
    gathered = report(since=AT - 1e6)
    copy(gathered)
    gathered.sources.reaches_from = AT - 1

    assert gathered.is_covered
    assert [] == notes(gathered)


@pytest.mark.parametrize("by", By)
def test_groups_add_up_to_the_total(by: By) -> None:
    gathered = report()
    for number in range(50):
        copy(gathered, AT + number * 5000, f"/p/d{number % 7}/f{number}", number)
        gathered.take_event(failed(AT + number * 5000))
    heading = Heading("prod", "dtn1", "1.0", AT, by=by, top=3)
    document = json.loads(as_json(gathered, heading))
    rows = list(csv.DictReader(io.StringIO(as_csv(gathered, heading))))

    assert 50 == sum(group["failed"] for group in document["groups"])
    assert 50 == sum(int(row["failed"]) for row in rows)
    if by in (By.HOUR, By.DAY, By.DIRECTORY):
        assert document["catalogue"]["bytes"] == sum(int(row["bytes"]) for row in rows)


def test_a_name_is_no_formula_in_a_spreadsheet() -> None:
    gathered = report()
    copy(gathered, path="/p/=cmd()/f")
    heading = Heading("prod", "dtn1", "1.0", AT, by=By.DIRECTORY)

    assert "\n./=cmd()," in as_csv(gathered, heading)


def test_a_hostile_name_commands_neither_terminal_nor_page() -> None:
    gathered = report(under=f"/p/{HOSTILE}")
    copy(gathered, path=f"/p/{HOSTILE}/f")
    heading = Heading(HOSTILE, HOSTILE, "1.0", AT, by=By.DIRECTORY)
    html = page(gathered, heading)
    lines = "\n".join(line for t in tables(gathered, heading) for line in plain(t))

    for text in (html, lines):
        assert not re.search("[\x1b\u202e]", text)
    assert "<script" not in html
    assert "&lt;script&gt;" in html


def test_the_page_allows_its_own_style_and_nothing_else() -> None:
    html = page(report(), HEADING)
    digest = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)
    style = re.search("<style>(.*?)</style>", html, re.DOTALL)

    assert policy is not None
    assert style is not None
    assert "default-src &#x27;none&#x27;" in policy[1]
    assert f"sha256-{digest}" in policy[1]
    assert STYLE == style[1]
    assert not re.search(r"https?://|src=|href=| style=|url\(|<script", html)


def test_text_in_markup_is_escaped_and_markup_is_not() -> None:
    assert '<p class="a&quot;b">&lt;i&gt;<br></p>' == el(
        "p", "<i>", el("br"), class_='a"b'
    )


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (size(999), "999 B"),
        (size(50_123_456_789_012), "50.1 TB"),
        (size(999_999), "1 MB"),
        (span(0.0123), "12.3 ms"),
        (span(59.99), "1 min"),
        (span(3601), "1 h"),
        (span(90000), "1 d 1 h"),
        (rate(4.36e9), "4.36 Gbit/s"),
        (share(1, 100_000), "0.01 %"),
        (share(99_999, 100_000), "99.99 %"),
        (share(5, 5), "100 %"),
        (share(0, 0), "–"),
    ],
)
def test_numbers_have_three_figures_and_a_unit(found: str, expected: str) -> None:
    assert expected == found


@given(st.integers(0, 10**15))
@example(100_000_000_001)
def test_an_axis_of_counts_has_few_whole_marks_and_room_for_all(highest: int) -> None:
    scale = linear(highest)

    assert all(mark == int(mark) for mark in scale.marks)
    assert 2 <= len(scale.marks) <= 6
    assert scale.high >= highest
