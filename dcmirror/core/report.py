"""A report: what the books say of a period, gathered row by row and line by line.

``dcmirror report`` feeds it.  The catalogue says which files are in the mirror, how
large and since when; the journal says what work that was; failed.csv says what is left.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dcmirror.core.failed_rows import FailedRow
from dcmirror.core.histogram import bucket
from dcmirror.core.report_figures import (
    Deleted,
    Figures,
    Held,
    Remaining,
    Sources,
    Work,
)
from dcmirror.core.report_groups import NamedGroups, TimeGroups, Zone

ACTIONS = frozenset(
    {
        "transfer-finished",
        "transfer-retry",
        "transfer-parked",
        "event-skipped",
        "event-rejected",
        "hold-ended",
        "journal-dropped",
    }
)

# Groups that are kept while reading, twice as many at most; far more than are shown.
_MOST_NAMES = 500
# A second copy of a line stands near the first: both belong to the same crash.
_EVENTS_KEPT = 50_000
_UNKNOWN = "(unknown)"

Event = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked for: ``since`` <= time < ``until``, below ``under``."""

    since: float | None = None
    until: float | None = None
    under: str | None = None
    depth: int = 1

    def has_time(self, moment: float) -> bool:
        """Whether a time is in the period."""
        return (self.since is None or moment >= self.since) and (
            self.until is None or moment < self.until
        )

    def has_path(self, path: str | None) -> bool:
        """Whether a namespace path is asked for."""
        if self.under is None:
            return True
        below = self.under.rstrip("/")
        return path is not None and (path == below or path.startswith(below + "/"))


class Report:
    """Gathers; each ``take_`` method is called for everything that a source has.

    Args:
        relative: the path below the mirror of a namespace path.
    """

    def __init__(
        self, query: Query, zone: Zone, relative: Callable[[str], str | None]
    ) -> None:
        self.query = query
        self.zone = zone
        self.times = TimeGroups(zone)
        self.directories = NamedGroups(_MOST_NAMES)
        self.doors = NamedGroups(_MOST_NAMES)
        self.work = Work()
        self.deleted = Deleted()
        self.remaining = Remaining()
        self.sources = Sources()
        self.first_copy: float | None = None
        self.last_copy: float | None = None
        self._total: Figures | None = None
        self._relative = relative
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._handlers: dict[str, Callable[[Event, float, str | None], None]] = {
            "transfer-finished": self._finished,
            "transfer-retry": self._retry,
            "transfer-parked": self._parked,
            "event-skipped": self._skipped,
            "event-rejected": self._rejected,
            "hold-ended": self._hold,
            "journal-dropped": self._dropped,
        }

    def total(self) -> Figures:
        """The figures of the whole period, once everything was taken."""
        if self._total is None:
            self._total = self.times.total()
        return self._total

    @property
    def is_covered(self) -> bool:
        """Whether the journal reaches back to where the period's copies begin."""
        reach, since, first = (
            self.sources.reaches_from,
            self.query.since,
            self.first_copy,
        )
        if reach is None:
            return first is None
        return first is None or reach <= first or (since is not None and reach <= since)

    # -- the catalogue ------------------------------------------------------------

    def take_copy(
        self,
        relative: str,
        path: str,
        size: int,
        verified: int,
        copied_at: float,
        event_time: float | None,
    ) -> None:
        """A row of the catalogue."""
        query = self.query
        if not query.has_time(copied_at) or not query.has_path(path):
            return
        if self.first_copy is None or copied_at < self.first_copy:
            self.first_copy = copied_at
        if self.last_copy is None or copied_at > self.last_copy:
            self.last_copy = copied_at
        index = None if event_time is None else bucket(copied_at - event_time)
        name = directory_of(relative, query.depth)
        for group in (self.times.at(copied_at), self.directories.at(name)):
            group.files += 1
            group.bytes += size
            group.unproved += not verified
            if index is not None:
                group.delay.add_to(index)

    def take_deletion(
        self, path: str, size: int | None, at: float, *, ended: bool, error: str | None
    ) -> None:
        """A row of the catalogue's deletions."""
        if not self.query.has_time(at) or not self.query.has_path(path):
            return
        if not ended:
            self.deleted.unfinished += 1
        elif error:
            self.deleted.failed += 1
        else:
            self.deleted.files += 1
            self.deleted.bytes += size or 0

    # -- failed.csv ---------------------------------------------------------------

    def take_row(self, row: FailedRow | None) -> bool:
        """A row of failed.csv, None for a torn one; whether it is asked for."""
        remaining = self.remaining
        if row is None:
            remaining.torn += 1
            return False
        if not self.query.has_path(row.path):
            return False
        remaining.rows += 1
        if not self.query.has_time(row.time):
            return False
        remaining.in_period += 1
        remaining.classes[row.failure_class] += 1
        return True

    # -- the journal --------------------------------------------------------------

    def take_event(self, event: Event) -> None:
        """An event of the journal; what is no event is counted as odd."""
        try:
            moment = datetime.fromisoformat(event["@timestamp"]).timestamp()
            file = event.get("file")
            path = file.get("path") if file else None
            if not self.query.has_time(moment):
                return
            if self._is_repeated(event["event"].get("id")):
                self.sources.repeated += 1
                return
            self._handlers[event["event"]["action"]](event, moment, path)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
            self.sources.odd += 1

    def _is_repeated(self, event_id: str | None) -> bool:
        if event_id is None:
            return False
        if event_id in self._seen:
            return True
        self._seen[event_id] = None
        if len(self._seen) > _EVENTS_KEPT:
            self._seen.popitem(last=False)
        return False

    def _groups(
        self, event: Event, moment: float, path: str | None
    ) -> tuple[Figures, ...]:
        own = event.get("dcmirror", {})
        relative = own.get("transfer", {}).get("relative")
        if not relative and path:
            relative = self._relative(path)
        name = directory_of(relative, self.query.depth) if relative else _UNKNOWN
        door = own.get("dcache", {}).get("door") or _UNKNOWN
        return (
            self.times.at(moment),
            self.directories.at(name),
            self.doors.at(door),
        )

    def _finished(self, event: Event, moment: float, path: str | None) -> None:
        if not self.query.has_path(path):
            return
        transfer = event["dcmirror"]["transfer"]
        groups = self._groups(event, moment, path)
        self._spend(transfer)
        if event["event"].get("outcome") == "failure":
            name = event["error"]["type"]
            for group in groups:
                group.failed += 1
                group.failures[name] += 1
            return
        reason = event["event"].get("reason")
        state = transfer["state"]
        if state == "mirrored":
            self._copied(event, transfer, groups)
        elif state == "adopted" and reason != "already-mirrored":
            for group in groups:
                group.adopted += 1
        else:
            self._skip(reason or state, groups)

    def _copied(
        self, event: Event, transfer: Event, groups: tuple[Figures, ...]
    ) -> None:
        size = transfer.get("bytes", 0)
        rate = transfer.get("throughput_bps")
        index = None if rate is None else bucket(rate)
        for group in groups:
            group.copies += 1
            group.copied_bytes += size
            if index is not None:
                group.throughput.add_to(index)
        work, phases = self.work, self.work.phases
        duration = event["event"].get("duration")
        if duration is not None:
            work.duration.add(duration / 1e9)
        for name, milliseconds in transfer.get("phases", {}).items():
            phases[name].add_to(bucket(milliseconds / 1e3))

    def _retry(self, event: Event, moment: float, path: str | None) -> None:
        if not self.query.has_path(path):
            return
        self._spend(event["dcmirror"]["transfer"])
        self.work.retried[event["error"]["type"]] += 1
        for group in self._groups(event, moment, path):
            group.retries += 1

    def _parked(self, event: Event, moment: float, path: str | None) -> None:
        if self.query.has_path(path):
            self._spend(event["dcmirror"]["transfer"])

    def _spend(self, transfer: Event) -> None:
        """Every attempt costs the source something."""
        work = self.work
        work.requests += transfer.get("requests", 0)
        work.connections += transfer.get("connections", 0)
        work.received += transfer.get("bytes", 0)

    def _skipped(self, event: Event, moment: float, path: str | None) -> None:
        if self.query.has_path(path):
            reason = event["event"].get("reason") or "unknown"
            self._skip(reason, self._groups(event, moment, path))

    def _skip(self, reason: str, groups: tuple[Figures, ...]) -> None:
        self.work.skips[reason] += 1
        for group in groups:
            group.skipped += 1

    def _rejected(self, event: Event, moment: float, path: str | None) -> None:
        if self.query.has_path(path):
            self.work.garbage += 1

    def _hold(self, event: Event, moment: float, path: str | None) -> None:
        held = self.work.holds.setdefault(event["dcmirror"]["hold"]["kind"], Held())
        held.count += 1
        held.seconds += event["event"].get("duration", 0) / 1e9

    def _dropped(self, event: Event, moment: float, path: str | None) -> None:
        self.sources.dropped += event["dcmirror"]["spool"]["dropped"]


def directory_of(relative: str, depth: int) -> str:
    """The first ``depth`` directories of a path below the mirror; "." for none."""
    if depth == 1:
        first, slash, _ = relative.partition("/")
        return first if slash else "."
    parts = relative.split("/", depth)
    return "/".join(parts[:depth] if len(parts) > depth else parts[:-1]) or "."
