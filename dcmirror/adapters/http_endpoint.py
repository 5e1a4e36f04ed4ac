"""A small HTTP/1.0 server for a page or two, which nobody can make wait.

A thread of ``watch``'s logger process runs it.  One request for each connection, all
connections in one selector; who is slow, or one too many, loses his own connection.
"""

from __future__ import annotations

import re
import selectors
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field

Page = tuple[str, bytes]
Pages = dict[str, Callable[[str], Page]]
"""By path: from the Accept header to content type and body."""

#: Longest life of a connection (seconds): a scrape takes milliseconds.
_LONGEST = 5.0
_MOST_CONNECTIONS = 32
_MOST_HEAD_BYTES = 8192
_BACKLOG = 64

_REQUEST_LINE = re.compile(rb"([A-Z]+) (/[^ ?]*)(?:\?[^ ]*)? HTTP/1\.[01]\r?$", re.M)
_ACCEPT = re.compile(rb"^accept:[ \t]*([ -~]*)", re.I | re.M)
_END_OF_HEAD = re.compile(rb"\r?\n\r?\n")


@dataclass(slots=True, eq=False)
class _Connection:
    socket: socket.socket
    until: float
    head: bytes = b""
    answer: memoryview = field(default_factory=lambda: memoryview(b""))


class Endpoint:
    """Listens from the start on; ``run`` serves until ``close``."""

    def __init__(
        self,
        address: str,
        port: int,
        pages: Pages,
        *,
        longest: float = _LONGEST,
        most: int = _MOST_CONNECTIONS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._listener = socket.create_server(
            (address, port), family=family, backlog=_BACKLOG
        )
        self._listener.setblocking(False)
        self._pages = pages
        self._longest = longest
        self._most = most
        self._clock = clock
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        #: In order of arrival, so that the first is the first to be over its time.
        self._open: dict[_Connection, None] = {}

    def __len__(self) -> int:
        """How many connections are open."""
        return len(self._open)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._listener.getsockname()[1])

    def run(self) -> None:
        """Serve for ever.

        Raises:
            OSError: nobody can be let in; out of descriptors, for one.
        """
        while True:
            self.step()

    def step(self, patience: float | None = None) -> None:
        """Wait for something to happen, and do it."""
        for key, _ in self._selector.select(self._timeout(patience)):
            if key.data is None:
                self._accept()
            elif key.data in self._open:
                self._serve(key.data)
        now = self._clock()
        for connection in [each for each in self._open if each.until <= now]:
            self._end(connection)

    def close(self) -> None:
        """Stop listening and hang up."""
        for connection in list(self._open):
            self._end(connection)
        self._selector.close()
        self._listener.close()

    def _timeout(self, patience: float | None) -> float | None:
        oldest = next(iter(self._open), None)
        if oldest is None:
            return patience
        left = max(oldest.until - self._clock(), 0.0)
        return left if patience is None else min(left, patience)

    def _accept(self) -> None:
        try:
            client, _ = self._listener.accept()
        except (BlockingIOError, ConnectionAbortedError):  # it has gone already
            return
        if len(self._open) >= self._most:
            self._end(next(iter(self._open)))
        client.setblocking(False)
        connection = _Connection(client, self._clock() + self._longest)
        self._open[connection] = None
        self._selector.register(client, selectors.EVENT_READ, connection)

    def _serve(self, connection: _Connection) -> None:
        try:
            if connection.answer:
                self._write(connection)
            else:
                self._read(connection)
        except BlockingIOError:
            return
        except OSError:
            self._end(connection)

    def _read(self, connection: _Connection) -> None:
        chunk = connection.socket.recv(_MOST_HEAD_BYTES)
        connection.head += chunk
        is_whole = _END_OF_HEAD.search(connection.head) is not None
        if is_whole or len(connection.head) > _MOST_HEAD_BYTES:
            connection.answer = memoryview(self._answer(connection.head, is_whole))
            self._selector.modify(connection.socket, selectors.EVENT_WRITE, connection)
        elif not chunk:
            self._end(connection)

    def _write(self, connection: _Connection) -> None:
        sent = connection.socket.send(connection.answer)
        connection.answer = connection.answer[sent:]
        if not connection.answer:
            self._end(connection)

    def _end(self, connection: _Connection) -> None:
        del self._open[connection]
        self._selector.unregister(connection.socket)
        connection.socket.close()

    def _answer(self, head: bytes, is_whole: bool) -> bytes:
        line = _REQUEST_LINE.match(head)
        if not is_whole:
            return _response("431 Request Header Fields Too Large")
        if line is None:
            return _response("400 Bad Request")
        if line[1] != b"GET":
            return _response("405 Method Not Allowed", more="Allow: GET\r\n")
        page = self._pages.get(line[2].decode("latin-1"))
        if page is None:
            return _response("404 Not Found")
        accept = _ACCEPT.search(head)
        content_type, body = page(accept[1].decode("ascii") if accept else "")
        return _response("200 OK", content_type, body)


def _response(
    status: str, content_type: str = "text/plain", body: bytes = b"", more: str = ""
) -> bytes:
    body = body or f"{status}\n".encode()
    head = (
        f"HTTP/1.0 {status}\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n{more}\r\n"
    )
    return head.encode() + body
