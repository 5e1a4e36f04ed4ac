"""Single requests to a door whose answers are read as they come in.

One thread, one request at a time: nothing is received while the reader is elsewhere, so
that an answer of any length needs no memory.  The options are those of the transfers.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pycurl

from dcmirror.adapters.curl_handle import (
    IGNORED_BODY_BYTES,
    LentSocket,
    is_connected,
    open_socket,
    set_common_options,
)
from dcmirror.adapters.proxy_file import ProxyFile
from dcmirror.adapters.requests import Answer, TransferOptions
from dcmirror.adapters.webdav import Headers, read_headers
from dcmirror.core import diagnosis
from dcmirror.core.limits import Watch

#: So much, a few times over, is in memory however long an answer is.
_BUFFER_BYTES = 64 * 1024
#: How long a stop, or a limit that is reached, may go unnoticed.
_TICK_SECONDS = 0.25
_RESETS = frozenset({diagnosis.CURL_SEND, diagnosis.CURL_RECEIVE})


@dataclass(frozen=True, slots=True)
class Question:
    """A request; the body of an answer with ``wanted_status`` is handed on.

    ``may_repeat``: it does no harm to be sent once more when a connection breaks before
    anything was answered; libcurl does so by itself when the connection was a kept one.
    """

    method: str
    url: str
    headers: tuple[str, ...] = ()
    body: bytes = b""
    wanted_status: int = 0
    may_repeat: bool = True


class CurlLine:
    """A connection to the door that is kept, and the request that is on it."""

    def __init__(
        self,
        options: TransferOptions,
        is_stopped: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.requests = 0
        self.answer = Answer(Headers())
        self._is_stopped = is_stopped
        self._clock = clock
        self._credential = ProxyFile(options.proxy)
        self._watch = Watch(options.limits)
        self._lines: list[bytes] = []
        self._pieces: list[bytes] = []
        self._received = 0
        self._status: int | None = None
        self._ended: tuple[int, str] | None = None
        self._is_sent = self._is_closed = False
        self._wanted_status = 0
        self._socket = -1
        self._multi = pycurl.CurlMulti()
        self._handle = self._make_handle(options)

    def _make_handle(self, options: TransferOptions) -> Any:
        handle = pycurl.Curl()
        set_common_options(handle, options)
        handle.setopt(pycurl.BUFFERSIZE, _BUFFER_BYTES)
        handle.setopt(pycurl.HEADERFUNCTION, self._lines.append)
        handle.setopt(pycurl.WRITEFUNCTION, self._on_body)
        handle.setopt(pycurl.OPENSOCKETFUNCTION, self._open_socket)
        handle.setopt(pycurl.DEBUGFUNCTION, self._on_progress)
        return handle

    def close(self) -> None:
        """Hang up, in the middle of an answer too."""
        self._is_closed = True
        self._handle.close()
        self._multi.close()

    def ask(self, question: Question) -> Iterator[bytes]:
        """Pieces of the answer's body; at the end ``answer`` says how it went.

        Whoever stops reading early has dropped the request.
        """
        if (error := self._refresh_credential()) is not None:
            code, text = diagnosis.CURL_CERTIFICATE, f"cannot read the proxy: {error}"
            self.answer = Answer(Headers(), code, text, is_connected=False)
            return
        self._prepare(question)
        yield from self._exchange()
        if question.may_repeat and self._should_repeat():
            self._handle.setopt(pycurl.FRESH_CONNECT, 1)
            yield from self._exchange()

    def _refresh_credential(self) -> OSError | None:
        """Connections are matched by these bytes: new ones never reuse old ones'."""
        if self._credential.look(self._clock()) and self._credential.pem is not None:
            self._handle.setopt(pycurl.SSLCERT_BLOB, self._credential.pem)
            self._handle.setopt(pycurl.SSLKEY_BLOB, self._credential.pem)
        return self._credential.error

    def _prepare(self, question: Question) -> None:
        handle = self._handle
        self._wanted_status = question.wanted_status
        handle.setopt(pycurl.URL, question.url.encode("latin-1"))
        handle.setopt(pycurl.HTTPHEADER, list(question.headers))
        handle.setopt(pycurl.SSLVERSION, pycurl.SSLVERSION_DEFAULT)
        is_once = not question.may_repeat
        handle.setopt(pycurl.VERBOSE, is_once)
        handle.setopt(pycurl.FRESH_CONNECT, is_once and self._has_news())
        handle.setopt(pycurl.HTTPGET, 1)
        handle.unsetopt(pycurl.CUSTOMREQUEST)
        if question.method == "HEAD":
            handle.setopt(pycurl.NOBODY, 1)
        elif question.method != "GET":
            if question.body:
                handle.setopt(pycurl.POSTFIELDS, question.body)
            handle.setopt(pycurl.CUSTOMREQUEST, question.method)

    def _has_news(self) -> bool:
        """Whether the kept connection has something to say: it can only be its end.

        libcurl itself looks no more often than once a second.
        """
        if self._socket < 0:
            return False
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return bool(poll.poll(0))

    def _exchange(self) -> Iterator[bytes]:
        self._begin()
        code, message = diagnosis.CURL_TIMEOUT, "given up"
        self._multi.add_handle(self._handle)
        try:
            while (ended := self._drive()) is None or self._pieces:
                yield from self._take_pieces()
            code, message = ended
        finally:
            if not self._is_closed:
                self.answer = self._make_answer(code, message)
                self._socket = self._handle.getinfo(pycurl.ACTIVESOCKET)
                self._multi.remove_handle(self._handle)

    def _begin(self) -> None:
        self.requests += 1
        self._lines.clear()
        self._pieces.clear()
        self._received = 0
        self._status = None
        self._ended = None
        self._is_sent = False
        self._watch.begin()

    def _drive(self) -> tuple[int, str] | None:
        """Let it go on for a moment; how it ended, None if it has not."""
        if self._ended is None:
            self._multi.perform()
            self._ended = self._how_it_ended()
        if self._ended is None:
            if not self._pieces:
                self._wait()
            self._ended = self._complaint()
        return self._ended

    def _wait(self) -> None:
        began = self._clock()
        if self._multi.select(_TICK_SECONDS) < 1 and self._clock() - began < 0.001:
            time.sleep(0.002)  # nothing to wait for yet, while a name is looked up

    def _how_it_ended(self) -> tuple[int, str] | None:
        _, good, bad = self._multi.info_read()
        if bad:
            _, code, message = bad[0]
            if code == diagnosis.CURL_WRITE:  # our own end of a body nobody wants
                return 0, ""
            if code == diagnosis.CURL_CONNECT and self._is_sent:
                return diagnosis.CURL_GOT_NOTHING, "the connection broke"
            return code, message
        return (0, "") if good else None

    def _complaint(self) -> tuple[int, str] | None:
        if self._is_stopped():
            return diagnosis.CURL_TIMEOUT, "given up: we are told to stop"
        complaint = self._watch.complaint(
            self._clock(), self._received, is_connected(self._handle)
        )
        return None if complaint is None else (diagnosis.CURL_TIMEOUT, complaint)

    def _take_pieces(self) -> Iterator[bytes]:
        if not self._pieces:
            return
        pieces = self._pieces.copy()
        self._pieces.clear()
        began = self._clock()
        yield from pieces
        now = self._clock()
        if now - began > _TICK_SECONDS:  # that was the reader and not the door
            self._watch.restart(now)

    def _on_body(self, piece: bytes) -> int | None:
        """libcurl's callback; another number than the piece's length aborts."""
        if self._status is None:
            self._status = read_headers(self._lines).status
        self._received += len(piece)
        if self._status == self._wanted_status:
            self._pieces.append(piece)
            return None
        return 0 if self._received > IGNORED_BODY_BYTES else None

    def _on_progress(self, kind: int, _: bytes) -> None:
        """libcurl's callback for what must not be sent twice."""
        if kind == pycurl.INFOTYPE_HEADER_OUT:
            self._is_sent = True

    def _open_socket(self, purpose: int, address: Any) -> LentSocket | int:
        """libcurl's callback; once such a request has left, it gets no second chance.

        Forbidding libcurl to use a kept connection would do too, but a handshake
        between looking at a file and deleting it is time for somebody to replace it.
        """
        if self._is_sent:
            return int(pycurl.SOCKET_BAD)
        family, kind, protocol, _ = address
        return open_socket(family, kind, protocol)

    def _should_repeat(self) -> bool:
        """Closed while it was idle; or reset, maybe with a verdict that got lost.

        TLS 1.2 gives the verdict on our certificate inside the handshake.
        """
        code = self.answer.curl_code
        if code == 0 or self._lines or self._is_stopped():
            return False
        if code in diagnosis.STALE_CONNECTION and self.answer.connections == 0:
            return True
        if code not in _RESETS or self._credential.pem is None:
            return False
        self._handle.setopt(pycurl.SSLVERSION, pycurl.SSLVERSION_MAX_TLSv1_2)
        return self.answer.tls_ms > 0

    def _make_answer(self, code: int, message: str) -> Answer:
        getinfo = self._handle.getinfo
        answer = Answer(read_headers(self._lines), code, message)
        answer.received = self._received
        answer.connections = getinfo(pycurl.NUM_CONNECTS)
        answer.is_connected = self._is_sent or is_connected(self._handle)
        answer.tls_ms = getinfo(pycurl.APPCONNECT_TIME) * 1000
        answer.total_ms = getinfo(pycurl.TOTAL_TIME) * 1000
        if 300 <= answer.headers.status < 400:
            location = self._handle.getinfo_raw(pycurl.REDIRECT_URL)
            answer.location = location.decode("latin-1") if location else None
            answer.ip = getinfo(pycurl.PRIMARY_IP)
        return answer
