"""Is the destination full, or is it this file?"""

from __future__ import annotations

import pytest

from dcmirror.core.refusals import MOST_REFUSALS, PAUSES, Refusals, Refused


@pytest.fixture
def refusals() -> Refusals:
    return Refusals()


def blame(refusals: Refusals, task: str, relative: str, at: float) -> None:
    """It was refused twice, and another file was written in between."""
    refusals.refused(task, relative, at)
    refusals.written(at + 1)
    refusals.refused(task, relative, at + 2)


def test_the_first_refusal_holds_everything_and_the_file_is_next(
    refusals: Refusals,
) -> None:
    refusals.written(1.0)

    assert Refused(holds=True) == refusals.refused("a", "d/a", 2.0)
    assert Refused(holds=True) == refusals.refused("b", "d/b", 3.0)


def test_the_second_one_holds_too_but_lets_the_others_go_first(
    refusals: Refusals,
) -> None:
    refusals.refused("a", "d/a", 1.0)

    assert Refused(holds=True, pause=PAUSES[0]) == refusals.refused("a", "d/a", 2.0)


def test_a_file_is_to_blame_where_another_was_written_in_between(
    refusals: Refusals,
) -> None:
    refusals.refused("a", "d/a", 1.0)
    refusals.written(1.5)

    assert Refused(holds=False, pause=PAUSES[0]) == refusals.refused("a", "d/a", 2.0)


def test_what_was_begun_before_the_refusal_proves_nothing(refusals: Refusals) -> None:
    refusals.refused("a", "d/a", 1.0)
    refusals.written(0.5)

    assert refusals.refused("a", "d/a", 2.0).holds


def test_the_pauses_grow_until_the_file_is_given_up(refusals: Refusals) -> None:
    refusals.refused("a", "d/a", 0.0)
    pauses = []
    for number in range(1, MOST_REFUSALS):
        refusals.written(number - 0.5)
        pauses.append(refusals.refused("a", "d/a", number).pause)
    refusals.written(MOST_REFUSALS - 0.5)
    last = refusals.refused("a", "d/a", MOST_REFUSALS)

    rest = [PAUSES[-1]] * (MOST_REFUSALS - 1 - len(PAUSES))
    assert [*PAUSES, *rest] == pauses
    assert Refused(holds=False, gives_up=True) == last


def test_a_destination_that_takes_nothing_gives_up_no_file(refusals: Refusals) -> None:
    ends = [refusals.refused("a", "d/a", float(number)) for number in range(100)]

    assert all(refused.holds for refused in ends)


def test_a_directory_with_a_file_to_blame_holds_nothing_for_the_next_one(
    refusals: Refusals,
) -> None:
    blame(refusals, "a", "d/a", 1.0)
    refusals.written(4.0)

    assert not refusals.refused("b", "d/b", 5.0).holds
    assert refusals.refused("c", "elsewhere/c", 6.0).holds


def test_a_disk_that_fills_meanwhile_is_noticed_there_too(refusals: Refusals) -> None:
    """One file is to blame; then nothing is written any more."""
    blame(refusals, "a", "d/a", 1.0)
    refusals.written(4.0)
    refusals.refused("b", "d/b", 5.0)

    assert refusals.refused("c", "d/c", 6.0).holds


def test_a_directory_is_trusted_again_when_its_files_have_ended(
    refusals: Refusals,
) -> None:
    blame(refusals, "a", "d/a", 1.0)
    refusals.forget("a")
    refusals.written(4.0)

    assert Refused(holds=True) == refusals.refused("b", "d/b", 5.0)
    assert refusals.forget("unknown") is None
