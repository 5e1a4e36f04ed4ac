"""Failure classes: what went wrong, whose fault it is, and what is done about it.

The table in DESIGN.md, "Failure classes", is this module.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum


class Treatment(Enum):
    """What the supervisor does with a failed attempt."""

    LADDER = "ladder"  # short ladder within the grace period, uncharged, then GONE
    RETRY = "retry"  # backoff with jitter, charged against retrytimes
    HOLD = "hold"  # the cause is held; the job waits, uncharged
    PERMANENT = "permanent"  # a row in failed.csv


class FailureClass(StrEnum):
    """The closed set of classes; the value is what failed.csv and the journal show."""

    NOT_THERE = "not-there-yet"
    GONE = "gone"
    REMOVED = "removed"
    FORBIDDEN = "forbidden"
    TRANSIENT = "transient"
    CHECKSUM = "checksum-mismatch"
    SIZE = "size-mismatch"
    NO_DIGEST = "missing-digest"
    REDIRECT = "redirect-refused"
    DESTINATION = "destination"
    CREDENTIAL = "credential"
    HOST = "host-down"
    UNSAFE_PATH = "unsafe-path"
    POISON = "poison"
    OVERFLOW = "overflow"

    @property
    def treatment(self) -> Treatment:
        """How an attempt that ended in this class goes on."""
        return _TREATMENTS[self]

    @property
    def scope(self) -> str:
        """Whose side it is on: source, destination, transfer or local."""
        return _SCOPES[self]


_TREATMENTS = {
    FailureClass.NOT_THERE: Treatment.LADDER,
    FailureClass.GONE: Treatment.PERMANENT,
    FailureClass.REMOVED: Treatment.PERMANENT,
    FailureClass.FORBIDDEN: Treatment.PERMANENT,
    FailureClass.TRANSIENT: Treatment.RETRY,
    FailureClass.CHECKSUM: Treatment.RETRY,
    FailureClass.SIZE: Treatment.RETRY,
    FailureClass.NO_DIGEST: Treatment.PERMANENT,
    FailureClass.REDIRECT: Treatment.RETRY,
    FailureClass.DESTINATION: Treatment.HOLD,
    FailureClass.CREDENTIAL: Treatment.HOLD,
    FailureClass.HOST: Treatment.HOLD,
    FailureClass.UNSAFE_PATH: Treatment.PERMANENT,
    FailureClass.POISON: Treatment.PERMANENT,
    FailureClass.OVERFLOW: Treatment.PERMANENT,
}

_SCOPES = {
    FailureClass.NOT_THERE: "source",
    FailureClass.GONE: "source",
    FailureClass.REMOVED: "source",
    FailureClass.FORBIDDEN: "source",
    FailureClass.TRANSIENT: "transfer",
    FailureClass.CHECKSUM: "transfer",
    FailureClass.SIZE: "transfer",
    FailureClass.NO_DIGEST: "source",
    FailureClass.REDIRECT: "source",
    FailureClass.DESTINATION: "destination",
    FailureClass.CREDENTIAL: "local",
    FailureClass.HOST: "source",
    FailureClass.UNSAFE_PATH: "local",
    FailureClass.POISON: "local",
    FailureClass.OVERFLOW: "local",
}


@dataclass(frozen=True, slots=True)
class Failure:
    """One failed attempt, in terms that a retry decision and a CSV row need.

    ``host`` is the ``name:port`` it happened at; ``retry_after`` is in seconds;
    checksums are Adler-32 values as unsigned 32-bit integers; ``needed`` is how many
    bytes the file needs, where the destination had no room for them.
    """

    failure_class: FailureClass
    message: str
    host: str | None = None
    http_status: int | None = None
    curl_code: int | None = None
    retry_after: float | None = None
    received: int | None = None
    adler32_expected: int | None = None
    adler32_computed: int | None = None
    needed: int | None = None
