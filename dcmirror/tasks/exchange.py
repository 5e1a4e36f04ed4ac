"""The requests of one attempt: from the door to the bytes, hop by hop (DESIGN 5.6).

Runs in a worker.  Generators: they yield a ``Request`` and get its ``Answer`` back, so
that the loop can drive several attempts at once.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field

from dcmirror.adapters.requests import Answer, Expect, Request, Write
from dcmirror.core import diagnosis
from dcmirror.core.failures import Failure, FailureClass
from dcmirror.core.http_values import REDIRECTS, retry_after_seconds
from dcmirror.core.jobs import HostUse, Job
from dcmirror.core.policy import (
    MAX_HOPS,
    Locality,
    Place,
    check_redirect,
    place_of,
    refused_localities,
)
from dcmirror.core.verification import Source
from dcmirror.errors import DcmirrorError

DOOR, POOL = "door", "pool"
_NO_HEAD = frozenset({405, 501})


class AttemptFailed(DcmirrorError):
    """This attempt is over; ``failure`` says why and whose fault it is.

    ``error`` is what the mirror said, where it was the mirror.
    """

    def __init__(self, failure: Failure, error: OSError | None = None) -> None:
        super().__init__(failure.message)
        self.failure = failure
        self.error = error


class NoDescriptor(DcmirrorError):
    """This process has too much open: no fault of the file, a host or the mirror."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The settings that rule an exchange."""

    redirect_schemes: Sequence[str]
    redirect_hosts: Sequence[str]
    timeout: float


@dataclass(slots=True)
class Exchange:
    """What one attempt asked, whom, and how long each part of it took."""

    job: Job
    rules: Rules
    wall: Callable[[], float]
    enter: Callable[[str], None]
    door: Place = field(init=False)
    pool: Place | None = None
    http_status: int | None = None
    received: int = 0
    phases: dict[str, float] = field(default_factory=dict)
    _use: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    _asked: tuple[Place, str] = field(init=False)
    _door_ip: str | None = None
    _spent_seconds: float = 0.0

    def __post_init__(self) -> None:
        place = place_of(self.job.url)
        if place is None:
            raise _failed(FailureClass.TRANSIENT, f"not a URL: {self.job.url}")
        self.door = place
        self._asked = place, DOOR

    @property
    def hosts(self) -> tuple[HostUse, ...]:
        """What was asked of whom."""
        return tuple((*key, *use) for key, use in self._use.items())  # type: ignore[misc]

    def head(self, phase: str = "door") -> Generator[Request, Answer, Source]:
        """Ask the door what the file is now."""
        self.enter(phase)
        self._asked = self.door, DOOR
        answer = yield Request(self.job.url, at_door=True, method="HEAD")
        self.count(answer)
        self._time(answer, phase)
        status = answer.headers.status
        if status in _NO_HEAD:
            return Source()
        if answer.curl_code or status != 200:
            raise self._failure(answer, self.door, at_door=True)
        headers = answer.headers
        return Source(headers.pnfsid, headers.content_length, headers.adler32)

    def get(
        self, write: Write, most_bytes: int | None, expect: Expect
    ) -> Generator[Request, Answer, Answer]:
        """Fetch the file; returns the answer that carried the whole body."""
        url, place, at_door = self.job.url, self.door, True
        for _ in range(MAX_HOPS + 1):
            phase = "door" if at_door else "pool_queue"
            self.enter(phase)
            self._asked = place, DOOR if at_door else POOL
            request = self._request(url, at_door, write, most_bytes)
            request.expect = expect
            answer = yield request
            self.count(answer)
            self._time(answer, phase, is_body=True)
            status = answer.headers.status
            if answer.curl_code or answer.refusal:
                raise self._failure(answer, place, at_door=at_door)
            if status == 200:
                return answer
            url, place, at_door = self._next(answer, place, at_door=at_door)
        raise _failed(
            FailureClass.REDIRECT, f"more than {MAX_HOPS} redirects", place.name, status
        )

    def _request(
        self, url: str, at_door: bool, write: Write, most_bytes: int | None
    ) -> Request:
        timeout = self.rules.timeout
        left = timeout - self._spent_seconds if timeout > 0 else None
        # The name was checked already; this is about what it resolves to.
        refused: frozenset[Locality] = frozenset()
        if not at_door:
            refused = refused_localities(self.job.url, self._door_ip)
        return Request(url, at_door, write, most_bytes, left, refused)

    def _next(
        self, answer: Answer, place: Place, *, at_door: bool
    ) -> tuple[str, Place, bool]:
        """Where a redirect leads; a stale one-time id leads back to the door."""
        status = answer.headers.status
        if status == 400 and not at_door:
            return self.job.url, self.door, True
        if status not in REDIRECTS or not answer.location:
            raise self._failure(answer, place, at_door=at_door)
        if at_door:
            self._door_ip = answer.ip
        target = place_of(answer.location)
        if target == self.door:
            return (answer.location if at_door else self.job.url), self.door, True
        refusal = check_redirect(
            self.job.url,
            answer.location,
            self.rules.redirect_schemes,
            self.rules.redirect_hosts,
            door_ip=self._door_ip,
        )
        if refusal is not None or target is None:
            raise _failed(FailureClass.REDIRECT, refusal or "", place.name, status)
        self.pool = target
        return answer.location, target, False

    def count(self, answer: Answer) -> None:
        """Put an answer, or what there is of it, on the account of who was asked."""
        place, role = self._asked
        use = self._use.setdefault((place.name, role), [0, 0, 0])
        use[0] += answer.requests
        use[1] += answer.connections
        use[2] += answer.received
        self.received += answer.received

    def _time(self, answer: Answer, phase: str, *, is_body: bool = False) -> None:
        self.http_status = answer.headers.status or None
        self._spend("connect", answer.connect_ms)
        self._spend("tls", answer.tls_ms)
        first = answer.first_byte_ms or answer.total_ms
        waited = max(0.0, first - answer.ready_ms)
        self._spend(phase, waited)
        if answer.headers.status == 200 and is_body:
            self._spend("data", answer.total_ms - first)
        self._spent_seconds += max(0.0, answer.total_ms - waited) / 1000

    def _spend(self, phase: str, milliseconds: float) -> None:
        if milliseconds > 0:
            self.phases[phase] = self.phases.get(phase, 0.0) + milliseconds

    def _failure(self, answer: Answer, place: Place, *, at_door: bool) -> DcmirrorError:
        if answer.refusal is not None:
            return _failed(FailureClass.REDIRECT, answer.refusal, place.name)
        if answer.error is not None:
            return not_written(answer.error, answer.received)
        if answer.curl_code:
            return self._curl_failure(answer, place, at_door)
        headers = answer.headers
        reason = f" {headers.reason}" if headers.reason else ""
        return AttemptFailed(
            Failure(
                diagnosis.of_status(headers.status, at_door=at_door),
                f"HTTP {headers.status}{reason}",
                host=place.name,
                http_status=headers.status,
                retry_after=retry_after_seconds(headers.retry_after, self.wall()),
            )
        )

    def _curl_failure(
        self, answer: Answer, place: Place, at_door: bool
    ) -> AttemptFailed:
        code, message = answer.curl_code, answer.message
        failure_class = diagnosis.of_curl(
            code, message, at_door=at_door, is_connected=answer.is_connected
        )
        if code == diagnosis.CURL_WRITE:
            failure_class = FailureClass.SIZE
            message = "more bytes than expected"
        return AttemptFailed(
            Failure(
                failure_class,
                message or f"curl error {code}",
                host=place.name,
                http_status=answer.headers.status or None,
                curl_code=code,
                received=answer.received,
            )
        )


def not_written(error: OSError, received: int | None = None) -> DcmirrorError:
    """What an error on the way to the mirror means for the attempt."""
    if diagnosis.is_no_descriptor(error):
        return NoDescriptor(error.strerror or str(error))
    return destination_failed(error, received)


def destination_failed(error: OSError, received: int | None = None) -> AttemptFailed:
    """The mirror does not take what came."""
    failure_class = diagnosis.of_errno(error.errno)
    text = error.strerror or str(error)
    if isinstance(error.filename, str) and error.filename.startswith("/"):
        text = f"{text}: {error.filename}"
    message = f"cannot write in the mirror: {text}"
    return AttemptFailed(Failure(failure_class, message, received=received), error)


def _failed(
    failure_class: FailureClass,
    message: str,
    host: str | None = None,
    status: int | None = None,
) -> AttemptFailed:
    return AttemptFailed(Failure(failure_class, message, host=host, http_status=status))
