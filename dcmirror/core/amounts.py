"""Amounts for people who look at a screen: short, three digits, two units."""

from __future__ import annotations

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB", "EB")
_SPANS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))


def count_text(number: float) -> str:
    """``12,345``."""
    return f"{number:,.0f}"


def bytes_text(amount: float) -> str:
    """``217 MB``, ``1.25 GB``: units of 1000, three digits."""
    unit = 0
    value = float(amount)
    while abs(value) >= 999.5 and unit < len(_UNITS) - 1:
        value /= 1000
        unit += 1
    if unit == 0:
        return f"{value:.0f} B"
    digits = 2 if abs(value) < 9.995 else 1 if abs(value) < 99.95 else 0
    return f"{value:.{digits}f} {_UNITS[unit]}"


def speed_text(per_second: float) -> str:
    """``21.7 MB/s``."""
    return f"{bytes_text(per_second)}/s"


def span_text(seconds: float) -> str:
    """``0.4 s``, ``42 s``, ``4 min 10 s``, ``3 d 4 h``: the two largest units."""
    if seconds < 0:
        return f"-{span_text(-seconds)}"
    if seconds < 9.95:
        return f"{seconds:.1f} s".replace(".0 s", " s")
    left = round(seconds)
    for at, (name, length) in enumerate(_SPANS):
        if left >= length:
            whole, rest = divmod(left, length)
            small, small_length = _SPANS[min(at + 1, len(_SPANS) - 1)]
            more = rest // small_length if length > 1 else 0
            return f"{whole} {name} {more} {small}" if more else f"{whole} {name}"
    return "0 s"


def short_span(seconds: float | None) -> str:
    """``42s``, ``4m10``, ``3h05``, ``12d04``: a span for a narrow column."""
    if seconds is None:
        return ""
    left = round(max(seconds, 0.0))
    if left < 60:
        return f"{left}s"
    if left < 3600:
        return f"{left // 60}m{left % 60:02d}"
    if left < 86400:
        return f"{left // 3600}h{left % 3600 // 60:02d}"
    return f"{left // 86400}d{left % 86400 // 3600:02d}"


def share_text(part: float, whole: float) -> str:
    """``45 %``; never 100 before it is whole."""
    if whole <= 0:
        return ""
    return f"{min(int(100 * part / whole), 100)} %"


def plural(number: float, word: str) -> str:
    """``1 file``, ``2 files``."""
    return f"{count_text(number)} {word}{'' if number == 1 else 's'}"
