"""What commands say of how far they are, where it is no terminal that listens."""

from __future__ import annotations

import io

import pytest

from dcmirror.commands import progress
from dcmirror.commands.progress import Lines, Words, jobs_progress


def test_a_line_is_told_now_and_then() -> None:
    out = io.StringIO()
    lines = Lines(out, now=0.0)
    for now in (29.0, 30.0, 59.0, 60.0):
        lines.tell("at {:.0f} s".format, now)

    assert out.getvalue() == "dcmirror: at 30 s\ndcmirror: at 60 s\n"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            Words("replay", "rows", "failed again"),
            "dcmirror: 5 of 1,000 rows, 1 failed again, 123 MB copied\n",
        ),
        (
            Words("repair", "files"),
            "dcmirror: 5 of 1,000 files, 1 failed, 123 MB copied\n",
        ),
    ],
)
@pytest.mark.parametrize("quiet", [False, True])
def test_jobs_are_told_in_their_own_words_or_not_at_all(
    monkeypatch: pytest.MonkeyPatch, words: Words, line: str, quiet: bool
) -> None:
    monkeypatch.setattr(progress, "_LINE_SECONDS", 0.0)
    out = io.StringIO()
    with jobs_progress(out, words, 1000, quiet=quiet) as show:
        show(5, 1, 123_456_789)

    assert out.getvalue() == ("" if quiet else line)


@pytest.mark.parametrize("quiet", [False, True])
def test_a_terminal_gets_a_bar_under_its_own_title(
    monkeypatch: pytest.MonkeyPatch, quiet: bool
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    out = Terminal()
    with jobs_progress(out, Words("repair", "files"), 10, quiet=quiet) as show:
        show(5, 1, 2000)

    assert ("repair" in out.getvalue()) is not quiet
    assert ("5 of 10, 1 failed, 2.00 kB" in out.getvalue()) is not quiet
