"""The fake dCache's pools: one mover, one file, one answer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import quote

from dcmirror.testing.fake_faults import Fault, Kind, spoil_digest
from dcmirror.testing.fake_http import Exchange
from dcmirror.testing.fake_movers import Mover
from dcmirror.testing.fake_namespace import Content, FileVersion, pieces
from dcmirror.testing.fake_site import SERVER, Site, split_target

_SPOILS_BODY = frozenset(
    {Kind.FLIP, Kind.TRICKLE, Kind.SHORT_BODY, Kind.RESET_BODY, Kind.STALL_BODY}
)
_RANGE = re.compile(r"bytes=(\d*)-(\d*)$")


class Pool:
    """Answers for one pool's port; knows the door only by the redirect's reference."""

    def __init__(self, site: Site, name: str) -> None:
        self._site = site
        self.name = name

    def handle(self, exchange: Exchange) -> None:
        url_path, query = split_target(exchange.head.target)
        try:
            path = self._site.path_of(url_path)
        except ValueError:
            exchange.reply(400)
            return
        seen = self._site.log.begin(self.name, exchange, path, None)
        fault = self._site.faults.take("pool", exchange.head.method, path)
        seen.fault = fault.kind if fault else None
        try:
            self._answer(exchange, path, query, fault)
        finally:
            self._site.log.end(seen, exchange)

    def _answer(
        self,
        exchange: Exchange,
        path: str,
        query: dict[str, str],
        fault: Fault | None,
    ) -> None:
        mover = self._site.movers.find(query.get("dcache-http-uuid", ""))
        if mover is None or mover.path != path:
            exchange.reply(400)
            return
        if not self._site.movers.use(mover):
            self._bounce(exchange, query)
            return
        try:
            if fault is not None and fault.kind is Kind.BOUNCE:
                self._bounce(exchange, query)
            elif fault is not None and fault.kind is Kind.STATUS:
                exchange.reply(fault.status)
            else:
                self._deliver(exchange, mover, fault)
        finally:
            self._site.movers.end(mover)

    def _bounce(self, exchange: Exchange, query: dict[str, str]) -> None:
        """``Request is no longer valid``: ask the door again."""
        door = query.get("dcache-http-ref", "")
        path, _ = split_target(exchange.head.target)
        exchange.reply(307, {"Location": f"{door}{path}"} if door else {})

    def _deliver(self, exchange: Exchange, mover: Mover, fault: Fault | None) -> None:
        """Send the file and tell how it went, as a mover does."""
        site, before = self._site, exchange.sent
        port = exchange.connection.peer[1]
        if fault is not None and fault.kind is Kind.STALL:
            exchange.pause(fault.seconds)
        try:
            send_file(exchange, mover.version, self._headers(mover, exchange), fault)
        except OSError:
            text = "java.io.IOException: Connection reset by peer"
            moved = exchange.sent - before
            site.billing.moved(mover.movement(moved, port, 666, text))
            raise
        site.billing.moved(mover.movement(exchange.sent - before, port, 0, ""))

    def _headers(self, mover: Mover, exchange: Exchange) -> dict[str, str]:
        path = mover.path.removeprefix(self._site.root)
        name = path.rpartition("/")[2]
        door = split_target(exchange.head.target)[1].get("dcache-http-ref", "")
        return {
            "Server": SERVER,
            "Accept-Ranges": "bytes",
            "Content-Disposition": f'attachment;filename="{quote(name)}"',
            # really so: the name's raw characters, in whatever bytes come out
            "Content-Location": f"{door}{path}".replace("\r", "").replace("\n", ""),
        }


def send_file(
    exchange: Exchange,
    version: FileVersion,
    headers: dict[str, str],
    fault: Fault | None,
) -> None:
    """Answer 200 or 206 with the bytes, or 416; spoiled as ``fault`` says."""
    headers = headers | _digest_header(exchange, version, fault)
    wanted = parse_range(exchange.header("range"), version.size)
    if wanted is None:
        headers["Content-Range"] = f"bytes */{version.size}"
        exchange.reply(416, headers)
        return
    start, end = wanted
    if fault is not None and fault.kind is Kind.CHUNKED:
        exchange.send_chunks(200, headers, map(bytes, pieces(version.content, 0, end)))
        return
    headers["Content-Length"] = str(end - start)
    status = 200
    if (start, end) != (0, version.size):
        status = 206
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{version.size}"
    if exchange.head.method == "HEAD":
        exchange.start(status, headers)
        return
    if fault is None and end - start <= 65536:
        # a small file leaves in one segment
        exchange.start(status, headers, b"".join(pieces(version.content, start, end)))
        return
    exchange.start(status, headers)
    for piece in _spoiled(exchange, version.content, start, end, fault):
        exchange.send(piece)


def parse_range(text: str, size: int) -> tuple[int, int] | None:
    """First byte and end of a single range; None: not satisfiable; odd ones: all."""
    match = _RANGE.match(text.replace(" ", ""))
    if match is None or match.group() == "bytes=-":
        return 0, size
    first, last = match.groups()
    if not first:
        length = min(int(last), size)
        return (size - length, size) if length else None
    start = int(first)
    end = min(int(last) + 1, size) if last else size
    return (start, end) if start < end else None


def _digest_header(
    exchange: Exchange, version: FileVersion, fault: Fault | None
) -> dict[str, str]:
    if "adler32" not in exchange.header("want-digest").lower():
        return {}
    return {"Digest": spoil_digest(fault, version.adler32) or ""}


def _spoiled(
    exchange: Exchange, content: Content, start: int, end: int, fault: Fault | None
) -> Iterator[bytes | memoryview]:
    kind = fault.kind if fault else None
    if fault is None or kind not in _SPOILS_BODY:
        yield from pieces(content, start, end)
        return
    middle = min(start + fault.after, end)
    if kind is Kind.FLIP:
        yield from _flipped(pieces(content, start, end), fault.after, end - start)
    elif kind is Kind.TRICKLE:
        for piece in _cut(pieces(content, start, end), fault.count):
            yield piece
            exchange.pause(1.0)
    elif kind is Kind.SHORT_BODY:
        yield from pieces(content, start, end - fault.count)
        exchange.hang_up()
    elif kind is Kind.RESET_BODY:
        yield from pieces(content, start, middle)
        exchange.reset()
    else:
        yield from pieces(content, start, middle)
        exchange.pause(fault.seconds)
        yield from pieces(content, middle, end)


def _flipped(
    body: Iterator[memoryview], position: int, length: int
) -> Iterator[bytes | memoryview]:
    position = min(position, length - 1)
    for piece in body:
        if 0 <= position < len(piece):
            spoiled = bytearray(piece)
            spoiled[position] ^= 0x01
            yield bytes(spoiled)
        else:
            yield piece
        position -= len(piece)


def _cut(body: Iterator[memoryview], size: int) -> Iterator[memoryview]:
    for piece in body:
        for start in range(0, len(piece), size):
            yield piece[start : start + size]
