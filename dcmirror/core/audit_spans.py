"""Which offsets the settled spans cover: each once, under its newest epoch.

Pure, and in one pass over spans in order of their first offset, so that a partition
with a million spans costs no memory.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

from dcmirror.core.ledger import Span

#: A run of offsets, both ends included.
Range = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Piece:
    """Offsets, both ends included, and the span under which they count.

    ``is_alone``: it is the whole span, and no other one covers any of its offsets.
    """

    first: int
    last: int
    span: Span
    is_alone: bool = True


def newest(spans: Iterable[Span]) -> Iterator[Piece]:
    """The pieces that count, by offset.

    Args:
        spans: of one partition, in order of ``first``.
    """
    pending: Piece | None = None
    for piece in _swept(spans):
        if pending is not None and pending.span is piece.span:
            alone = pending.is_alone and piece.is_alone
            pending = Piece(pending.first, piece.last, piece.span, alone)
            continue
        if pending is not None:
            yield _judged(pending)
        pending = piece
    if pending is not None:
        yield _judged(pending)


def _judged(piece: Piece) -> Piece:
    span = piece.span
    is_whole = (piece.first, piece.last) == (span.first, span.last)
    return Piece(piece.first, piece.last, span, piece.is_alone and is_whole)


def _swept(spans: Iterable[Span]) -> Iterator[Piece]:
    # By epoch, newest first; the number keeps spans themselves from being compared.
    active: list[tuple[int, int, Span]] = []
    at = 0
    for number, span in enumerate(chain(spans, [None])):
        while active and (span is None or at < span.first):
            top = active[0][2]
            if top.last < at:
                heapq.heappop(active)
                continue
            end = top.last if span is None else min(top.last, span.first - 1)
            yield Piece(at, end, top, _is_alone(active, at))
            at = end + 1
        if span is not None:
            at = span.first
            heapq.heappush(active, (-span.epoch, number, span))


def _is_alone(active: list[tuple[int, int, Span]], at: int) -> bool:
    return sum(span.last >= at for _, _, span in active) == 1


def joined(ranges: Iterable[Range]) -> Iterator[Range]:
    """Ranges in order of their first offset, those that touch or overlap as one."""
    begun: Range | None = None
    for first, last in ranges:
        if begun is None:
            begun = (first, last)
        elif first <= begun[1] + 1:
            begun = (begun[0], max(begun[1], last))
        else:
            yield begun
            begun = (first, last)
    if begun is not None:
        yield begun


def gaps(covered: Iterable[Range], first: int, until: int) -> Iterator[Range]:
    """What of the offsets from ``first`` to below ``until`` no range covers.

    Args:
        covered: in order of their first offset; they may overlap.
    """
    at = first
    for begin, end in covered:
        if at >= until:
            return
        if begin > at:
            yield (at, min(begin, until) - 1)
        at = max(at, end + 1)
    if at < until:
        yield (at, until - 1)


def common(gap: Range, ranges: Iterable[Range]) -> list[Range]:
    """What of the gap lies in these ranges, which are in order."""
    first, last = gap
    return [
        (max(first, begin), min(last, end))
        for begin, end in ranges
        if begin <= last and end >= first
    ]


def length(ranges: Iterable[Range]) -> int:
    """How many offsets they are."""
    return sum(last - first + 1 for first, last in ranges)


def range_text(gap: Range) -> str:
    """``17`` or ``17-23``."""
    return str(gap[0]) if gap[0] == gap[1] else f"{gap[0]}-{gap[1]}"


def is_consistent(span: Span) -> bool:
    """Whether it counts each of its offsets once."""
    return sum(span.counts.values()) == span.last - span.first + 1


def may_have_files(span: Span) -> int:
    """How many copies or failures its records can have left: all but foreign ones."""
    foreign = ("not-ours", "garbage")
    return sum(n for kind, n in span.counts.items() if kind not in foreign)
