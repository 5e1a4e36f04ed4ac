"""A server that takes every bulk request and does nothing with it.

Beside it the logger shows its own limit, and files are copied as if Elasticsearch were
on another machine.  A process of its own: ``python -m bench.answering`` tells its URL
and ends with its standard input.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]

_BANNER = b'{"version":{"number":"8.19.21"}}'
_ITEM = b'{"create":{"status":201}}'
_HEAD = (
    b"HTTP/1.1 200 OK\r\nX-Elastic-Product: Elasticsearch\r\n"
    b"Content-Type: application/vnd.elasticsearch+json;compatible-with=8\r\n"
    b"Content-Length: %d\r\n\r\n"
)


@contextmanager
def answering() -> Iterator[str]:
    """Its URL, while it runs."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.answering"],
        cwd=TESTS,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.communicate()


def main() -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    print(f"http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
    threading.Thread(target=_accept, args=(listening,), daemon=True).start()
    sys.stdin.read()


def _accept(listening: socket.socket) -> None:
    while True:
        connection, _ = listening.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=_serve, args=(connection,), daemon=True).start()


def _serve(connection: socket.socket) -> None:
    with connection, connection.makefile("rb") as stream:
        while request := stream.readline():
            length = _content_length(iter(stream.readline, b"\r\n"))
            body = stream.read(length)
            is_bulk = b"_bulk" in request
            answer = _taken(body.count(b"\n") // 2) if is_bulk else _BANNER
            connection.sendall(_HEAD % len(answer) + answer)


def _content_length(headers: Iterator[bytes]) -> int:
    found = 0
    for line in headers:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            found = int(value)
    return found


@cache
def _taken(count: int) -> bytes:
    return b'{"errors":false,"items":[' + b",".join([_ITEM] * count) + b"]}"


if __name__ == "__main__":
    main()
