"""A WebDAV multistatus (RFC 4918) as it streams in: one response after the other.

Expat, and not a tree: 100,000 entries must not be in memory at once.  Document types
and entities are refused, and what is cut off is an error, never a shorter answer.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import lru_cache
from xml.parsers import expat

DAV = "DAV:"
RESOURCE_TYPE = f"{DAV} resourcetype"
COLLECTION = f"{DAV} collection"
_MULTISTATUS = f"{DAV} multistatus"
_RESPONSE, _HREF, _PROPSTAT = f"{DAV} response", f"{DAV} href", f"{DAV} propstat"
_PROP, _STATUS = f"{DAV} prop", f"{DAV} status"

#: What expat gathers before one response is whole; longer ones are no honest answer.
_MOST_BYTES_OF_RESPONSE = 1 << 20
_DEEPEST = 64
# XRootD copies names into its answer as they are; XML allows none of these.
_ILLEGAL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
_STATUS_LINE = re.compile(r"\s*HTTP/\S+\s+([0-9]{3})(?:\s|\Z)")


def propfind_body(wanted: Collection[str]) -> bytes:
    """What asks for these properties, each by "namespace name"."""
    items = []
    for name in wanted:
        namespace, _, local = name.rpartition(" ")
        items.append(f'<{local} xmlns="{namespace}"/>')
    head = '<?xml version="1.0" encoding="utf-8"?><propfind xmlns="DAV:"><prop>'
    return f"{head}{''.join(items)}</prop></propfind>".encode()


class MultistatusError(ValueError):
    """The answer is not a whole multistatus; the text says why."""


@dataclass(slots=True)
class Response:
    """What the server says of one resource.

    ``properties`` holds the text of those that it has (status 200), by "namespace name"
    with a blank between; ``is_collection`` None: it does not say.  ``status`` is that
    of the resource as a whole, where it has no properties at all.
    """

    href: str = ""
    status: int | None = None
    has_properties: bool = False
    is_collection: bool | None = None
    properties: dict[str, str] = field(default_factory=dict)


class MultistatusReader:
    """Feed it pieces of the body; ``close`` it at the end.

    Both raise MultistatusError.  ``wanted`` are the properties to keep.
    """

    # What an element means is told by its depth: a multistatus (1) of responses (2),
    # each with href, status and propstats (3), those with prop and status (4), and
    # the properties (5).  The handlers run a million times; there is no stack.

    def __init__(self, wanted: Collection[str]) -> None:
        self._wanted = frozenset(wanted)
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._depth = 0
        self._text = ""
        self._ready: list[Response] = []
        self._response = Response()
        self._is_prop = self._has_collection = False
        self._found: dict[str, str] = {}
        self._collection: bool | None = None
        self._status: int | None = None
        self._fed = 0
        self._parser = self._make_parser()

    def _make_parser(self) -> expat.XMLParserType:
        parser = expat.ParserCreate("utf-8", " ")
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        parser.StartDoctypeDeclHandler = _refuse_doctype
        parser.EntityDeclHandler = _refuse_doctype
        parser.ExternalEntityRefHandler = _refuse_doctype
        return parser

    def feed(self, data: bytes) -> list[Response]:
        """The responses that are whole now."""
        self._parse(self._decode(data), is_last=False)
        self._fed = 0 if self._ready else self._fed + len(data)
        if self._fed > _MOST_BYTES_OF_RESPONSE:
            raise MultistatusError("a single entry that does not end")
        ready, self._ready = self._ready, []
        return ready

    def close(self) -> None:
        """The body has ended: is that all of it?"""
        self._parse(self._decode(b"", True), is_last=True)

    def _parse(self, text: str, *, is_last: bool) -> None:
        try:
            self._parser.Parse(_ILLEGAL.sub("\N{REPLACEMENT CHARACTER}", text), is_last)
        except expat.ExpatError as exc:
            what = "cut off" if is_last else "not XML"
            raise MultistatusError(f"the answer is {what}: {exc}") from exc

    def _start(self, name: str, _: dict[str, str]) -> None:
        self._text = ""
        self._depth = depth = self._depth + 1
        if depth == 5:
            return
        if depth == 4:
            self._is_prop, self._has_collection = name == _PROP, False
        elif depth == 3:
            self._found, self._collection, self._status = {}, None, None
        elif depth == 2:
            self._response = Response()
        elif depth == 6:
            if name == COLLECTION:
                self._has_collection = True
        elif depth == 1:
            if name != _MULTISTATUS:
                raise MultistatusError(f"the answer is no multistatus: {name[-40:]}")
        elif depth > _DEEPEST:
            raise MultistatusError("the answer is nested without end")

    def _end(self, name: str) -> None:
        depth, text = self._depth, self._text
        self._depth, self._text = depth - 1, ""
        if depth == 5:
            if self._is_prop:
                self._end_property(name, text)
        elif depth == 4:
            if name == _STATUS:
                self._status = _status_of(text)
        elif depth == 3:
            self._end_part(name, text)
        elif depth == 2 and name == _RESPONSE:
            self._ready.append(self._response)

    def _end_property(self, name: str, text: str) -> None:
        if name == RESOURCE_TYPE:
            self._collection = self._has_collection
        elif name in self._wanted:
            self._found[name] = _without_layout(text)
        self._has_collection = False

    def _end_part(self, name: str, text: str) -> None:
        response = self._response
        if name == _HREF:
            response.href = response.href or _without_layout(text)
        elif name == _STATUS:
            response.status = _status_of(text)
        elif name == _PROPSTAT and self._status == 200:
            response.has_properties = True
            response.properties.update(self._found)
            if self._collection is not None:
                response.is_collection = self._collection

    def _characters(self, text: str) -> None:
        self._text += text


def _without_layout(text: str) -> str:
    """Indentation goes; the blank at the end of a name that XRootD shows stays."""
    return text.strip() if "\n" in text else text


@lru_cache(maxsize=64)
def _status_of(line: str) -> int | None:
    found = _STATUS_LINE.match(line)
    return int(found[1]) if found else None


def _refuse_doctype(*_: object) -> int:
    raise MultistatusError("the answer has a document type or entities of its own")
