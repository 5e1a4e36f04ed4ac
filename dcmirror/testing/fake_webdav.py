"""The fake door's PROPFIND, in dCache's own spelling of XML."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from email.utils import formatdate
from functools import lru_cache
from typing import NamedTuple
from xml.sax.saxutils import escape

from dcmirror.testing.fake_faults import Fault, Kind
from dcmirror.testing.fake_http import Exchange
from dcmirror.testing.fake_listing import remaining, send_listing
from dcmirror.testing.fake_namespace import FileVersion
from dcmirror.testing.fake_site import Site

_DAV = "DAV:"
_DCACHE = "http://www.dcache.org/2013/webdav"
_SRM = "http://srm.lbl.gov/StorageResourceManager"
_PREFIXES = {_DAV: "d", _DCACHE: "ns1", _SRM: "ns2"}
_NAMES = "".join(f' xmlns:{short}="{long}"' for long, short in _PREFIXES.items())
_HEAD = f'<?xml version="1.0" encoding="utf-8" ?>\n<d:multistatus{_NAMES}>'
_TAIL = "</d:multistatus>\n"
_ALL = tuple(
    f"{{{_DAV}}}{name}"
    for name in (
        "creationdate",
        "displayname",
        "getcontentlength",
        "getetag",
        "getlastmodified",
        "resourcetype",
    )
)


def answer_propfind(
    exchange: Exchange, site: Site, path: str, fault: Fault | None = None
) -> None:
    """Answer 207 for depth 0 and 1; checksums and quotas only when they are named."""
    version, is_directory = site.namespace.get(path), site.namespace.is_directory(path)
    if version is None and not is_directory:
        exchange.reply(404, body=b"Path not found\n")
        return
    depth = exchange.header("depth", "1")
    if depth not in ("0", "1"):
        exchange.reply(403)
        return
    try:
        wanted = _wanted(b"".join(exchange.body()))
    except ET.ParseError:
        exchange.reply(400)
        return
    paths = [path]
    if is_directory and depth == "1":
        paths = remaining(paths + site.namespace.children(path), fault)
    entries = _responses(site, paths, wanted)
    if fault is not None and fault.kind is Kind.LISTING_FOREIGN:
        entries = _with_foreign(entries)
    send_listing(exchange, _HEAD, entries, _TAIL, fault)


def _wanted(body: bytes) -> tuple[str, ...]:
    if not body.strip():
        return _ALL
    listed = ET.fromstring(body).find(f"{{{_DAV}}}prop")
    return _ALL if listed is None else tuple(item.tag for item in listed)


class _Property(NamedTuple):
    """How one property that was asked for is told of a file."""

    value: Callable[[str, FileVersion], str | None] | None
    opening: str
    closing: str
    empty: str


def _responses(site: Site, paths: list[str], wanted: tuple[str, ...]) -> Iterator[str]:
    """One text for each path; a hundred thousand in about half a second."""
    properties = [_property(tag) for tag in wanted]
    for path in paths:
        version = site.namespace.get(path)
        if version is None:
            yield _directory_response(site, path, wanted)
        else:
            yield _file_response(site.url_path_of(path), path, version, properties)


def _file_response(
    href: str, path: str, version: FileVersion, properties: list[_Property]
) -> str:
    found = missing = ""
    for value, opening, closing, empty in properties:
        text = None if value is None else value(path, version)
        if text is None:
            missing += empty
        else:
            found += f"{opening}{text}{closing}"
    return _response(href, found, missing)


def _directory_response(site: Site, path: str, wanted: tuple[str, ...]) -> str:
    known = _directory_values(site, path)
    found = "".join(
        f"<{_short(tag)}>{known[tag]}</{_short(tag)}>" for tag in wanted if tag in known
    )
    missing = "".join(f"<{_short(tag)}/>" for tag in wanted if tag not in known)
    return _response(site.url_path_of(path).rstrip("/") + "/", found, missing)


def _response(href: str, found: str, missing: str) -> str:
    if "&" in href:
        href = escape(href)
    return (
        f"<d:response><d:href>{href}</d:href>"
        f"{_propstat(found, '200 OK')}{_propstat(missing, '404 Not Found')}"
        "</d:response>"
    )


def _with_foreign(entries: Iterator[str]) -> Iterator[str]:
    yield from entries
    found = "<d:displayname>passwd</d:displayname>"
    yield _response("/somewhere/../../etc/passwd", found, "")


def _propstat(inner: str, status: str) -> str:
    if not inner:
        return ""
    return (
        f"<d:propstat><d:prop>{inner}</d:prop>"
        f"<d:status>HTTP/1.1 {status}</d:status></d:propstat>"
    )


@lru_cache(maxsize=1024)
def _date(seconds: int) -> str:
    return formatdate(seconds, usegmt=True)


# resourcetype is not among them: dCache answers 404 for it on files
_FILE_VALUES: dict[str, Callable[[str, FileVersion], str | None]] = {
    f"{{{_DAV}}}displayname": lambda path, _: _name(path),
    f"{{{_DAV}}}getetag": lambda _, version: version.etag,
    f"{{{_DAV}}}getlastmodified": lambda _, version: _date(int(version.mtime)),
    f"{{{_DAV}}}creationdate": lambda _, version: _date(int(version.mtime)),
    f"{{{_DAV}}}getcontentlength": lambda _, version: (
        str(version.size) if version.complete else None
    ),
    f"{{{_DCACHE}}}Checksums": lambda _, version: (
        f"adler32={version.adler32:08x}"
        if version.complete and version.adler32 is not None
        else None
    ),
    f"{{{_SRM}}}FileLocality": lambda _, version: (
        "ONLINE" if version.complete else "NONE"
    ),
}


def _property(tag: str) -> _Property:
    name = _short(tag)
    return _Property(_FILE_VALUES.get(tag), f"<{name}>", f"</{name}>", f"<{name}/>")


def _directory_values(site: Site, path: str) -> dict[str, str]:
    values = {"displayname": _name(path), "resourcetype": "<d:collection/>"}
    quota = site.quota_of(path)
    if quota is not None:
        values["quota-available-bytes"] = str(quota.available)
        values["quota-used-bytes"] = str(quota.used)
    return {f"{{{_DAV}}}{name}": value for name, value in values.items()}


def _name(path: str) -> str:
    name = path.rpartition("/")[2]
    # what XML cannot hold at all comes out as a replacement character
    return escape("".join(c if c >= " " else "\N{REPLACEMENT CHARACTER}" for c in name))


def _short(tag: str) -> str:
    namespace, _, name = tag.removeprefix("{").rpartition("}")
    prefix = _PREFIXES.get(namespace)
    return f"{prefix}:{name}" if prefix else f'{name} xmlns="{escape(namespace)}"'
