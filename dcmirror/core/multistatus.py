"""A WebDAV multistatus (RFC 4918) as it streams in: one response after the other.

Expat, and not a tree: 100,000 entries must not be in memory at once.  Document types
and entities are refused, and what is cut off is an error, never a shorter answer.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from xml.parsers import expat

DAV = "DAV:"
COLLECTION = f"{DAV} collection"
_RESPONSE, _HREF, _PROPSTAT = f"{DAV} response", f"{DAV} href", f"{DAV} propstat"
_PROP, _STATUS = f"{DAV} prop", f"{DAV} status"

#: What expat gathers before one response is whole; longer ones are no honest answer.
_MOST_BYTES_OF_RESPONSE = 1 << 20
_DEEPEST = 64
# XRootD copies names into its answer as they are; XML allows none of these.
_ILLEGAL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


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

    def __init__(self, wanted: Collection[str]) -> None:
        self._wanted = frozenset(wanted)
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._path: list[str] = []
        self._text: list[str] | None = None
        self._ready: list[Response] = []
        self._response = Response()
        self._found: dict[str, str] = {}
        self._collection: bool | None = None
        self._status: int | None = None
        self._fed = 0
        self._is_multistatus = False
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
        path = self._path
        if not path and name != f"{DAV} multistatus":
            raise MultistatusError(f"the answer is no multistatus but <{name[-40:]}>")
        path.append(name)
        depth = len(path)
        if depth == 2 and name == _RESPONSE:
            self._response = Response()
        elif depth == 3:
            self._begin_part(name)
        elif depth == 4:
            self._text = [] if name == _STATUS else None
        elif depth == 5:
            self._text = [] if path[3] == _PROP else None
        elif depth == 6 and name == COLLECTION:
            self._collection = True
        elif depth > _DEEPEST:
            raise MultistatusError("the answer is nested without end")

    def _begin_part(self, name: str) -> None:
        self._text = [] if name in (_HREF, _STATUS) else None
        if name == _PROPSTAT:
            self._found, self._collection, self._status = {}, None, None

    def _end(self, name: str) -> None:
        path = self._path
        depth = len(path)
        text = _without_layout("".join(self._text or ()))
        if depth == 2 and name == _RESPONSE:
            self._ready.append(self._response)
        elif depth == 3:
            self._end_part(name, text)
        elif depth == 4 and name == _STATUS:
            self._status = _status_of(text)
        elif depth == 5 and path[2] == _PROPSTAT and path[3] == _PROP:
            self._end_property(name, text)
        if depth <= 5:
            self._text = None
        path.pop()

    def _end_part(self, name: str, text: str) -> None:
        if name == _HREF:
            self._response.href = self._response.href or text
        elif name == _STATUS:
            self._response.status = _status_of(text)
        elif name == _PROPSTAT and self._status == 200:
            self._response.has_properties = True
            self._response.properties.update(self._found)
            if self._collection is not None:
                self._response.is_collection = self._collection

    def _end_property(self, name: str, text: str) -> None:
        if name == RESOURCE_TYPE:
            self._collection = bool(self._collection)
        elif name in self._wanted:
            self._found[name] = text

    def _characters(self, text: str) -> None:
        if self._text is not None:
            self._text.append(text)


RESOURCE_TYPE = f"{DAV} resourcetype"


def _without_layout(text: str) -> str:
    """Indentation goes; the blank at the end of a name that XRootD shows stays."""
    return text.strip() if "\n" in text else text


def _status_of(line: str) -> int | None:
    parts = line.split(None, 2)
    digits = parts[1] if len(parts) > 1 else ""
    return int(digits) if digits.isascii() and digits.isdigit() else None


def _refuse_doctype(*_: object) -> int:
    raise MultistatusError("the answer has a document type or entities of its own")
