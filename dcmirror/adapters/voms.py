"""Reads VOMS attributes out of a proxy certificate's extension.

Only to tell the operator which VO the proxy speaks for; the door judges them itself.
So it is tolerant: what cannot be understood is absent, and nothing is verified.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

EXTENSION = "1.3.6.1.4.1.8005.100.100.5"
_ATTRIBUTE = bytes.fromhex("2b06010401be45646404")  # 1.3.6.1.4.1.8005.100.100.4
_OCTETS, _OID, _GENERALIZED_TIME = 0x04, 0x06, 0x18
_CONSTRUCTED = 0x20
_DEEPEST = 24


@dataclass(frozen=True, slots=True)
class VomsAttributes:
    """What attribute certificates say: FQANs in their order, and the earliest end."""

    fqans: tuple[str, ...] = ()
    not_after: float | None = None

    @property
    def vos(self) -> tuple[str, ...]:
        """The VOs, each once."""
        names = (fqan.split("/")[1] for fqan in self.fqans if fqan.startswith("/"))
        return tuple(dict.fromkeys(names))


def read_attributes(extension: bytes) -> VomsAttributes:
    """The attributes in the value of the proxy's extension."""
    fqans: list[str] = []
    ends: list[float] = []
    for _, nodes in _lists(extension, 0):
        if nodes and nodes[0] == (_OID, _ATTRIBUTE):
            fqans.extend(_fqans(nodes))
        if [tag for tag, _ in nodes] == [_GENERALIZED_TIME, _GENERALIZED_TIME]:
            ends.extend(_moment(nodes[1][1]))
    return VomsAttributes(tuple(dict.fromkeys(fqans)), min(ends, default=None))


_Node = tuple[int, bytes]


def _nodes(data: bytes) -> list[_Node]:
    """The DER elements of ``data``; those before the first broken one, if any."""
    found: list[_Node] = []
    at = 0
    while at + 2 <= len(data):
        tag, length = data[at], data[at + 1]
        at += 2
        if length & 0x80:
            size = length & 0x7F
            length = int.from_bytes(data[at : at + size], "big")
            at += size
        if at + length > len(data):
            break
        found.append((tag, data[at : at + length]))
        at += length
    return found


def _lists(data: bytes, depth: int) -> Iterator[tuple[int, list[_Node]]]:
    """Every list of elements in the tree, from the outside in."""
    nodes = _nodes(data)
    yield depth, nodes
    if depth < _DEEPEST:
        for tag, content in nodes:
            if tag & _CONSTRUCTED:
                yield from _lists(content, depth + 1)


def _fqans(nodes: list[_Node]) -> Iterator[str]:
    for tag, content in nodes:
        if tag == _OCTETS:
            text = content.decode("utf-8", "replace")
            yield "".join(c if c.isprintable() else "?" for c in text)
        elif tag & _CONSTRUCTED:
            yield from _fqans(_nodes(content))


def _moment(content: bytes) -> list[float]:
    try:
        moment = datetime.strptime(content.decode("ascii"), "%Y%m%d%H%M%SZ")
    except ValueError:
        return []
    return [moment.replace(tzinfo=UTC).timestamp()]
