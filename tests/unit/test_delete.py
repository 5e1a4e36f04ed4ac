"""One deletion against a door that loses answers, lies, and lets others write."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcmirror.core.deletion import Keep, Kept, Result
from dcmirror.core.door_errors import DoorError
from dcmirror.core.failures import FailureClass
from dcmirror.core.jobs import CopyRecord
from dcmirror.core.listing import Entry
from dcmirror.tasks.delete import Deletion, send_delete
from dcmirror.tasks.delete_words import Outcome
from dcmirror.tasks.resolve import Begun, resolve

PATH, APART = "/data/raw/a", "/data/raw/.dcmirror-0123456789abcdef.isolated"
COPY = CopyRecord(
    relative="a",
    path=PATH,
    pnfsid="0000AA",
    size=5,
    adler32=7,
    verified=True,
    mtime_ns=1,
    copied_at=1000.0,
)
OURS = Entry(PATH, False, 5, 500.0, "0000AA", 7)


@dataclass
class Answer:
    status: int
    reason: str = ""
    retry_after: float | None = None


@dataclass
class Door:
    """Files by path; ``script`` says what happens at each request, one by one.

    Actions: replace, remove: somebody else does that to the source first.  lost: done,
    and no answer.  unsent: not done, and no answer.  late-N: no answer, and done N
    requests later.  A number: the answer, and nothing is done.  lie: 204, not done.
    away, back: somebody renames the directory, and back.
    """

    script: list[str] = field(default_factory=list)
    files: dict[str, Entry] = field(default_factory=lambda: {PATH: OURS})
    destroyed: list[Entry] = field(default_factory=list)
    sent: list[str] = field(default_factory=list)
    late: list[tuple[int, Callable[[], Any]]] = field(default_factory=list)
    uploads: int = 0
    hidden: dict[str, Entry] | None = None

    def look(self, path: str) -> Entry | None:
        self.sent.append(f"look {path}")
        action = self.begin()
        if action in ("lost", "unsent") or action.startswith("late"):
            raise DoorError("no answer", FailureClass.TRANSIENT)
        if action.isdigit():
            raise DoorError(action, FailureClass.TRANSIENT, http_status=int(action))
        found = self.files.get(path)
        return None if found is None else replace(found, path=path)

    def has_directory(self, path: str) -> bool:
        self.sent.append(f"directory {path}")
        action = self.begin()
        if action in ("lost", "unsent") or action.startswith("late"):
            raise DoorError("no answer", FailureClass.TRANSIENT)
        if action.isdigit():
            raise DoorError(action, FailureClass.TRANSIENT, http_status=int(action))
        return self.hidden is None

    def move(self, source: str, target: str) -> Answer:
        self.sent.append(f"move {source} {target}")
        return self.change(lambda: self.do_move(source, target))

    def delete(self, path: str) -> Answer:
        self.sent.append(f"delete {path}")
        return self.change(lambda: self.do_delete(path))

    def change(self, do: Callable[[], Answer]) -> Answer:
        action = self.begin()
        if action == "lost":
            do()
        if action.startswith("late"):
            self.late.append((int(action[5:]), do))
        if action in ("lost", "unsent") or action.startswith("late"):
            raise DoorError("no answer", FailureClass.TRANSIENT)
        if action == "lie":
            return Answer(204)
        return Answer(int(action), "", 7.0) if action.isdigit() else do()

    def begin(self) -> str:
        due = [do for left, do in self.late if left <= 0]
        self.late = [(left - 1, do) for left, do in self.late if left > 0]
        for do in due:
            do()
        action = self.script.pop(0) if self.script else ""
        if action == "replace":
            self.upload()
        if action == "remove":
            self.files.pop(PATH, None)
        if action == "away" and self.hidden is None:
            self.hidden, self.files = self.files, {}
        if action == "back":
            self.bring_back()
        return action

    def bring_back(self) -> None:
        if self.hidden is not None:
            self.files, self.hidden = self.hidden, None

    def upload(self) -> None:
        """Somebody writes another file of the same size; overwrites are allowed."""
        if self.hidden is not None:  # no directory to write to
            return
        self.uploads += 1
        self.files[PATH] = Entry(PATH, False, 5, 2e9, f"0000B{self.uploads}", 7)

    def do_move(self, source: str, target: str) -> Answer:
        if source not in self.files:
            return Answer(404)
        if target in self.files:
            return Answer(412)
        self.files[target] = self.files.pop(source)
        return Answer(201)

    def do_delete(self, path: str) -> Answer:
        if path not in self.files:
            return Answer(404)
        self.destroyed.append(self.files.pop(path))
        return Answer(204)

    def settle(self) -> None:
        """All that is late happens now."""
        for _, do in self.late:
            do()
        self.late.clear()


class Patient:
    """Calls three times."""

    def __init__(self) -> None:
        self.waits: list[float | None] = []

    def call(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        for _ in range(2):
            try:
                return function(*args, **kwargs)
            except DoorError as error:
                if error.kind is not FailureClass.TRANSIENT:
                    raise
                self.waits.append(error.retry_after)
        return function(*args, **kwargs)


def deletion(
    door: Door,
    isolated: str | None = APART,
    patient: Patient | None = None,
    **over: Any,
) -> Deletion:
    ticks: Iterator[int] = iter(range(10**6))
    given: dict[str, Any] = {
        "copy_differs": lambda: None,
        "clock": lambda: float(next(ticks)),
    }
    return Deletion(door, patient or Patient(), COPY, isolated, **given | over)


def test_the_source_is_deleted_under_a_name_that_nobody_else_uses() -> None:
    door = Door()
    outcome = deletion(door, was_seen=True).run()

    assert outcome == Outcome(Result.DELETED, window=1.0, apart=True)
    assert door.sent == [
        f"move {PATH} {APART}",
        f"look {APART}",
        f"delete {APART}",
        f"look {APART}",
    ]
    assert door.files == {}


def test_what_was_put_in_its_place_gets_its_name_back() -> None:
    """The adversary acts as the MOVE arrives: no look before could have seen it."""
    door = Door(["replace"])
    outcome = deletion(door, was_seen=True).run()

    assert outcome.result is Result.REPLACED
    assert outcome.keep is not None
    assert outcome.keep.why is Kept.REPLACED
    assert door.files[PATH].pnfsid == "0000B1"
    assert door.destroyed == []


def test_a_directory_that_took_its_place_gets_its_name_back() -> None:
    door = Door(files={PATH: Entry(PATH, True, None, None, None, None)})
    outcome = deletion(door, was_seen=True).run()

    assert outcome.result is Result.REPLACED
    assert set(door.files) == {PATH}
    assert door.destroyed == []


def test_what_is_written_anew_after_the_rename_stays() -> None:
    door = Door(["", "replace"])
    outcome = deletion(door, was_seen=True).run()

    assert outcome.result is Result.DELETED
    assert [e.pnfsid for e in door.destroyed] == ["0000AA"]
    assert door.files[PATH].pnfsid == "0000B1"


def test_two_replacements_are_both_kept_and_the_intent_stays_open() -> None:
    """One was renamed, and another one came before it could get its name back."""
    door = Door(["replace", "replace"])
    outcome = deletion(door, was_seen=True).run()

    assert outcome.result is None
    assert outcome.keep is not None
    assert outcome.keep.why is Kept.LEFT_APART
    assert APART in outcome.keep.text
    assert {e.pnfsid for e in door.files.values()} == {"0000B1", "0000B2"}


@pytest.mark.parametrize("status", ["403", "405", "501"])
def test_a_door_that_cannot_rename_deletes_nothing(status: str) -> None:
    door = Door(["", status])
    outcome = deletion(door).run()

    assert outcome.result is Result.NOT_DELETED
    assert outcome.keep is not None
    assert outcome.keep.why is Kept.NO_RENAME
    assert door.files == {PATH: OURS}


def test_a_door_that_cannot_rename_may_be_allowed_to_delete_in_place() -> None:
    door = Door(["", "405"])
    outcome = deletion(door, may_stay=True).run()

    assert outcome.result is Result.DELETED
    assert not outcome.apart
    assert door.sent[-3:] == [f"look {PATH}", f"delete {PATH}", f"look {PATH}"]


@pytest.mark.parametrize(
    ("status", "why"), [("403", Kept.FORBIDDEN), ("423", Kept.LOCKED)]
)
def test_a_refused_delete_gives_the_name_back(status: str, why: Kept) -> None:
    door = Door(["", "", "", status])
    outcome = deletion(door).run()

    assert outcome.result is Result.NOT_DELETED
    assert outcome.keep is not None
    assert outcome.keep.why is why
    assert door.files == {PATH: OURS}


@pytest.mark.parametrize("isolated", [APART, None])
def test_a_door_that_says_deleted_and_keeps_it_is_noticed(isolated: str | None) -> None:
    door = Door(["", "lie"] if isolated is None else ["", "", "", "lie"])
    outcome = deletion(door, isolated).run()

    assert outcome.result is Result.KEPT
    assert outcome.keep is not None
    assert outcome.keep.why is Kept.BY_DOOR
    assert door.files == {PATH: OURS}


@pytest.mark.parametrize("isolated", [APART, None])
def test_what_is_gone_already_needs_no_delete(isolated: str | None) -> None:
    door = Door(files={})
    outcome = deletion(door, isolated).run()

    assert outcome.result is Result.GONE
    assert door.sent == [f"look {PATH}"]


@pytest.mark.parametrize("script", [["", "", "", "lost"], ["", "", "", "500"]])
def test_a_lost_answer_to_delete_is_cleared_up_by_a_look(script: list[str]) -> None:
    outcome = deletion(door := Door(script)).run()

    assert outcome.result is Result.DELETED
    assert door.files == {}


def test_what_cannot_be_deleted_for_long_gets_its_name_back() -> None:
    """A DELETE that is late meets no such name."""
    door = Door(["", "", *["", "503"] * 2, "", "late-9"])
    outcome = deletion(door).run()
    assert (outcome.result, outcome.is_late) == (Result.NOT_DELETED, False)
    assert outcome.keep is not None
    assert outcome.keep.why is Kept.DOOR

    door.settle()
    assert door.files == {PATH: OURS}


def test_what_a_failed_delete_has_deleted_after_all_is_not_put_back() -> None:
    door = Door(["", "", *["", "503"] * 2, "", "lost"])
    outcome = deletion(door).run()

    assert outcome.result is None
    assert [line for line in door.sent if line.startswith("move")] == [
        f"move {PATH} {APART}"
    ]


@pytest.mark.parametrize("script", [["", "503"], ["", "", "", "429"]])
def test_a_door_says_when_to_ask_again(script: list[str]) -> None:
    patient = Patient()
    outcome = deletion(Door(script), patient=patient).run()

    assert outcome.result is Result.DELETED
    assert patient.waits == [7.0]


@pytest.mark.parametrize(
    "script",
    [
        ["", "", "away"],  # MOVE, then the look
        ["", "", "", "away"],  # renamed as the DELETE arrives
        ["", "", "", "503", "away"],
        ["", "lost", "away"],
        ["", "", "", "lost", "away"],
    ],
)
def test_what_goes_away_with_its_directory_stays_open(script: list[str]) -> None:
    """Whatever was asked last; the last script alone has deleted it."""
    door = Door(script)
    outcome = deletion(door).run()
    assert outcome.result is None
    assert outcome.keep is not None
    assert outcome.keep.why is Kept.LEFT_APART

    begun = Begun(COPY, APART, is_ended=False)
    again = resolve(door, Patient(), begun, lambda: None)
    assert again is not None
    assert again.result is None
    door.bring_back()
    last = resolve(door, Patient(), begun, lambda: None)
    assert last is not None
    assert (last.result is Result.DELETED) == bool(door.destroyed)
    assert door.files == ({} if door.destroyed else {PATH: OURS})


def test_a_move_without_an_answer_is_never_sent_again() -> None:
    """Else a late one could bring another file under a name that is being deleted."""
    door = Door(["", "late-30"])
    outcome = deletion(door).run()

    assert outcome.result is None
    assert outcome.is_late
    assert [line for line in door.sent if line.startswith("move")] == [
        f"move {PATH} {APART}"
    ]


def test_a_copy_that_changes_just_before_keeps_its_source() -> None:
    changes = iter([None, Keep(Kept.COPY_CHANGED, "replaced just now")])
    door = Door()
    outcome = deletion(door, copy_differs=lambda: next(changes)).run()

    assert outcome.result is Result.NOT_DELETED
    assert door.files == {PATH: OURS}
    assert door.destroyed == []


@pytest.mark.parametrize("isolated", [APART, None])
@pytest.mark.parametrize(
    ("entry", "why"),
    [
        (replace(OURS, pnfsid="0000CC"), Kept.REPLACED),
        (replace(OURS, size=6), Kept.REPLACED),
        (replace(OURS, adler32=8), Kept.REPLACED),
        (replace(OURS, size=None), Kept.INCOMPLETE),
        (replace(OURS, adler32=None), Kept.NO_DIGEST),
        (replace(OURS, trouble="no name"), Kept.UNREADABLE),
        (replace(OURS, is_directory=True), Kept.DIRECTORY),
        (replace(OURS, pnfsid=None, modified=None), Kept.REPLACED),
        (replace(OURS, pnfsid=None, modified=1000.5), Kept.REPLACED),
    ],
)
def test_another_file_is_never_deleted(
    isolated: str | None, entry: Entry, why: Kept
) -> None:
    door = Door(files={PATH: entry})
    outcome = deletion(door, isolated, was_seen=isolated is not None).run()

    assert outcome.result in (Result.NOT_DELETED, Result.REPLACED)
    assert outcome.keep is not None
    assert outcome.keep.why is why
    assert door.files == {PATH: entry}
    assert not any(line.startswith("delete") for line in door.sent)


def test_without_a_pnfsid_the_times_decide() -> None:
    door = Door(files={PATH: replace(OURS, pnfsid=None, modified=999.0)})

    assert deletion(door).run().result is Result.DELETED


def test_a_path_with_a_slash_at_the_end_is_never_sent() -> None:
    with pytest.raises(ValueError, match="slash"):
        send_delete(Door(), PATH + "/")


ACTIONS = st.sampled_from(
    [
        *("", "", "", "replace", "remove", "lost", "unsent", "500", "403", "405"),
        *("lie", "late-0", "late-1", "late-2", "late-4", "late-9"),
    ]
)


#: A door that lies while a directory is away can be believed in nothing.
AWAY_ACTIONS = ACTIONS.filter(lambda action: action != "lie") | st.sampled_from(
    ["away", "away", "back", "503", "503"]
)


def resolved(door: Door, outcome: Outcome, script: list[str]) -> Outcome:
    """What the next runs make of it; the last ones meet no more trouble."""
    for script_now in (script, [], [], []):
        if outcome.result is not None and not outcome.is_late:
            break
        if not script_now:
            door.bring_back()
        door.script = list(script_now)
        begun = Begun(COPY, APART, outcome.result is not None)
        with contextlib.suppress(DoorError):
            outcome = resolve(door, Patient(), begun, lambda: None) or outcome
        door.settle()
    return outcome


@settings(max_examples=250, deadline=None)
@given(st.lists(ACTIONS, max_size=12), st.lists(ACTIONS, max_size=8), st.booleans())
def test_whatever_happens_only_the_proved_file_is_ever_deleted(
    first: list[str], second: list[str], was_seen: bool
) -> None:
    """And what others wrote last is there, under its name or one that is told."""
    door = Door(list(first))
    try:
        outcome = deletion(door, was_seen=was_seen).run()
    except DoorError:
        outcome = Outcome(Result.NOT_DELETED)
    outcome = resolved(door, outcome, second)
    left = {path: entry.pnfsid for path, entry in door.files.items()}

    assert [e.pnfsid for e in door.destroyed] in ([], ["0000AA"])
    assert outcome.result is not Result.DELETED or "0000AA" not in left.values()
    if "remove" in first + second:
        return
    if door.uploads:
        assert f"0000B{door.uploads}" in left.values()
    elif not door.destroyed:
        assert left == {PATH: "0000AA"} or outcome.result is None


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 8), st.lists(ACTIONS, max_size=8), st.lists(ACTIONS, max_size=8))
def test_a_kill_at_any_request_leaves_nothing_unknown(
    requests: int, first: list[str], second: list[str]
) -> None:
    door = Dying(requests, list(first))
    with contextlib.suppress(Killed, DoorError):
        deletion(door).run()
    door.left = 10**6
    outcome = resolved(door, Outcome(None), second)
    left = {path: entry.pnfsid for path, entry in door.files.items()}

    assert [e.pnfsid for e in door.destroyed] in ([], ["0000AA"])
    if "remove" in first + second or door.uploads:
        return
    assert (outcome.result is Result.DELETED) == bool(door.destroyed)
    assert bool(left) != bool(door.destroyed)


@settings(max_examples=400, deadline=None)
@given(
    st.integers(0, 12),
    st.lists(AWAY_ACTIONS, max_size=12),
    st.lists(AWAY_ACTIONS, max_size=8),
)
def test_nothing_stays_apart_whose_directory_was_away(
    requests: int, first: list[str], second: list[str]
) -> None:
    """Killed or not, once it is back: unless it is told, what was not deleted is there
    under its name.
    """
    door = Dying(requests, list(first))
    try:
        outcome = deletion(door).run()
    except Killed:
        outcome = Outcome(None)
    except DoorError:
        outcome = Outcome(Result.NOT_DELETED)
    door.left = 10**6
    outcome = resolved(door, outcome, second)
    door.bring_back()
    left = {path: entry.pnfsid for path, entry in door.files.items()}

    assert [e.pnfsid for e in door.destroyed] in ([], ["0000AA"])
    assert APART not in left or outcome.result is None
    if "remove" in first + second:
        return
    if door.uploads:
        assert f"0000B{door.uploads}" in left.values()
    else:
        assert bool(left) != bool(door.destroyed)


class Killed(Exception):
    """kill -9."""


class Dying(Door):
    """The process that asks is killed after so many requests."""

    def __init__(self, left: int, script: list[str]) -> None:
        super().__init__(script)
        self.left = left

    def begin(self) -> str:
        self.left -= 1
        if self.left < 0:
            raise Killed
        return super().begin()


def test_in_place_an_adversary_wins_between_look_and_delete() -> None:
    """Why a source is set apart: HTTP has no way to delete only what was seen."""
    door = Door(["", "replace"])
    deletion(door, None).run()

    assert [e.pnfsid for e in door.destroyed] == ["0000B1"]
