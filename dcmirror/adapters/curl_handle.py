"""libcurl handles: the options that no request changes, and what they tell later."""

from __future__ import annotations

import socket
from typing import Any

import pycurl

from dcmirror import __version__
from dcmirror.adapters.requests import Answer, TransferOptions
from dcmirror.core.http_values import WANT_DIGEST

#: Sent unless a request sets others.
HEADERS = (WANT_DIGEST,)
#: What is read of a body that nobody wants (an error's, a redirect's) before the
#: connection is given up.
IGNORED_BODY_BYTES = 64 * 1024
_CURL_BUFFER_BYTES = 512 * 1024
_CIPHERS = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"


class LentSocket:
    """A socket for pycurl, which duplicates the descriptor and drops the object."""

    __slots__ = ("_socket",)

    def __init__(self, family: int, kind: int, protocol: int) -> None:
        self._socket = socket.socket(family, kind, protocol)

    def fileno(self) -> int:
        return self._socket.fileno()

    def __del__(self) -> None:
        self._socket.close()


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
