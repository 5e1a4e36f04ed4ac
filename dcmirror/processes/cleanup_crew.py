"""Cleanup's threads: each looks at copies and sources, and deletes, with a door client
of its own.  None of them writes a book.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TypeVar

from dcmirror.adapters.catalogue_deletions import Intent
from dcmirror.adapters.door_client import DoorClient
from dcmirror.adapters.mirror_store import Look, MirrorStore
from dcmirror.core.deletion import DAMAGED, Keep, Kept, Result, source_differs
from dcmirror.core.door_errors import DoorError, DoorStopped
from dcmirror.core.failures import FailureClass
from dcmirror.core.jobs import CopyRecord
from dcmirror.processes.patience import Patience
from dcmirror.tasks.delete import Deletion
from dcmirror.tasks.delete_words import Outcome
from dcmirror.tasks.prove import changed_since, prove
from dcmirror.tasks.resolve import Begun, resolve

_A = TypeVar("_A")
_T = TypeVar("_T")

#: These concern the door and all its files, and patience with them has ended.
_HOPELESS = frozenset({FailureClass.CREDENTIAL, FailureClass.HOST})
#: After so many in a row it is the door, and not the files.
MOST_FUTILE = 20
_FUTILE = frozenset({Kept.BY_DOOR, Kept.NO_RENAME, Kept.DOOR})


@dataclass(frozen=True, slots=True)
class StopSwitch:
    """How a run is told to stop: begin nothing more; then, leave at once."""

    soon: threading.Event = field(default_factory=threading.Event)
    now: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True, slots=True)
class Means:
    """What the threads work with.  ``isolate`` is [cleanup] isolate."""

    make_client: Callable[[], DoorClient]
    make_store: Callable[[], MirrorStore]
    patience: Patience
    isolate: str
    is_deep: bool
    parallel: int
    stop: StopSwitch


@dataclass(frozen=True, slots=True)
class Checked:
    """A source that may go: its copy is proved by ``proof``."""

    copy: CopyRecord
    proof: Look


@dataclass(slots=True)
class _Own:
    """What each thread has for itself."""

    client: DoorClient
    store: MirrorStore


class Streak:
    """Failures in a row; all threads count them.  ``is_long``: too many, once."""

    def __init__(self) -> None:
        self.is_long = False
        self._failures = 0
        self._lock = threading.Lock()

    def note(self, failed: bool) -> None:
        """One more, or the end of it."""
        with self._lock:
            self._failures = self._failures + 1 if failed else 0
            self.is_long |= self._failures >= MOST_FUTILE


class Crew:
    """Use it in ``with``: threads and connections end with it.

    ``lost`` is why the door can be asked nothing more.
    """

    def __init__(self, means: Means) -> None:
        self.lost: DoorError | None = None
        # A look that succeeds says nothing of deletions, nor the other way round.
        self._looks, self._deletions, self._resolved = Streak(), Streak(), Streak()
        self._means = means
        self._owns: list[_Own] = []
        self._local = threading.local()
        self._pool = ThreadPoolExecutor(means.parallel, "cleanup")

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)
        for own in self._owns:
            own.client.close()

    @property
    def requests(self) -> int:
        """How many were sent to the door."""
        return sum(own.client.requests for own in self._owns)

    @property
    def is_futile(self) -> bool:
        """Whether the door answers for no source any more, or deletes none."""
        return self._looks.is_long or self._deletions.is_long

    @property
    def client(self) -> DoorClient:
        """The calling thread's own."""
        return self._own().client

    def each(self, work: Callable[[_A], _T], items: Iterable[_A]) -> Iterator[_T]:
        """The work's results in the order of the items."""
        return self._pool.map(work, items)

    def ask(self, question: Callable[[DoorClient], _T]) -> _T:
        """Ask the door one thing, in the calling thread.

        Raises:
            DoorError: there is no answer.
        """
        return self._means.patience.call(question, self._own().client)

    def check(self, copy: CopyRecord) -> Checked | Keep | None:
        """Whether the source may go, why it must stay, None for one that is gone.

        Raises:
            DirectoryError: the mirror is not there.
        """
        means, own = self._means, self._own()
        if self._is_over():
            return Keep(Kept.STOPPED, "stopped before it was looked at")
        proof = prove(
            own.store, copy, is_deep=means.is_deep, is_stopped=means.stop.now.is_set
        )
        if isinstance(proof, Keep):
            return proof
        try:
            entry = means.patience.call(own.client.look, copy.path)
        except DoorError as error:
            keep = self._kept_by(error)
            self._looks.note(keep.why in _FUTILE)
            return keep
        self._looks.note(False)
        if entry is None:
            return None
        return source_differs(copy, entry) or Checked(copy, proof)

    def delete(self, checked: Checked, intent: Intent) -> Outcome:
        """Delete a source that was checked a moment ago; its intent is durable."""
        if self._is_over():
            keep = Keep(Kept.STOPPED, "stopped before it was deleted")
            return Outcome(Result.NOT_DELETED, keep)
        outcome = self._delete(checked, intent)
        is_futile = outcome.keep is not None and outcome.keep.why in _FUTILE
        if is_futile or outcome.result is Result.DELETED:
            self._deletions.note(is_futile)
        return outcome

    def _delete(self, checked: Checked, intent: Intent) -> Outcome:
        means, own, copy = self._means, self._own(), checked.copy
        deletion = Deletion(
            own.client,
            means.patience,
            copy,
            intent.isolated,
            copy_differs=lambda: changed_since(own.store, copy, checked.proof),
            clock=time.monotonic,
            may_stay=means.isolate == "try",
            was_seen=True,
        )
        try:
            outcome = deletion.run()
        except DoorError as error:  # before anything was sent
            return Outcome(Result.NOT_DELETED, self._kept_by(error))
        if deletion.trouble is not None:  # the intent stays open
            return replace(outcome, keep=self._kept_by(deletion.trouble))
        return outcome

    def resolve(
        self, begun: Begun, intent: Intent, row: CopyRecord | None, *, is_damaged: bool
    ) -> Outcome | None:
        """What became of an earlier deletion; ``row`` is the copy's as it is now.

        Many without an answer keep the rest for another run, and end nothing else:
        they may be of one directory, and would end every run.
        """
        means, own = self._means, self._own()
        if self._resolved.is_long:
            return Outcome(
                None, Keep(Kept.STOPPED, "not looked at; others had trouble")
            )

        def prove_copy() -> Keep | None:
            if row is None or not is_of(row, intent):
                return Keep(Kept.ROW_CHANGED, "its copy was replaced by another")
            if is_damaged:
                return DAMAGED
            proof = prove(
                own.store, row, is_deep=means.is_deep, is_stopped=lambda: False
            )
            return proof if isinstance(proof, Keep) else None

        try:
            outcome = resolve(own.client, means.patience, begun, prove_copy)
        except DoorError as error:
            outcome = Outcome(None, self._kept_by(error))
        keep = None if outcome is None else outcome.keep
        self._resolved.note(keep is not None and keep.why in _FUTILE)
        return outcome

    def _kept_by(self, error: DoorError) -> Keep:
        """Why one source stays; where the door is lost, all others do too."""
        if isinstance(error, DoorStopped):
            return Keep(Kept.STOPPED, str(error))
        if error.kind in _HOPELESS:
            self.lost = self.lost or error
            return Keep(Kept.STOPPED, "stopped: the door is away or refuses us")
        is_refusal = error.kind is FailureClass.FORBIDDEN
        return Keep(Kept.FORBIDDEN if is_refusal else Kept.DOOR, str(error))

    def _is_over(self) -> bool:
        return self.lost is not None or self.is_futile or self._means.stop.soon.is_set()

    def _own(self) -> _Own:
        own: _Own | None = getattr(self._local, "own", None)
        if own is None:
            own = _Own(self._means.make_client(), self._means.make_store())
            self._local.own = own
            self._owns.append(own)
        return own


def as_copied(intent: Intent) -> CopyRecord:
    """The source that an intent was about, as it was proved then."""
    return CopyRecord(
        relative=intent.relative,
        path=intent.path,
        pnfsid=intent.pnfsid,
        size=intent.size,
        adler32=intent.adler32,
        verified=True,
        mtime_ns=0,
        copied_at=intent.intended_at,
    )


def is_of(row: CopyRecord, intent: Intent) -> bool:
    """Whether a copy's row still tells of the file that an intent was about."""
    return (row.pnfsid, row.size, row.adler32, row.verified) == (
        intent.pnfsid,
        intent.size,
        intent.adler32,
        True,
    )
