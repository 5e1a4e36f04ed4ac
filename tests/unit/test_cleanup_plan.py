"""What cleanup plans: nothing that anything speaks against, never beyond the limits."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcmirror.core.cleanup_plan import (
    Against,
    Budget,
    Census,
    Chooser,
    Known,
    Policy,
    brake,
    excluding,
    most_files,
    reasons_against,
)
from dcmirror.core.deletion import CopySeen, Kept, copy_differs, source_differs
from dcmirror.core.jobs import CopyRecord
from dcmirror.core.listing import Entry
from dcmirror.core.marks import Mark
from dcmirror.core.paths import PathMap, check_relative, is_isolated_name, isolated_name
from dcmirror.errors import ConfigError, UnsafePathError

NOW, DAY = 1e9, 86400.0
MAP = PathMap("https://door.example.org", "/pnfs/data", "/raw")
POLICY = Policy(now=NOW, min_age=7 * DAY, relative=MAP.relative)
GOOD = CopyRecord(
    relative="a/b",
    path="/pnfs/data/raw/a/b",
    pnfsid="0000AA",
    size=100,
    adler32=7,
    verified=True,
    mtime_ns=5,
    copied_at=NOW - 8 * DAY,
)
ENTRY = Entry(GOOD.path, False, 100, 1.0, "0000AA", 7)


def whys(copy: CopyRecord, policy: Policy = POLICY, known: Known | None = None):
    return {reason.why for reason in reasons_against(copy, policy, known or Known())}


def test_a_proved_old_copy_has_nothing_against_it() -> None:
    assert whys(GOOD) == set()


@pytest.mark.parametrize(
    ("over", "why"),
    [
        ({"verified": False}, Against.NOT_VERIFIED),
        ({"adler32": None}, Against.NO_CHECKSUM),
        ({"copied_at": NOW - 6 * DAY}, Against.TOO_YOUNG),
        ({"copied_at": NOW + DAY}, Against.TOO_YOUNG),
        ({"path": "/pnfs/data/other/a/b"}, Against.OUTSIDE),
        ({"path": "/pnfs/data/raw/a/b/"}, Against.OUTSIDE),
        ({"relative": "a/c"}, Against.OUTSIDE),
        ({"path": "/pnfs/data/raw/../b", "relative": "../b"}, Against.UNSAFE),
        (
            {"path": f"/pnfs/data/raw/{isolated_name('x')}"}
            | {"relative": isolated_name("x")},
            Against.UNSAFE,
        ),
    ],
)
def test_each_reason_keeps_a_source(over: dict[str, object], why: Against) -> None:
    assert whys(replace(GOOD, **over)) == {why}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("policy", "known", "why"),
    [
        (replace(POLICY, excluded=excluding(("a/**",))), Known(), Against.EXCLUDED),
        (replace(POLICY, excluded=excluding(("b",))), Known(), Against.EXCLUDED),
        (replace(POLICY, under="/pnfs/data/raw/c/"), Known(), Against.NOT_UNDER),
        (replace(POLICY, max_bytes=99), Known(), Against.TOO_LARGE),
        (POLICY, Known(failed_paths={GOOD.path}), Against.FAILED),
        (POLICY, Known(failed_pnfsids={"0000AA"}), Against.FAILED),
        (POLICY, Known(open_relatives={"a/b"}), Against.OPEN),
        (POLICY, Known(damaged={"a/b"}), Against.DAMAGED),
    ],
)
def test_other_books_and_settings_keep_a_source(
    policy: Policy, known: Known, why: Against
) -> None:
    assert whys(GOOD, policy, known) == {why}


COPIES = st.builds(
    lambda name, **over: replace(
        GOOD, relative=name, path=f"/pnfs/data/raw/{name}", **over
    ),
    st.sampled_from(["a", "b", "x/keep", "y/c", "z"]),
    pnfsid=st.sampled_from(["0000AA", "0000BB", None]),
    size=st.integers(0, 50),
    adler32=st.sampled_from([1, None]),
    verified=st.booleans(),
    copied_at=st.floats(NOW - 20 * DAY, NOW + DAY),
)
BUDGETS = st.builds(
    Budget,
    st.integers(0, 5),
    st.none() | st.integers(0, 100),
    st.none() | st.integers(0, 100),
)


@given(st.lists(COPIES, max_size=30), BUDGETS)
def test_nothing_is_chosen_that_anything_speaks_against(
    copies: list[CopyRecord], budget: Budget
) -> None:
    policy = replace(POLICY, excluded=excluding(("*keep",)), max_bytes=45)
    known = Known({"/pnfs/data/raw/b"}, {"0000BB"}, {"z"})
    chooser = Chooser(policy, lambda: known, budget.copy())
    chosen = [copy for copy in copies if not chooser.judge(copy)]

    for copy in chosen:
        assert copy.verified
        assert copy.adler32 is not None
        assert NOW - copy.copied_at >= 7 * DAY
        assert copy.relative in ("a", "y/c")
        assert copy.pnfsid != "0000BB"
        assert copy.size <= 45
    assert len(chosen) <= budget.files
    assert budget.bytes is None or sum(c.size for c in chosen) <= budget.bytes
    if budget.wanted is not None:
        assert sum(c.size for c in chosen[:-1]) < max(budget.wanted, 1)


@given(st.lists(COPIES, max_size=30), BUDGETS)
def test_what_is_refunded_can_be_spent_again(
    copies: list[CopyRecord], budget: Budget
) -> None:
    spent = budget.copy()
    for copy in copies:
        spent.spend(copy.size)
    for copy in copies:
        spent.spend(copy.size, -1)

    assert spent == budget


@pytest.mark.parametrize(("chosen", "brakes"), [(25, False), (26, True), (0, False)])
def test_the_brake(chosen: int, brakes: bool) -> None:
    found = brake(Census(there=100, chosen=chosen), 0.25)

    assert (found is not None) == brakes
    assert found is None or found.why is Against.BRAKE


def test_a_glob_that_is_none_is_a_mistake_in_the_configuration() -> None:
    with pytest.raises(ConfigError, match="exclude"):
        excluding(("[",))


SEEN = CopySeen(True, 100, 5, Mark("0000AA", 7, True, 100, 5, None))


@pytest.mark.parametrize(
    ("seen", "why"),
    [
        (SEEN, None),
        (replace(SEEN, mark=None), None),
        (CopySeen(False), Kept.COPY_MISSING),
        (replace(SEEN, size=99), Kept.COPY_CHANGED),
        (replace(SEEN, mtime_ns=6), Kept.COPY_CHANGED),
        (
            replace(SEEN, mark=Mark("0000BB", 7, True, 100, 5, None)),
            Kept.COPY_CHANGED,
        ),
        (
            replace(SEEN, mark=Mark("0000AA", 8, True, 100, 5, None)),
            Kept.COPY_CHANGED,
        ),
        (
            replace(SEEN, mark=Mark("0000AA", 7, False, 100, 5, None)),
            Kept.COPY_CHANGED,
        ),
    ],
)
def test_a_copy_that_is_not_as_recorded_proves_nothing(
    seen: CopySeen, why: Kept | None
) -> None:
    found = copy_differs(GOOD, seen)

    assert (found and found.why) == why


ENTRIES = st.builds(
    Entry,
    st.just(GOOD.path),
    st.booleans(),
    st.sampled_from([100, 101, None]),
    st.sampled_from([1.0, NOW, None]),
    st.sampled_from(["0000AA", "0000aa", "0000BB", None]),
    st.sampled_from([7, 8, None]),
    st.sampled_from(["", "unreadable"]),
)


@given(ENTRIES, st.sampled_from(["0000AA", None]))
def test_a_source_passes_only_as_the_very_file_that_was_copied(
    entry: Entry, pnfsid: str | None
) -> None:
    copy = replace(GOOD, pnfsid=pnfsid)
    if source_differs(copy, entry) is not None:
        return

    assert not entry.is_directory
    assert entry.trouble == ""
    assert (entry.size, entry.adler32) == (copy.size, copy.adler32)
    if entry.pnfsid and pnfsid:
        assert entry.pnfsid.upper() == pnfsid
    else:
        assert entry.modified is not None
        assert entry.modified <= copy.copied_at


def test_the_right_source_passes() -> None:
    assert source_differs(GOOD, ENTRY) is None
    assert source_differs(replace(GOOD, pnfsid=None), ENTRY) is None


@given(st.text(max_size=40))
def test_names_of_what_is_set_apart_are_known_and_never_mirrored(seed: str) -> None:
    name = isolated_name(seed)

    assert is_isolated_name(name)
    for relative in (name, f"a/{name}", f"{name}/b"):
        with pytest.raises(UnsafePathError):
            check_relative(relative)


@pytest.mark.parametrize("name", ["a", ".dcmirror-0123456789abcdef.part", ".isolated"])
def test_other_names_are_not(name: str) -> None:
    assert not is_isolated_name(name)


@given(st.integers(0, 1000), st.integers(0, 1000), st.floats(0.0, 1.0))
def test_a_run_may_delete_what_its_plan_may(
    there: int, chosen: int, share: float
) -> None:
    is_allowed = brake(Census(there=there, chosen=chosen), share) is None

    assert is_allowed == (chosen <= most_files(there, share))
