"""Counts since the start, for status, metrics and the last line of a run."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from dcmirror.core.jobs import AttemptResult, CopyRecord, HostUse, ResultKind

#: Hosts that are counted each by itself.  Who comes later is counted among "others":
#: a place that changed hands would make counters go backwards.
MOST_HOSTS = 200
OTHERS = "others"

#: Upper bounds in seconds: a small file takes milliseconds, a jam minutes, a day is
#: a day.
DURATION_BOUNDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3600, 14400)
DELAY_BOUNDS = (0.1, 0.3, 1, 3, 10, 30, 60, 180, 600, 1800, 3600, 21600, 86400)


class Histogram:
    """How many values came to lie below each bound, and their sum."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """A value equal to a bound counts as below it, as Prometheus has it."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def plain(self) -> dict[str, Any]:
        """As status.json has it; the last count is of what lies above all bounds."""
        return {
            "bounds": list(self.bounds),
            "counts": list(self.counts),
            "sum": round(self.sum, 6),
        }


class HostCounts:
    """Requests, connections and bytes by host and role, of a bounded number of hosts.

    Every attempt counts, whatever came of it: this is what the site feels of us.
    """

    __slots__ = ("_counts", "_most")

    def __init__(self, most: int = MOST_HOSTS) -> None:
        self._most = most
        self._counts: dict[tuple[str, str], list[int]] = {}

    def count(self, uses: Iterable[HostUse]) -> None:
        """Add what an attempt or a probe asked."""
        counts = self._counts
        for host, role, requests, connections, received in uses:
            known = counts.get((host, role))
            if known is None:
                if len(counts) >= self._most:
                    host = OTHERS
                known = counts.setdefault((host, role), [0, 0, 0])
            known[0] += requests
            known[1] += connections
            known[2] += received

    def plain(self) -> list[dict[str, Any]]:
        """As status.json has it, in the order in which hosts were first asked."""
        return [
            {
                "host": host,
                "role": role,
                "requests": requests,
                "connections": connections,
                "bytes": received,
            }
            for (host, role), (requests, connections, received) in self._counts.items()
        ]


class Cover(StrEnum):
    """Why a record of an upload is settled without an outcome of its own."""

    JOINED = "joined"  # another record of the upload is, or was, the job
    HINT_IGNORED = "hint-ignored"  # it only hints, and better records are to be had
    KNOWN = "known"  # it only hints, and the books have an outcome of the file


@dataclass(slots=True)
class Tally:
    """Counts since the start.

    ``mirrored`` includes ``adopted``: copies that were there already and that the
    books did not know.  ``bytes_mirrored`` is what was published, not what was read.
    Each skip has an event, which ``report`` and the dashboards count; what is covered
    has none, and is no skip.
    """

    mirrored: int = 0
    adopted: int = 0
    bytes_mirrored: int = 0
    failed: int = 0
    retries: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    covered: dict[str, int] = field(default_factory=dict)
    failures: dict[str, int] = field(default_factory=dict)
    retried: dict[str, int] = field(default_factory=dict)
    hosts: HostCounts = field(default_factory=HostCounts)
    durations: Histogram = field(default_factory=lambda: Histogram(DURATION_BOUNDS))
    delays: Histogram = field(default_factory=lambda: Histogram(DELAY_BOUNDS))

    def take_copy(self, result: AttemptResult, copy: CopyRecord) -> None:
        """A good copy is in the mirror, fetched or adopted."""
        self.mirrored += 1
        if result.kind is ResultKind.ADOPTED:
            self.adopted += 1
            return
        self.bytes_mirrored += copy.size
        self.durations.observe(max(result.ended_at - result.started_at, 0.0))
        if copy.event_time is not None:
            self.delays.observe(max(result.ended_at - copy.event_time, 0.0))

    def take_skip(self, reason: str) -> None:
        """A job, or a record that is none, needs no copy."""
        self.skipped[reason] = self.skipped.get(reason, 0) + 1

    def take_cover(self, reason: Cover) -> None:
        """A record needs no outcome."""
        self.covered[reason.value] = self.covered.get(reason.value, 0) + 1

    def take_retry(self, failure_class: str) -> None:
        """An attempt failed and will be repeated."""
        self.retries += 1
        self.retried[failure_class] = self.retried.get(failure_class, 0) + 1

    def counts(self) -> dict[str, int]:
        """The four numbers that events and log lines carry."""
        return {
            "mirrored": self.mirrored,
            "skipped": sum(self.skipped.values()),
            "failed": self.failed,
            "retried": self.retries,
        }
