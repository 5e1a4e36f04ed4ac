"""Why offsets between settled ones have no outcome, as far as it can be known.

Pure: what the broker, the journal and other instances say are arguments.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from dcmirror.core.audit_spans import Range, common, gaps


class Cause(StrEnum):
    """Why nobody has settled a range of offsets."""

    OTHERS = "other-instance"  # its spans were given, and cover it
    ELSEWHERE = "elsewhere"  # not ours then; whose, nobody told us
    LOST = "offsets-lost"  # Kafka had dropped them before they were read
    RECONCILED = "reconciled"  # lost or skipped, and everything was compared since
    EXPIRED = "expired"  # below the log's begin: nobody can tell any more
    EMPTY = "no-records"  # compaction, or markers of transactions
    UNREAD = "unread"  # nobody has looked whether there are records
    RECORDS = "records"  # there are records, and they have no outcome


@dataclass(frozen=True, slots=True)
class Known:
    """What can be said of a partition besides its spans.

    ``ours`` is where this instance's present history begins and ends (the end is the
    first offset that is not ours), ``begin`` the log's oldest offset, ``lost`` ranges
    that an offsets-lost event named, ``others`` what other instances settled; all
    ranges in order.  ``knows_others``: the other instances were named.
    """

    ours: Range
    begin: int | None = None
    lost: Sequence[Range] = ()
    others: Sequence[Range] = ()
    knows_others: bool = False


@dataclass(frozen=True, slots=True)
class NamedGap:
    """A range of offsets without an outcome here, and why."""

    gap: Range
    cause: Cause


class Reconciled(NamedTuple):
    """A reconcile that compared everything; times as the journal writes them.

    It knew of all that was at the source at ``until``, and ``missed`` so many files.
    """

    began: str
    ended: str
    until: str
    missed: int


def cure(runs: Iterable[Reconciled]) -> Reconciled | None:
    """The last one that is known to have found all that was lost before it.

    One listing proves nothing: dCache may cut it short and tell nobody.  A later one
    in which nothing was missing says that it was whole.
    """
    known = sorted(runs)
    agreeing = [run for run in known if not run.missed]
    if not agreeing:
        return None
    before = [run for run in known if run.ended <= agreeing[-1].began]
    return before[-1] if before else None


def explain(gap: Range, known: Known) -> Iterator[NamedGap]:
    """The parts of a gap, by offset; UNREAD ones are worth reading."""
    parts = [NamedGap(part, Cause.OTHERS) for part in common(gap, known.others)]
    for rest in gaps(known.others, gap[0], gap[1] + 1):
        parts += _of_nobody(rest, known)
    yield from sorted(parts, key=lambda part: part.gap)


def _of_nobody(gap: Range, known: Known) -> Iterator[NamedGap]:
    for part in common(gap, known.lost):
        yield NamedGap(part, Cause.LOST)
    for rest in gaps(known.lost, *_half(gap)):
        yield from _not_lost(rest, known)


def _not_lost(gap: Range, known: Known) -> Iterator[NamedGap]:
    if known.knows_others:
        yield from _by_log(gap, known.begin)
        return
    first, until = known.ours
    ours = [(first, until - 1)] if until > first else []
    for part in gaps(ours, *_half(gap)):
        yield NamedGap(part, Cause.ELSEWHERE)
    for part in common(gap, ours):
        yield from _by_log(part, known.begin)


def _by_log(gap: Range, begin: int | None) -> Iterator[NamedGap]:
    first, last = gap
    if begin is None or first >= begin:
        yield NamedGap(gap, Cause.UNREAD)
    elif last < begin:
        yield NamedGap(gap, Cause.EXPIRED)
    else:
        yield NamedGap((first, begin - 1), Cause.EXPIRED)
        yield NamedGap((begin, last), Cause.UNREAD)


def _half(gap: Range) -> Range:
    """As ``gaps`` wants it: the end is behind the last."""
    return gap[0], gap[1] + 1
