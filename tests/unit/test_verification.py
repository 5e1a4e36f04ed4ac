"""Whether a copy is the file, before and after fetching."""

from __future__ import annotations

import pytest

from dcmirror.core.differences import Local
from dcmirror.core.jobs import CopyRecord
from dcmirror.core.marks import Mark
from dcmirror.core.verification import (
    Body,
    Held,
    Look,
    Source,
    Verdict,
    Wanted,
    explain,
    held_of,
    judge_body,
    judge_body_by_source,
    judge_held,
    judge_source,
)

OURS = Held("A", 10, 7, verified=True)
MARK = Mark("A", 7, verified=True, size=10, mtime_ns=5, event_time=None)
ROW = CopyRecord("f", "/d/f", "B", 10, 8, False, 5, 1.0)


@pytest.mark.parametrize(
    ("seen", "row", "expected"),
    [
        (Local(True, 10, 5, MARK), ROW, OURS),
        (Local(True, 10, 5), ROW, Held("B", 10, 8, verified=False)),
        (Local(True, 11, 5), ROW, None),
        (Local(True, 10, 6), ROW, None),
        (Local(False), ROW, Held("B", 10, 8, verified=False)),
        (Local(True, 10, 5), None, None),
        (Local(False), None, None),
    ],
)
def test_a_mark_speaks_first_and_a_row_of_what_is_there_or_was(
    seen: Local, row: CopyRecord | None, expected: Held | None
) -> None:
    assert held_of(seen, row) == expected


@pytest.mark.parametrize(
    ("wanted", "held", "exists", "leave", "expected"),
    [
        (Wanted("A", 10), OURS, True, False, Look.ADOPT),
        (Wanted("A", None), OURS, True, False, Look.ADOPT),
        (Wanted("A", 11), OURS, True, False, Look.ASK),
        (Wanted("B", 10), OURS, True, False, Look.ASK),
        (Wanted(None, 10), OURS, True, False, Look.ASK),
        (Wanted("A", 10), Held(None, 10, 7, True), True, False, Look.ASK),
        (Wanted("A", 10), None, True, False, Look.READ),
        (Wanted("A", 10), None, False, False, Look.FETCH),
        (Wanted("A", 10), None, False, True, Look.FETCH),
        (Wanted("A", 10), OURS, False, False, Look.FETCH),
        (Wanted("A", 10), OURS, False, True, Look.LEFT),
        (Wanted("B", 10), OURS, False, True, Look.FETCH),
        (Wanted(None, 10), OURS, False, True, Look.ASK),
    ],
)
def test_first_look(
    wanted: Wanted, held: Held | None, exists: bool, leave: bool, expected: Look
) -> None:
    assert expected is judge_held(wanted, held, exists=exists, leave=leave)


@pytest.mark.parametrize(
    ("wanted", "held", "source", "exists", "expected"),
    [
        # same file, other size in the event: the source has what we have
        (Wanted("A", 9), OURS, Source("A", 10, 7), True, Look.ADOPT),
        (Wanted("A", 9), OURS, Source("A", 10, None), True, Look.ADOPT),
        (Wanted("A", 9), OURS, Source("A", 9, 5), True, Look.FETCH),
        (Wanted("A", 10), OURS, Source("A", 10, 8), True, Look.FETCH),
        # an event of another file
        (Wanted("B", 9), OURS, Source("A", 10, 7), True, Look.SUPERSEDED),
        (Wanted("B", 9), OURS, Source("B", 9, 1), True, Look.FETCH),
        (Wanted("B", 9), OURS, Source("C", 10, 7), True, Look.FETCH),
        # a server without pnfsids: size and checksum, never size alone
        (Wanted(None, 10), OURS, Source(None, 10, 7), True, Look.ADOPT),
        (Wanted(None, 10), OURS, Source(None, 10, None), True, Look.FETCH),
        (
            Wanted("A", 10),
            Held(None, 10, 7, True),
            Source("A", 10, 7),
            True,
            Look.ADOPT,
        ),
        (
            Wanted("A", 10),
            Held(None, 10, None, True),
            Source("A", 10, 7),
            True,
            Look.FETCH,
        ),
        (Wanted(None, None), OURS, Source(), True, Look.FETCH),
        # a copy that is gone, where such copies are left
        (Wanted(None, 10), OURS, Source("A", 10, 7), False, Look.LEFT),
        (Wanted(None, 10), OURS, Source("B", 10, 7), False, Look.FETCH),
    ],
)
def test_second_look(
    wanted: Wanted, held: Held, source: Source, exists: bool, expected: Look
) -> None:
    assert expected is judge_source(wanted, held, source, exists=exists)


@pytest.mark.parametrize(
    ("wanted", "body", "expected"),
    [
        (Wanted("A", 10), Body(10, 7, 7), Verdict.GOOD),
        (Wanted("A", None), Body(10, 7, 7), Verdict.GOOD),
        (Wanted("A", 0), Body(0, 1, 1), Verdict.GOOD),
        (Wanted("A", 0), Body(3, 7, 7), Verdict.ASK),
        (Wanted("A", 10), Body(10, 7, 8), Verdict.ASK),
        (Wanted("A", 11), Body(10, 7, 7), Verdict.ASK),
        (Wanted("A", 10), Body(10, 7, None), Verdict.NO_DIGEST),
        (Wanted("A", 11), Body(10, 7, None), Verdict.ASK),
    ],
)
def test_body_alone(wanted: Wanted, body: Body, expected: Verdict) -> None:
    assert expected is judge_body(wanted, body)


@pytest.mark.parametrize(
    ("wanted", "body", "source", "expected"),
    [
        # the event's size was of another write session
        (Wanted("A", 9), Body(10, 7, 7), Source("A", 10, 7), Verdict.GOOD),
        # the body's own digest was stale
        (Wanted("A", 10), Body(10, 7, 8), Source("A", 10, 7), Verdict.GOOD),
        # the path is another file, and that is what came
        (Wanted("A", 9), Body(10, 7, 7), Source("B", 10, 7), Verdict.GOOD),
        # the path is another file by now
        (Wanted("A", 9), Body(10, 7, 8), Source("B", 12, 3), Verdict.OTHER),
        (Wanted("A", 9), Body(10, 7, 7), Source("A", 9, 5), Verdict.WRONG_SIZE),
        (Wanted("A", 10), Body(10, 7, 8), Source("A", 10, 8), Verdict.WRONG_CHECKSUM),
        (
            Wanted("A", 10),
            Body(10, 7, 8),
            Source("A", 10, None),
            Verdict.WRONG_CHECKSUM,
        ),
        (Wanted("A", 9), Body(10, 7, 7), Source("A", 10, None), Verdict.GOOD),
        (Wanted("A", 9), Body(10, 7, None), Source("A", 10, None), Verdict.NO_DIGEST),
        (Wanted("A", 9), Body(10, 7, 7), Source("A", None, None), Verdict.WRONG_SIZE),
    ],
)
def test_body_after_a_head(
    wanted: Wanted, body: Body, source: Source, expected: Verdict
) -> None:
    assert expected is judge_body_by_source(wanted, body, source)


def test_explanation_says_who_agrees_with_whom() -> None:
    text = explain(Wanted("A", 10), Body(9, 7, 8), Source("A", 10, 8))

    assert (
        "size: event+HEAD 10, body 9; Adler-32: computed 00000007, "
        "answer+HEAD 00000008" == text
    )


def test_explanation_names_what_nobody_knows() -> None:
    text = explain(Wanted("A", None), Body(9, 7, None), Source())

    assert "size: event+HEAD unknown, body 9" in text
