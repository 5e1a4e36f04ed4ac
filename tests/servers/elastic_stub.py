"""A stand-in for Elasticsearch, for what a real one never does on demand.

The contract suite runs on it and on the real one alike, so that it cannot lie.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import struct
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Item = dict[str, Any]


@dataclass
class Bulk:
    """A request as it came: ids, and documents by id."""

    ids: list[str]
    bodies: list[bytes]
    streams: list[str]
    size: int
    authorization: str | None
    query: str


@dataclass
class Fault:
    """What happens to one request instead.

    Args:
        status, body: a whole answer, JSON unless it is bytes.
        items: what single items get, by place or for all ("*"): status and error type.
        delay: seconds before anything happens.
        cuts: send so many bytes of the answer, then reset the connection.
        takes: whether the documents are stored before it goes wrong.
    """

    status: int = 200
    body: Any = None
    items: dict[Any, tuple[int, str]] = field(default_factory=dict)
    delay: float = 0.0
    cuts: int | None = None
    takes: bool = True


def error(status: int, kind: str, reason: str = "because") -> Fault:
    """A whole request refused as Elasticsearch does it."""
    body = {"error": {"type": kind, "reason": reason}, "status": status}
    return Fault(status, body, takes=False)


class ElasticStub:
    """Takes documents; ``faults`` happen one after another, each to one request.

    ``rule`` decides for each document that is not there yet: a status and type, or
    None to take it; ``refuses`` whole requests as unreadable.
    """

    def __init__(self, *, max_bytes: int = 100 << 20, keeps: bool = True) -> None:
        self.max_bytes = max_bytes
        self.keeps = keeps
        self.documents: dict[str, bytes] = {}
        self.streams: dict[str, str] = {}
        self.bulks: list[Bulk] = []
        self.faults: deque[Fault] = deque()
        self.key: str | None = None
        self.has_template = True
        self.knows_require = True
        self.refuses: Callable[[Bulk], bool] = lambda _: False
        self.rule: Callable[[bytes], tuple[int, str] | None] = lambda _: None
        self.lock = threading.Lock()
        self._server: ThreadingHTTPServer | None = None
        self._open: set[socket.socket] = set()
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> ElasticStub:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Listen; again on the same port after a stop."""
        stub = self

        class Handler(_Handler):
            owner = stub

        self._server = _Server(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_port
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}
        )
        self._thread.start()

    def stop(self) -> None:
        """Nobody listens, and open connections end."""
        server, self._server = self._server, None
        if server is None:
            return
        server.shutdown()
        self._thread.join()
        for connection in list(self._open):
            # Its own thread still holds it: a mere close would let it answer once more.
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        server.server_close()

    def take(self, bulk: Bulk, fault: Fault) -> list[Item]:
        """Store what is not refused; the items of the answer."""
        items = []
        with self.lock:
            for place, name in enumerate(bulk.ids):
                refusal = fault.items.get(place, fault.items.get("*"))
                if refusal is None and name in self.documents:
                    refusal = (409, "version_conflict_engine_exception")
                if refusal is None:
                    refusal = self.rule(bulk.bodies[place])
                if refusal is None:
                    self._keep(bulk, place)
                    items.append({"create": {"status": 201}})
                else:
                    items.append({"create": _refused(*refusal)})
        return items

    def _keep(self, bulk: Bulk, place: int) -> None:
        if self.keeps:
            self.documents[bulk.ids[place]] = bulk.bodies[place]
            self.streams[bulk.ids[place]] = bulk.streams[place]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away are part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    owner: ElasticStub

    def setup(self) -> None:
        super().setup()
        self.owner._open.add(self.connection)

    def finish(self) -> None:
        self.owner._open.discard(self.connection)
        with contextlib.suppress(OSError):
            super().finish()

    def log_message(self, *_: object) -> None:
        """Be quiet."""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path.startswith("/_index_template/") and not self.owner.has_template:
            self._answer(404, {"status": 404})
        else:
            self._answer(200, {"version": {"number": "8.19.0"}})

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("content-length", "0")))
        if self.headers.get("content-encoding") == "gzip":
            raw = gzip.decompress(raw)
        if (refusal := self._refusal(raw)) is not None:
            self._answer(*refusal)
            return
        bulk = self._parse(raw)
        with self.owner.lock:
            self.owner.bulks.append(bulk)
            del self.owner.bulks[:-1000]
            fault = self.owner.faults.popleft() if self.owner.faults else Fault()
        if self.owner.refuses(bulk):
            fault = error(400, "x_content_parse_exception")
        time.sleep(fault.delay)
        items = self.owner.take(bulk, fault) if fault.takes else []
        body = fault.body
        if body is None:
            errors = any("error" in item["create"] for item in items)
            body = {"errors": errors, "items": items}
        self._answer(fault.status, body, fault.cuts)

    def _refusal(self, raw: bytes) -> tuple[int, Any] | None:
        owner = self.owner
        if owner.key is not None and self.headers.get("authorization") != owner.key:
            return 401, _error_body(401, "security_exception", "unable to authenticate")
        if len(raw) > owner.max_bytes:
            return 413, _error_body(413, "content_too_large_exception", "too long")
        if "require_data_stream" in self.path and not owner.knows_require:
            reason = "request [/_bulk] contains unrecognized parameter: [x]"
            return 400, _error_body(400, "illegal_argument_exception", reason)
        return None

    def _parse(self, raw: bytes) -> Bulk:
        lines = raw.split(b"\n")
        assert lines.pop() == b"", "a bulk body ends with a newline"
        ids, streams = [], []
        for line in lines[::2]:
            action = json.loads(line)["create"]
            ids.append(action["_id"])
            streams.append(action["_index"])
        return Bulk(
            ids,
            lines[1::2],
            streams,
            len(raw),
            self.headers.get("authorization"),
            self.path.partition("?")[2],
        )

    def _answer(self, status: int, body: Any, cuts: int | None = None) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("X-Elastic-Product", "Elasticsearch")
        kind = "application/vnd.elasticsearch+json;compatible-with=8"
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if cuts is None:
            self.wfile.write(data)
            return
        self.wfile.write(data[:cuts])
        _reset(self.connection)
        self.close_connection = True


def _reset(connection: socket.socket) -> None:
    """RST instead of FIN, as after a kill."""
    with contextlib.suppress(OSError):
        linger = struct.pack("ii", 1, 0)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        connection.shutdown(socket.SHUT_RD)
        connection.close()


def _refused(status: int, kind: str) -> Item:
    return {"status": status, "error": {"type": kind, "reason": f"{kind} said why"}}


def _error_body(status: int, kind: str, reason: str) -> Item:
    return {"error": {"type": kind, "reason": reason}, "status": status}


if __name__ == "__main__":  # the benchmark runs it in a process of its own
    with ElasticStub(keeps=False) as stub:
        print(stub.url, flush=True)
        sys.stdin.read()
