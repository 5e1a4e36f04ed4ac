"""What the fake's door and pools share: namespace, movers, faults, events, the log."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import parse_qs, quote, unquote_to_bytes, urlsplit

from dcmirror.testing.fake_events import Billing, Movement
from dcmirror.testing.fake_faults import Faults
from dcmirror.testing.fake_http import Exchange
from dcmirror.testing.fake_movers import Movers
from dcmirror.testing.fake_namespace import Namespace, parent

SERVER = "dCache/11.2.5"
# dCache leaves these as they are, where a strict client would encode more of them
_UNENCODED = "/!$&'()*+,;=:@~-._"
_FORBIDDEN = frozenset('"<>\\^`{|} #')


class Ended(NamedTuple):
    """What is kept of an answer: its exchange would keep the connection."""

    status: int
    sent: int


@dataclass(slots=True)
class RequestSeen:
    """One request as it came, and what was answered."""

    number: int
    at: float
    server: str
    method: str
    path: str
    target: str
    who: str | None
    connection: int
    headers: Mapping[str, str]
    answer: Exchange | Ended
    fault: str | None = None

    @property
    def status(self) -> int:
        """As soon as the client may know it; 0: without an answer."""
        return self.answer.status

    @property
    def sent(self) -> int:
        return self.answer.sent


class RequestLog:
    """The newest 200,000 requests, and counters of all."""

    def __init__(self) -> None:
        self.counters: Counter[str] = Counter()
        self._seen: deque[RequestSeen] = deque(maxlen=200_000)
        self._number = 0
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[RequestSeen]:
        return iter(self.all())

    def all(self) -> list[RequestSeen]:
        with self._lock:
            return list(self._seen)

    def of(
        self, method: str = "", path: str = "", server: str = ""
    ) -> list[RequestSeen]:
        """Those with this method, path and server ("door" or "pool"); "" is any."""
        return [
            seen
            for seen in self.all()
            if method in ("", seen.method)
            and path in ("", seen.path)
            and seen.server.startswith(server)
        ]

    def begin(
        self, server: str, exchange: Exchange, path: str, who: str | None
    ) -> RequestSeen:
        head = exchange.head
        with self._lock:
            self._number += 1
            seen = RequestSeen(
                number=self._number,
                at=time.time(),
                server=server,
                method=head.method,
                path=path,
                target=head.target,
                who=who,
                connection=exchange.connection.id,
                headers=head.headers,
                answer=exchange,
            )
            self._seen.append(seen)
        return seen

    def end(self, seen: RequestSeen, exchange: Exchange) -> None:
        """Note how it ended."""
        seen.answer = Ended(exchange.status, exchange.sent)
        kind = "door" if seen.server == "door" else "pool"
        with self._lock:
            self.counters[f"{kind} {seen.method} {seen.status}"] += 1
            self.counters[f"{kind} bytes"] += seen.sent

    def clear(self) -> None:
        with self._lock:
            self._seen.clear()
            self.counters.clear()


@dataclass(frozen=True, slots=True)
class Deletion:
    """A file that a DELETE at the door has really removed.

    ``adler32`` is that of its bytes, whether dCache had stored it or not.
    """

    path: str
    pnfsid: str
    size: int
    adler32: int


@dataclass(frozen=True, slots=True)
class Quota:
    """What a space reservation has left, and what it holds, in bytes."""

    available: int
    used: int


@dataclass(frozen=True, slots=True)
class Site:
    """The one dCache that door and pools are parts of.

    ``root`` is the namespace directory that the door shows as ``/``.  ``quotas`` are
    those of directories with a write token, which all below inherit.  ``watchers`` are
    called with the path when the door is about to carry out a method.
    """

    root: str
    namespace: Namespace
    movers: Movers
    faults: Faults
    billing: Billing
    clock: Callable[[], float] = time.time
    log: RequestLog = field(default_factory=RequestLog)
    deletions: list[Deletion] = field(default_factory=list)
    quotas: dict[str, Quota] = field(default_factory=dict)
    watchers: dict[str, Callable[[str], object]] = field(default_factory=dict)

    def quota_of(self, path: str) -> Quota | None:
        """That of the nearest directory upwards that has one."""
        while path not in self.quotas and path != "/":
            path = parent(path)
        return self.quotas.get(path)

    def path_of(self, url_path: str) -> str:
        """The namespace path of a URL's (encoded) path; ValueError for bad ones."""
        if not url_path.startswith("/") or _FORBIDDEN & set(url_path):
            raise ValueError(url_path)
        if not url_path.isascii():
            raise ValueError(url_path)
        text = unquote_to_bytes(url_path).decode("utf-8", "surrogateescape")
        return f"{self.root}{text}".rstrip("/") or "/"

    def url_path_of(self, path: str) -> str:
        """The encoded URL path of a namespace path below the root, dCache's way."""
        below = path.removeprefix(self.root)
        return quote(below or "/", safe=_UNENCODED, errors="surrogateescape")

    def failed_request(
        self, path: str, pnfsid: str, size: int, who: str, code: int, message: str
    ) -> None:
        """A door gave up before a mover ran: one `request` without moverInfo."""
        self.billing.refused(
            Movement(
                path=path,
                pnfsid=pnfsid,
                size=size,
                is_write=False,
                session=self.billing.door_session(),
                started=self.clock(),
                owner=who,
                code=code,
                message=message,
            )
        )


def split_target(target: str) -> tuple[str, dict[str, str]]:
    """A request target's path, still encoded, and its query."""
    parts = urlsplit(f"http://x{target}" if target.startswith("/") else target)
    query = {key: values[0] for key, values in parse_qs(parts.query).items()}
    return parts.path or "/", query
