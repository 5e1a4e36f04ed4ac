"""One transfer at a time, over two libcurl handles that are kept for ever.

Runs in a worker.  A handle made per file costs 2-8 ms.  The wheel's libcurl sends no
client certificate after a redirect and we want to see where it goes, so hops are made
by hand: one handle is for the door, which gets the certificate, and one for pools.
"""

from __future__ import annotations

from typing import Any

import pycurl

from dcmirror.adapters.bodies import Body
from dcmirror.adapters.curl_handle import (
    HEADERS,
    IGNORED_BODY_BYTES,
    LentSocket,
    local_trouble,
    open_socket,
    set_common_options,
    take_times,
)
from dcmirror.adapters.requests import Answer, Request, TransferOptions
from dcmirror.adapters.webdav import Headers, read_headers
from dcmirror.core import diagnosis
from dcmirror.core.limits import Watch, data_seconds
from dcmirror.core.policy import locality, refusal_of

#: What a request has beside its URL, more or less.
_HEAD_BYTES = 80


class Stream:
    """One transfer at a time: a handle for the door, one for pools, and a buffer."""

    __slots__ = (
        "_ignored",
        "_lines",
        "_method",
        "body",
        "bug",
        "connections",
        "door",
        "handle",
        "headers",
        "is_retry",
        "pool",
        "refusal",
        "request",
        "requests",
        "watch",
    )

    def __init__(self, options: TransferOptions) -> None:
        self.body = Body()
        self.headers: Headers | None = None
        self.request: Request | None = None
        self.refusal: str | None = None
        self.bug: Exception | None = None
        self.is_retry = False
        self.requests = self.connections = 0  # of the tries before this one
        self.watch = Watch(options.limits)
        self._lines: list[bytes] = []
        self._ignored = 0
        self._method = "GET"
        self.door = self._make_handle(options)
        self.pool = self._make_handle(options)
        self.pool.setopt(pycurl.OPENSOCKETFUNCTION, self._open_socket)
        if not options.keep_pool_connections:
            self.pool.setopt(pycurl.FORBID_REUSE, 1)
        self.handle = self.door

    def _make_handle(self, options: TransferOptions) -> Any:
        handle = pycurl.Curl()
        set_common_options(handle, options)
        handle.setopt(pycurl.WRITEFUNCTION, self._on_body)
        # A C function: eight header lines cost nothing until somebody asks for them.
        handle.setopt(pycurl.HEADERFUNCTION, self._lines.append)
        handle.stream = self
        return handle

    def use_credential(self, pem: bytes | None) -> None:
        """Connections are matched by these bytes: new ones never reuse old ones'."""
        if pem is not None:
            self.door.setopt(pycurl.SSLCERT_BLOB, pem)
            self.door.setopt(pycurl.SSLKEY_BLOB, pem)

    def close(self) -> None:
        self.door.close()
        self.pool.close()

    def prepare(self, request: Request) -> None:
        """Set what differs from the request before, and nothing else."""
        handle = self.door if request.at_door else self.pool
        self.requests = self.connections = 0
        self.handle = handle
        self.request = request
        handle.setopt(pycurl.URL, request.url.encode("latin-1"))
        if request.method != self._method and request.at_door:
            self._choose_method(request.method)
        self.watch.begin()
        self._forget()

    def prepare_retry(self, *, with_tls12: bool) -> None:
        """The same once more, on a new connection that is not kept."""
        self.is_retry = True
        self.requests += self.times_sent()
        self.connections += self.handle.getinfo(pycurl.NUM_CONNECTS)
        self.handle.setopt(pycurl.FRESH_CONNECT, 1)
        if with_tls12:
            self.handle.setopt(pycurl.SSLVERSION, pycurl.SSLVERSION_MAX_TLSv1_2)
        self.watch.begin()
        self._forget()

    def times_sent(self) -> int:
        """How often the request left this host in this try.

        libcurl sends it again by itself when a kept connection dies; the size that it
        tells then is that of both.
        """
        sent: int = self.handle.getinfo(pycurl.REQUEST_SIZE)
        if not sent or self.request is None:
            return 0
        return max(1, round(sent / (len(self.request.url) + _HEAD_BYTES)))

    def end_retry(self) -> None:
        self.handle.setopt(pycurl.FRESH_CONNECT, 0)
        self.handle.setopt(pycurl.SSLVERSION, pycurl.SSLVERSION_DEFAULT)

    def _choose_method(self, method: str) -> None:
        door = self.door
        door.setopt(pycurl.HTTPGET, 1)
        if self._method == "PROPFIND":
            door.unsetopt(pycurl.CUSTOMREQUEST)
            door.setopt(pycurl.HTTPHEADER, HEADERS)
        if method == "HEAD":
            door.setopt(pycurl.NOBODY, 1)
        elif method == "PROPFIND":
            door.setopt(pycurl.CUSTOMREQUEST, method)
            door.setopt(pycurl.HTTPHEADER, [*HEADERS, "Depth: 0"])
        self._method = method

    def _forget(self) -> None:
        self.headers = None
        self.refusal = None
        self.bug = None
        self._ignored = 0
        self._lines.clear()
        self.body.begin(None)

    def read_headers(self) -> Headers:
        if self.headers is None:
            self.headers = read_headers(self._lines)
        return self.headers

    @property
    def has_answer(self) -> bool:
        return bool(self._lines)

    def is_stale(self, code: int) -> bool:
        """A kept connection that closed before the first byte: once more, uncharged."""
        return (
            code in diagnosis.STALE_CONNECTION
            and self.handle.getinfo(pycurl.NUM_CONNECTS) == 0
        )

    def answer(self, code: int, message: str) -> Answer:
        """How the request ended, so far; a bug of ours ends its attempt alone."""
        if self.bug is None:
            try:
                return self._read_answer(code, message)
            except Exception as exc:  # noqa: BLE001 - the job boundary (G6)
                self.bug = exc
        return Answer(Headers(), code, message, bug=self.bug)

    def _read_answer(self, code: int, message: str) -> Answer:
        headers = self.read_headers()
        body = self.body
        if code == 0:
            code, message = self._finish_body()
        elif code == diagnosis.CURL_WRITE and headers.status != 200:
            code = 0  # our own end of a body that nobody wants
        answer = Answer(
            headers,
            code,
            message,
            received=body.received,
            adler32=body.adler32,
            error=body.error,
            refusal=self.refusal,
        )
        if code and code != diagnosis.CURL_TIMEOUT and not self.has_answer:
            answer.error = local_trouble()
        handle = self.handle
        if 300 <= headers.status < 400:
            # As bytes: it is used as it comes, and may be no text at all.
            location = handle.getinfo_raw(pycurl.REDIRECT_URL)
            answer.location = location.decode("latin-1") if location else None
            answer.ip = handle.getinfo(pycurl.PRIMARY_IP)
        answer.requests = self.requests + self.times_sent()
        take_times(handle, answer)
        answer.connections += self.connections
        return answer

    def _finish_body(self) -> tuple[int, str]:
        try:
            self.body.flush()
        except OSError as exc:
            self.body.error = exc
            return diagnosis.CURL_WRITE, str(exc)
        return 0, ""

    def _on_body(self, chunk: bytes) -> int | None:
        """libcurl's callback; another number than the chunk's length aborts."""
        body = self.body
        try:
            if self.headers is None:
                self._begin_body(self.read_headers())
            if body.write is None:
                self._ignored += len(chunk)
                return 0 if self._ignored > IGNORED_BODY_BYTES else None
            body.take(chunk)
        except OSError as exc:
            body.error = exc
            return 0
        except Exception as exc:  # noqa: BLE001 - the job boundary (G6)
            self.bug = exc  # pycurl would print it, and ``answer`` not know of it
            return 0
        most = self.watch.most_bytes
        return 0 if most is not None and body.received > most else None

    def _begin_body(self, headers: Headers) -> None:
        request = self.request
        if request is None or headers.status != 200:
            return
        self.body.write = request.write
        length = headers.content_length
        most = request.most_bytes if length is None else length
        self.watch.most_bytes = most
        self.watch.data_seconds = data_seconds(request.seconds_left, most)
        if request.expect is not None:
            request.expect(length)

    def _open_socket(self, purpose: int, address: Any) -> LentSocket | int:
        """The last word on where a redirect leads: the address itself (G9)."""
        family, kind, protocol, name = address
        ip = name[0] if isinstance(name, tuple) else ""
        place = locality(ip)
        if place and self.request and place in self.request.refused:
            self.refusal = refusal_of(place, ip)
            return int(pycurl.SOCKET_BAD)
        return open_socket(family, kind, protocol)
