"""What a curl code, an HTTP status or an errno means: which failure class it is.

The curl codes are libcurl's documented numbers, so that no library is needed here.
"""

from __future__ import annotations

import errno
import re

from dcmirror.core.failures import FailureClass

CURL_RESOLVE_PROXY = 5
CURL_RESOLVE = 6
CURL_CONNECT = 7
CURL_PARTIAL_FILE = 18
CURL_WRITE = 23
CURL_TIMEOUT = 28
CURL_TLS_CONNECT = 35
CURL_GOT_NOTHING = 52
CURL_SEND = 55
CURL_RECEIVE = 56
CURL_CERTIFICATE = 58
CURL_PEER_CERTIFICATE = 60
CURL_CA = 77

#: What a connection that the server closed while it was idle looks like (facts 3.1).
STALE_CONNECTION = frozenset(
    {CURL_GOT_NOTHING, CURL_SEND, CURL_RECEIVE, CURL_PARTIAL_FILE}
)

# With TLS 1.3 the server's verdict on our certificate comes after the handshake, as an
# alert in what looks like a network error.
_CERTIFICATE_ALERT = re.compile(
    r"certificate (expired|unknown|required|revoked)|bad certificate|unknown ca"
    r"|unsupported certificate|access denied",
    re.IGNORECASE,
)
# libcurl's words for the alert "certificate expired", which it counts as a failed
# verification; about the server's own certificate it says what the problem is.
_OUR_CERTIFICATE = "SSL certificate verification failed"
_ALERT_CODES = frozenset({CURL_TLS_CONNECT, CURL_SEND, CURL_RECEIVE})

_DESTINATION_ERRNOS = frozenset(
    {
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EROFS,
        errno.EIO,
        errno.ENODEV,
        errno.ESTALE,
        errno.ENXIO,
        errno.ENOTCONN,
        errno.ETIMEDOUT,
    }
)

_NO_ROOM_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT})
# Of one directory, or of the mirror itself: who meets them has to look.
_UNCLEAR_ERRNOS = frozenset({errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.ELOOP})

_BY_STATUS = {
    401: FailureClass.CREDENTIAL,
    403: FailureClass.FORBIDDEN,
    404: FailureClass.NOT_THERE,
    410: FailureClass.REMOVED,
    500: FailureClass.NOT_THERE,
}


def of_status(status: int, *, at_door: bool = True) -> FailureClass:
    """The class of an HTTP status that is neither success nor redirect.

    A 401 of a pool says nothing of our credential, which a pool never sees.
    """
    if status == 401 and not at_door:
        return FailureClass.TRANSIENT
    return _BY_STATUS.get(status, FailureClass.TRANSIENT)


def of_curl(
    code: int, message: str, *, at_door: bool = True, is_connected: bool = True
) -> FailureClass:
    """The class of a libcurl error; ``is_connected`` tells timeouts apart."""
    if at_door and code == CURL_PEER_CERTIFICATE and message == _OUR_CERTIFICATE:
        return FailureClass.CREDENTIAL
    if code in (CURL_RESOLVE_PROXY, CURL_RESOLVE, CURL_CONNECT, CURL_PEER_CERTIFICATE):
        return FailureClass.HOST
    if code == CURL_TIMEOUT and not is_connected:
        return FailureClass.HOST
    if code in (CURL_CERTIFICATE, CURL_CA):
        return FailureClass.CREDENTIAL
    if at_door and code in _ALERT_CODES and _CERTIFICATE_ALERT.search(message):
        return FailureClass.CREDENTIAL
    return FailureClass.TRANSIENT


def is_no_descriptor(error: OSError) -> bool:
    """Whether it says nothing but that this process, or host, has too much open."""
    return error.errno in (errno.EMFILE, errno.ENFILE)


def of_errno(number: int | None) -> FailureClass:
    """The class of an OSError at the destination.

    What is the file system's is held; what is one file's (no permission in its
    directory, a directory in its place) is tried again and then reported.
    """
    if number in _DESTINATION_ERRNOS:
        return FailureClass.DESTINATION
    return FailureClass.TRANSIENT


def is_want_of_room(number: int | None) -> bool:
    """Whether a smaller file might have been taken."""
    return number in _NO_ROOM_ERRNOS


def may_be_everywhere(number: int | None) -> bool:
    """Whether what stopped one file may stop all: only a write elsewhere can tell."""
    return number in _UNCLEAR_ERRNOS
