"""Many transfers at once: one CurlMulti, driven by the worker's epoll object."""

from __future__ import annotations

import select
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pycurl

from dcmirror.adapters.curl_handle import is_connected
from dcmirror.adapters.curl_stream import Stream
from dcmirror.adapters.proxy_file import ProxyFile
from dcmirror.adapters.requests import Answer, Request, TransferOptions
from dcmirror.adapters.webdav import Headers
from dcmirror.core import diagnosis

_MAX_CONNECTIONS = 64
#: Ours after a handshake whose verdict we may have lost: see ``_may_ask_why``.
_RESETS = frozenset({diagnosis.CURL_SEND, diagnosis.CURL_RECEIVE})

_EPOLL_MASKS = {
    pycurl.POLL_IN: select.EPOLLIN,
    pycurl.POLL_OUT: select.EPOLLOUT,
    pycurl.POLL_INOUT: select.EPOLLIN | select.EPOLLOUT,
}


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
            cause = error if diagnosis.is_no_descriptor(error) else None
            answer = Answer(Headers(), code, text, error=cause)
            self._aborted.append((stream, answer))
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
        answer = stream.answer(diagnosis.CURL_TIMEOUT, why)
        self._multi.remove_handle(stream.handle)
        self._active.remove(stream)
        self._aborted.append((stream, answer))

    def drop(self, stream: Stream) -> Answer | None:
        """Forget a running request; what had come of it, for those who count."""
        self._aborted = [one for one in self._aborted if one[0] is not stream]
        if stream not in self._active:
            return None
        answer = stream.answer(diagnosis.CURL_TIMEOUT, "given back")
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
            is_stale = stream.is_stale(code)
            if is_stale or self._may_ask_why(stream, code):
                stream.prepare_retry(with_tls12=not is_stale)
                self._multi.add_handle(stream.handle)
                return
        answer = stream.answer(code, message)
        if stream.is_retry:
            stream.end_retry()
        self._active.remove(stream)
        finished.append((stream, answer))

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
