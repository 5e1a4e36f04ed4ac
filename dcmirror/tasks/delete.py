"""Deletes one source whose copy is proved; the one place that sends DELETE for a file.

WebDAV has no conditional DELETE: between the last look at a source and its deletion
somebody may put another file in its place.  So the source is set apart first: renamed
to a name that nobody else uses, and looked at there.  A rename is atomic; what was set
apart stays what it is, and if it is not the file that was copied it gets its old name
back.

``Overwrite: F`` asks the door to replace nothing by a rename.  That matters for the way
back alone, whose target others use, and it is a look and not a lock: dCache's door
looks first and then renames over what is there, XRootD ignores the header.  So we look
ourselves, right before; a file that is written between that look and the rename is
replaced by the one that had the name before it.

Whoever calls has made the intent durable before.  Every step may be repeated, since
each begins with a look at what is there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from dcmirror.core.deletion import Keep, Kept, Result, source_differs
from dcmirror.core.door_errors import DoorError, DoorStopped
from dcmirror.core.failures import FailureClass
from dcmirror.core.http_values import GONE
from dcmirror.core.jobs import CopyRecord
from dcmirror.core.listing import Entry
from dcmirror.tasks.delete_words import (
    Answer,
    Door,
    Outcome,
    Patient,
    away,
    is_plain,
    kept_by,
    left_apart,
    refusal,
    said,
)

_DONE = range(200, 300)
_FORBIDDEN, _EXISTS = 403, 412
#: What a server says that cannot rename, or does not let us.
_CANNOT_RENAME = frozenset({_FORBIDDEN, 405, 501})
#: It cannot be set apart; whether it may be deleted as it is, is a setting.
_NO_RENAMES = frozenset({Kept.NO_RENAME, Kept.ODD_NAME})
#: No connection, or none that our certificate was good for.
_NEVER_SENT = frozenset({FailureClass.HOST, FailureClass.CREDENTIAL})
#: Somebody between us and the door gave up; the door may not have.
_LATE = frozenset({408, 502, 504})


def send_delete(door: Door, path: str) -> Answer:
    """Every DELETE of a file that dcmirror ever sends."""
    if path.endswith("/"):
        raise ValueError(f"never with a slash at the end: {path!r}")
    return door.delete(path)


class Deletion:
    """One source.

    Args:
        isolated: the path that it gets first; None: it is deleted under its own.
        may_stay: whether it may be deleted under its own if the door cannot rename.
        was_seen: it was the right file a moment ago: it need not be looked at before
            it is set apart.
        copy_differs: looks at the copy on disk: why it is no proof any more.
        clock: monotonic seconds.

    ``trouble`` is what ended it before its result was known.
    """

    def __init__(
        self,
        door: Door,
        patient: Patient,
        copy: CopyRecord,
        isolated: str | None,
        *,
        copy_differs: Callable[[], Keep | None],
        clock: Callable[[], float],
        may_stay: bool = False,
        was_seen: bool = False,
    ) -> None:
        self._door = door
        self._patient = patient
        self._copy = copy
        self._isolated = isolated
        self._may_stay = may_stay
        self._was_seen = was_seen
        self._copy_differs = copy_differs
        self._clock = clock
        self.trouble: DoorError | None = None
        self._moves = self._deletes = 0
        self._late_move = self._late_delete = self._is_unsure = False
        self._backs = 0
        self._window: float | None = None

    def run(self) -> Outcome:
        """Delete it, or say why not.

        Raises:
            DoorError: the door is away or refuses our credential; nothing was sent.
        """
        if self._isolated is None:
            return self._guarded(self._ask_in_place)
        return self._guarded(self._ask_apart, self._isolated)

    def resume(self, isolated: str) -> Outcome:
        """Go on with one that an earlier run has set apart."""
        self._moves = 1
        return self._guarded(self._ask_finish, isolated)

    def put_back(self, isolated: str, kept: Outcome) -> Outcome:
        """Give it its name back; ``kept`` says why, and is what comes of it."""
        self._moves = 1
        return self._guarded(self._patient.call, self._put_back, isolated, kept)

    def _guarded(self, story: Callable[..., Outcome], *args: Any) -> Outcome:
        try:
            outcome = story(*args)
        except DoorError as error:
            if not self._moves and not self._deletes:
                raise
            self.trouble = error
            outcome = Outcome(None, Keep(Kept.DOOR, str(error)))
        return replace(
            outcome,
            is_late=self._late_move
            or self._is_unsure
            or (self._late_delete and outcome.result is not Result.DELETED),
            window=self._window,
            apart=self._isolated is not None,
        )

    # -- under its own name -------------------------------------------------------

    def _ask_in_place(self) -> Outcome:
        return self._patient.call(self._in_place)

    def _in_place(self) -> Outcome:
        """A look, and at once the DELETE."""
        entry = self._door.look(self._copy.path)
        if entry is not None:
            return self._delete_if_same(self._copy.path, entry)
        return self._vanished() if self._deletes else Outcome(Result.GONE)

    # -- apart --------------------------------------------------------------------

    def _ask_apart(self, isolated: str) -> Outcome:
        ended = self._patient.call(self._set_apart, isolated)
        if ended is None:
            return self._ask_finish(isolated)
        if self._may_stay and ended.keep and ended.keep.why in _NO_RENAMES:
            self._isolated = None
            return self._ask_in_place()
        return ended

    def _ask_finish(self, isolated: str) -> Outcome:
        try:
            ended = self._patient.call(self._finish, isolated)
        except DoorStopped:
            raise
        except DoorError as error:
            if error.kind is not FailureClass.TRANSIENT:
                raise
            return self._give_up(isolated, error)
        if ended.keep is None or ended.result is None:
            return ended
        return self._patient.call(self._put_back, isolated, ended)

    def _give_up(self, isolated: str, error: DoorError) -> Outcome:
        """The door answers like that for good: what is still apart is not left so.

        Once, since patience has ended.  A DELETE that is late meets no such name then.
        """
        if self._door.look(isolated) is None:
            raise error
        return self._put_back(isolated, kept_by(Keep(Kept.DOOR, str(error))))

    def _set_apart(self, isolated: str) -> Outcome | None:
        """Rename it, if it is the file that was copied; None: that is done."""
        was_seen, self._was_seen = self._was_seen, False
        if was_seen:
            return self._rename(isolated)
        if self._moves and self._door.look(isolated) is not None:
            return None  # by an earlier try, whose answer was lost
        entry = self._door.look(self._copy.path)
        if entry is None:
            return self._gone(isolated)
        if self._late_move:
            # A second MOVE to that name could meet the first one, and a DELETE after
            # both whatever the late one brought there.
            text = "MOVE had no answer, and the door shows no effect of it"
            raise DoorError(text, FailureClass.TRANSIENT)
        differs = source_differs(self._copy, entry) or self._copy_differs()
        return kept_by(differs) if differs is not None else self._rename(isolated)

    def _rename(self, isolated: str) -> Outcome | None:
        is_odd = not (is_plain(isolated) and is_plain(self._copy.path))
        if is_odd and not self._copy.pnfsid:
            text = "the name needs escapes, which this door may not undo in a rename"
            return kept_by(Keep(Kept.ODD_NAME, text))
        self._moves += 1
        answer = self._send(self._door.move, self._copy.path, isolated)
        if answer.status in _DONE:
            return None
        if answer.status in GONE or (answer.status == _EXISTS and self._moves > 1):
            return self._not_found(isolated, answer)
        if answer.status in _CANNOT_RENAME:
            text = f"the door does not let us rename it ({said(answer)})"
            return kept_by(Keep(Kept.NO_RENAME, text))
        return kept_by(refusal("MOVE", answer))

    def _finish(self, isolated: str) -> Outcome:
        """Nobody else uses its name now: look what it is, and delete it."""
        entry = self._door.look(isolated)
        if entry is not None:
            return self._delete_if_same(isolated, entry)
        if self._deletes:
            return self._vanished()
        text = f"renamed to {isolated}, and not found there"
        return Outcome(None, Keep(Kept.LEFT_APART, text))

    def _put_back(self, isolated: str, kept: Outcome) -> Outcome:
        """Whatever it is, it gets its name back, unless that is taken."""
        path = self._copy.path
        if self._door.look(path) is not None:
            if self._backs and self._door.look(isolated) is None:
                self._is_unsure = True
                return kept  # by an earlier try, whose answer was lost
            return left_apart(isolated, kept, "its name is taken again")
        self._moves += 1
        self._backs += 1
        answer = self._send(self._door.move, isolated, path)
        if answer.status in _DONE and self._door.look(isolated) is None:
            return kept
        return left_apart(
            isolated, kept, f"the door does not rename it: {said(answer)}"
        )

    # -- both ---------------------------------------------------------------------

    def _delete_if_same(self, path: str, entry: Entry) -> Outcome:
        seen_at = self._clock()
        differs = source_differs(self._copy, entry) or self._copy_differs()
        if differs is not None:
            return kept_by(differs)
        self._deletes += 1
        answer = self._send(send_delete, self._door, path)
        self._window = self._clock() - seen_at
        if answer.status in _DONE or answer.status in GONE:
            return self._look_after(path, answer)
        return kept_by(refusal("DELETE", answer))

    def _look_after(self, path: str, answer: Answer) -> Outcome:
        """Whether what the door says is so."""
        entry = self._door.look(path)
        if entry is None:
            is_sure = answer.status in _DONE
            return Outcome(Result.DELETED) if is_sure else self._vanished()
        differs = source_differs(self._copy, entry)
        is_other = differs is not None and differs.why is Kept.REPLACED
        if is_other and path == self._copy.path:
            return Outcome(Result.DELETED)  # and somebody has written it anew
        text = f"the door answered {said(answer)} to DELETE and still shows the file"
        return Outcome(Result.KEPT, Keep(Kept.BY_DOOR, text))

    def _vanished(self) -> Outcome:
        """It is not there, and no DELETE of ours was answered with a yes."""
        if self._is_away():
            return away(self._copy.path, self._isolated)
        self._is_unsure = True  # it may have been away for a moment
        return Outcome(Result.DELETED)

    def _is_away(self) -> bool:
        """Whether its directory is not there: it may be elsewhere, with the file."""
        return not self._door.has_directory(self._copy.path.rpartition("/")[0])

    def _gone(self, isolated: str) -> Outcome | None:
        """It is not there, unless a MOVE has reached it whose answer was lost."""
        if self._moves and self._door.look(isolated) is not None:
            return None
        return self._absent(isolated, self._moves)

    def _absent(self, isolated: str, moves: int) -> Outcome:
        """Under neither name, after so many MOVEs that may have reached it."""
        if moves and self._is_away():
            return away(self._copy.path, isolated)
        return Outcome(Result.GONE)

    def _not_found(self, isolated: str, answer: Answer) -> Outcome | None:
        """It was there a moment ago; some doors say 404 to names they dislike."""
        if self._door.look(isolated) is not None:
            return None  # an earlier try's MOVE was late
        if self._door.look(self._copy.path) is None:
            return self._absent(isolated, self._moves - 1)
        text = f"the door shows it, and answers {said(answer)} to MOVE"
        return kept_by(Keep(Kept.DOOR, text))

    def _send(self, method: Callable[..., Answer], *args: Any) -> Answer:
        """Send what changes something.  An answer that may pass is a DoorError."""
        try:
            answer = method(*args)
        except DoorError as error:
            if error.kind not in _NEVER_SENT:
                self._note_late(method)
            raise
        status = answer.status
        if status in _LATE:
            self._note_late(method)
        text = f"{self._copy.path}: the door answers {said(answer)}"
        if status == 401:
            raise DoorError(text, FailureClass.CREDENTIAL, http_status=status)
        if status in (408, 425, 429) or (status >= 500 and status != 501):
            raise DoorError(
                text,
                FailureClass.TRANSIENT,
                http_status=status,
                retry_after=answer.retry_after,
            )
        return answer

    def _note_late(self, method: Callable[..., Answer]) -> None:
        """A DELETE of what is set apart may be as late as it likes."""
        if method == self._door.move:
            self._late_move = True
        else:
            self._late_delete = self._isolated is None
