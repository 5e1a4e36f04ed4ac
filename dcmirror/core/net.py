"""The net under the pool's records: door records that wait for their ``transfer``.

Both records of one upload arrive in any order, perhaps on different partitions; the
door's is settled as ``joined`` once the pool's was seen, else it is looked at when due.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass

from dcmirror.core.jobs import Job

#: Door records that may wait, and pool records that are remembered for them.
NET_BOUND = 100_000


@dataclass(frozen=True, slots=True)
class NetEntry:
    """A door's record that waits until ``due`` (monotonic seconds)."""

    job: Job
    session: str
    due: float


class NetTable:
    """Bounded, and ordered by due time because every entry waits equally long."""

    def __init__(self, bound: int = NET_BOUND) -> None:
        self._bound = bound
        self._waiting: OrderedDict[str, NetEntry] = OrderedDict()
        self._by_session: dict[str, str] = {}
        self._seen: dict[bytes, None] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def __repr__(self) -> str:
        return f"<NetTable waiting={len(self._waiting)} seen={len(self._seen)}>"

    def transfer_seen(self, initiator: str | None, pnfsid: str | None) -> Job | None:
        """A pool's record arrived: the door's record that it settles, if it waits."""
        if initiator is None or pnfsid is None:
            return None
        self._seen[_fingerprint(initiator, pnfsid)] = None
        if len(self._seen) > self._bound:
            del self._seen[next(iter(self._seen))]
        task = self._by_session.get(initiator)
        if task is None or self._waiting[task].job.pnfsid != pnfsid:
            return None
        return self._pop(task).job

    def is_joined(self, session: str | None, pnfsid: str | None) -> bool:
        """Whether the pool's record of this door record was seen before."""
        if session is None or pnfsid is None:
            return False
        return _fingerprint(session, pnfsid) in self._seen

    def wait(self, job: Job, session: str | None, due: float) -> Job | None:
        """Let a door's record wait; the oldest, to be looked at early, if too many."""
        entry = NetEntry(job, session or job.task, due)
        self._waiting[job.task] = entry
        self._by_session[entry.session] = job.task
        if len(self._waiting) <= self._bound:
            return None
        return self._pop(next(iter(self._waiting))).job

    def due(self, now: float) -> list[Job]:
        """The records whose transfer was not seen in time."""
        late = []
        while self._waiting:
            entry = next(iter(self._waiting.values()))
            if entry.due > now:
                break
            late.append(self._pop(entry.job.task).job)
        return late

    def next_due(self) -> float | None:
        """When the next record is due."""
        first = next(iter(self._waiting.values()), None)
        return first.due if first else None

    def drop_partition(self, topic: str, partition: int) -> None:
        """Another instance owns these records now."""
        gone = [
            task
            for task, entry in self._waiting.items()
            if (o := entry.job.origin) and (o.topic, o.partition) == (topic, partition)
        ]
        for task in gone:
            self._pop(task)

    def _pop(self, task: str) -> NetEntry:
        entry = self._waiting.pop(task)
        if self._by_session.get(entry.session) == task:
            del self._by_session[entry.session]
        return entry


def _fingerprint(session: str, pnfsid: str) -> bytes:
    """A transfer in 16 bytes: a hundred thousand of them are remembered."""
    name = f"{session}\0{pnfsid}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(name, digest_size=16).digest()
