"""The page of a report in a real browser: quiet, whole, readable, not too wide."""

from __future__ import annotations

import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from report_books import RUNS, Plan, make_books

if TYPE_CHECKING:
    from servers.chromium import Browser

HOSTILE = (
    "<script>console.log(1)</script>",
    '"><img src=x onerror=console.log(2)>',
    "W" * 230,
    "\u202egpj.exe",
    "\u05d0\u05d1\u05d2 \u0645\u0631\u062d\u0628\u0627",
    "&amp;</title></svg>",
    "=cmd()",
    "\U0001f4be disk",
)
PLANS = {
    "rich": Plan(files=4000, days=49),
    "three-days": Plan(files=600, days=2.5),
    "empty": Plan(files=0),
    "one-file": Plan(files=1, days=1, fail=0, retry=0, skip=0),
    "hostile": Plan(files=300, days=9, names=HOSTILE, fail=0.1),
    "all-failed": Plan(files=60, days=9, fail=1.0, replay=0.0),
}


@pytest.fixture(scope="module", params=PLANS)
def report_page(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path]:
    home = tmp_path_factory.mktemp(request.param)
    plan = replace(PLANS[request.param], steps=False)
    books = make_books(home, plan)
    target = home / "report.html"
    command = [sys.executable, "-m", "dcmirror", "report", "-q", "--depth", "2"]
    if plan.names is RUNS:
        command = command[:-2]
    subprocess.run([*command, "-c", books.config, "--html", target], check=True)
    return request.param, target


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_a_browser_shows_the_page_without_complaint(
    chromium: Browser,
    report_page: tuple[str, Path],
    width: int,
    scheme: str,
    tmp_path: Path,
) -> None:
    name, page = report_page
    picture = tmp_path / "page.png"
    seen = chromium.look(page, width, picture, scheme=scheme, opened=True)

    assert [] == seen.complaints
    assert [page.as_uri()] == seen.requests
    assert (width, []) == (seen.scroll_width, seen.outside)
    assert seen.smallest_text >= 12
    assert width == struct.unpack(">I", picture.read_bytes()[16:20])[0]
    assert ("no file arrived" in seen.text) == (name in ("empty", "all-failed"))


def test_paper_is_white_in_the_dark(
    chromium: Browser, report_page: tuple[str, Path], tmp_path: Path
) -> None:
    _, page = report_page
    seen = chromium.look(
        page, 1000, tmp_path / "page.png", media="print", scheme="dark"
    )

    assert ([], 1000) == (seen.complaints, seen.scroll_width)
    assert "rgb(255, 255, 255)" == chromium.ask(
        "getComputedStyle(document.body).backgroundColor"
    )


def test_every_chart_has_words_for_who_does_not_see_it(
    chromium: Browser, report_page: tuple[str, Path], tmp_path: Path
) -> None:
    chromium.look(report_page[1], 1280, tmp_path / "page.png")
    without = chromium.ask(
        "[...document.querySelectorAll('svg[role=img]')].filter(svg =>"
        " svg.getAttribute('aria-labelledby').split(' ')"
        ".some(id => !document.getElementById(id).textContent)).length"
    )

    assert 0 == without
