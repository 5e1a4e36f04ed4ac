"""The endpoint answers Prometheus and is made to wait by nobody."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from dcmirror.adapters.http_endpoint import Endpoint
from dcmirror.adapters.metrics import Exposition
from dcmirror.adapters.metrics_server import serve
from dcmirror.settings import Metrics
from helpers import free_port, wait_until
from prometheus import promtool
from scraping import Scrape, fetch

RULES = Path(__file__).parents[2] / "etc/prometheus"
LONGEST = 2.0
STATUS: dict[str, Any] = {
    "at": 1.0,
    "started": 1.0,
    "version": "1.2.3",
    "mirrored": 3,
    "adopted": 1,
    "failures": {"gone": 2},
    "hosts": [{"host": "d:1", "role": "door", "requests": 7, "connections": 1}],
}


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    """Two pages, one of them large, in a thread."""
    pages = {
        "/": lambda accept: ("text/plain", f"accept={accept}".encode()),
        "/large": lambda accept: ("text/plain", b"x" * 30_000_000),
    }
    endpoint = Endpoint("127.0.0.1", 0, pages, longest=LONGEST, most=4)
    is_over = threading.Event()

    def live() -> None:
        while not is_over.is_set():
            endpoint.step(0.02)

    thread = threading.Thread(target=live)
    thread.start()
    yield endpoint
    is_over.set()
    thread.join(10)
    endpoint.close()


def dial(endpoint: Endpoint) -> socket.socket:
    return socket.create_connection(("127.0.0.1", endpoint.port), 10)


def ask(endpoint: Endpoint, request: bytes) -> bytes:
    """Everything that comes back."""
    with dial(endpoint) as sock:
        sock.sendall(request)
        return b"".join(iter(lambda: sock.recv(1 << 20), b""))


GET = b"GET / HTTP/1.1\r\nHost: x\r\nAccept: text/plain\r\n\r\n"


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (GET, 200),
        (b"GET /?x=1 HTTP/1.0\n\n", 200),
        (b"GET /nothing HTTP/1.1\r\n\r\n", 404),
        (b"GET /../etc/passwd HTTP/1.1\r\n\r\n", 404),
        (b"POST / HTTP/1.1\r\n\r\n", 405),
        (b"HEAD / HTTP/1.1\r\n\r\n", 405),
        (b"\x16\x03\x01\x02\x00\r\n\r\n", 400),
        (b"GET / HTTP/2\r\n\r\n", 400),
        (b"GET http://x/ HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 2000, 431),
    ],
)
def test_only_get_of_a_page_is_answered_with_it(
    endpoint: Endpoint, request_bytes: bytes, status: int
) -> None:
    answer = ask(endpoint, request_bytes)

    assert answer.startswith(b"HTTP/1.0 %d " % status)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"Content-Length: %d" % len(body) in head


def test_request_may_come_in_pieces(endpoint: Endpoint) -> None:
    with dial(endpoint) as sock:
        for number in range(0, len(GET), 9):
            sock.sendall(GET[number : number + 9])
        answer = b"".join(iter(lambda: sock.recv(1 << 20), b""))

    assert answer.endswith(b"accept=text/plain")


def test_large_page_arrives_whole(endpoint: Endpoint) -> None:
    answer = ask(endpoint, b"GET /large HTTP/1.1\r\n\r\n")

    assert 30_000_000 == len(answer.partition(b"\r\n\r\n")[2])


def hung_up(sock: socket.socket) -> bool:
    try:
        return sock.recv(4096) == b""
    except ConnectionResetError:
        return True


def test_who_sends_slowly_loses_his_connection_and_delays_nobody(
    endpoint: Endpoint,
) -> None:
    began = time.monotonic()
    with dial(endpoint) as slow:
        slow.sendall(b"GET / HTTP/1.1\r\nX: ")
        for _ in range(3):
            slow.sendall(b"y")
            assert ask(endpoint, GET).startswith(b"HTTP/1.0 200")

        assert hung_up(slow)
        assert LONGEST <= time.monotonic() - began < 10


def test_who_does_not_read_loses_his_connection(endpoint: Endpoint) -> None:
    with dial(endpoint) as deaf:
        deaf.sendall(b"GET /large HTTP/1.1\r\n\r\n")
        wait_until(lambda: len(endpoint) == 1)
        wait_until(lambda: len(endpoint) == 0)

        assert ask(endpoint, GET).startswith(b"HTTP/1.0 200")


def test_one_too_many_costs_the_oldest_his_connection(endpoint: Endpoint) -> None:
    crowd = [dial(endpoint) for _ in range(12)]
    try:
        assert ask(endpoint, GET).startswith(b"HTTP/1.0 200")
        assert len(endpoint) <= 4
        assert all(hung_up(sock) for sock in crowd)
    finally:
        for sock in crowd:
            sock.close()


def test_who_hangs_up_in_the_middle_leaves_nothing(endpoint: Endpoint) -> None:
    for request in (b"", b"GET /", b"GET /large HTTP/1.1\r\n\r\n"):
        with dial(endpoint) as sock:
            sock.sendall(request)
    wait_until(lambda: len(endpoint) == 0)

    assert ask(endpoint, GET).startswith(b"HTTP/1.0 200")


# serve


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    (tmp_path / "status.json").write_text(json.dumps(STATUS))
    return tmp_path / "status.json", tmp_path / "shipper.json"


def test_taken_port_is_told_once_and_had_when_it_is_free(
    files: tuple[Path, Path],
) -> None:
    told: list[str] = []
    port = free_port()
    with closing(socket.create_server(("127.0.0.1", port))):
        serve(Metrics(port=port), *files, told.append, retry_seconds=0.02)
        wait_until(lambda: told)
        threading.Event().wait(0.2)  # ten more tries

    def text() -> str:
        try:
            return fetch(port)
        except OSError:
            return ""

    found = Scrape(wait_until(text))
    assert 7 == found("http_requests_total", host="d:1", role="door")
    assert 2 == found("files_total", outcome="mirrored", reason="")
    (complaint,) = told
    assert f"port {port}" in complaint
    assert "trying again" in complaint
    assert "/metrics" in fetch(port, "/")


def test_without_a_port_nothing_is_served(files: tuple[Path, Path]) -> None:
    before = threading.active_count()

    serve(Metrics(), *files, lambda text: pytest.fail(text))

    assert before == threading.active_count()


def test_address_that_is_not_ours_is_told(files: tuple[Path, Path]) -> None:
    told: list[str] = []

    serve(Metrics(port=free_port(), address="192.0.2.1"), *files, told.append)

    assert "192.0.2.1" in wait_until(lambda: told)[0]


# promtool


def test_promtool_finds_nothing_to_complain_about(files: tuple[Path, Path]) -> None:
    text = Exposition(*files).render("")[1]

    assert (0, "") == promtool("check", "metrics", stdin=text)


def test_promtool_takes_the_rules() -> None:
    assert (0, "") == promtool("check", "rules", RULES / "alerts.yml")


def test_rules_fire_and_keep_quiet_as_their_tests_say() -> None:
    assert (0, "") == promtool("test", "rules", RULES / "rules_test.yml")
