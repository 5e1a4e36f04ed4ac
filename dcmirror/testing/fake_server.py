"""A small HTTP/1.1 server: a thread per connection, TLS where a context is given.

It knows nothing of dCache.
"""

from __future__ import annotations

import socket
import ssl
import threading
import traceback
from collections.abc import Callable

from dcmirror.testing.fake_http import ClientGone, Connection, Exchange, readable


class HttpServer:
    """Listens on a loopback port and gives each request to ``handler``."""

    def __init__(
        self,
        name: str,
        handler: Callable[[Exchange], None],
        context: ssl.SSLContext | None = None,
        *,
        port: int = 0,
        max_connections: int = 256,
    ) -> None:
        self.name = name
        self.context = context
        self.errors: list[str] = []
        self._handler = handler
        self._slots = threading.BoundedSemaphore(max_connections)
        self._connections: dict[int, tuple[Connection, threading.Thread]] = {}
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", port), backlog=1024)
        self.port: int = self._listener.getsockname()[1]
        self.stopping, self._stop_writer = socket.socketpair()
        self._thread = threading.Thread(target=self._accept, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Close everything; threads that serve end within seconds."""
        self._stop_writer.close()
        self._thread.join(10)
        self._listener.close()
        for thread in self.close_connections():
            thread.join(10)
        self.stopping.close()

    def close_connections(self) -> list[threading.Thread]:
        """Hang up on all clients; what they ask for next needs a new connection."""
        with self._lock:
            open_now = list(self._connections.values())
        for connection, _ in open_now:
            connection.close()
        return [thread for _, thread in open_now]

    def handle(self, exchange: Exchange) -> None:
        try:
            self._handler(exchange)
        except OSError:
            raise
        except Exception:  # noqa: BLE001 - a bug of the fake must not look like a fault
            self.errors.append(traceback.format_exc())
            raise ClientGone("the fake itself failed") from None

    def _accept(self) -> None:
        while True:
            if self.stopping in readable((self._listener, self.stopping)):
                return
            raw, _ = self._listener.accept()
            self._slots.acquire()
            self._begin(raw)

    def _begin(self, raw: socket.socket) -> None:
        try:
            connection = Connection(self, raw)
        except OSError:
            raw.close()  # gone before we looked at it
            self._slots.release()
            return
        thread = threading.Thread(
            target=self._serve, args=(connection,), name=self.name, daemon=True
        )
        with self._lock:
            self._connections[connection.id] = (connection, thread)
        thread.start()

    def _serve(self, connection: Connection) -> None:
        try:
            connection.serve()
        finally:
            with self._lock:
                del self._connections[connection.id]
            self._slots.release()
