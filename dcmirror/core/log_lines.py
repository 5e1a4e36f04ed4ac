"""How lines of the human log look: the ancestor's form, its tags, its reports."""

from __future__ import annotations

from datetime import datetime

from dcmirror.core.escapes import shown

SYSTEM = "SYSTEM"

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB", "EB")


def format_line(at: datetime, tag: str, text: str, task: str | None) -> str:
    """``2020/01/23 17:47:14 [TAG] text (task)``; one line whatever is in them."""
    stamp = f"{at:%Y/%m/%d %H:%M:%S}"
    return f"{stamp} [{shown(tag)}] {shown(text)} ({shown(task or SYSTEM)})\n"


def copy_report(size: int, seconds: float) -> str:
    """``217 MB copied in 379.387386ms, 4575.86 Mbps``; a megabit is 10^6 bits."""
    rate = size * 8 / seconds / 1e6 if seconds > 0 else 0.0
    return f"{format_size(size)} copied in {format_duration(seconds)}, {rate:.2f} Mbps"


def format_size(size: int) -> str:
    """Bytes in decimal units: ``82 B``, ``4.2 kB``, ``217 MB``."""
    value, unit = float(size), 0
    while value >= 999.5 and unit < len(_UNITS) - 1:
        value /= 1000
        unit += 1
    digits = 1 if unit and value < 9.95 else 0
    return f"{value:.{digits}f} {_UNITS[unit]}"


def format_duration(seconds: float) -> str:
    """As the ancestor wrote them: ``379.387386ms``, ``2m3.5s``, ``1h0m9s``."""
    nanoseconds = round(max(seconds, 0.0) * 1e9)
    if nanoseconds < 1_000_000_000:
        return _below_a_second(nanoseconds)
    minutes, rest = divmod(nanoseconds, 60_000_000_000)
    hours, minutes = divmod(minutes, 60)
    text = f"{_decimal(rest, 9)}s"
    if hours:
        return f"{hours}h{minutes}m{text}"
    return f"{minutes}m{text}" if minutes else text


def _below_a_second(nanoseconds: int) -> str:
    if nanoseconds == 0:
        return "0s"
    for digits, unit in ((6, "ms"), (3, "µs")):
        if nanoseconds >= 10**digits:
            return _decimal(nanoseconds, digits) + unit
    return f"{nanoseconds}ns"


def _decimal(number: int, digits: int) -> str:
    """``number`` / 10^digits, without trailing zeros."""
    whole, fraction = divmod(number, 10**digits)
    return f"{whole}.{fraction:0{digits}}".rstrip("0").rstrip(".")
