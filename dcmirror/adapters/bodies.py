"""Bodies on their way to disk: gathered, summed up and written a MiB at a time."""

from __future__ import annotations

import mmap

from dcmirror.adapters.requests import Write
from dcmirror.core.checksums import ADLER32_START, adler32

BUFFER_BYTES = 1024 * 1024


class Body:
    """Gathers a body in one preallocated buffer: one checksum, one write per MiB.

    TLS hands over at most 16 KiB at a time; a write for each costs half as much again.
    """

    __slots__ = ("_buffer", "_filled", "adler32", "error", "received", "write")

    def __init__(self) -> None:
        # A mapping and not a bytearray: what small files never touch takes no memory.
        self._buffer = memoryview(mmap.mmap(-1, BUFFER_BYTES))
        self.begin(None)

    def begin(self, write: Write | None) -> None:
        self.write = write
        self._filled = 0
        self.received = 0
        self.adler32 = ADLER32_START
        self.error: OSError | None = None

    def take(self, chunk: bytes) -> None:
        size = len(chunk)
        self.received += size
        start = self._filled
        end = start + size
        if end <= BUFFER_BYTES:
            self._buffer[start:end] = chunk
            self._filled = end
            return
        room = BUFFER_BYTES - start
        self._buffer[start:] = chunk[:room]
        self._filled = BUFFER_BYTES
        self.flush()
        rest = chunk[room:]
        self._buffer[: len(rest)] = rest
        self._filled = len(rest)

    def flush(self) -> None:
        """Raises OSError if the destination does not take it."""
        if not self._filled:
            return
        full = self._buffer[: self._filled]
        self._filled = 0
        self.adler32 = adler32(full, self.adler32)
        if self.write is not None:
            self.write(full)
