"""Requests to doors and pools with libcurl; the only module that imports pycurl.

Runs in a worker: one CurlMulti, driven by the worker's epoll object.  Why it is as it
is: a handle made per file costs 2-8 ms, so each stream keeps its two for ever; the
wheel's libcurl sends no client certificate after a redirect and we want to see where it
goes, so hops are made by hand; CAPATH adds to CAINFO instead of replacing it.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pycurl

from dcmirror import __version__
from dcmirror.adapters.bodies import Body
from dcmirror.adapters.proxy_file import ProxyFile
from dcmirror.adapters.requests import Answer, Request, TransferOptions, Write
from dcmirror.adapters.webdav import Headers, read_headers
from dcmirror.core import diagnosis
from dcmirror.core.limits import Watch, data_seconds
from dcmirror.core.policy import locality, refusal_of

__all__ = ["Answer", "Request", "Stream", "TransferOptions", "Transfers", "Write"]

_CURL_BUFFER_BYTES = 512 * 1024
_MAX_CONNECTIONS = 64
#: What is read of an error's or a redirect's body before the connection is given up.
_IGNORED_BODY_BYTES = 64 * 1024
_CIPHERS = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
_HEADERS = ["Want-Digest: adler32"]
#: What a request has beside its URL, more or less.
_HEAD_BYTES = 80
#: Ours after a handshake whose verdict we may have lost: see ``_may_ask_why``.
_RESETS = frozenset({diagnosis.CURL_SEND, diagnosis.CURL_RECEIVE})

_EPOLL_MASKS = {
    pycurl.POLL_IN: select.EPOLLIN,
    pycurl.POLL_OUT: select.EPOLLOUT,
    pycurl.POLL_INOUT: select.EPOLLIN | select.EPOLLOUT,
}


class _LentSocket:
    """A socket for pycurl, which duplicates the descriptor and drops the object."""

    __slots__ = ("_socket",)

    def __init__(self, family: int, kind: int, protocol: int) -> None:
        self._socket = socket.socket(family, kind, protocol)

    def fileno(self) -> int:
        return self._socket.fileno()

    def __del__(self) -> None:
        self._socket.close()


class Stream:
    """One transfer at a time: a handle for the door, one for pools, and a buffer."""

    __slots__ = (
        "_ignored",
        "_lines",
        "_method",
        "body",
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
            door.setopt(pycurl.HTTPHEADER, _HEADERS)
        if method == "HEAD":
            door.setopt(pycurl.NOBODY, 1)
        elif method == "PROPFIND":
            door.setopt(pycurl.CUSTOMREQUEST, method)
            door.setopt(pycurl.HTTPHEADER, [*_HEADERS, "Depth: 0"])
        self._method = method

    def _forget(self) -> None:
        self.headers = None
        self.refusal = None
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

    def _on_body(self, chunk: bytes) -> int | None:
        """libcurl's callback; another number than the chunk's length aborts."""
        if self.headers is None:
            self._begin_body(self.read_headers())
        body = self.body
        if body.write is None:
            self._ignored += len(chunk)
            return 0 if self._ignored > _IGNORED_BODY_BYTES else None
        try:
            body.take(chunk)
        except OSError as exc:
            body.error = exc
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

    def _open_socket(self, purpose: int, address: Any) -> _LentSocket | int:
        """The last word on where a redirect leads: the address itself (G9)."""
        family, kind, protocol, name = address
        ip = name[0] if isinstance(name, tuple) else ""
        place = locality(ip)
        if place and self.request and place in self.request.refused:
            self.refusal = refusal_of(place, ip)
            return int(pycurl.SOCKET_BAD)
        return _LentSocket(family, kind, protocol)


def set_common_options(handle: Any, options: TransferOptions) -> None:
    """Everything that no request changes."""
    limits = options.limits
    handle.setopt(pycurl.NOSIGNAL, 1)
    handle.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
    handle.setopt(pycurl.FOLLOWLOCATION, 0)
    handle.setopt(pycurl.PATH_AS_IS, 1)
    handle.setopt(pycurl.BUFFERSIZE, _CURL_BUFFER_BYTES)
    handle.setopt(pycurl.TCP_NODELAY, 1)
    handle.setopt(pycurl.TCP_KEEPALIVE, 1)
    handle.setopt(pycurl.CONNECTTIMEOUT_MS, max(1, int(limits.connect_seconds * 1000)))
    handle.setopt(pycurl.USERAGENT, f"dcmirror/{__version__}")
    handle.setopt(pycurl.HTTPHEADER, _HEADERS)
    # http_proxy in the environment would see, and could redirect, every transfer.
    handle.setopt(pycurl.PROXY, "")
    handle.setopt(pycurl.TLS13_CIPHERS, _CIPHERS)
    # XRootD resets resumed sessions of proxy certificates, for ever.
    handle.setopt(pycurl.SSL_SESSIONID_CACHE, 0)
    if options.capath is not None:
        handle.setopt(pycurl.CAPATH, str(options.capath))
        handle.unsetopt(pycurl.CAINFO)


@dataclass(slots=True)
class Transfers:
    """The multi handle, its sockets in the worker's epoll object, and its streams."""

    epoll: select.epoll
    options: TransferOptions
    clock: Callable[[], float]
    _multi: Any = field(init=False)
    _sockets: set[int] = field(init=False, default_factory=set)
    _streams: list[Stream] = field(init=False, default_factory=list)
    _active: list[Stream] = field(init=False, default_factory=list)
    _aborted: list[tuple[Stream, Answer]] = field(init=False, default_factory=list)
    _due: float | None = field(init=False, default=None)
    _credential: ProxyFile = field(init=False)

    def __post_init__(self) -> None:
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_MAXCONNECTS, _MAX_CONNECTIONS)
        self._multi.setopt(pycurl.M_PIPELINING, 0)
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._on_socket)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._on_timer)
        self._credential = ProxyFile(self.options.proxy)
        self._credential.look(self.clock())

    def make_streams(self, count: int) -> list[Stream]:
        self._streams = [Stream(self.options) for _ in range(count)]
        for stream in self._streams:
            stream.use_credential(self._credential.pem)
        return list(self._streams)

    def forget_credential(self) -> None:
        """Read the proxy file again at the next request, whatever its times say."""
        self._credential.stamp = None
        self._credential.looked_at = -1.0

    def _refresh_credential(self) -> OSError | None:
        """Use the proxy file as it is now; connections made before are not reused.

        Returns why it cannot be read: nothing should be asked of a door then.
        """
        if self._credential.look(self.clock()):
            for stream in self._streams:
                stream.use_credential(self._credential.pem)
        return self._credential.error

    def start(self, stream: Stream, request: Request) -> None:
        """Begin a request; its answer comes out of ``take_finished``."""
        if request.at_door and (error := self._refresh_credential()):
            code, text = diagnosis.CURL_CERTIFICATE, f"cannot read the proxy: {error}"
            self._aborted.append((stream, Answer(Headers(), code, text)))
            return
        stream.is_retry = False
        stream.prepare(request)
        self._active.append(stream)
        self._multi.add_handle(stream.handle)

    def close(self) -> None:
        """Close all connections and handles."""
        for stream in self._streams:
            self.drop(stream)
            stream.close()
        self._multi.close()

    def owns(self, fd: int) -> bool:
        return fd in self._sockets

    def on_event(self, fd: int, events: int) -> None:
        mask = 0
        if events & select.EPOLLIN:
            mask |= pycurl.CSELECT_IN
        if events & select.EPOLLOUT:
            mask |= pycurl.CSELECT_OUT
        if events & (select.EPOLLERR | select.EPOLLHUP):
            mask |= pycurl.CSELECT_ERR
        self._multi.socket_action(fd, mask)

    @property
    def due(self) -> float | None:
        """When ``on_time`` wants to be called, on the monotonic clock."""
        return self._due

    def on_time(self, now: float) -> None:
        if self._due is not None and now >= self._due:
            self._due = None
            self._multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)

    def check_limits(self, now: float) -> None:
        """End what waits or crawls longer than it may; to be called every tick."""
        for stream in list(self._active):
            complaint = stream.watch.complaint(
                now, stream.body.received, is_connected(stream.handle)
            )
            if complaint is not None:
                self.abort(stream, complaint)

    def forgive_pause(self, now: float) -> None:
        """The loop was away (a blocking write): no stream is to blame for it."""
        for stream in self._active:
            stream.watch.restart(now)

    def abort(self, stream: Stream, why: str) -> None:
        """End a running request as a timeout; its connection is closed."""
        answer = self._answer(stream, diagnosis.CURL_TIMEOUT, why)
        self._multi.remove_handle(stream.handle)
        self._active.remove(stream)
        self._aborted.append((stream, answer))

    def drop(self, stream: Stream) -> Answer | None:
        """Forget a running request; what had come of it, for those who count."""
        self._aborted = [one for one in self._aborted if one[0] is not stream]
        if stream not in self._active:
            return None
        answer = self._answer(stream, diagnosis.CURL_TIMEOUT, "given back")
        self._multi.remove_handle(stream.handle)
        self._active.remove(stream)
        return answer

    def take_finished(self) -> list[tuple[Stream, Answer]]:
        """Requests that ended since the last call."""
        finished = self._aborted
        self._aborted = []
        while True:
            waiting, good, bad = self._multi.info_read()
            ended = [(handle, 0, "") for handle in good]
            ended.extend(bad)
            for handle, code, message in ended:
                self._multi.remove_handle(handle)
                self._end(handle.stream, code, message, finished)
            if not waiting:
                return finished

    def _end(
        self,
        stream: Stream,
        code: int,
        message: str,
        finished: list[tuple[Stream, Answer]],
    ) -> None:
        if code and not stream.is_retry and not stream.has_answer:
            is_stale = self._is_stale(stream, code)
            if is_stale or self._may_ask_why(stream, code):
                stream.prepare_retry(with_tls12=not is_stale)
                self._multi.add_handle(stream.handle)
                return
        answer = self._answer(stream, code, message)
        if stream.is_retry:
            stream.end_retry()
        self._active.remove(stream)
        finished.append((stream, answer))

    def _is_stale(self, stream: Stream, code: int) -> bool:
        """A kept connection that closed before the first byte: once more, uncharged."""
        return (
            code in diagnosis.STALE_CONNECTION
            and stream.handle.getinfo(pycurl.NUM_CONNECTS) == 0
        )

    def _may_ask_why(self, stream: Stream, code: int) -> bool:
        """Whether a reset may have been the door's verdict on our certificate.

        With TLS 1.3 the alert comes when we are done already, and the reset behind it
        can overtake it.  TLS 1.2 gives the verdict inside the handshake.
        """
        return (
            code in _RESETS
            and stream.handle is stream.door
            and self._credential.pem is not None
            and stream.handle.getinfo(pycurl.APPCONNECT_TIME) > 0
        )

    def _answer(self, stream: Stream, code: int, message: str) -> Answer:
        headers = stream.read_headers()
        body = stream.body
        if code == 0:
            code, message = self._finish_body(stream)
        elif code == diagnosis.CURL_WRITE and headers.status != 200:
            code = 0  # our own end of a body that nobody wants
        answer = Answer(
            headers,
            code,
            message,
            received=body.received,
            adler32=body.adler32,
            error=body.error,
            refusal=stream.refusal,
        )
        handle = stream.handle
        if 300 <= headers.status < 400:
            # As bytes: it is used as it comes, and may be no text at all.
            location = handle.getinfo_raw(pycurl.REDIRECT_URL)
            answer.location = location.decode("latin-1") if location else None
            answer.ip = handle.getinfo(pycurl.PRIMARY_IP)
        answer.requests = stream.requests + stream.times_sent()
        _take_times(handle, answer)
        answer.connections += stream.connections
        return answer

    def _finish_body(self, stream: Stream) -> tuple[int, str]:
        try:
            stream.body.flush()
        except OSError as exc:
            stream.body.error = exc
            return diagnosis.CURL_WRITE, str(exc)
        return 0, ""

    def _on_socket(self, what: int, fd: int, multi: Any, data: Any) -> None:
        if what == pycurl.POLL_REMOVE:
            self._sockets.discard(fd)
            self._unregister(fd)
        elif fd in self._sockets:
            self.epoll.modify(fd, _EPOLL_MASKS[what])
        else:
            self._sockets.add(fd)
            self.epoll.register(fd, _EPOLL_MASKS[what])

    def _unregister(self, fd: int) -> None:
        try:
            self.epoll.unregister(fd)
        except OSError:  # libcurl closed it first, and the kernel forgot it with that
            return

    def _on_timer(self, milliseconds: int) -> None:
        self._due = None if milliseconds < 0 else self.clock() + milliseconds / 1000


def is_connected(handle: Any) -> bool:
    """Whether the request could be sent: TCP and TLS stand."""
    return float(handle.getinfo(pycurl.PRETRANSFER_TIME)) > 0


def _take_times(handle: Any, answer: Answer) -> None:
    getinfo = handle.getinfo
    answer.connections = getinfo(pycurl.NUM_CONNECTS)
    answer.ready_ms = getinfo(pycurl.PRETRANSFER_TIME) * 1000
    answer.is_connected = answer.ready_ms > 0
    answer.first_byte_ms = getinfo(pycurl.STARTTRANSFER_TIME) * 1000
    answer.total_ms = getinfo(pycurl.TOTAL_TIME) * 1000
    if answer.connections:
        answer.connect_ms = getinfo(pycurl.CONNECT_TIME) * 1000
        secured = getinfo(pycurl.APPCONNECT_TIME) * 1000
        answer.tls_ms = max(0.0, secured - answer.connect_ms)
