"""What became of a deletion that an earlier run began: looks, and puts things right.

A kill between an intent and its result leaves a source in one of five states: where it
was, set apart, gone, replaced by another one, or away with its directory.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from dcmirror.core.deletion import Keep, Kept, Result, source_differs
from dcmirror.core.jobs import CopyRecord
from dcmirror.core.listing import Entry
from dcmirror.tasks.delete import Deletion
from dcmirror.tasks.delete_words import Door, Outcome, Patient, away


@dataclass(frozen=True, slots=True)
class Begun:
    """A deletion that was begun: of which file, and what it was renamed to, if at all.

    ``source`` is what was proved then.  ``is_ended``: it has a result, and is looked at
    again because an answer never came.  ``is_pruned``: since then we have removed its
    directory, with nothing in it.  ``is_gone``: somebody says so.
    """

    source: CopyRecord
    isolated: str | None
    is_ended: bool
    is_pruned: bool = False
    is_gone: bool = False


def resolve(
    door: Door, patient: Patient, begun: Begun, prove_copy: Callable[[], Keep | None]
) -> Outcome | None:
    """What became of it; None if there is nothing new.

    Args:
        prove_copy: whether the copy that allowed the deletion still does.

    Raises:
        DoorError: the door is away, or refuses our credential.
    """
    apart, here = patient.call(_look, door, begun)
    if apart is not None:
        return _settle_apart(door, patient, begun, apart, here, prove_copy)
    if here is None:
        return _settle_absent(door, patient, begun)
    if begun.is_ended:
        return None
    differs = source_differs(begun.source, here)
    if differs is None:
        return _late(Outcome(Result.NOT_DELETED, _interrupted("it is where it was")))
    if differs.why in (Kept.REPLACED, Kept.DIRECTORY):
        return _late(Outcome(Result.DELETED_OR_REPLACED))
    return _late(Outcome(Result.NOT_DELETED, differs))


def _look(door: Door, begun: Begun) -> tuple[Entry | None, Entry | None]:
    """What is apart and what is here; a late MOVE may happen between two looks."""
    here = door.look(begun.source.path)
    if begun.isolated is None:
        return None, here
    apart = door.look(begun.isolated)
    if apart is not None and here is not None:
        here = door.look(begun.source.path)
    return apart, here


def _settle_absent(door: Door, patient: Patient, begun: Begun) -> Outcome | None:
    """Deleted, or away with its directory: set apart, and perhaps without a copy."""
    if begun.is_ended and begun.isolated is not None:
        return None
    path = begun.source.path
    directory = path.rpartition("/")[0]
    if begun.is_pruned or patient.call(door.has_directory, directory):
        # That directory may be another one, and the file's come back.
        return replace(Outcome(Result.DELETED), is_late=begun.isolated is not None)
    if begun.is_ended:
        return None
    if begun.is_gone:
        return _late(Outcome(Result.GONE))
    return away(path, begun.isolated)


def _settle_apart(
    door: Door,
    patient: Patient,
    begun: Begun,
    apart: Entry,
    here: Entry | None,
    prove_copy: Callable[[], Keep | None],
) -> Outcome:
    """It gets its name back; if that is taken, only a proved copy lets it go."""
    isolated = begun.isolated
    assert isolated is not None
    deletion = Deletion(
        door,
        patient,
        begun.source,
        isolated,
        copy_differs=prove_copy,
        clock=time.monotonic,
    )
    differs = source_differs(begun.source, apart)
    if here is None:
        result = Result.NOT_DELETED if differs is None else Result.REPLACED
        keep = differs or _interrupted("it has its name back")
        return _late(deletion.put_back(isolated, Outcome(result, keep)))
    differs = differs or prove_copy()
    if differs is None:
        return deletion.resume(isolated)
    text = f"left as {isolated}, since its name is taken again; {differs.text}"
    return Outcome(None, Keep(Kept.LEFT_APART, text))


def _interrupted(what: str) -> Keep:
    return Keep(Kept.INTERRUPTED, f"an earlier run was interrupted; {what}")


def _late(outcome: Outcome) -> Outcome:
    """Whatever the killed run had sent may still be carried out."""
    return replace(outcome, is_late=True)
