"""What reconcile prints: nothing forged, every form whole, progress in a line."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import pytest

from dcmirror.commands.reconcile import without
from dcmirror.commands.reconcile_output import Form, show, summary_lines
from dcmirror.commands.reconcile_progress import Rate, Sight, line_of
from dcmirror.core.differences import DifferenceKind
from dcmirror.core.findings import COLUMNS, Finding, Impact, Summary

K = DifferenceKind
FORGED = "/d/a\n\x1b[31mmissing  /etc\u202e"
FOUND = [
    Finding(K.MISSING, "/d/b", "b", 10, "0000AB", 0x1F, 1e9),
    Finding(K.UNREADABLE, FORGED, "a", detail="odd\x07", outcome="failed"),
    Finding(K.INCOMPLETE, "/d/\udcff", "\udcff", modified=1e300),
]
SUMMARY = Summary(
    is_complete=True,
    is_dry=True,
    directories=1,
    files=3,
    size=10,
    counts={"equal": 2},
    found={"missing": 1, "unreadable": 1, "only-here": 1},
    remaining={"missing": 1, "unreadable": 1, "only-here": 1},
    impact=Impact(3, 4, 2.0),
)


def printed(form: Form, found: list[Finding] | None = None, **over: object) -> str:
    out = io.StringIO()
    summary = replace(SUMMARY, **over)  # type: ignore[arg-type]
    show(summary, FOUND if found is None else found, form, out)
    return out.getvalue()


@pytest.mark.parametrize("form", Form)
def test_names_from_the_source_forge_neither_lines_nor_colours(form: Form) -> None:
    text = printed(form)

    assert "\x1b" not in text
    assert "\x07" not in text
    assert "\u202e" not in text
    text.encode()  # no lone surrogate either


def test_the_json_is_one_document_with_every_difference() -> None:
    document = json.loads(printed(Form.JSON))

    assert [each["path"] for each in document["differences"]][:2] == ["/d/b", FORGED]
    assert document["differences"][0] == {
        "kind": "missing",
        "path": "/d/b",
        "relative": "b",
        "size": 10,
        "pnfsid": "0000AB",
        "adler32": "0000001f",
        "modified": "2001-09-09T01:46:40.000Z",
        "detail": "",
        "outcome": "",
    }
    assert set(document["found"]) == {kind.value for kind in K}
    assert document["requests"]["per_second"] == 3.5
    assert json.loads(printed(Form.JSON, []))["differences"] == []


def test_the_csv_has_a_header_and_a_line_for_each() -> None:
    rows = list(csv.reader(io.StringIO(printed(Form.CSV))))

    assert tuple(rows[0]) == COLUMNS
    assert [row[0] for row in rows[1:]] == ["missing", "unreadable", "incomplete"]
    assert printed(Form.CSV, []).count("\n") == 1


def test_a_terminal_is_not_flooded_and_a_pipe_gets_all() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    many = [FOUND[0]] * 1000
    screen = Terminal()
    show(SUMMARY, many, Form.TEXT, screen)

    assert screen.getvalue().count("/d/b") == 500
    assert "500 more differences: --csv lists all" in screen.getvalue()
    assert printed(Form.TEXT, many).count("/d/b") == 1000


def test_the_summary_says_what_to_do_about_it() -> None:
    whole = replace(
        SUMMARY,
        is_dry=False,
        found={"missing": 5, "known-failure": 1},
        remaining={"known-failure": 1, "missing": 2},
        outcomes={"copied": 3, "failed": 2},
        old_names=2,
        unlisted=1,
        garbage=4,
    )
    text = "\n".join(summary_lines(whole))

    for words in (
        "3 copied, 2 failed",
        "`dcmirror replay` tries it again",
        "known failures are left to `dcmirror replay`",
        "2 old names of renamed files still here",
        "not listed, or not to the end: 1",
        "4 lines of the list could not be used",
        "the door had 7 requests",
        "2 remain",
    ):
        assert words in text


@pytest.mark.parametrize(
    ("change", "equal"),
    [
        ({"remaining": {}}, True),
        ({}, False),
        ({"remaining": {}, "is_complete": False}, False),
        ({"remaining": {}, "unlisted": 1}, False),
        ({"remaining": {}, "garbage": 1}, False),
        ({"remaining": {}, "old_names": 1}, False),
    ],
)
def test_both_sides_are_equal_only_if_everything_was_seen_and_nothing_remains(
    change: dict[str, object], equal: bool
) -> None:
    assert replace(SUMMARY, **change).is_equal is equal  # type: ignore[arg-type]


def test_kinds_that_are_ignored_make_no_difference() -> None:
    some = without(SUMMARY, frozenset({K.ONLY_HERE}))
    none = without(SUMMARY, frozenset({K.ONLY_HERE, K.MISSING, K.UNREADABLE}))

    assert (sum(some.remaining.values()), some.is_equal) == (2, False)
    assert none.is_equal
    left = replace(SUMMARY, remaining={}, old_names=3)
    assert not left.is_equal
    assert without(left, frozenset({K.ONLY_HERE})).is_equal


def test_a_line_has_the_rate_and_the_time_left() -> None:
    sight = Sight(files=3000, expected=9000, differences=1)

    assert line_of(sight, Rate(0.0).of(3000, 30.0)) == (
        "3,000 files compared (100/s), about 1 min left, 1 difference"
    )


def test_copies_and_giving_way_are_told() -> None:
    sight = Sight(
        files=10, offered=5, ended=3, failed=1, bytes_copied=2000, is_yielding=True
    )
    text = line_of(sight, 1.0)

    assert "3 of 5 copies ended, 1 failed, 2.00 kB" in text
    assert "waits for watch" in text
