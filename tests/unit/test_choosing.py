"""Which rows a replay takes."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

import pytest

from dcmirror.config_globs import compiled
from dcmirror.core.choosing import Choice, Chooser, choose
from dcmirror.core.failed_rows import FailedRow
from dcmirror.core.paths import PathMap

RAW = "/pnfs/example.org/data/exp/raw"
MAP = PathMap("https://door:2880/data", "/pnfs/example.org/data", "exp/raw")


def row(name: str, **over: object) -> FailedRow:
    """A row of a file below the folder."""
    base = FailedRow(
        time=100.0,
        task=f"task-{name}",
        path=f"{RAW}/{name}",
        url="",
        failure_class="gone",
        error="it failed",
    )
    return replace(base, **over)  # type: ignore[arg-type]


ROWS = (
    row("a.dat", attempts=1, time=10.0),
    row("run1/b.dat", attempts=3, time=20.0, failure_class="forbidden"),
    row("run1/deep/c.raw", attempts=7, time=30.0),
    row("run10/d.dat", attempts=3, time=40.0, failure_class="checksum-mismatch"),
    row("x", path="/somewhere/else/e.dat", attempts=2, time=50.0),
)


def letters(choice: Choice) -> str:
    """The first letters of the files that are chosen."""
    chosen = choose(ROWS, choice, MAP)
    return "".join(each.path.rpartition("/")[2][0] for each in chosen)


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (Choice(), "abcde"),
        (Choice(classes=("forbidden", "checksum-mismatch")), "bd"),
        (Choice(under=f"{RAW}/run1"), "bc"),
        (Choice(under=f"{RAW}/run1/"), "bc"),
        (Choice(under=f"{RAW}/run"), ""),
        (Choice(since=20.0), "bcde"),
        (Choice(until=20.0), "a"),
        (Choice(since=20.0, until=40.0), "bc"),
        (Choice(min_attempts=3), "bcd"),
        (Choice(max_attempts=2), "ae"),
        (Choice(min_attempts=3, max_attempts=3), "bd"),
        (Choice(limit=2), "ab"),
        (Choice(min_attempts=3, limit=2), "bc"),
        (Choice(globs=("*.raw",)), "c"),
        (Choice(globs=("run1/*",)), "b"),
        (Choice(globs=("/run1/*",)), "b"),
        (Choice(globs=("run1/**",)), "bc"),
        (Choice(globs=("run1/",)), "bc"),
        (Choice(globs=("run?/*", "a*")), "ab"),
        (Choice(globs=(f"{RAW}/run*/*.dat",)), "bd"),
        (Choice(globs=("/somewhere/**",)), "e"),
        (Choice(globs=("*.dat",), under=f"{RAW}/run10"), "d"),
    ],
)
def test_a_choice_takes_what_it_names(choice: Choice, expected: str) -> None:
    assert letters(choice) == expected


def test_choices_together_take_what_each_of_them_takes() -> None:
    """All wishes at once are the intersection of the single ones."""
    wishes = (
        {"classes": ("gone", "forbidden")},
        {"under": f"{RAW}/run1"},
        {"globs": ("*.dat", "**/c.*")},
        {"since": 15.0},
        {"until": 35.0},
        {"min_attempts": 2},
        {"max_attempts": 6},
    )
    for one, two in itertools.combinations(wishes, 2):
        both = Choice(**one, **two)  # type: ignore[arg-type]
        first, second = letters(Choice(**one)), letters(Choice(**two))  # type: ignore[arg-type]

        assert set(letters(both)) == set(first) & set(second), both


def test_rows_of_one_file_and_task_are_one() -> None:
    twice = (row("a"), row("b"), row("a", error="again", time=200.0))

    assert [each.error for each in choose(twice, Choice(), MAP)] == [
        "again",
        "it failed",
    ]


def test_no_choice_invents_a_row() -> None:
    draw = random.Random(5)
    for _ in range(200):
        choice = Choice(
            classes=tuple(
                draw.sample(["gone", "forbidden", "poison"], draw.choice([0, 1]))
            ),
            since=draw.choice([None, 15.0, 45.0]),
            max_attempts=draw.choice([None, 0, 2, 9]),
            limit=draw.choice([None, 1, 3]),
            globs=draw.choice([(), ("*",), ("run*/**",), ("[a-c]*",)]),
        )
        chosen = choose(ROWS, choice, MAP)

        assert [each for each in ROWS if each in chosen] == chosen


def test_a_path_outside_the_folder_is_known_by_its_whole_name_only() -> None:
    chooser = Chooser(Choice(globs=("else/e.dat",)), MAP)

    assert not chooser.wants_path("/somewhere/else/e.dat")


@pytest.mark.parametrize("glob", ["[", "a[]b", "/", "[z-a]", "x\\"])
def test_what_is_no_glob_is_refused(glob: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        compiled(glob)
