"""How a line of the human log looks: the ancestor's form."""

from __future__ import annotations

import functools
from datetime import datetime

from dcmirror.core.escapes import shown, without_secrets

SYSTEM = "SYSTEM"


def format_line(at: datetime, tag: str, text: str, task: str | None) -> str:
    """``2020/01/23 17:47:14 [TAG] text (task)``; one line whatever is in them."""
    stamp = _stamp(at.replace(microsecond=0))
    said = shown(without_secrets(text))
    return f"{stamp} [{shown(tag)}] {said} ({shown(task or SYSTEM)})\n"


@functools.lru_cache(maxsize=8)
def _stamp(second: datetime) -> str:
    """Hundreds of lines share a second."""
    return f"{second:%Y/%m/%d %H:%M:%S}"
