"""Numbers of a report as people read them: three figures and a unit that fits."""

from __future__ import annotations

from collections.abc import Sequence

NOTHING = "–"

_SIZES = ("B", "kB", "MB", "GB", "TB", "PB", "EB")
_RATES = ("bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s")

# Why a record or a job needs no copy; what is not here speaks for itself.
SKIPS = {
    "already-mirrored": "the mirror had the file already",
    "superseded": "a newer upload of the path is the copy",
    "left": "somebody removed the copy, and [destination] missing is leave",
    "read": "the event tells of a read",
    "p2p": "a copy from pool to pool",
    "failed": "the upload itself failed",
    "excluded": "a filter rule excludes the path",
    "unsafe-path": "the pool's record of the same upload is in failed.csv",
    "unknown-type": "not an upload event",
}

PHASES = {
    "queued": "waiting in the worker",
    "connect": "connecting",
    "tls": "TLS handshake",
    "door": "the door's answer",
    "pool_queue": "the pool's first byte",
    "data": "data",
    "checksum": "checksum",
    "publish": "made durable and named",
}


def number(value: float) -> str:
    """A count, in groups of three."""
    return f"{value:,.0f}"


def size(count: float) -> str:
    """Bytes, decimal: 50.1 TB."""
    return _scaled(count, _SIZES)


def rate(bits_per_second: float | None) -> str:
    """Bits per second, decimal: 840 Mbit/s."""
    return NOTHING if bits_per_second is None else _scaled(bits_per_second, _RATES)


def span(seconds: float | None) -> str:
    """A duration: 12 ms, 1.25 s, 3 min 12 s, 2 d 4 h."""
    if seconds is None:
        return NOTHING
    if seconds < 1:
        return f"{_three(seconds * 1e3)} ms"
    if seconds < 59.95:
        return f"{_three(seconds)} s"
    whole = round(seconds)
    for unit, name, below in ((86400, "d", "h"), (3600, "h", "min"), (60, "min", "s")):
        if whole >= unit:
            smaller = {"h": 3600, "min": 60, "s": 1}[below]
            rest = whole % unit // smaller
            more = f" {rest} {below}" if rest else ""
            return f"{whole // unit} {name}{more}"
    return f"{whole} s"


def share(part: float, whole: float) -> str:
    """A percentage that says 100 or 0 only when it is."""
    if not whole:
        return NOTHING
    percent = 100 * part / whole
    if 0 < part < whole:
        percent = min(max(percent, 0.01), 99.99)
    digits = 2 if 0 < percent < 1 or 99 < percent < 100 else 1
    return f"{percent:.{digits}f} %".replace(".0 %", " %")


def plural(count: int, noun: str, many: str | None = None) -> str:
    """``1 file``, ``2 files``."""
    return f"{number(count)} {noun if count == 1 else many or noun + 's'}"


def _scaled(value: float, units: Sequence[str]) -> str:
    for unit in units[:-1]:
        if value < 999.5:
            return f"{_three(value)} {unit}"
        value /= 1000
    return f"{_three(value)} {units[-1]}"


def _three(value: float) -> str:
    """Three figures, no zeros that say nothing."""
    if value >= 99.95:
        return f"{value:.0f}"
    text = f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"
    return text.rstrip("0").rstrip(".")
