"""What a door refuses, fails at or does not answer, as an error of a class."""

from __future__ import annotations

from dcmirror.core.failures import FailureClass
from dcmirror.errors import DcmirrorError, ExitStatus

_NO_LISTING = "name in [dcache] url a door that lists directories (WebDAV)"

#: What helps against an answer of the door.
REMEDIES = {
    301: _NO_LISTING,
    302: _NO_LISTING,
    307: _NO_LISTING,
    401: "have this proxy's identity (or VO) mapped to a user of the source",
    403: "have that user given the right to read there",
    404: "look at [dcache] url, pool and folder: "
    "url + (folder below pool) is where the door should show it",
    405: _NO_LISTING,
    429: "wait: the door blocks this address after too many errors",
    501: _NO_LISTING,
}

_NO_ANSWER = {
    FailureClass.CREDENTIAL: "look at the proxy",
    FailureClass.HOST: "is the door up, and does a firewall let us by?",
}


def with_remedy(text: str, kind: FailureClass, http_status: int | None) -> str:
    """The text, and what helps where that is known."""
    remedy = _NO_ANSWER.get(kind) if http_status is None else REMEDIES.get(http_status)
    return f"{text}; {remedy}" if remedy else text


class DoorError(DcmirrorError):
    """A request to the door came to nothing.

    ``http_status`` None: there was no answer, or it could not be understood.
    ``retry_after`` is in seconds, where the door said so.
    """

    exit_status = ExitStatus.DOOR

    def __init__(
        self,
        message: str,
        kind: FailureClass,
        *,
        http_status: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.http_status = http_status
        self.retry_after = retry_after
        if kind is FailureClass.CREDENTIAL:
            self.exit_status = ExitStatus.CREDENTIAL

    @property
    def concerns_all(self) -> bool:
        """Whether no other path would fare better."""
        return self.kind in (FailureClass.CREDENTIAL, FailureClass.HOST)


class DoorStopped(DoorError):
    """A request was not made, or was given up, because we are told to stop."""

    def __init__(self, message: str) -> None:
        super().__init__(message, FailureClass.TRANSIENT)
