"""What the fake dCache does wrong when it is told to."""

from __future__ import annotations

import random
import threading
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase


class Kind(StrEnum):
    """The kinds of faults; the first group happens at the door, the rest at a pool."""

    STATUS = "status"  # answer `status`, with `retry_after`
    STALL = "stall"  # wait `seconds` before the answer, then go on as if nothing was
    RESET = "reset"  # TCP reset instead of an answer
    HANG_UP = "hang-up"  # close without a word, as an idle kept connection does
    REDIRECT_LOOP = "redirect-loop"  # 302 to the same URL
    REDIRECT_TO = "redirect-to"  # 302 to `url`
    POOL_REFUSED = "pool-refused"  # 302 to a port where nobody listens
    NO_LENGTH = "no-length"  # HEAD without Content-Length

    # what PROPFIND answers
    LISTING_CUT = "listing-cut"  # hang up after `after` bytes; 0: in the middle
    LISTING_UNCLOSED = "listing-unclosed"  # good HTTP, but the XML ends there
    LISTING_GARBAGE = "listing-garbage"  # good HTTP, but no XML from there on
    LISTING_LACKS = "listing-lacks"  # without the names like `names`, else `count` last
    LISTING_EMPTY = "listing-empty"  # so dCache lists what it cannot read in time
    LISTING_FOREIGN = "listing-foreign"  # and one entry of another directory

    # what happens to the file (or directory) when a request for it arrives
    VANISH = "vanish"  # it is gone, with all below, and the request meets that
    REPLACE = "replace"  # another file of the same size stands there instead
    REPLACE_AFTER = "replace-after"  # the same, once the request has its answer
    KEEP = "keep"  # DELETE (or MOVE) claims to be done and is not
    STALL_ANSWER = "stall-answer"  # done at once, answered after `seconds`
    LOSE_ANSWER = "lose-answer"  # done, then a TCP reset instead of the answer

    STALL_BODY = "stall-body"  # wait `seconds` after `after` bytes, then go on
    SHORT_BODY = "short-body"  # close `count` bytes before the end
    RESET_BODY = "reset-body"  # TCP reset after `after` bytes
    FLIP = "flip"  # another byte at `after`
    TRICKLE = "trickle"  # `count` bytes per second
    BOUNCE = "bounce"  # 307 back to the door
    CHUNKED = "chunked"  # a body without Content-Length
    DIGEST_WRONG = "digest-wrong"
    DIGEST_MISSING = "digest-missing"
    DIGEST_UNPADDED = "digest-unpadded"
    DIGEST_UPPER = "digest-upper"


_LISTING = frozenset(
    {
        Kind.LISTING_CUT,
        Kind.LISTING_UNCLOSED,
        Kind.LISTING_GARBAGE,
        Kind.LISTING_LACKS,
        Kind.LISTING_EMPTY,
        Kind.LISTING_FOREIGN,
    }
)
_METHODS = dict.fromkeys(_LISTING, ("PROPFIND",)) | {
    Kind.NO_LENGTH: ("HEAD",),
    Kind.VANISH: ("PROPFIND",),
    Kind.REPLACE: ("DELETE",),
    Kind.REPLACE_AFTER: ("HEAD",),
    Kind.KEEP: ("DELETE",),
    Kind.STALL_ANSWER: ("DELETE",),
    Kind.LOSE_ANSWER: ("DELETE",),
}
_AT_DOOR = _METHODS.keys() | {
    Kind.STATUS,
    Kind.STALL,
    Kind.RESET,
    Kind.HANG_UP,
    Kind.REDIRECT_LOOP,
    Kind.REDIRECT_TO,
    Kind.POOL_REFUSED,
}
_DIGEST_SPELLING = frozenset({Kind.DIGEST_UNPADDED, Kind.DIGEST_UPPER})
_DIGEST = _DIGEST_SPELLING | {Kind.DIGEST_MISSING, Kind.DIGEST_WRONG}


@dataclass(frozen=True, slots=True)
class Fault:
    """One rule: which requests it hits, and how.

    Args:
        kind: what goes wrong.
        glob: of the namespace path.
        times: at most so many requests in all; None: no limit.
        per_path: at most so many requests for each path.
        probability: of each request that matches.
        methods: of the requests that it hits; GET, or where the kind makes sense.
        where: "door", "pool" or "both"; by default where the kind makes sense.
        publish: whether events tell of a replacement.
        after, count, seconds, status, retry_after, url, names: see ``Kind``.
    """

    kind: Kind
    glob: str = "*"
    times: int | None = None
    per_path: int | None = None
    probability: float = 1.0
    methods: frozenset[str] = frozenset({"GET"})
    where: str = "door"
    status: int = 500
    retry_after: str = ""
    seconds: float = 86400.0
    after: int = 0
    count: int = 1
    url: str = ""
    names: str = ""
    publish: bool = False


class Faults:
    """The rules in force; the first that matches a request decides.

    Whether a probable fault hits depends on the seed, the path and how often that path
    was asked for, not on the order of threads.
    """

    def __init__(self, seed: int = 0) -> None:
        self.fired: Counter[Kind] = Counter()
        self._seed = seed
        self._rules: list[Fault] = []
        self._used: Counter[tuple[int, str]] = Counter()
        self._asked: Counter[tuple[int, str]] = Counter()
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<Faults rules={len(self._rules)} fired={self.fired.total()}>"

    def add(self, kind: Kind | str, glob: str = "*", **options: object) -> Fault:
        """Add a rule; ``options`` are fields of ``Fault``."""
        kind = Kind(kind)
        for key, value in _defaults(kind).items():
            options.setdefault(key, value)
        options["methods"] = frozenset(_texts(options["methods"]))
        fault = Fault(kind, glob, **options)  # type: ignore[arg-type]
        with self._lock:
            self._rules.append(fault)
        return fault

    def clear(self) -> None:
        """From now on all is well."""
        with self._lock:
            self._rules.clear()
            self._used.clear()

    def take(self, where: str, method: str, path: str) -> Fault | None:
        """The fault that this request meets, counted as used."""
        with self._lock:
            for index, fault in enumerate(self._rules):
                if self._hits(index, fault, where, method, path):
                    self._used[index, ""] += 1
                    self._used[index, path] += 1
                    self.fired[fault.kind] += 1
                    return fault
        return None

    def _hits(
        self, index: int, fault: Fault, where: str, method: str, path: str
    ) -> bool:
        if fault.where not in (where, "both") or method not in fault.methods:
            return False
        if not fnmatchcase(path, fault.glob):
            return False
        if fault.times is not None and self._used[index, ""] >= fault.times:
            return False
        if fault.per_path is not None and self._used[index, path] >= fault.per_path:
            return False
        self._asked[index, path] += 1
        return fault.probability >= 1 or self._dice(index, path) < fault.probability

    def _dice(self, index: int, path: str) -> float:
        nth = self._asked[index, path]
        return random.Random(f"{self._seed} {index} {path} {nth}").random()


def spoil_digest(fault: Fault | None, adler32: int | None) -> str | None:
    """The Digest header's value, as the fault wants it; None: no header."""
    if adler32 is None:
        return None
    kind = fault.kind if fault else None
    if kind is Kind.DIGEST_MISSING:
        return None
    if kind is Kind.DIGEST_WRONG:
        adler32 ^= 0x5A5A5A5A
    text = f"{adler32:08x}"
    if kind is Kind.DIGEST_UNPADDED:
        text = f"{adler32:x}"
    if kind is Kind.DIGEST_UPPER:
        text = text.upper()
    return f"adler32={text}"


def _defaults(kind: Kind) -> dict[str, object]:
    if kind in _DIGEST_SPELLING:
        return {"where": "both", "methods": ("GET", "HEAD")}
    if kind in _DIGEST:
        return {"where": "pool", "methods": ("GET", "HEAD")}
    where = "door" if kind in _AT_DOOR else "pool"
    return {"where": where, "methods": _METHODS.get(kind, ("GET",))}


def _texts(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    if isinstance(value, (tuple, list, set, frozenset)):
        return tuple(map(str, value))
    raise TypeError(f"methods: {value!r}")
