"""How the fake door sends a listing, and how it spoils one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from itertools import chain, islice

from dcmirror.testing.fake_faults import Fault, Kind
from dcmirror.testing.fake_http import Exchange
from dcmirror.testing.fake_site import SERVER

#: Longer listings leave in pieces, without a Content-Length.
_PIECE_ENTRIES = 1000
_HEADERS = {"Server": SERVER, "Content-Type": "application/xml; charset=utf-8"}


def remaining(paths: list[str], fault: Fault | None) -> list[str]:
    """The paths that are told of; the first one, the directory itself, always is."""
    kind = fault.kind if fault else None
    if kind is Kind.LISTING_EMPTY:
        return paths[:1]
    if fault is None or kind is not Kind.LISTING_LACKS:
        return paths
    if not fault.names:
        return paths[: max(1, len(paths) - fault.count)]
    own, *entries = paths
    return [
        own,
        *(
            path
            for path in entries
            if not fnmatchcase(path.rpartition("/")[2], fault.names)
        ),
    ]


def send_listing(
    exchange: Exchange,
    head: str,
    entries: Iterable[str],
    tail: str,
    fault: Fault | None,
) -> None:
    """Answer 207 with ``head``, ``entries`` and ``tail``, or what a fault leaves."""
    pieces = _in_pieces(head, iter(entries), tail)
    first, second = next(pieces), next(pieces, None)
    if fault is not None and fault.kind in _SPOILERS:
        whole = b"".join([first, second or b"", *pieces])
        _send_spoilt(exchange, whole, fault)
    elif second is None:
        exchange.reply(207, _HEADERS, first)
    else:
        exchange.send_chunks(207, _HEADERS, chain((first, second), pieces))


def _in_pieces(head: str, entries: Iterator[str], tail: str) -> Iterator[bytes]:
    text = head + "".join(islice(entries, _PIECE_ENTRIES))
    while piece := "".join(islice(entries, _PIECE_ENTRIES)):
        yield text.encode("utf-8", "replace")
        text = piece
    yield (text + tail).encode("utf-8", "replace")


_SPOILERS = frozenset({Kind.LISTING_CUT, Kind.LISTING_UNCLOSED, Kind.LISTING_GARBAGE})


def _send_spoilt(exchange: Exchange, whole: bytes, fault: Fault) -> None:
    at = fault.after or len(whole) // 2
    if fault.kind is Kind.LISTING_UNCLOSED:
        exchange.reply(207, _HEADERS, whole[:at])
    elif fault.kind is Kind.LISTING_GARBAGE:
        exchange.reply(207, _HEADERS, whole[:at] + b"<&\0 no XML" + whole[at:])
    else:
        for _ in exchange.body():
            pass
        exchange.start(207, {"Content-Length": str(len(whole))} | _HEADERS, whole[:at])
        exchange.hang_up()
