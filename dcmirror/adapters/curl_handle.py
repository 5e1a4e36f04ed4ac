"""libcurl handles: the options that no request changes, and what they tell later."""

from __future__ import annotations

import errno
import os
import socket
from typing import Any

import pycurl

from dcmirror import __version__
from dcmirror.adapters import linux
from dcmirror.adapters.requests import Answer, TransferOptions
from dcmirror.core.http_values import WANT_DIGEST

#: Sent unless a request sets others.
HEADERS = (WANT_DIGEST,)
#: What is read of a body that nobody wants (an error's, a redirect's) before the
#: connection is given up.
IGNORED_BODY_BYTES = 64 * 1024
#: So few descriptors are none: streams that failed together have just closed theirs.
_RESERVE = 32
_CURL_BUFFER_BYTES = 512 * 1024
_CIPHERS = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"


class LentSocket:
    """A socket for pycurl, which duplicates the descriptor and drops the object."""

    __slots__ = ("_socket",)

    def __init__(self, made: socket.socket) -> None:
        self._socket = made

    def fileno(self) -> int:
        return self._socket.fileno()

    def __del__(self) -> None:
        self._socket.close()


def open_socket(family: int, kind: int, protocol: int) -> LentSocket | int:
    """What libcurl's callback for a socket returns."""
    try:
        return LentSocket(socket.socket(family, kind, protocol))
    except OSError:  # pycurl would print it; ``local_trouble`` finds out why
        return int(pycurl.SOCKET_BAD)


def local_trouble() -> OSError | None:
    """What may have kept a request from leaving though nobody else is to blame.

    Without descriptors libcurl cannot connect, look a name up or read certificates, and
    says just that.  By then it has closed what it had: those few count as missing.
    """
    if linux.is_short_of_descriptors(_RESERVE):
        return OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    return None


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
    handle.setopt(pycurl.HTTPHEADER, HEADERS)
    # http_proxy in the environment would see, and could redirect, every transfer.
    handle.setopt(pycurl.PROXY, "")
    handle.setopt(pycurl.TLS13_CIPHERS, _CIPHERS)
    # XRootD resets resumed sessions of proxy certificates, for ever.
    handle.setopt(pycurl.SSL_SESSIONID_CACHE, 0)
    if options.capath is not None:
        handle.setopt(pycurl.CAPATH, str(options.capath))
        handle.unsetopt(pycurl.CAINFO)  # else CAPATH adds to it


def is_connected(handle: Any) -> bool:
    """Whether the request could be sent: TCP and TLS stand."""
    return float(handle.getinfo(pycurl.PRETRANSFER_TIME)) > 0


def take_times(handle: Any, answer: Answer) -> None:
    """How long what took, and whether a connection was made for it."""
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
