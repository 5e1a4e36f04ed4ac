"""Does a record announce an upload, and how sure is it?  The table of DESIGN 5.2."""

from __future__ import annotations

from enum import StrEnum

from dcmirror.core.events import StorageEvent

OTHER_TYPES = frozenset({"remove", "store", "restore", "hit", "warning", "check"})


class Verdict(StrEnum):
    """What one record means for us."""

    TRIGGER = "trigger"  # the pool's transfer: a file was written
    NET = "net"  # the door's request about the same, in case the transfer is lost
    COMMIT = "commit"  # a temporary upload got its final name (SRM's putDone)
    HINT = "hint"  # a request that does not say whether it was an upload
    NO = "no"


# Reasons for NO.  The first three are everyday traffic, our own reads among it.
READ = "read"
P2P = "p2p"
NOT_AN_UPLOAD = "not-an-upload"
FAILED = "failed"
FAILED_REQUEST = "failed-request"  # read or upload: no mover ran that could tell
NO_DIRECTION = "no-direction"
NOT_A_DOOR = "not-a-door"
UNKNOWN_TYPE = "unknown-type"


def classify(event: StorageEvent) -> tuple[Verdict, str]:
    """The verdict, and for NO the reason."""
    if event.msg_type == "transfer":
        return _classify_mover(event, Verdict.TRIGGER)
    if event.msg_type == "request":
        if event.has_mover:
            return _classify_mover(event, Verdict.NET)
        return _classify_bare_request(event)
    if event.msg_type in OTHER_TYPES:
        return Verdict.NO, NOT_AN_UPLOAD
    return Verdict.NO, UNKNOWN_TYPE


def _classify_mover(event: StorageEvent, upload: Verdict) -> tuple[Verdict, str]:
    # A pool-to-pool copy calls itself a read: the source pool reports it.
    if event.is_p2p:
        return Verdict.NO, P2P
    if event.is_write is None:
        return Verdict.NO, NO_DIRECTION
    if not event.is_write:
        return Verdict.NO, READ
    if event.status_code != 0:
        return Verdict.NO, FAILED
    return upload, ""


def _classify_bare_request(event: StorageEvent) -> tuple[Verdict, str]:
    if event.status_code != 0:
        return Verdict.NO, FAILED_REQUEST
    # Sites may rename SrmManager, so its name proves nothing.
    if event.is_temporary:
        return Verdict.COMMIT, ""
    if event.cell_type not in (None, "door"):
        return Verdict.NO, NOT_A_DOOR
    return Verdict.HINT, ""
