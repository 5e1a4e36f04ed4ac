"""Names at the source: what a door's multistatus says is in a directory."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes, urljoin, urlsplit

from dcmirror.core.checksums import ADLER32_START, parse_digest
from dcmirror.core.http_values import GONE, pnfsid_of_etag, read_date, size_of
from dcmirror.core.multistatus import DAV, RESOURCE_TYPE, Response
from dcmirror.core.policy import place_of

_LENGTH, _MODIFIED = f"{DAV} getcontentlength", f"{DAV} getlastmodified"
_ETAG = f"{DAV} getetag"
_DCACHE_CHECKSUMS = "http://www.dcache.org/2013/webdav Checksums"
_STORM_CHECKSUM = "http://storm.italiangrid.org/2014/webdav Checksum"
_CHECKSUMS = (_DCACHE_CHECKSUMS, _STORM_CHECKSUM)

#: What is asked of each entry; all properties would cost StoRM twice the time.
PROPERTIES = (RESOURCE_TYPE, _LENGTH, _MODIFIED, _ETAG, *_CHECKSUMS)

_SLASHES = re.compile(rb"/{2,}")
# What no server leaves in an href that it encodes at all.
_UNENCODED = re.compile(r'[ "<>#?]|%(?![0-9A-Fa-f]{2})')
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
    demands: without it the answer is about something else.  ``stranger`` is the first
    href that is neither the directory nor in it.  ``is_raw``: the server is known not
    to encode names.
    """

    def __init__(self, directory: str, url: str, *, is_raw: bool = False) -> None:
        self.stranger = ""
        self.has_itself = False
        self.is_directory = False
        self._directory = directory.rstrip("/")
        self._url = url
        self._place = place_of(url)
        self._below = _decoded(f"{urlsplit(url).path.rstrip('/')}/")
        self._spelling = ""  # how the server writes the directory
        self._is_raw = is_raw

    def entry_of(self, response: Response) -> Entry | None:
        """The entry; None for the directory itself and for what is not in it."""
        name = self._name_of(response.href)
        if name is None:
            self.stranger = self.stranger or response.href
            return None
        if name == b"":
            self.has_itself = True
            self.is_directory = response.is_collection is True
            return None
        if response.status in GONE:  # it vanished while it was listed
            return None
        text = name.decode("utf-8", "surrogateescape")
        trouble = _trouble_of(text)
        text = text.replace("/", "%2F")  # which no server will take for one name
        return _entry_at(f"{self._directory}/{text}", response, trouble)

    def _name_of(self, href: str) -> bytes | None:
        """The name below the directory, "" for itself, None if it is elsewhere.

        XRootD does not encode names; from the first that shows it on, none is decoded.
        """
        if not self._is_raw and self._shows_raw(href):
            self._is_raw, self._spelling = True, ""
        path = href if href.startswith("/") else self._path_of_url(href)
        return self._name_below(path.rstrip("/")) if path else None

    def _path_of_url(self, href: str) -> str:
        """The path of a whole URL or of a relative one; "" if it is elsewhere."""
        try:
            url = href if self._is_raw else urljoin(self._url, href)
        except ValueError:
            return ""
        is_ours = href != "" and place_of(url) == self._place
        return f"/{url.split('/', 3)[-1]}" if is_ours else ""

    def _shows_raw(self, href: str) -> bool:
        if _UNENCODED.search(href) is not None:
            return True
        return b"%" in self._below and _encoded(f"{href}/").startswith(self._below)

    def _name_below(self, path: str) -> bytes | None:
        head, _, last = path.rpartition("/")
        if f"{head}/" != self._spelling:
            if self._read(path) == self._below:
                return b""
            if self._read(head) != self._below:
                return None
            self._spelling = f"{head}/"
        if last in (".", ".."):
            return None
        return _encoded(last) if self._is_raw else unquote_to_bytes(last)

    def _read(self, directory: str) -> bytes:
        path = f"{directory}/"
        return _one_slash(_encoded(path)) if self._is_raw else _decoded(path)


def _encoded(path: str) -> bytes:
    return path.encode("utf-8", "surrogateescape")


def _decoded(path: str) -> bytes:
    return _one_slash(unquote_to_bytes(path))


def _one_slash(path: bytes) -> bytes:
    return _SLASHES.sub(b"/", path)


def _trouble_of(name: str) -> str:
    if _SURROGATE.search(name):
        return "the name is not Unicode text"
    if "\N{REPLACEMENT CHARACTER}" in name:
        return "the door cannot show the name as Unicode text"
    if "/" in name or "\0" in name or name in (".", ".."):
        return "a name that no file can have"
    return ""


def _entry_at(path: str, response: Response, trouble: str) -> Entry:
    values = response.properties
    size = size_of(values.get(_LENGTH, ""))
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


def entry_named(path: str, url: str, response: Response) -> Entry | None:
    """The entry of a response to the question for ``path``; None if it names another.

    As the name is known, it does not matter which way the server spells it.
    """
    above, _, _ = path.rpartition("/")
    url_above = f"{url.rstrip('/').rpartition('/')[0]}/"
    for is_raw in (False, True):
        entry = Listing(above, url_above, is_raw=is_raw).entry_of(response)
        if entry is not None and entry.path == path:
            return entry
    return None


def has_etag(response: Response) -> bool:
    """Whether the door showed an ETag, a pnfsid in it or not."""
    return bool(response.properties.get(_ETAG))


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
