"""Amounts as people read them in the log: the ancestor's spelling."""

from __future__ import annotations

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def size_text(size: int) -> str:
    """``217 MB``; units of 1000, three digits at most."""
    amount = float(size)
    unit = 0
    while amount >= 999.5 and unit < len(_UNITS) - 1:
        amount /= 1000
        unit += 1
    return f"{amount:.0f} {_UNITS[unit]}"


def duration_text(seconds: float) -> str:
    """``379.387386ms``, ``1.5s``, ``2m3.25s``: Go's spelling, as the ancestor's log."""
    if seconds < 1:
        return f"{_trim(seconds * 1000)}ms"
    if seconds < 60:
        return f"{_trim(seconds)}s"
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}h{minutes}m{_trim(rest)}s" if hours else f"{minutes}m{_trim(rest)}s"


def _trim(value: float) -> str:
    text = f"{value:.6f}".rstrip("0")
    return text.rstrip(".")


def report_text(size: int, seconds: float) -> str:
    """The line that says how fast a file came; rates in Mbps of 10^6 bits."""
    mbps = size * 8 / seconds / 1e6 if seconds > 0 else 0.0
    return f"{size_text(size)} copied in {duration_text(seconds)}, {mbps:.2f} Mbps"
