"""Values in HTTP headers and WebDAV properties that have a spelling of their own."""

from __future__ import annotations

import calendar
import re
from functools import lru_cache

#: There is no such name, or not any more.
GONE = frozenset({404, 410})
REDIRECTS = frozenset({301, 302, 303, 307, 308})
#: The header that asks a door and its pools for the checksum.
WANT_DIGEST = "Want-Digest: adler32"

# Longer ones Python refuses to read, and no book of ours could hold them.
_SIZE = re.compile(r"[0-9]{1,18}\Z")
_ETAG = re.compile(r'(?:W/)?"?([0-9A-Fa-f]{24,40})_-?\d+(?:_[^"]*)?"?\Z')
_DATE = re.compile(r"(\d{1,2} [A-Za-z]{3} [1-9]\d{3}) (\d\d):(\d\d):(\d\d)")
_MONTHS = "JanFebMarAprMayJunJulAugSepOctNovDec"


def pnfsid_of_etag(etag: str) -> str | None:
    """dCache's ETag is ``"<pnfsid>_<number>"``; other servers' ETags name no file."""
    match = _ETAG.match(etag)
    return match.group(1).upper() if match else None


def size_of(text: str) -> int | None:
    """A number of bytes; None where there is none that a file can have."""
    return int(text) if _SIZE.match(text) else None


def read_date(value: str) -> float | None:
    """An HTTP date; email.utils would cost every worker a megabyte for it."""
    match = _DATE.search(value)
    if match is None:
        return None
    day, hour, minute, second = match.groups()
    midnight = _midnight(day)
    if midnight is None:
        return None
    return midnight + 3600 * int(hour) + 60 * int(minute) + int(second)


@lru_cache(maxsize=256)
def _midnight(date: str) -> float | None:
    """A directory's files are of few days, and there may be 100,000 of them."""
    day, month, year = date.split()
    number = _MONTHS.find(month.capitalize()) // 3 + 1
    fields = (int(year), number, int(day), 0, 0, 0)
    return float(calendar.timegm(fields)) if number else None


def retry_after_seconds(value: str | None, now: float) -> float | None:
    """``Retry-After`` as seconds from ``now``, whether it is a number or a date."""
    if value is None:
        return None
    if value.isdecimal():
        return float(value)
    at = read_date(value)
    return max(0.0, at - now) if at is not None else None
