"""An HTTP server that gives fixed answers by method and path, and remembers."""

from __future__ import annotations

import http.server
import json
import ssl
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dcmirror.testing.pki import Pki

ELASTIC = {"X-Elastic-Product": "Elasticsearch"}


@dataclass(frozen=True)
class Answer:
    """What is sent; a body that is no bytes goes as JSON."""

    status: int
    body: Any
    headers: dict[str, str] = field(default_factory=lambda: dict(ELASTIC))

    @property
    def data(self) -> bytes:
        return (
            self.body
            if isinstance(self.body, bytes)
            else json.dumps(self.body).encode()
        )


@dataclass(frozen=True)
class Asked:
    """One request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class AnsweringServer:
    """``answers`` by "METHOD /path?query"; who asks anything else gets a 404."""

    def __init__(self, answers: dict[str, Answer], *, tls: Pki | None = None) -> None:
        self.answers = answers
        self.asked: list[Asked] = []
        self._tls = tls

    def __enter__(self) -> AnsweringServer:
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = 65536  # one packet: two would wait for an acknowledgement

            def _answer(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length)
                headers = {name.lower(): value for name, value in self.headers.items()}
                owner.asked.append(Asked(self.command, self.path, headers, body))
                nothing = Answer(404, {"error": "nothing here"})
                answer = owner.answers.get(f"{self.command} {self.path}", nothing)
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer.data)))
                self.end_headers()
                self.wfile.write(answer.data)

            do_GET = do_PUT = do_POST = do_DELETE = _answer

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("localhost", 0), Handler)
        if self._tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self._tls.host_cert, self._tls.host_key)
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True
            )
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    @property
    def url(self) -> str:
        scheme = "http" if self._tls is None else "https"
        return f"{scheme}://localhost:{self._server.server_address[1]}"

    @property
    def changes(self) -> list[str]:
        """What was asked that is no mere look."""
        return [f"{a.method} {a.path}" for a in self.asked if a.method != "GET"]
