"""The fake door's PROPFIND, in dCache's own spelling of XML."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from email.utils import formatdate
from xml.sax.saxutils import escape

from dcmirror.testing.fake_http import Exchange
from dcmirror.testing.fake_namespace import FileVersion
from dcmirror.testing.fake_site import SERVER, Site

_DAV = "DAV:"
_DCACHE = "http://www.dcache.org/2013/webdav"
_SRM = "http://srm.lbl.gov/StorageResourceManager"
_PREFIXES = {_DAV: "d", _DCACHE: "ns1", _SRM: "ns2"}
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


def answer_propfind(exchange: Exchange, site: Site, path: str) -> None:
    """Answer 207 for depth 0 and 1; the checksums only when they are named."""
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
        paths += site.namespace.children(path)
    entries = "".join(_response(site, entry, wanted) for entry in paths)
    names = "".join(f' xmlns:{short}="{long}"' for long, short in _PREFIXES.items())
    text = (
        '<?xml version="1.0" encoding="utf-8" ?>\n'
        f"<d:multistatus{names}>{entries}</d:multistatus>\n"
    )
    headers = {"Server": SERVER, "Content-Type": "application/xml; charset=utf-8"}
    exchange.reply(207, headers, text.encode("utf-8", "replace"))


def _wanted(body: bytes) -> tuple[str, ...]:
    if not body.strip():
        return _ALL
    listed = ET.fromstring(body).find(f"{{{_DAV}}}prop")
    return _ALL if listed is None else tuple(item.tag for item in listed)


def _response(site: Site, path: str, wanted: tuple[str, ...]) -> str:
    version = site.namespace.get(path)
    known = _directory_values(path) if version is None else _file_values(path, version)
    found = "".join(
        f"<{_short(tag)}>{known[tag]}</{_short(tag)}>" for tag in wanted if tag in known
    )
    missing = "".join(f"<{_short(tag)}/>" for tag in wanted if tag not in known)
    href = site.url_path_of(path)
    if version is None and not href.endswith("/"):
        href += "/"
    return (
        f"<d:response><d:href>{escape(href)}</d:href>"
        f"{_propstat(found, '200 OK')}{_propstat(missing, '404 Not Found')}"
        "</d:response>"
    )


def _propstat(inner: str, status: str) -> str:
    if not inner:
        return ""
    return (
        f"<d:propstat><d:prop>{inner}</d:prop>"
        f"<d:status>HTTP/1.1 {status}</d:status></d:propstat>"
    )


def _file_values(path: str, version: FileVersion) -> dict[str, str]:
    # resourcetype is not among them: dCache answers 404 for it on files
    values = {
        "displayname": _name(path),
        "getetag": escape(version.etag),
        "getlastmodified": formatdate(version.mtime, usegmt=True),
        "creationdate": formatdate(version.mtime, usegmt=True),
    }
    if version.complete:
        values["getcontentlength"] = str(version.size)
    tags = {f"{{{_DAV}}}{name}": value for name, value in values.items()}
    if version.complete and version.adler32 is not None:
        tags[f"{{{_DCACHE}}}Checksums"] = f"adler32={version.adler32:08x}"
    tags[f"{{{_SRM}}}FileLocality"] = "ONLINE" if version.complete else "NONE"
    return tags


def _directory_values(path: str) -> dict[str, str]:
    values = {"displayname": _name(path), "resourcetype": "<d:collection/>"}
    return {f"{{{_DAV}}}{name}": value for name, value in values.items()}


def _name(path: str) -> str:
    name = path.rpartition("/")[2]
    # what XML cannot hold at all comes out as a replacement character
    return escape("".join(c if c >= " " else "\N{REPLACEMENT CHARACTER}" for c in name))


def _short(tag: str) -> str:
    namespace, _, name = tag.removeprefix("{").rpartition("}")
    prefix = _PREFIXES.get(namespace)
    return f"{prefix}:{name}" if prefix else f'{name} xmlns="{escape(namespace)}"'
