"""Names at the source: what a door's multistatus says is in a directory."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import SplitResult, unquote_to_bytes, urljoin, urlsplit

from dcmirror.core.checksums import ADLER32_START, parse_digest
from dcmirror.core.http_values import pnfsid_of_etag, read_date
from dcmirror.core.multistatus import DAV, RESOURCE_TYPE, Response

_LENGTH, _MODIFIED = f"{DAV} getcontentlength", f"{DAV} getlastmodified"
_ETAG = f"{DAV} getetag"
_DCACHE_CHECKSUMS = "http://www.dcache.org/2013/webdav Checksums"
_STORM_CHECKSUM = "http://storm.italiangrid.org/2014/webdav Checksum"
_CHECKSUMS = (_DCACHE_CHECKSUMS, _STORM_CHECKSUM)

#: What is asked of each entry; all properties would cost StoRM twice the time.
PROPERTIES = (RESOURCE_TYPE, _LENGTH, _MODIFIED, _ETAG, *_CHECKSUMS)

_SLASHES = re.compile(rb"/{2,}")
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Entry:
    """One name at the source.

    ``path`` is the namespace path without a trailing slash; bytes that are no UTF-8
    are lone surrogates in it.  ``size`` None: its upload is not finished, or the server
    does not say.  ``modified`` is in seconds since the epoch.  ``trouble`` says why the
    entry cannot be used, "" if it can.
    """

    path: str
    is_directory: bool
    size: int | None
    modified: float | None
    pnfsid: str | None
    adler32: int | None
    trouble: str = ""


class Listing:
    """Turns responses about ``directory``, asked for as ``url``, into entries.

    ``has_itself`` tells whether the directory's own response came, which RFC 4918
    demands: without it the answer is about something else.
    """

    def __init__(self, directory: str, url: str) -> None:
        self.has_itself = False
        self.is_directory = False
        self._directory = directory.rstrip("/")
        self._url = url
        self._parts = urlsplit(url)
        self._base = f"{self._parts.path.rstrip('/')}/"
        self._below = _decoded(self._base)

    def entry_of(self, response: Response) -> Entry | None:
        """The entry; None for the directory itself and for what is not in it."""
        name = self._name_of(response.href)
        if name is None:
            return None
        if name == b"":
            self.has_itself = True
            self.is_directory = response.is_collection is True
            return None
        if response.status in (404, 410):  # it vanished while it was listed
            return None
        text = name.decode("utf-8", "surrogateescape")
        path = f"{self._directory}/{text}"
        return entry_at(path, response, trouble=_trouble_of(text))

    def _name_of(self, href: str) -> bytes | None:
        """The name below the directory, "" for itself, None if it is elsewhere."""
        if href.startswith(self._base):
            path = self._base + href[len(self._base) :].partition("?")[0]
        else:
            parts = urlsplit(urljoin(self._url, href))
            if not _same_place(parts, self._parts):
                return None
            path = parts.path
        path = path.rstrip("/")
        head, _, last = path.rpartition("/")
        if _decoded(f"{path}/") == self._below:
            return b""
        if _decoded(f"{head}/") != self._below or last in ("", ".", ".."):
            return None
        return unquote_to_bytes(last)


def _same_place(one: SplitResult, other: SplitResult) -> bool:
    return (one.scheme, one.netloc.lower()) == (other.scheme, other.netloc.lower())


def _decoded(path: str) -> bytes:
    return _SLASHES.sub(b"/", unquote_to_bytes(path))


def _trouble_of(name: str) -> str:
    if _SURROGATE.search(name):
        return "the name is not Unicode text"
    if "\N{REPLACEMENT CHARACTER}" in name:
        return "the door cannot show the name as Unicode text"
    if "/" in name or "\0" in name or name in (".", ".."):
        return "a name that no file can have"
    return ""


def entry_at(path: str, response: Response, *, trouble: str = "") -> Entry:
    """The entry of a response that is known to be about ``path``."""
    values = response.properties
    size = _size_of(values.get(_LENGTH, ""))
    is_directory = response.is_collection
    if is_directory is None:  # dCache says of files that they have no type
        is_directory = response.href.endswith("/")
    if not response.has_properties:
        said = f" but status {response.status}" if response.status else ""
        trouble = trouble or f"the door says nothing of it{said}"
    return Entry(
        path=path,
        is_directory=is_directory,
        size=None if is_directory else size,
        modified=read_date(values.get(_MODIFIED, "")),
        pnfsid=pnfsid_of_etag(values.get(_ETAG, "")),
        adler32=None if is_directory else _adler32_of(response, size),
        trouble=trouble,
    )


def has_etag(response: Response) -> bool:
    """Whether the door showed an ETag, a pnfsid in it or not."""
    return bool(response.properties.get(_ETAG))


def _size_of(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() else None


def _adler32_of(response: Response, size: int | None) -> int | None:
    """An empty file needs no digest, and XRootD hangs when asked for one."""
    if size == 0:
        return ADLER32_START
    for name in _CHECKSUMS:
        value = response.properties.get(name, "")
        found = parse_digest(value)
        if found is not None:
            return found
    return None
