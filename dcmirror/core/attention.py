"""Whose silence proves something: only that of somebody who was listened to.

A stopped container, a frozen process group or a paused machine silences everybody, the
listener included; when it wakes, all others seem to have been silent since.
"""

from __future__ import annotations

#: A turn of the loop that takes longer is taken for an absence (seconds).  This much
#: of it still counts, so that slow turns alone never hide somebody who hangs.
LONGEST_TURN = 5.0


class Attention:
    """Notices how long its owner was away itself."""

    def __init__(self) -> None:
        self._looked_at: float | None = None

    def missed(self, now: float) -> float:
        """Seconds since the last call in which nobody could have been heard."""
        before, self._looked_at = self._looked_at, now
        return 0.0 if before is None else max(now - before - LONGEST_TURN, 0.0)


def excused(beat: float, missed: float, now: float) -> float:
    """When somebody counts as heard last, ``missed`` seconds not held against it.

    A beat of the future stands for leave to be silent until then.
    """
    return beat if beat > now else min(beat + missed, now)
