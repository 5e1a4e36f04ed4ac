"""One request to a door or a pool, and how it ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dcmirror.adapters.webdav import Headers
from dcmirror.core.checksums import ADLER32_START
from dcmirror.core.limits import Limits
from dcmirror.core.policy import Locality

Write = Callable[[memoryview], object]
#: Takes the length of a body that is about to come, None where nobody says it.
Expect = Callable[[int | None], object]


@dataclass(slots=True)
class Request:
    """One request of an attempt.

    ``write`` takes the body of a 200; other bodies are ignored.  ``expect`` is called
    before its first byte is written, and may refuse it by an OSError.  ``most_bytes``
    bounds a body that does not say its length.  ``seconds_left`` is what this attempt
    has left of ``timeout``; ``refused`` are kinds of addresses that the name must not
    resolve to.  The URL may hold a one-time right and is never logged.
    """

    url: str
    at_door: bool
    write: Write | None = None
    most_bytes: int | None = None
    seconds_left: float | None = None
    refused: frozenset[Locality] = frozenset()
    method: str = "GET"
    expect: Expect | None = None


@dataclass(slots=True)
class Answer:
    """How a request ended; ``curl_code`` 0 means that there was a whole answer.

    ``requests`` is how often it was sent: not at all, once, or again on another
    connection.  Times are milliseconds since the request began, ``first_byte_ms`` 0 if
    none came.  ``bug`` is what kept us from reading the rest of it.
    """

    headers: Headers
    curl_code: int = 0
    message: str = ""
    location: str | None = None
    ip: str = ""
    received: int = 0
    adler32: int = ADLER32_START
    requests: int = 0
    connections: int = 0
    is_connected: bool = True
    connect_ms: float = 0.0
    tls_ms: float = 0.0
    ready_ms: float = 0.0
    first_byte_ms: float = 0.0
    total_ms: float = 0.0
    error: OSError | None = None
    refusal: str | None = None
    bug: Exception | None = None


@dataclass(frozen=True, slots=True)
class TransferOptions:
    """What all requests of a worker have in common."""

    proxy: Path | None
    capath: Path | None
    limits: Limits
    keep_pool_connections: bool = False
