"""What the answers of doors and pools say in their headers.

Header lines are bytes and may hold raw latin-1 (dCache's ``Content-Location`` does), so
nothing here trusts them to decode, and nothing is fatal: what cannot be read is absent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from dcmirror.core.checksums import parse_digest
from dcmirror.core.http_values import pnfsid_of_etag, read_date, size_of

_STATUS = re.compile(r"[0-9]{3}\Z")
_REASON = re.compile(r"[A-Za-z0-9 ,.;:'()/-]{1,80}\Z")
_SECRET = re.compile(r"uuid|token|authz|http", re.IGNORECASE)
_WANTED = frozenset(
    {
        b"content-length",
        b"digest",
        b"repr-digest",
        b"etag",
        b"last-modified",
        b"retry-after",
    }
)


@dataclass(slots=True)
class Headers:
    """The last header block of an answer, as far as a copy needs it."""

    status: int = 0
    reason: str = ""
    content_length: int | None = None
    adler32: int | None = None
    pnfsid: str | None = None
    modified: str | None = None
    retry_after: str | None = None

    @property
    def last_modified(self) -> float | None:
        """Seconds since the epoch; read only when somebody asks."""
        return read_date(self.modified) if self.modified else None


def read_headers(lines: Iterable[bytes]) -> Headers:
    """Read header lines as libcurl hands them over, interim answers (1xx) included."""
    headers = Headers()
    for line in lines:
        wanted = _read_line(line)
        if wanted is not None:
            _take(headers, *wanted)
        elif line[:5] == b"HTTP/":
            headers = Headers(*_read_status(line))
    return headers


@lru_cache(maxsize=128)
def _read_line(line: bytes) -> tuple[bytes, str] | None:
    """Name and value of a header that a copy needs.

    Of ten lines eight are those of the answer before.
    """
    name, _, value = line.partition(b":")
    name = name.lower()
    return (name, value.strip().decode("latin-1")) if name in _WANTED else None


@lru_cache(maxsize=64)
def _read_status(line: bytes) -> tuple[int, str]:
    parts = line.decode("latin-1").split(None, 2)
    digits = parts[1] if len(parts) > 1 else ""
    status = int(digits) if _STATUS.match(digits) else 0
    return status, _safe_reason(parts[2]) if len(parts) > 2 else ""


def _safe_reason(text: str) -> str:
    """The reason phrase if it is plain words; never one that might hold a secret."""
    text = text.strip()
    return text if _REASON.match(text) and not _SECRET.search(text) else ""


def _take(headers: Headers, name: bytes, value: str) -> None:
    if name == b"content-length":
        headers.content_length = size_of(value)
    elif name in (b"digest", b"repr-digest"):
        # dCache 12 may answer Want-Digest under the other header's name.
        found = parse_digest(value)
        headers.adler32 = headers.adler32 if found is None else found
    elif name == b"etag":
        headers.pnfsid = pnfsid_of_etag(value)
    elif name == b"last-modified":
        headers.modified = value
    else:
        headers.retry_after = value
