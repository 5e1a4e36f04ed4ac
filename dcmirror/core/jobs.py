"""Jobs and what becomes of them: the values that cross process borders.

Everything here is frozen, picklable and knows nothing of processes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from dcmirror.core.failures import Failure


@dataclass(frozen=True, slots=True)
class Origin:
    """The Kafka record a job came from, and the assignment epoch it was read in."""

    topic: str
    partition: int
    offset: int
    epoch: int = 0


class JobKind(StrEnum):
    """What made us think that there is a file to copy (DESIGN 5.2)."""

    TRIGGER = "trigger"  # the pool's transfer record
    NET = "net"  # the door's record, whose transfer was never seen
    COMMIT = "commit"  # SRM's putDone
    HINT = "hint"  # a request that may have been an upload
    REPLAY = "replay"  # a row of failed.csv
    RECONCILE = "reconcile"  # a listing of the source showed it
    REPAIR = "repair"  # an audit found the copy missing or damaged


@dataclass(frozen=True, slots=True)
class CopyRecord:
    """A proved copy: one row of the catalogue.

    ``relative`` is the path below the mirror, ``path`` the namespace path.  Sizes are
    bytes, times are seconds since the epoch, ``mtime_ns`` is the published file's own.
    """

    relative: str
    path: str
    pnfsid: str | None
    size: int
    adler32: int | None
    verified: bool
    mtime_ns: int
    copied_at: float
    event_time: float | None = None
    topic: str | None = None
    partition: int | None = None
    offset: int | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """One file to copy.

    ``path`` is the namespace path as in the event, ``relative`` the checked path below
    the mirror, ``url`` the door's URL without query.  ``size`` None means unknown.
    ``known`` is what the catalogue says of ``relative`` at dispatch.  ``refetch``:
    whatever the mirror has under that name is not to be adopted.  ``trusts_size``: a
    file without a mark is adopted if its size is right, its checksum unread.
    ``modified`` is the file's own time at the source, where a listing told it.
    """

    task: str
    kind: JobKind
    path: str
    relative: str
    url: str
    size: int | None = None
    pnfsid: str | None = None
    event_time: float | None = None
    accepted_at: float = 0.0
    origin: Origin | None = None
    door: str | None = None
    pool: str | None = None
    storage_class: str | None = None
    awaits_commit: bool = False  # transferPath differs from billingPath (SRM)
    attempt: int = 1
    known: CopyRecord | None = None
    refetch: bool = False
    trusts_size: bool = False
    modified: float | None = None


class ResultKind(StrEnum):
    """How one attempt ended."""

    MIRRORED = "mirrored"  # fetched, verified, published
    ADOPTED = "adopted"  # the mirror had it already; nothing was fetched
    SUPERSEDED = "superseded"  # a newer upload of the path is (or will be) the copy
    LEFT = "left"  # somebody removed the copy and [destination] missing = "leave"
    FAILED = "failed"
    BUSY = "busy"  # its part is being written, or we have too much open; later
    AGAIN = "again"  # the name changed under us; start again, uncharged
    PARKED = "parked"  # given back unfinished because we stop


@dataclass(frozen=True, slots=True)
class Step:
    """One line of a transfer's story, for the human log and the journal.

    ``name`` is an ancestor's tag in lower case: copy_init, copy_start, copy_run,
    copy_over, copy_report.
    """

    task: str
    name: str
    at: float
    text: str


#: What was asked of one host: ``host:port``, its role (door or pool), requests,
#: connections that had to be opened, bytes of bodies.  A plain tuple pickles fastest.
HostUse = tuple[str, str, int, int, int]


@dataclass(frozen=True, slots=True)
class AttemptResult:
    """What a worker reports of one attempt.

    ``phases`` maps queued, connect, tls, door, pool_queue, data, checksum, publish to
    milliseconds.  ``copy`` is set for MIRRORED and ADOPTED.  ``started_at`` is when the
    attempt began, in seconds since the epoch.  ``requests`` and ``connections`` are the
    sums over ``hosts``.
    """

    task: str
    kind: ResultKind
    started_at: float
    ended_at: float
    copy: CopyRecord | None = None
    failure: Failure | None = None
    bytes_received: int = 0
    requests: int = 0
    connections: int = 0
    door_host: str | None = None
    pool_host: str | None = None
    http_status: int | None = None
    reason: str | None = None
    phases: dict[str, float] = field(default_factory=dict)
    hosts: tuple[HostUse, ...] = ()


@dataclass(frozen=True, slots=True)
class Progress:
    """How far one running transfer is; ``phase`` as in ``AttemptResult.phases``."""

    task: str
    phase: str
    bytes_received: int
    size: int | None
    phase_since: float
