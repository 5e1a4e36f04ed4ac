"""``dcmirror report`` as a user runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from report_books import Books, Plan, make_books


@pytest.fixture(scope="module")
def books(tmp_path_factory: pytest.TempPathFactory) -> Books:
    return make_books(tmp_path_factory.mktemp("books"), Plan(files=600, days=5))


def run(books: Books, *args: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dcmirror", "report", "-c", books.config, *args],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_table_shows_the_exact_bytes(books: Books) -> None:
    ran = run(books)

    assert (0, "") == (ran.returncode, ran.stderr)
    assert f"{books.bytes:,}" in ran.stdout
    assert "By day" in ran.stdout


def test_json_agrees_with_what_happened(books: Books) -> None:
    document = json.loads(run(books, "--json", "--by", "directory").stdout)

    assert books.files == document["catalogue"]["files"]
    assert books.bytes == document["catalogue"]["bytes"]
    assert books.bytes == sum(group["bytes"] for group in document["groups"])
    assert dict(books.failures) == document["journal"]["failures"]


def test_times_without_a_zone_are_those_that_the_report_shows(books: Books) -> None:
    times = ("--since", "2026-10-02T06:00", "--until", "2026-10-03", "--json")
    berlin = json.loads(run(books, *times, TZ="Europe/Berlin").stdout)["report"]
    utc = json.loads(run(books, *times, "--utc", TZ="Europe/Berlin").stdout)["report"]

    assert "2026-10-02T06:00:00.000+02:00" == berlin["since"]
    assert "2026-10-02T06:00:00.000+00:00" == utc["since"]


def test_a_page_replaces_the_file_and_leaves_nothing_else(
    books: Books, tmp_path: Path
) -> None:
    target = tmp_path / "report.html"
    target.write_text("old")
    ran = run(books, "--html", str(target))

    assert (0, "") == (ran.returncode, ran.stdout)
    assert target.read_text().startswith("<!DOCTYPE html>")
    assert [target] == list(tmp_path.iterdir())


def test_a_page_that_cannot_be_written_is_told(books: Books, tmp_path: Path) -> None:
    ran = run(books, "--html", str(tmp_path / "missing" / "report.html"))

    assert 4 == ran.returncode
    assert "cannot be written: No such file or directory" in ran.stderr


def test_a_missing_state_directory_is_told_and_not_made(
    books: Books, tmp_path: Path
) -> None:
    config = tmp_path / "dcmirror.toml"
    config.write_text(
        books.config.read_text().replace(str(books.state), str(tmp_path / "none"))
    )
    ran = run(Books(config, tmp_path / "none"))

    assert 13 == ran.returncode
    assert "no such directory" in ran.stderr
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    "args", [("--json", "--csv"), ("--since", "1d", "--until", "2d"), ("--by", "moon")]
)
def test_what_makes_no_sense_is_wrong_usage(
    books: Books, args: tuple[str, ...]
) -> None:
    assert 2 == run(books, *args).returncode
