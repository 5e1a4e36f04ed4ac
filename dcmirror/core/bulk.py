"""What a bulk request to Elasticsearch says, and what its answer means for each line.

The logger process runs this.  A line is taken, tried again, or set aside for good; a
line is set aside only where the server blames the document itself.
"""

from __future__ import annotations

import json
from binascii import hexlify
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from typing import Any

# What of the answer is wanted: the status keeps every item in its place.
ANSWER_FILTER = ",".join(
    (
        "errors",
        "items.*.status",
        "items.*.failure_store",
        "items.*.error.type",
        "items.*.error.reason",
    )
)

_CREATED = {"create": {"status": 201}}

SETUP_REMEDY = "run `dcmirror elastic setup`"

_REASON_CHARACTERS = 500
_SHORTENED_CHARACTERS = 500


class Fate(StrEnum):
    """What becomes of a line."""

    TAKEN = "taken"
    DUPLICATE = "duplicate"
    RETRY = "retry"
    PAUSE = "pause"
    FAULT = "fault"
    DEAD = "dead"


# Said of the server, the index or us, with a status that else blames the document.
_NOT_THE_DOCUMENT = frozenset(
    {
        "cluster_block_exception",
        "index_closed_exception",
        "index_not_found_exception",
        "security_exception",
        # Too many shards in the cluster, when a stream is to be made.
        "validation_exception",
        "invalid_index_name_exception",
        "license_expired_exception",
    }
)
# The same, of a whole request.
_NOT_THE_LINES = _NOT_THE_DOCUMENT | {"", "media_type_header_exception"}


def fate_of(status: int, kind: str) -> Fate:
    """What an item's HTTP status and error type mean.

    RETRY passes by itself, PAUSE wants a person, FAULT is a server's error that may
    stick to this document, DEAD is the document's own.
    """
    if 200 <= status < 300:
        return Fate.TAKEN
    if status == 409:
        return Fate.DUPLICATE
    if status in (429, 503):
        return Fate.RETRY
    if status >= 500:
        return Fate.FAULT
    if status in (401, 403, 404) or kind in _NOT_THE_DOCUMENT:
        return Fate.PAUSE
    return Fate.DEAD


@dataclass(frozen=True, slots=True)
class Refusal:
    """An item that was not taken: its place in the request, and the server's words."""

    index: int
    status: int
    kind: str
    reason: str

    def __str__(self) -> str:
        words = f"HTTP {self.status} {self.kind}: {self.reason}"
        if self.status == 404:
            return f"{words} ({SETUP_REMEDY})"
        return words


@dataclass(slots=True)
class Verdict:
    """An answer, sorted: how many lines arrived, and which did not."""

    taken: int = 0
    duplicates: int = 0
    diverted: int = 0
    refused: dict[Fate, list[Refusal]] = field(default_factory=dict)

    def of(self, fate: Fate) -> list[Refusal]:
        """The items of this fate."""
        return self.refused.get(fate, [])


def judge(answer: object, count: int) -> Verdict | None:
    """Sort the answer to a request of ``count`` documents; None: it makes no sense."""
    items = answer.get("items") if isinstance(answer, dict) else None
    if not isinstance(items, list) or len(items) != count:
        return None
    if items.count(_CREATED) == count:  # as nearly always
        return Verdict(taken=count)
    verdict = Verdict()
    try:
        for index, item in enumerate(items):
            (result,) = item.values()
            if result["status"] == 201 and len(result) == 1:
                verdict.taken += 1
            else:
                _judge_item(verdict, index, result)
    except (AttributeError, KeyError, TypeError, ValueError):
        return None
    return verdict


def _judge_item(verdict: Verdict, index: int, result: Mapping[str, Any]) -> None:
    status = int(result["status"])
    error = result.get("error") or {}
    kind = str(error.get("type", ""))
    fate = fate_of(status, kind)
    if fate is Fate.TAKEN:
        verdict.taken += 1
        verdict.diverted += result.get("failure_store") == "used"
    elif fate is Fate.DUPLICATE:
        verdict.taken += 1
        verdict.duplicates += 1
    else:
        reason = " ".join(str(error.get("reason", "")).split())[:_REASON_CHARACTERS]
        refusal = Refusal(index, status, kind, reason)
        verdict.refused.setdefault(fate, []).append(refusal)


class WholeFate(StrEnum):
    """What to do after a whole request was refused."""

    RETRY = "retry"
    PAUSE = "pause"
    HALVE = "halve"
    PLAIN = "plain"


def whole_fate(status: int, kind: str, reason: str) -> WholeFate:
    """What the status of a whole refused request means.

    HALVE finds the line that is too big or that the server cannot read; PLAIN asks
    again without what servers before 8.13 do not know.  A 400 without an error type is
    not from Elasticsearch: what stands in front of it does not read documents.
    """
    if status == 429 or status >= 500:
        return WholeFate.RETRY
    if status == 413:
        return WholeFate.HALVE
    if status == 400 and "unrecognized parameter" in reason:
        return WholeFate.PLAIN
    if status == 400 and kind not in _NOT_THE_LINES:
        return WholeFate.HALVE
    return WholeFate.PAUSE


def document_id(segment: str, number: int) -> bytes:
    """The same for the same line of a segment, and for no other."""
    name = b"%b:%d" % (segment.encode(), number)
    return hexlify(sha256(name).digest()[:16])


class Streams:
    """Which data stream a line belongs to, read from its own bytes.

    Our lines are compact JSON, in which a quote within a string is escaped: the bytes
    ``"data_stream":{`` can only be that member.
    """

    _MARK = b'"data_stream":{'
    _MOST = 100

    def __init__(self) -> None:
        self._known: dict[bytes, bytes | None] = {}
        self._at, self._end = 0, 0
        self._member = b""
        self._name: bytes | None = None

    def of(self, body: bytes) -> bytes | None:
        """The stream's name; None where the line does not say it."""
        # Most lines have the same as the one before, and at the same place.
        if self._name is not None and body[self._at : self._end] == self._member:
            return self._name
        start = body.find(self._MARK)
        if start < 0:
            return None
        self._at, self._end = start, body.find(b"}", start) + 1
        self._member = body[start : self._end]
        self._name = self._named(self._member)
        return self._name

    def _named(self, member: bytes) -> bytes | None:
        if member not in self._known:
            if len(self._known) >= self._MOST:
                self._known.clear()
            self._known[member] = _stream_name(member[len(self._MARK) - 1 :])
        return self._known[member]


def _stream_name(member: bytes) -> bytes | None:
    try:
        stream = json.loads(member)
        parts = [stream[key] for key in ("type", "dataset", "namespace")]
        name = "-".join(parts)
    except (ValueError, KeyError, TypeError):
        return None
    # It stands between quotes in the action line.
    return name.encode() if json.dumps(name) == f'"{name}"' else None


def shortened(body: bytes) -> bytes | None:
    """A line without the length of its prose; None where that saves nothing."""
    document = json.loads(body)
    for parent, name in (
        (document, "message"),
        (document.get("error"), "message"),
        (document.get("error"), "stack_trace"),
        (document.get("event"), "reason"),
    ):
        if isinstance(parent, dict) and isinstance(parent.get(name), str):
            text = parent[name]
            if len(text) > _SHORTENED_CHARACTERS:
                parent[name] = text[: _SHORTENED_CHARACTERS - 3] + "..."
    short = json.dumps(document, separators=(",", ":")).encode()
    return short if len(short) < len(body) else None


def ceiling(attempt: int, first: float, longest: float) -> float:
    """Full jitter: the pause after ``attempt`` failures lies between 0 and this."""
    return min(first * 2.0 ** min(attempt - 1, 30), longest)


def first_reason(refusals: Sequence[Refusal]) -> str:
    """The words for many refusals: of the first, and how many there are."""
    more = f" (and {len(refusals) - 1} more)" if len(refusals) > 1 else ""
    return f"{refusals[0]}{more}"
