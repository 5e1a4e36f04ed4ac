"""Single requests to door and pool, with a deadline, for ``dcmirror check``.

The options are those of the transfers, so that what works here works there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pycurl

from dcmirror.adapters.curl_handle import set_common_options
from dcmirror.adapters.requests import TransferOptions
from dcmirror.adapters.webdav import Headers, read_headers
from dcmirror.core.limits import Limits

_MOST_BODY_BYTES = 256 * 1024
_PROPFIND_BODY = (
    b'<?xml version="1.0" encoding="utf-8"?>'
    b'<d:propfind xmlns:d="DAV:"><d:prop><d:resourcetype/></d:prop></d:propfind>'
)
_PROPFIND_HEADERS = ["Depth: 0", "Content-Type: application/xml"]


@dataclass(slots=True)
class ProbeAnswer:
    """How a request ended; ``curl_code`` 0 means that there was an answer."""

    headers: Headers = field(default_factory=Headers)
    curl_code: int = 0
    message: str = ""
    location: str | None = None
    ip: str = ""
    body: bytes = b""
    seconds: float = 0.0
    is_connected: bool = False


@dataclass(frozen=True, slots=True)
class Prober:
    """Asks one thing at a time; ``seconds`` bounds each."""

    proxy: Path | None
    capath: Path | None
    seconds: float

    def propfind(self, url: str) -> ProbeAnswer:
        """Whether the door shows a directory (depth 0)."""
        handle = self._handle(url, at_door=True)
        handle.setopt(pycurl.CUSTOMREQUEST, "PROPFIND")
        handle.setopt(pycurl.POSTFIELDS, _PROPFIND_BODY)
        handle.setopt(pycurl.HTTPHEADER, _PROPFIND_HEADERS)
        return _perform(handle)

    def get(self, url: str, *, at_door: bool) -> ProbeAnswer:
        """Begin a download and leave it after the first bytes."""
        return _perform(self._handle(url, at_door=at_door))

    def _handle(self, url: str, *, at_door: bool) -> pycurl.Curl:
        limits = Limits(self.seconds, self.seconds, 0, self.seconds)
        options = TransferOptions(proxy=self.proxy, capath=self.capath, limits=limits)
        handle = pycurl.Curl()
        set_common_options(handle, options)
        handle.setopt(pycurl.URL, url)
        handle.setopt(pycurl.TIMEOUT_MS, int(self.seconds * 1000))
        if at_door and self.proxy is not None:
            handle.setopt(pycurl.SSLCERT, str(self.proxy))
            handle.setopt(pycurl.SSLKEY, str(self.proxy))
        return handle


def _perform(handle: pycurl.Curl) -> ProbeAnswer:
    answer = ProbeAnswer()
    lines: list[bytes] = []
    body = bytearray()

    def take(chunk: bytes) -> int | None:
        body.extend(chunk)
        return 0 if len(body) > _MOST_BODY_BYTES else None

    handle.setopt(pycurl.HEADERFUNCTION, lines.append)
    handle.setopt(pycurl.WRITEFUNCTION, take)
    try:
        handle.perform()
    except pycurl.error as error:
        answer.curl_code, answer.message = error.args
    answer.headers = read_headers(lines)
    if answer.curl_code == pycurl.E_WRITE_ERROR:
        answer.curl_code = 0  # our own end of a body that nobody wants
    answer.location = handle.getinfo(pycurl.REDIRECT_URL)
    answer.ip = handle.getinfo(pycurl.PRIMARY_IP)
    answer.is_connected = handle.getinfo(pycurl.CONNECT_TIME) > 0
    answer.seconds = handle.getinfo(pycurl.TOTAL_TIME)
    answer.body = bytes(body)
    handle.close()
    return answer
