"""Whether a running ``watch`` of the same instance has more urgent work.

The loop of a command that fills gaps asks before it begins anything.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dcmirror.adapters.daemon_sight import see
from dcmirror.core.sight import Sight

_LOOK_SECONDS = 1.0
#: A status older than this is of a watch that is stuck: nobody waits for that.
_FRESH_SECONDS = 10.0


class WatchFirst:
    """Says no while ``watch`` has jobs ready, or as many under way as it may."""

    def __init__(
        self,
        state: Path,
        downloads: int,
        *,
        look: Callable[[Path, str], Sight] = see,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._state = state
        self._downloads = downloads
        self._look = look
        self._clock = clock
        self._looked_at = float("-inf")
        self._may = True

    def __call__(self) -> bool:
        """Whether it is our turn; looks once a second."""
        now = self._clock()
        if now - self._looked_at >= _LOOK_SECONDS:
            self._looked_at = now
            self._may = not is_busy(self._look(self._state, "watch"), self._downloads)
        return self._may


def is_busy(sight: Sight, downloads: int) -> bool:
    """Whether that watch runs, turns and has its hands full."""
    if not sight.is_running or not sight.is_of_this_run:
        return False
    if sight.silence is None or sight.silence > _FRESH_SECONDS:
        return False
    status: dict[str, Any] = sight.status
    jobs = status.get("jobs")
    ready = jobs.get("ready", 0) if isinstance(jobs, dict) else 0
    running = status.get("transfers_total", 0)
    return _number(ready) > 0 or _number(running) >= downloads


def _number(value: Any) -> float:
    return value if isinstance(value, (int, float)) else 0
