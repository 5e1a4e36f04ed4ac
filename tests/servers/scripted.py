"""A plain HTTP server that sends the very bytes a test gives it."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class Reply:
    """What is sent; ``closes`` the connection afterwards.

    ``more`` makes what follows ``data``, one piece at a time; it may take its time.
    """

    data: bytes
    closes: bool = False
    more: Callable[[], Iterable[bytes]] = tuple


@dataclass
class ScriptedServer:
    """Answers the requests in the order they come, the last reply for ever."""

    replies: list[Reply]
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0

    def __enter__(self) -> ScriptedServer:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        # a plain close does not wake who sits in accept
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            while request := _read_request(connection):
                reply = self._next(request)
                connection.sendall(reply.data)
                for piece in reply.more():
                    connection.sendall(piece)
                if reply.closes:
                    return

    def _next(self, request: bytes) -> Reply:
        with self._lock:
            self.requests.append(request)
            return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]


def _read_request(connection: socket.socket) -> bytes:
    data, length = b"", 0
    while len(data) < length or b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            return b""
        data += more
        head, end, _ = data.partition(b"\r\n\r\n")
        found = _LENGTH.search(head)
        length = len(head) + len(end) + (int(found[1]) if found else 0)
    return data


def ok(body: bytes = b"", *headers: str, closes: bool = False) -> Reply:
    """A 200 with a length and these headers."""
    head = ["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", *headers]
    return Reply("\r\n".join([*head, "", ""]).encode("latin-1") + body, closes)
