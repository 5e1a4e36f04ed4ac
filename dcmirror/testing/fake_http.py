"""One HTTP/1.1 connection at a server that can be told to break the rules."""

from __future__ import annotations

import contextlib
import itertools
import select
import socket
import ssl
import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Protocol

_HEAD_LIMIT = 65536
_IDLE_SECONDS = 300.0
_connection_ids = itertools.count(1)


class ClientGone(OSError):
    """The client left, or we stop, in the middle of an exchange."""


@dataclass(frozen=True, slots=True)
class Head:
    """A request without its body; header names are lower case."""

    method: str
    target: str
    headers: Mapping[str, str]

    @property
    def keep_alive(self) -> bool:
        return "close" not in self.headers.get("connection", "").lower()

    @property
    def content_length(self) -> int:
        return int(self.headers.get("content-length", "0"))


class Exchange:
    """One request and its answer, on one connection."""

    def __init__(self, connection: Connection, head: Head) -> None:
        self.connection = connection
        self.head = head
        self.status = 0
        self.sent = 0
        # called when all is done and the answer would leave
        self.before_answer: Callable[[], None] | None = None
        self.close_after = not head.keep_alive
        self._body_left = head.content_length
        self._chunked = "chunked" in head.headers.get("transfer-encoding", "")

    def header(self, name: str, default: str = "") -> str:
        return self.head.headers.get(name, default)

    def body(self) -> Iterable[bytes]:
        """The request's body, piece by piece; ClientGone when it is cut."""
        if "100-continue" in self.header("expect") and (
            self._chunked or self._body_left
        ):
            self.connection.socket.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if self._chunked:
            yield from self.connection.read_chunks()
            self._chunked = False
        while self._body_left:
            piece = self.connection.read(min(self._body_left, 1 << 20))
            self._body_left -= len(piece)
            yield piece

    def reply(
        self,
        status: int,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> None:
        """Answer at once; HEAD gets no body whatever is given."""
        for _ in self.body():
            pass
        content = b"" if self.head.method == "HEAD" else body
        fields = {"Content-Length": str(len(content))} | dict(headers or {})
        self.start(status, fields, content)

    def start(
        self, status: int, headers: Mapping[str, str], first: bytes = b""
    ) -> None:
        """Send the answer's head and perhaps the beginning of its body."""
        if self.before_answer is not None:
            self.before_answer()
        self.status = status
        lines = [f"HTTP/1.1 {status} {_reason(status)}"]
        lines += [f"{name}: {value}" for name, value in headers.items() if value]
        if self.close_after:
            lines.append("Connection: close")
        # dCache puts raw bytes of names into headers; latin-1 lets any byte through
        text = "\r\n".join(lines) + "\r\n\r\n"
        self.send(text.encode("latin-1", "replace") + first, count=len(first))

    def send(self, data: bytes | memoryview, count: int | None = None) -> None:
        self.connection.socket.sendall(data)
        self.sent += len(data) if count is None else count

    def send_chunks(
        self, status: int, headers: Mapping[str, str], body: Iterable[bytes]
    ) -> None:
        """Answer with a body whose length is not known when it begins."""
        for _ in self.body():
            pass
        self.start(status, {"Transfer-Encoding": "chunked"} | dict(headers))
        for piece in body:
            self.send(b"%x\r\n%s\r\n" % (len(piece), piece), count=len(piece))
        self.send(b"0\r\n\r\n", count=0)

    def pause(self, seconds: float) -> None:
        """Let time pass; ends early, with ClientGone, when the client leaves."""
        self.connection.pause(seconds)

    def hang_up(self) -> None:
        """Close without another word."""
        raise ClientGone("hung up on purpose")

    def reset(self) -> None:
        """Close with a TCP reset."""
        on_zero = struct.pack("ii", 1, 0)
        self.connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, on_zero)
        raise ClientGone("reset on purpose")


class Listener(Protocol):
    """What a connection needs of the server that accepted it."""

    @property
    def context(self) -> ssl.SSLContext | None: ...

    @property
    def stopping(self) -> socket.socket: ...

    def handle(self, exchange: Exchange) -> None: ...


class Connection:
    """One accepted connection, driven by its own thread."""

    def __init__(self, server: Listener, raw: socket.socket) -> None:
        self.server = server
        self.id = next(_connection_ids)
        self.socket: socket.socket = raw
        self.peer: tuple[str, int] = raw.getpeername()
        self.certificate: Mapping[str, Any] | None = None
        self._buffer = b""

    def serve(self) -> None:
        try:
            self._secure()
            while self._serve_one():
                pass
        except OSError:
            pass  # clients come and go, on purpose too; the request log tells
        finally:
            self.socket.close()

    def close(self) -> None:
        """End it from another thread."""
        # SSLSocket's own shutdown would drop the TLS state under the serving thread
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self.socket, socket.SHUT_RDWR)

    def read(self, limit: int) -> bytes:
        if not self._buffer:
            self._buffer = self.socket.recv(65536)
            if not self._buffer:
                raise ClientGone("end of stream")
        piece, self._buffer = self._buffer[:limit], self._buffer[limit:]
        return piece

    def read_chunks(self) -> Iterable[bytes]:
        while size := int(self._read_until(b"\r\n").split(b";")[0], 16):
            while size:
                piece = self.read(size)
                size -= len(piece)
                yield piece
            self._read_until(b"\r\n")
        while self._read_until(b"\r\n"):
            pass

    def pause(self, seconds: float) -> None:
        wait = min(seconds, 86400.0)
        ready = readable((self.socket, self.server.stopping), wait)
        # nothing may be sent before we have answered: readable means leaving
        if ready:
            raise ClientGone("left while waiting")

    def _secure(self) -> None:
        self.socket.settimeout(_IDLE_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.server.context is not None:
            secure = self.server.context.wrap_socket(
                self.socket, server_side=True, do_handshake_on_connect=False
            )
            self.socket = secure
            secure.do_handshake()
            self.certificate = secure.getpeercert() or None

    def _serve_one(self) -> bool:
        try:
            head = _parse_head(self._read_until(b"\r\n\r\n"))
        except ValueError:
            self.socket.sendall(
                b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"
            )
            return False
        if head is None:
            return False
        exchange = Exchange(self, head)
        self.server.handle(exchange)
        for _ in exchange.body():
            pass
        return not exchange.close_after

    def _read_until(self, mark: bytes) -> bytes:
        while mark not in self._buffer:
            if len(self._buffer) > _HEAD_LIMIT:
                raise ClientGone("head too long")
            more = self.socket.recv(65536)
            if not more:
                raise ClientGone("end of stream")
            self._buffer += more
        found, _, self._buffer = self._buffer.partition(mark)
        return found


def readable(
    sockets: tuple[socket.socket, ...], seconds: float | None = None
) -> list[socket.socket]:
    poll = select.poll()  # select() ends at descriptor 1024
    for item in sockets:
        poll.register(item, select.POLLIN)
    ready = poll.poll(None if seconds is None else seconds * 1000)
    descriptors = {descriptor for descriptor, _ in ready}
    return [item for item in sockets if item.fileno() in descriptors]


def _parse_head(raw: bytes) -> Head | None:
    request_line, *lines = raw.decode("latin-1").split("\r\n")
    if not request_line:
        return None
    method, target, _ = request_line.split(" ")
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    return Head(method, target, headers)


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
