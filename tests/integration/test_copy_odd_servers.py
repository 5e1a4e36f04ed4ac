"""Answers that no dCache gives, but some server does."""

from __future__ import annotations

import select
import time
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dcmirror.adapters import curl_stream
from dcmirror.adapters.curl_stream import Stream
from dcmirror.adapters.curl_transfer import Transfers
from dcmirror.adapters.requests import Answer, Request, TransferOptions
from dcmirror.core.failures import Failure, FailureClass
from dcmirror.core.jobs import AttemptResult, ResultKind
from dcmirror.core.limits import Limits
from dcmirror.core.policy import Locality
from helpers import wait_until
from servers.scripted import Reply, ScriptedServer, ok
from worker_harness import make_job, make_settings, worker_in_thread

BODY = b"some content"
DIGEST = f"Digest: adler32={zlib.adler32(BODY):08x}"
CHUNKED = Reply(
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
    + DIGEST.encode()
    + b"\r\n\r\n5\r\nsome \r\n7;x=y\r\ncontent\r\n0\r\n\r\n"
)


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    path = tmp_path / "mirror"
    path.mkdir()
    return path


def copy(
    mirror: Path, *replies: Reply, size: int | None = len(BODY), **settings: Any
) -> tuple[AttemptResult, list[str]]:
    """Copy one file from a server with these replies; also what it was asked."""
    with ScriptedServer(list(replies)) as server:
        with worker_in_thread(make_settings(mirror, server.url, **settings)) as pair:
            result = pair[0].run_one(make_job(server.url, "file", size=size))
        return result, [one.split(b" ")[0].decode() for one in server.requests]


def failure_of(result: AttemptResult) -> Failure:
    assert result.failure is not None, result
    assert [] == list(Path(result.task).glob("*.part"))
    return result.failure


@pytest.mark.parametrize("size", [len(BODY), None])
def test_chunked_body_is_taken(mirror: Path, size: int | None) -> None:
    result, _ = copy(mirror, CHUNKED, size=size)

    assert (ResultKind.MIRRORED, len(BODY)) == (result.kind, result.bytes_received)
    assert BODY == (mirror / "file").read_bytes()


def test_body_that_ends_with_the_connection_is_taken(mirror: Path) -> None:
    head = f"HTTP/1.0 200 OK\r\n{DIGEST}\r\n\r\n".encode()

    result, _ = copy(mirror, Reply(head + BODY, closes=True))

    assert ResultKind.MIRRORED is result.kind


def test_body_longer_than_expected_is_cut_off(mirror: Path) -> None:
    result, asked = copy(mirror, CHUNKED, size=4)

    failure = failure_of(result)
    assert (FailureClass.SIZE, "more bytes than expected") == (
        failure.failure_class,
        failure.message,
    )
    assert ["GET"] == asked
    assert [] == list(mirror.iterdir())


def test_interim_answers_and_raw_latin_1_do_no_harm(mirror: Path) -> None:
    final = ok(BODY, DIGEST, "Content-Location: /gr\xfc\xdfe").data
    hints = b"HTTP/1.1 103 Early Hints\r\nDigest: adler32=1\r\n\r\n"

    result, _ = copy(mirror, Reply(hints + final))

    assert ResultKind.MIRRORED is result.kind


def test_server_without_heads_counts_as_one_without_digests(mirror: Path) -> None:
    no_head = Reply(b"HTTP/1.1 405 No\r\nContent-Length: 0\r\n\r\n")

    result, asked = copy(mirror, ok(BODY), no_head)

    assert result.copy is not None
    assert (ResultKind.MIRRORED, False) == (result.kind, result.copy.verified)
    assert ["GET", "HEAD", "HEAD", "HEAD"] == asked


def test_long_error_body_is_not_read_to_its_end(mirror: Path) -> None:
    page = b"x" * 5_000_000
    head = f"HTTP/1.1 404 Not Found\r\nContent-Length: {10**12}\r\n\r\n".encode()

    result, _ = copy(mirror, Reply(head + page))

    failure = failure_of(result)
    assert (FailureClass.NOT_THERE, "HTTP 404 Not Found") == (
        failure.failure_class,
        failure.message,
    )


@pytest.mark.parametrize(
    "line", ["204 No Content", "206 Partial Content", "302 Found", "304 Not Modified"]
)
def test_answer_that_makes_no_sense_is_transient(mirror: Path, line: str) -> None:
    reply = Reply(f"HTTP/1.1 {line}\r\nContent-Length: 0\r\n\r\n".encode())

    failure = failure_of(copy(mirror, reply)[0])

    assert (FailureClass.TRANSIENT, int(line[:3])) == (
        failure.failure_class,
        failure.http_status,
    )


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK", b"HTTP/1.1 404 Not Found"])
def test_length_without_end_ends_one_attempt_and_prints_nothing(
    mirror: Path, head: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    endless = Reply(head + b"\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\nabc", True)
    with ScriptedServer([endless]) as server:
        bad = make_job(server.url, "bad", size=len(BODY), task="bad")
        good = make_job(server.url, "file", size=len(BODY))
        with worker_in_thread(make_settings(mirror, server.url)) as (talk, _):
            failed = talk.run_one(bad)
            server.replies[:] = [ok(BODY, DIGEST)]
            mirrored = talk.run_one(good)

    assert ResultKind.FAILED is failed.kind
    assert "ValueError" not in failure_of(failed).message
    assert ResultKind.MIRRORED is mirrored.kind
    assert "" == capfd.readouterr().err


@pytest.mark.parametrize("reader", ["read_headers", "take_times"])
def test_bug_in_reading_an_answer_ends_its_own_attempt_only(
    mirror: Path,
    reader: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    with ScriptedServer([ok(BODY, DIGEST)]) as server:
        job = make_job(server.url, "file", size=len(BODY))
        with worker_in_thread(make_settings(mirror, server.url)) as (talk, _):
            with monkeypatch.context() as patch:
                patch.setattr(curl_stream, reader, lambda *_: 1 / 0)
                failed = talk.run_one(job)
            mirrored = talk.run_one(replace(job, task="again"))

    assert FailureClass.TRANSIENT is failure_of(failed).failure_class
    assert "ZeroDivisionError: division by zero" == failure_of(failed).message
    assert ResultKind.MIRRORED is mirrored.kind
    assert "" == capfd.readouterr().err
    assert ["file"] == [path.name for path in mirror.iterdir()]


def test_bug_in_asking_ends_its_own_attempt_though_it_waited_for_a_stream(
    mirror: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heads: list[Request] = []
    start = Transfers.start

    def start_one_head(transfers: Transfers, stream: Stream, request: Request) -> None:
        heads.extend([request] if request.method == "HEAD" else [])
        if len(heads) > 1:  # the second one comes after a pause, without a stream
            raise ZeroDivisionError
        start(transfers, stream, request)

    head = Reply(ok(BODY).data[: -len(BODY)])
    with monkeypatch.context() as patch:
        patch.setattr(Transfers, "start", start_one_head)
        failure = failure_of(copy(mirror, ok(BODY), head)[0])

    assert FailureClass.TRANSIENT is failure.failure_class
    assert [] == list(mirror.iterdir())


def test_redirect_is_used_as_the_bytes_it_is(mirror: Path) -> None:
    with ScriptedServer([ok(BODY, DIGEST)]) as pool:
        location = f"Location: {pool.url}/gr\xfc\xdfe+%2B/f?id=1"
        head = f"HTTP/1.1 302 Found\r\n{location}\r\nContent-Length: 0\r\n\r\n"
        result, _ = copy(mirror, Reply(head.encode("latin-1")))

    assert ResultKind.MIRRORED is result.kind
    assert b"+%2B/f?id=1 HTTP/1.1" in pool.requests[0]


def test_url_that_cannot_be_asked_fails_its_own_job_only(mirror: Path) -> None:
    with ScriptedServer([ok(BODY, DIGEST)]) as server:
        good = make_job(server.url, "file", size=len(BODY))
        bad = replace(good, task="bad", relative="bad", url=f"{server.url}/\u65e5")
        with worker_in_thread(make_settings(mirror, server.url)) as (talk, _):
            failed, mirrored = talk.run(bad, good)

    assert FailureClass.TRANSIENT is failure_of(failed).failure_class
    assert ResultKind.MIRRORED is mirrored.kind
    assert ["file"] == [path.name for path in mirror.iterdir()]


def test_garbage_instead_of_http_is_transient(mirror: Path) -> None:
    failure = failure_of(copy(mirror, Reply(b"\x16\x03\x01\x00garbage", True))[0])

    assert FailureClass.TRANSIENT is failure.failure_class


def test_file_of_unknown_pnfsid_is_adopted_by_its_digest_only(mirror: Path) -> None:
    with ScriptedServer([ok(BODY, DIGEST)]) as server:
        head = Reply(ok(BODY, DIGEST).data[: -len(BODY)])
        with worker_in_thread(make_settings(mirror, server.url)) as (talk, _):
            job = make_job(server.url, "file", size=len(BODY), task="once")
            talk.run_one(job)
            server.replies[:] = [head]
            again = talk.run_one(job)

    assert ResultKind.ADOPTED is again.kind
    assert b"HEAD" == server.requests[-1][:4]


def test_environment_proxies_are_not_used(
    mirror: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "all_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    assert ResultKind.MIRRORED is copy(mirror, ok(BODY, DIGEST))[0].kind


class Loop:
    """Transfers without a worker around them."""

    def __init__(self) -> None:
        self.epoll = select.epoll()
        limits = Limits(5, 5, 1, 5)
        options = TransferOptions(None, None, limits)
        self.transfers = Transfers(self.epoll, options, time.monotonic)

    def ask(self, stream: Stream, request: Request) -> Answer:
        self.transfers.start(stream, request)
        answers: list[Answer] = []

        def ended() -> bool:
            for fd, mask in self.epoll.poll(0.01):
                self.transfers.on_event(fd, mask)
            self.transfers.on_time(time.monotonic())
            answers.extend(one for _, one in self.transfers.take_finished())
            return bool(answers)

        wait_until(ended, 10, what="an answer")
        return answers[0]

    def close(self) -> None:
        self.transfers.close()
        self.epoll.close()


def test_name_that_leads_to_this_host_is_refused_before_it_is_asked() -> None:
    loop = Loop()
    try:
        (stream,) = loop.transfers.make_streams(1)
        with ScriptedServer([ok(BODY)]) as server:
            url = f"http://127.0.0.1:{server.port}/f"
            strict = Request(url, False, len, refused=frozenset(Locality))
            refused = loop.ask(stream, strict)
            allowed = loop.ask(stream, Request(url, False, len))
    finally:
        loop.close()

    assert "redirect to the local address 127.0.0.1" == refused.refusal
    assert (None, 200, 1) == (
        allowed.refusal,
        allowed.headers.status,
        server.connections,
    )


def test_handles_are_made_once_whatever_is_asked() -> None:
    loop = Loop()
    try:
        (stream,) = loop.transfers.make_streams(1)
        handles = (stream.door, stream.pool)
        with ScriptedServer([ok(BODY)]) as server:
            answers = [
                loop.ask(stream, Request(f"{server.url}/{n}", True, len))
                for n in range(5)
            ]
    finally:
        loop.close()

    assert handles == (stream.door, stream.pool)
    assert [1, 0, 0, 0, 0] == [answer.connections for answer in answers]
    assert 1 == server.connections
