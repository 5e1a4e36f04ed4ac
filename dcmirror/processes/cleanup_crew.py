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


class Crew:
    """Use it in ``with``: threads and connections end with it.

    ``lost`` is why the door can be asked nothing more.
    """

    def __init__(self, means: Means) -> None:
        self.lost: DoorError | None = None
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
            return self._kept_by(error)
        if entry is None:
            return None
        return source_differs(copy, entry) or Checked(copy, proof)

    def delete(self, checked: Checked, intent: Intent) -> Outcome:
        """Delete a source that was checked a moment ago; its intent is durable."""
        means, own, copy = self._means, self._own(), checked.copy
        if self._is_over():
            keep = Keep(Kept.STOPPED, "stopped before it was deleted")
            return Outcome(Result.NOT_DELETED, keep)
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
        self, intent: Intent, row: CopyRecord | None, *, is_damaged: bool
    ) -> Outcome | None:
        """What became of an earlier deletion; ``row`` is the copy's as it is now."""
        means, own, source = self._means, self._own(), as_copied(intent)
        begun = Begun(source, intent.isolated, intent.ended_at is not None)

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
            return resolve(own.client, means.patience, begun, prove_copy)
        except DoorError as error:
            return Outcome(None, self._kept_by(error))

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
        return self.lost is not None or self._means.stop.soon.is_set()

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
