"""The proxy certificate as a worker uses it: read again when the file changes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

#: The file is looked at no more often; a request then uses what was read.
LOOK_SECONDS = 0.02


@dataclass(slots=True)
class ProxyFile:
    """The proxy file as last read; libcurl gets its bytes, never a half-read pair."""

    path: Path | None
    stamp: tuple[int, int, int] | None = None
    pem: bytes | None = None
    error: OSError | None = None
    looked_at: float = -1.0

    def look(self, now: float) -> bool:
        """Whether the file is another one than before."""
        if self.path is None or now - self.looked_at < LOOK_SECONDS:
            return False
        self.looked_at = now
        try:
            status = os.stat(self.path)
            stamp = (status.st_mtime_ns, status.st_ino, status.st_size)
            if stamp == self.stamp and self.error is None:
                return False
            self.pem = self.path.read_bytes()
        except OSError as exc:
            self.error = exc
            return False
        self.stamp = stamp
        self.error = None
        return True
