"""How long a request may take: patient before the first byte, strict after it.

dCache queues readers for minutes and giving up makes its jam worse, so libcurl's own
low-speed rule, which also counts that wait, cannot be used.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

_SAMPLES = 16
_MIB = 1024 * 1024
_SECONDS_PER_MIB = 2.0


@dataclass(frozen=True, slots=True)
class Limits:
    """The settings that bound one request."""

    connect_seconds: float
    first_byte_seconds: float
    stall_bytes_per_second: float
    stall_seconds: float

    @property
    def tick_seconds(self) -> float:
        """How often to look, so that each limit is met within a quarter of itself."""
        return min(1.0, self.stall_seconds / 4, self.first_byte_seconds / 4)


def data_seconds(left: float | None, size: int | None) -> float | None:
    """The time for a body of ``size``: what is left of ``timeout`` + 2 s per MiB."""
    if left is None:
        return None
    return max(0.0, left) + _SECONDS_PER_MIB * (size or 0) / _MIB


@dataclass(slots=True)
class Watch:
    """Looks at one request now and then, and says when it has taken too long."""

    limits: Limits
    most_bytes: int | None = None
    data_seconds: float | None = None
    _connected_at: float | None = None
    _first_byte_at: float | None = None
    _samples: deque[tuple[float, int]] = field(default_factory=deque)

    def begin(self) -> None:
        """A new request starts."""
        self.most_bytes = None
        self.data_seconds = None
        self._connected_at = None
        self._first_byte_at = None
        self._samples.clear()

    def restart(self, now: float) -> None:
        """Nobody looked for a while: what came meanwhile cannot be judged."""
        self._samples.clear()
        if self._connected_at is not None and self._first_byte_at is None:
            self._connected_at = now

    def complaint(self, now: float, received: int, is_connected: bool) -> str | None:
        """Why the request must end, None while it may go on."""
        if self._first_byte_at is None and received:
            self._first_byte_at = now
        if self._first_byte_at is not None:
            return self._judge_data(now, received)
        if self._connected_at is None and is_connected:
            self._connected_at = now
        return self._judge_wait(now)

    def _judge_wait(self, now: float) -> str | None:
        limit = self.limits.first_byte_seconds
        if self._connected_at is None or now - self._connected_at < limit:
            return None
        return f"no first byte within {limit:g} s"

    def _judge_data(self, now: float, received: int) -> str | None:
        if self.data_seconds is not None and self._first_byte_at is not None:
            taken = now - self._first_byte_at
            if taken > self.data_seconds:
                return (
                    f"longer than the time limit of one attempt; {received} bytes came"
                )
        return self._judge_rate(now, received)

    def _judge_rate(self, now: float, received: int) -> str | None:
        seconds = self.limits.stall_seconds
        samples = self._samples
        if not samples or now - samples[-1][0] >= seconds / _SAMPLES:
            samples.append((now, received))
        while len(samples) > 1 and now - samples[1][0] >= seconds:
            samples.popleft()
        began, before = samples[0]
        if now - began < seconds:
            return None
        if received - before >= self.limits.stall_bytes_per_second * (now - began):
            return None
        return (
            f"stalled after {received} bytes: "
            f"{received - before} bytes in the last {now - began:.0f} s"
        )
