"""A directory is done when it was compared and all of its jobs are settled."""

from __future__ import annotations

from dcmirror.processes.outstanding import Outstanding, Task


def books() -> tuple[Outstanding, list[str]]:
    done: list[str] = []
    return Outstanding(done.append), done


def test_a_directory_without_jobs_is_done_with_its_last_name() -> None:
    outstanding, done = books()
    outstanding.begin("/d")
    assert done == []
    outstanding.complete("/d")

    assert done == ["/d"]


def test_a_directory_with_jobs_is_done_with_the_last_of_them() -> None:
    outstanding, done = books()
    outstanding.begin("/d")
    outstanding.add("1", Task("/d/a", "/d"))
    outstanding.add("2", Task("/d/b", "/d"))
    outstanding.settle(["1"])
    outstanding.complete("/d")
    assert done == []
    outstanding.settle(["2", "somebody's"])

    assert done == ["/d"]
    assert len(outstanding) == 0


def test_jobs_that_end_before_the_listing_does_not_make_it_done() -> None:
    outstanding, done = books()
    outstanding.begin("/d")
    outstanding.add("1", Task("/d/a", "/d"))
    outstanding.settle(["1"])

    assert done == []


def test_a_listing_that_begins_again_waits_for_the_jobs_of_the_first_one_too() -> None:
    outstanding, done = books()
    outstanding.begin("/d")
    outstanding.add("1", Task("/d/a", "/d"))
    outstanding.begin("/d")
    outstanding.complete("/d")
    assert done == []
    outstanding.settle(["1"])

    assert done == ["/d"]


def test_only_jobs_of_ours_are_told() -> None:
    outstanding, _ = books()
    outstanding.begin("/d")
    outstanding.add("1", Task("/d/a", "/d"))

    assert outstanding.tasks_of(["1", "2"]) == {"1": Task("/d/a", "/d")}
