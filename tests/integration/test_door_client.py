"""The door's client against servers that misbehave; the good ones have the contract."""

from __future__ import annotations

import threading
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pytest

from dcmirror.adapters.door_client import DoorClient, DoorOptions
from dcmirror.adapters.pace import Pace
from dcmirror.core.door_errors import DoorError, DoorStopped
from dcmirror.core.failures import FailureClass
from dcmirror.core.paths import PathMap
from dcmirror.errors import ExitStatus
from dcmirror.testing.pki import Pki
from door_client import Make
from helpers import free_port
from servers.scripted import Reply, ScriptedServer, ok

OPEN = '<d:multistatus xmlns:d="DAV:" xmlns:c="http://www.dcache.org/2013/webdav">'
CLOSE = "</d:multistatus>"
STREAMED = b"HTTP/1.1 207 Multi-Status\r\nConnection: close\r\n\r\n"
PNFSID = "0000A0EB02EBC81140A397FDFE3FF13E5DB4"


def propstat(inner: str) -> str:
    return (
        f"<d:propstat><d:prop>{inner}</d:prop>"
        "<d:status>HTTP/1.1 200 OK</d:status></d:propstat>"
    )


def directory(href: str) -> str:
    inner = propstat("<d:resourcetype><d:collection/></d:resourcetype>")
    return f"<d:response><d:href>{href}</d:href>{inner}</d:response>"


def file(href: str, size: int = 7, more: str = "") -> str:
    inner = propstat(f"<d:getcontentlength>{size}</d:getcontentlength>{more}")
    return f"<d:response><d:href>{href}</d:href>{inner}</d:response>"


def answer(status: str, body: str = "", *headers: str) -> Reply:
    good = ok(body.encode("utf-8", "surrogateescape"), *headers)
    return Reply(good.data.replace(b"200 OK", status.encode(), 1))


def multistatus(*responses: str) -> Reply:
    return answer("207 Multi-Status", OPEN + "".join(responses) + CLOSE)


LISTING = multistatus(directory("/data/"), file("/data/a"), file("/data/b"))


@dataclass
class Source:
    """A scripted door and its client."""

    server: ScriptedServer
    client: DoorClient

    def methods(self) -> list[str]:
        return [
            request.split(b" ", 1)[0].decode("latin-1")
            for request in self.server.requests
        ]

    def names(self, path: str = "/data") -> list[str]:
        return [entry.path for entry in self.client.list(path)]


@contextmanager
def source(
    *replies: Reply,
    pace: Pace | None = None,
    answer_seconds: float = 10.0,
) -> Iterator[Source]:
    with ScriptedServer(list(replies)) as server:
        options = DoorOptions(
            None, None, PathMap(server.url, "/", ""), 5.0, answer_seconds
        )
        client = DoorClient(options, pace or Pace(1e6))
        try:
            yield Source(server, client)
        finally:
            client.close()


def error_of(call: Callable[[], object]) -> DoorError:
    with pytest.raises(DoorError) as caught:
        call()
    return caught.value


def test_each_listing_asks_for_depth_1_and_names_what_it_wants() -> None:
    with source(LISTING) as door:
        assert door.names() == ["/data/a", "/data/b"]

        request = door.server.requests[0]
    assert request.startswith(b"PROPFIND /data/ HTTP/1.1\r\n")
    assert b"\r\nDepth: 1\r\n" in request
    for name in (b"resourcetype", b"getcontentlength", b"getetag", b"Checksums"):
        assert name in request
    assert b"Expect:" not in request


def test_no_cookie_is_ever_sent_back() -> None:
    cookie = answer(
        "207 Multi-Status",
        OPEN + directory("/data/") + CLOSE,
        "Set-Cookie: JSESSIONID=secret; Path=/",
    )
    with source(cookie) as door:
        door.names()
        door.names()

        assert not any(b"Cookie" in request for request in door.server.requests)


@pytest.mark.parametrize(
    "body",
    [
        OPEN + directory("/data/") + file("/data/a"),
        OPEN + directory("/data/") + file("/data/a") + "<d:resp",
        OPEN + directory("/data/") + file("/data/a") + "</d:oops>",
        "",
        "<html><body>Welcome</body></html>",
        '{"entries": []}',
        '<!DOCTYPE d [<!ENTITY a "b">]>' + OPEN + directory("/data/") + CLOSE,
    ],
)
def test_a_listing_that_is_not_whole_is_an_error_that_names_the_directory(
    body: str,
) -> None:
    with source(answer("207 Multi-Status", body)) as door:
        error = error_of(door.names)

    assert "/data: the door's listing cannot be used" in str(error)
    assert error.exit_status == ExitStatus.DOOR


@pytest.mark.parametrize(
    "length", ["Content-Length: 99999", "Transfer-Encoding: chunked"]
)
def test_a_listing_whose_connection_breaks_is_an_error(length: str) -> None:
    body = (OPEN + directory("/data/") + file("/data/a") + CLOSE).encode()
    head = f"HTTP/1.1 207 Multi-Status\r\n{length}\r\n\r\n".encode()
    if "chunked" in length:
        body = b"%x\r\n%s\r\n" % (len(body), body)
    with source(Reply(head + body, closes=True)) as door:
        error = error_of(door.names)

    assert error.kind is FailureClass.TRANSIENT
    assert "/data" in str(error)


def test_entries_before_a_break_come_and_then_the_error() -> None:
    body = OPEN + directory("/data/") + file("/data/a") + file("/data/b")
    with source(answer("207 Multi-Status", body)) as door:
        listing = door.client.list("/data")

        assert [next(listing).path, next(listing).path] == ["/data/a", "/data/b"]
        error_of(lambda: next(listing))


@pytest.mark.parametrize(
    "reply",
    [
        multistatus(),
        multistatus(file("/data/a")),
        multistatus(directory("/elsewhere/"), file("/elsewhere/a")),
        multistatus(
            directory("http://other/data/"), file("http://other/data/a?token=secret")
        ),
    ],
)
def test_an_answer_about_something_else_is_no_empty_directory(reply: Reply) -> None:
    with source(reply) as door:
        error = error_of(door.names)

    assert "instead" in str(error)
    assert "secret" not in str(error)


def test_a_file_is_no_empty_directory() -> None:
    with source(multistatus(file("/data"))) as door:
        error = error_of(door.names)

    assert (error.kind, str(error)) == (FailureClass.REMOVED, "/data: not a directory")


@pytest.mark.parametrize(
    ("status", "kind", "exit_status"),
    [
        ("401 Unauthorized", FailureClass.CREDENTIAL, ExitStatus.CREDENTIAL),
        ("403 Forbidden", FailureClass.FORBIDDEN, ExitStatus.DOOR),
        ("404 Not Found", FailureClass.NOT_THERE, ExitStatus.DOOR),
        ("429 Too Many Requests", FailureClass.TRANSIENT, ExitStatus.DOOR),
        ("500 Internal Server Error", FailureClass.TRANSIENT, ExitStatus.DOOR),
        ("200 OK", FailureClass.TRANSIENT, ExitStatus.DOOR),
    ],
)
def test_a_refusal_has_its_class(
    status: str, kind: FailureClass, exit_status: ExitStatus
) -> None:
    with source(answer(status, "some text", "Retry-After: 7")) as door:
        error = error_of(door.names)

    assert (error.kind, error.exit_status) == (kind, exit_status)
    assert (error.http_status, error.retry_after) == (int(status[:3]), 7.0)
    assert status in str(error)


def test_an_error_says_what_helps() -> None:
    with source(answer("403 Forbidden"), answer("302 Found")) as door:
        assert str(error_of(door.names)).endswith("the right to read there")
        assert "a door that lists directories" in str(error_of(door.names))


def test_an_error_holds_no_line_that_a_name_forged() -> None:
    with source(answer("403 Forbidden")) as door:
        error = error_of(lambda: door.client.look("/data/a\nb\x1b[2J"))

    assert str(error).startswith("/data/a\\nb\\x1b[2J: ")


def test_a_status_is_an_answer_though_its_body_is_cut() -> None:
    for status in (204, 403):
        head = f"HTTP/1.1 {status} X\r\nContent-Length: 99\r\n\r\n"
        with source(Reply(head.encode(), closes=True)) as door:
            assert door.client.delete("/data/a").status == status
    with source(Reply(b"HTTP/1.1 403 X\r\nContent-Length: 99\r\n\r\n", True)) as door:
        assert error_of(door.names).kind is FailureClass.FORBIDDEN


def test_closing_in_the_middle_of_a_listing_is_allowed() -> None:
    many = multistatus(directory("/data/"), *(file(f"/data/{n}") for n in range(5000)))
    with source(many) as door:
        listing = door.client.list("/data")
        next(listing)
        door.client.close()
        listing.close()  # type: ignore[attr-defined]

        assert len(door.names()) == 5000


def test_a_redirect_is_never_followed() -> None:
    with ScriptedServer([LISTING]) as other:
        there = answer("302 Found", "", f"Location: {other.url}/data/")
        with source(there) as door:
            assert error_of(door.names).kind is FailureClass.REDIRECT
            assert error_of(lambda: door.client.look("/data/a")).http_status == 302
            assert door.client.delete("/data/a").status == 302

        assert other.requests == []


def test_too_many_requests_slow_every_thread_down() -> None:
    slept: list[float] = []
    pace = Pace(1e6, sleep=lambda seconds: (slept.append(seconds), pace.stop()))
    with source(
        answer("429 Too Many Requests", "", "Retry-After: 9"), pace=pace
    ) as door:
        error_of(door.names)
        error_of(door.names)

    assert slept != []


def test_nobody_at_the_door_is_the_host_class() -> None:
    options = DoorOptions(
        None, None, PathMap(f"http://127.0.0.1:{free_port()}", "/", ""), 1.0, 1.0
    )
    client = DoorClient(options, Pace(1e6))

    assert error_of(lambda: list(client.list("/data"))).kind is FailureClass.HOST
    assert error_of(lambda: client.delete("/data/a")).kind is FailureClass.HOST
    client.close()


def hang(
    seconds: float = 20.0,
) -> tuple[Callable[[], Iterable[bytes]], threading.Event]:
    """A body whose rest does not come before the event."""
    released = threading.Event()

    def more() -> Iterator[bytes]:
        released.wait(seconds)
        yield b""

    return more, released


@pytest.mark.parametrize(
    "start",
    [b"", STREAMED, STREAMED + (OPEN + directory("/data/") + file("/data/a")).encode()],
    ids=["no answer", "headers", "some entries"],
)
def test_silence_is_bounded_in_time(start: bytes) -> None:
    more, released = hang()
    with source(Reply(start, True, more), answer_seconds=0.5) as door:
        began = time.monotonic()
        error = error_of(door.names)
        taken = time.monotonic() - began
        released.set()

    assert error.kind is FailureClass.TRANSIENT
    assert 0.4 < taken < 5


def test_a_trickle_is_no_answer() -> None:
    enough = threading.Event()

    def drops() -> Iterator[bytes]:
        yield (OPEN + directory("/data/")).encode()
        for _ in range(1000):
            enough.wait(0.02)
            yield b" "

    with source(Reply(STREAMED, True, drops), answer_seconds=2.0) as door:
        began = time.monotonic()
        error = error_of(door.names)
        taken = time.monotonic() - began
        enough.set()

    assert "stalled" in str(error)
    assert taken < 10


def test_a_reader_that_takes_its_time_is_no_silence_of_the_door() -> None:
    more, released = hang()

    def slowly() -> Iterator[bytes]:
        yield from more()
        yield (file("/data/b") + CLOSE).encode()

    start = STREAMED + (OPEN + directory("/data/") + file("/data/a")).encode()
    with source(Reply(start, True, slowly), answer_seconds=2.0) as door:
        listing = door.client.list("/data")
        first = next(listing)
        time.sleep(2.5)  # longer than the door may be silent
        released.set()
        rest = [entry.path for entry in listing]

    assert (first.path, rest) == ("/data/a", ["/data/b"])


@pytest.mark.parametrize("how", ["pace", "client"])
def test_a_stop_ends_what_is_under_way(how: str) -> None:
    more, released = hang()
    pace = Pace(1e6)
    with source(Reply(STREAMED, True, more), pace=pace) as door:
        end = pace.stop if how == "pace" else door.client.abandon
        threading.Timer(0.3, end).start()
        began = time.monotonic()
        with pytest.raises(DoorStopped):
            door.names()
        taken = time.monotonic() - began
        with pytest.raises(DoorStopped):
            door.client.look("/data/a")
        released.set()

    assert taken < 15


def test_a_stop_ends_a_listing_that_flows() -> None:
    def more() -> Iterator[bytes]:
        yield (OPEN + directory("/data/")).encode()
        for number in range(100_000):
            yield file(f"/data/{number}").encode()

    pace = Pace(1e6)
    with source(Reply(STREAMED, True, more), pace=pace) as door:
        listing = door.client.list("/data")
        next(listing)
        pace.stop()
        with pytest.raises(DoorStopped):
            list(islice(listing, 90_000))


def test_a_kept_connection_that_was_closed_is_replaced_unnoticed() -> None:
    closing = Reply(LISTING.data, closes=True)
    with source(closing, closing, LISTING) as door:
        assert door.names() == door.names() == door.names()
        assert door.server.connections == 3


def test_a_second_question_may_be_asked_while_a_listing_comes_in() -> None:
    look = multistatus(file("/data/a", 0))
    many = multistatus(directory("/data/"), *(file(f"/data/{n}") for n in range(3000)))
    with source(many, look) as door:
        listing = door.client.list("/data")
        next(listing)
        found = door.client.look("/data/a")

        assert found is not None
        assert len(list(listing)) == 2999


def test_a_listing_that_nobody_reads_to_the_end_is_dropped() -> None:
    many = multistatus(directory("/data/"), *(file(f"/data/{n}") for n in range(9000)))
    with source(many) as door:
        for _ in range(3):
            listing = door.client.list("/data")
            next(listing)
            listing.close()  # type: ignore[attr-defined]

        assert len(door.names()) == 9000
        assert door.client.requests == 4


def test_look_needs_one_request_where_the_listing_says_all() -> None:
    more = f'<d:getetag>"{PNFSID}_1"</d:getetag>'
    more += "<c:Checksums>adler32=0a1b2c3d</c:Checksums>"
    with source(multistatus(file("/data/a", 7, more))) as door:
        found = door.client.look("/data/a")

        assert door.methods() == ["PROPFIND"]
    assert found is not None
    assert (found.pnfsid, found.adler32, found.size) == (PNFSID, 0x0A1B2C3D, 7)


def test_look_asks_for_a_checksum_that_the_listing_lacks() -> None:
    head = answer("200 OK", "", "Digest: adler32=A1B2C3D", f'ETag: "{PNFSID}_1"')
    head = Reply(head.data.replace(b"Content-Length: 0", b"Content-Length: 7"))
    with source(multistatus(file("/data/a")), head) as door:
        found = door.client.look("/data/a")

        assert door.methods() == ["PROPFIND", "HEAD"]
        assert b"Want-Digest: adler32" in door.server.requests[1]
    assert found is not None
    assert (found.pnfsid, found.adler32, found.size) == (PNFSID, 0x0A1B2C3D, 7)


def test_look_believes_one_answer_and_mixes_none() -> None:
    """The file was replaced between the two: all is of the second, or nothing."""
    head = answer("200 OK", "", "Digest: adler32=11111111")
    head = Reply(head.data.replace(b"Content-Length: 0", b"Content-Length: 8"))
    etag = f'<d:getetag>"{PNFSID}_1"</d:getetag>'
    with source(multistatus(file("/data/a", 7, etag)), head) as door:
        found = door.client.look("/data/a")

    assert found is not None
    assert (found.size, found.adler32, found.pnfsid) == (8, 0x11111111, None)


@pytest.mark.parametrize("size", [0, None])
def test_look_asks_no_digest_of_an_empty_or_unfinished_file(size: int | None) -> None:
    reply = multistatus(file("/data/a", 0))
    if size is None:
        reply = multistatus(directory("/data/a").replace("<d:collection/>", ""))
    with source(reply) as door:
        found = door.client.look("/data/a")

        assert door.methods() == ["PROPFIND"]
    assert found is not None
    assert (found.size, found.adler32) == (size, 1 if size == 0 else None)


@pytest.mark.parametrize("status", ["404 Not Found", "400 Bad Request", "405 No"])
def test_a_head_that_some_servers_lack_takes_nothing_away(status: str) -> None:
    with source(multistatus(file("/data/a")), answer(status)) as door:
        found = door.client.look("/data/a")

    assert found is not None
    assert (found.size, found.adler32) == (7, None)


@pytest.mark.parametrize("status", ["401 Unauthorized", "403 Forbidden", "503 Busy"])
def test_a_head_that_is_refused_is_an_error(status: str) -> None:
    with source(multistatus(file("/data/a")), answer(status)) as door:
        assert error_of(lambda: door.client.look("/data/a")).http_status is not None


@pytest.mark.parametrize("status", ["404 Not Found", "410 Gone"])
def test_look_at_nothing_is_none(status: str) -> None:
    with source(answer(status)) as door:
        assert door.client.look("/data/a") is None


@pytest.mark.parametrize(
    "reply",
    [
        multistatus(),
        multistatus(file("/data/b")),
        multistatus(file("/data/a"), file("/data/b")),
        answer("207 Multi-Status", OPEN + file("/data/a")),
    ],
)
def test_look_believes_no_answer_about_something_else(reply: Reply) -> None:
    with source(reply) as door:
        error = error_of(lambda: door.client.look("/data/a"))

    assert "/data/a" in str(error)


def test_look_sees_a_directory_whose_slash_was_forgotten() -> None:
    moved = answer("301 Moved", "", "Location: http://127.0.0.1/data/d/")
    with source(moved, multistatus(directory("/data/d/"))) as door:
        found = door.client.look("/data/d")

    assert found is not None
    assert (found.path, found.is_directory) == ("/data/d", True)


@pytest.mark.parametrize("path", ["/data", "/"])
def test_a_directory_may_be_all_that_the_door_shows(path: str) -> None:
    with source(multistatus(directory(f"{path.rstrip('/')}/"))) as door:
        assert door.client.has_directory(path)


@pytest.mark.parametrize(
    "reply", [multistatus(), multistatus(directory("/other/")), answer("403 Forbidden")]
)
def test_no_answer_about_a_directory_is_no_absence(reply: Reply) -> None:
    with source(reply) as door:
        assert "/data" in str(error_of(lambda: door.client.has_directory("/data")))


def test_a_change_that_is_to_be_asked_for_later_says_when() -> None:
    busy = answer("503 Service Unavailable", "", "Retry-After: 7")
    with source(busy, busy, answer("204 No Content")) as door:
        assert door.client.delete("/data/a").retry_after == 7
        assert door.client.move("/data/a", "/data/b").retry_after == 7
        assert door.client.delete("/data/a").retry_after is None


@pytest.mark.parametrize(
    "path",
    ["", "/", "/data/", "/data", "/data//", "/data/d/", "/data/..", "/data/d/../.."],
)
def test_what_may_be_a_directory_is_not_deleted(path: str) -> None:
    with ScriptedServer([answer("204 No Content")]) as server:
        options = DoorOptions(None, None, PathMap(server.url, "/", "data"), 5.0, 5.0)
        client = DoorClient(options, Pace(1e6))
        with pytest.raises(ValueError, match="not the path of a file"):
            client.delete(path)
        client.close()

        assert server.requests == []


def test_a_deletion_without_an_answer_is_not_repeated() -> None:
    """The first may have been done, and another file stand there since."""
    with source(LISTING, Reply(b"", closes=True), answer("204 No Content")) as door:
        door.names()
        error = error_of(lambda: door.client.delete("/data/a"))

        assert door.methods() == ["PROPFIND", "DELETE"]
    assert (error.http_status, error.kind) == (None, FailureClass.TRANSIENT)


def test_a_deletion_on_a_connection_that_was_closed_long_ago_is_sent_once() -> None:
    closing = Reply(LISTING.data, closes=True)
    with source(closing, answer("204 No Content")) as door:
        door.names()
        time.sleep(0.1)  # until the end of the connection has come through

        assert door.client.delete("/data/a").status == 204
        assert door.methods() == ["PROPFIND", "DELETE"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("123", 123), ("", None), ("-1", None), ("9" * 5000, None), ("many", None)],
)
def test_free_bytes_are_a_number_or_unknown(text: str, expected: int | None) -> None:
    free = f"<d:quota-available-bytes>{text}</d:quota-available-bytes>"
    told = directory("/data/").replace("<d:resourcetype>", f"{free}<d:resourcetype>")
    with source(multistatus(told)) as door:
        assert door.client.free_bytes("/data") == expected


def test_memory_does_not_grow_with_a_listing() -> None:
    """Kept as text, or as entries, these would take 2 to 5 MB."""

    def more() -> Iterator[bytes]:
        yield (OPEN + directory("/data/")).encode()
        for start in range(0, 8000, 500):
            yield "".join(
                file(f"/data/visit-{n:07d}.fits") for n in range(start, start + 500)
            ).encode()
        yield CLOSE.encode()

    with source(Reply(STREAMED, True, more)) as door:
        tracemalloc.start()
        count = sum(1 for _ in door.client.list("/data"))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()

    assert count == 8000
    assert peak < 1536 * 1024


def test_a_reader_that_stops_makes_the_door_wait() -> None:
    """Back-pressure: what nobody reads is not gathered here."""
    sent: list[int] = []

    def more() -> Iterator[bytes]:
        yield (OPEN + directory("/data/")).encode()
        for number in range(2000):
            sent.append(number)
            yield file(f"/data/{number}").encode() * 100
        yield CLOSE.encode()

    with source(Reply(STREAMED, True, more)) as door:
        listing = door.client.list("/data")
        next(listing)
        tracemalloc.start()
        for _ in range(50):
            next(listing)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()

        assert len(sent) < 2000
        assert peak < 8 * 1024 * 1024


def test_a_renewed_proxy_is_used_at_once(make: Make, pki: Pki, tmp_path: Path) -> None:
    fake, _ = make()
    fake.upload(f"{fake.root}/a.dat", size=5)
    proxy = tmp_path / "x509up"
    options = DoorOptions(
        proxy, pki.capath, PathMap(fake.door_url, fake.root, ""), 5.0, 5.0
    )
    client = DoorClient(options, Pace(1e6))
    missing = error_of(lambda: list(client.list(fake.root)))
    proxy.write_bytes(pki.proxy.read_bytes())

    assert missing.kind is FailureClass.CREDENTIAL
    assert "x509up" in str(missing)
    time.sleep(0.05)  # the file is looked at fifty times a second
    assert [entry.path for entry in client.list(fake.root)] == [f"{fake.root}/a.dat"]
    client.close()
