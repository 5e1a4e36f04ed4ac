"""What the mirror takes just now: the space it has, and a small write to try it.

Workers run this, in the event loop.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

from dcmirror.adapters.mirror_store import MirrorStore, Part
from dcmirror.errors import UnsafePathError

#: A probe costs a sync: many files that fail together share what it said.
_PROBE_SECONDS = 1.0


class Room:
    """The mirror of one worker.

    ``min_free``: bytes that stay free there, as the supervisor told it last.
    """

    def __init__(self, store: MirrorStore, clock: Callable[[], float]) -> None:
        self.min_free = 0
        self._store = store
        self._clock = clock
        self._refusal: str | None = None
        self._refusal_until = float("-inf")

    def space(self) -> tuple[int | None, int | None]:
        """Bytes that an unprivileged user may still write, and bytes there are."""
        try:
            room = os.statvfs(self._store.root)
        except OSError:
            return None, None
        return _free(room), room.f_blocks * room.f_frsize

    def admit(self, size: int, part: Part) -> None:
        """Raise OSError (ENOSPC) unless so many bytes more fit into ``part``.

        It may lie on a file system of its own, or under a quota, which the space of
        the root says nothing of.
        """
        free = self.space()[0]
        left = _free(os.fstatvfs(part.fd))
        if free is not None:
            left = min(left, free - self.min_free)
        if size > left:
            text = (
                f"{size} bytes do not fit into the {max(left, 0)} that may be written "
                f"to keep {self.min_free} free ([destination] min_free)"
            )
            raise OSError(errno.ENOSPC, text)

    def probe(self) -> str | None:
        """Why the mirror takes nothing at all; None: it took a small write."""
        try:
            self._store.probe_write()
        except (OSError, UnsafePathError) as exc:
            self._refusal = getattr(exc, "strerror", None) or str(exc)
        else:
            self._refusal = None
        self._refusal_until = self._clock() + _PROBE_SECONDS
        return self._refusal

    def refusal(self) -> str | None:
        """As ``probe``, but what it said a moment ago will do."""
        if self._clock() < self._refusal_until:
            return self._refusal
        return self.probe()


def _free(room: os.statvfs_result) -> int:
    return room.f_bavail * room.f_frsize
