"""Reports of reconcile and audit, read back."""

from __future__ import annotations

import json
import random

import pytest

from dcmirror.core.differences import DifferenceKind
from dcmirror.core.findings import CSV_HEADER, Finding, csv_line, document
from dcmirror.core.report_rows import NotAReportError, ReportRow, parse_report

ODD_NAMES = (
    "plain.dat",
    'with "quotes", commas',
    "back\\slash \\n",
    "line\nend\r\ttab",
    "\u2028separator\u200b",
    "\u00fcml\u00e4ut \U0001f600",
    " blanks ",
    "x" * 300,
)


def finding(number: int) -> Finding:
    """One of many kinds of findings."""
    draw = random.Random(number)
    name = ODD_NAMES[number % len(ODD_NAMES)]
    return Finding(
        kind=draw.choice(list(DifferenceKind)),
        path=f"/pnfs/data/raw/{number}/{name}",
        relative=f"{number}/{name}",
        size=draw.choice([None, 0, 1, 10**15]),
        pnfsid=draw.choice([None, "0000ABCDEF"]),
        adler32=draw.choice([None, 0, 1, 0xFFFFFFFF]),
        modified=draw.choice([None, 1.5e9]),
        detail=draw.choice(["", 'why, "so"', "two\nlines"]),
        outcome=draw.choice(["", "copied"]),
    )


FINDINGS = [finding(number) for number in range(64)]


def without_place(rows: list[ReportRow]) -> list[tuple[object, ...]]:
    """What a row says, wherever it stands."""
    return [
        (r.kind, r.path, r.size, r.pnfsid, r.adler32, r.detail, r.outcome) for r in rows
    ]


EXPECTED = [
    (str(f.kind), f.path, f.size, f.pnfsid, f.adler32, f.detail, f.outcome)
    for f in FINDINGS
]


def test_csv_comes_back_as_it_was_found() -> None:
    text = CSV_HEADER + "".join(map(csv_line, FINDINGS))

    assert without_place(parse_report(text, "x.csv")) == EXPECTED


@pytest.mark.parametrize("member", ["differences", "findings", None])
def test_json_comes_back_as_it_was_found(member: str | None) -> None:
    rows = [document(each) for each in FINDINGS]
    text = json.dumps({"equal": False, member: rows} if member else rows)

    assert without_place(parse_report(text, "x.json")) == EXPECTED


def test_columns_go_by_their_names() -> None:
    text = "path,new,kind\n/raw/a,?,missing\n"
    (row,) = parse_report(text, "x.csv")

    assert (row.kind, row.path, row.place) == ("missing", "/raw/a", "x.csv:2")


@pytest.mark.parametrize("text", ["", "\n\n", "\ufeff", CSV_HEADER, "[]"])
def test_a_report_without_rows_has_none(text: str) -> None:
    assert parse_report(text, "x") == []


def test_what_an_audit_finds_about_no_file_is_passed_over() -> None:
    text = '{"findings": [{"kind": "gap", "path": null, "place": "billing[0]"}]}'

    assert parse_report(text, "x") == []


HEAD = "kind,path,size,adler32\n"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("name,size\nx,1\n", "x:1: "),
        ("#!/bin/sh\n", "x:1: "),
        (HEAD + "missing,/raw/a,1,\nmissing,/ra", "x:3: "),
        (HEAD + "missing,/raw/a,many,\n", "x:2: "),
        (HEAD + "missing,/raw/a,1,xyz\n", "x:2: "),
        (HEAD + "missing,/raw/a,-1,\n", "x:2: "),
        (HEAD + "missing,raw/a,1,\n", "x:2: "),
        (HEAD + 'missing,"/raw/a,1,\n', "x:2: "),
        ('{"differences": [\n{"kind": "missing",\n', "x:3: "),
        ('{"differences": 3}', "x:1: "),
        ('{"differences": [3]}', "x: row 1: "),
        ('{"findings": [{"kind": "size", "path": "/a", "size": []}]}', "x: row 1: "),
        ('[{"kind": "size", "path": "/a", "size": 1e999}]', "x: row 1: "),
        ('{"kind": "missing", "path": "/raw/a"}', "x:1: "),
        ("[" * 100_000, "x:1: "),
        ("[1e999]", "x: row 1: "),
    ],
)
def test_what_is_no_report_is_refused_with_its_line(text: str, place: str) -> None:
    with pytest.raises(NotAReportError) as refused:
        parse_report(text, "x")

    assert str(refused.value).startswith(place)
    assert str(refused.value).isprintable()


def test_no_text_at_all_makes_it_stumble() -> None:
    """Whatever it is given, it is a report or is refused."""
    draw = random.Random(7)
    good = CSV_HEADER + "".join(map(csv_line, FINDINGS[:6]))
    also = json.dumps([document(each) for each in FINDINGS[:4]])
    for _ in range(3000):
        text = draw.choice([good, also])
        at = draw.randrange(len(text))
        wild = "".join(draw.choices('",\\\n\r{}[]/x0\x00\u2028', k=draw.randrange(4)))
        spoilt = text[:at] + wild + text[at + draw.randrange(9) :]
        try:
            rows = parse_report(spoilt, "x")
        except NotAReportError:
            continue
        assert all(row.path.startswith("/") for row in rows)
