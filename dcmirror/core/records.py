"""What the intake thread hands to the supervisor's loop: records and notices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Record(NamedTuple):
    """One Kafka record, with the epoch of the assignment it was read in.

    A tuple, since tens of thousands are made per second.
    """

    partition: int
    offset: int
    epoch: int
    value: bytes | None


@dataclass(frozen=True, slots=True)
class Batch:
    """What one poll returned, in order within each partition.

    ``notices`` come before its records and after those of every earlier batch.
    """

    records: tuple[Record, ...]
    notices: tuple[Notice, ...] = ()


@dataclass(frozen=True, slots=True)
class Assigned:
    """A partition is ours from ``start`` on; told in order with the batches.

    ``committed`` is the broker's committed offset, None where there was none or where
    the log is another one than before, so that no span of the books may be honoured.
    Without a Revoked before it, the partition's log was cut or replaced while we
    read it (see OffsetsLost); the records of the epoch before are gone.
    """

    partition: int
    epoch: int
    committed: int | None
    start: int


@dataclass(frozen=True, slots=True)
class Revoked:
    """The partitions are no longer ours; ``lost``: nothing could be committed.

    It overtakes batches, and what is told in order with them: whatever of these
    partitions has an epoch up to ``epoch`` is over, even what arrives later.
    """

    partitions: tuple[int, ...]
    lost: bool
    epoch: int


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """Commits that the broker took: partition → offset."""

    offsets: dict[int, int]


@dataclass(frozen=True, slots=True)
class OffsetsLost:
    """``wanted`` is no longer (or not yet) in the log; reading goes on at ``first``.

    Told in order with the batches: the records before ``wanted`` were read, and the
    log has them no more.
    """

    partition: int
    epoch: int
    wanted: int
    first: int


@dataclass(frozen=True, slots=True)
class Connected:
    """A consumer was made; told once for each, before its first Assigned."""

    cluster_id: str | None


@dataclass(frozen=True, slots=True)
class IntakeTrouble:
    """Why nothing arrives at present; an empty text when that is over."""

    text: str


@dataclass(frozen=True, slots=True)
class Fatal:
    """The intake has ended for good, and why: exit 11."""

    text: str


@dataclass(frozen=True, slots=True)
class Closed:
    """The intake has ended as told; ``committed``: the last commit was taken."""

    committed: bool


Notice = (
    Assigned
    | Revoked
    | Acknowledged
    | OffsetsLost
    | Connected
    | IntakeTrouble
    | Fatal
    | Closed
)
