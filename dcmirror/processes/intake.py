"""The intake: a thread of the supervisor that alone touches the Kafka consumer.

Several calls of the consumer can hang, so nothing waits for this thread without a
limit: it beats, and who owns it may leave without it (it is a daemon).
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from dcmirror.adapters.kafka_source import (
    CommitRefused,
    KafkaSource,
    OffsetsGone,
    RebalanceEvents,
    SourceBroken,
    SourceFatal,
    SourceTrouble,
    SourceUnreachable,
    connect,
)
from dcmirror.core.records import (
    Acknowledged,
    Assigned,
    Batch,
    Closed,
    Connected,
    Fatal,
    IntakeTrouble,
    Notice,
    OffsetsLost,
    Record,
    Revoked,
)
from dcmirror.errors import ConfigError
from dcmirror.settings import Settings

__all__ = [
    "Acknowledged",
    "Assigned",
    "Batch",
    "Closed",
    "Connected",
    "Fatal",
    "Intake",
    "IntakeTrouble",
    "Notice",
    "OffsetsLost",
    "Pace",
    "Record",
    "Revoked",
]

Connector = Callable[[RebalanceEvents, Callable[[], None]], KafkaSource]


@dataclass(frozen=True, slots=True)
class Pace:
    """Every waiting time of the intake, in seconds, and its limits."""

    poll: float = 0.2
    hand_over: float = 0.05  # for room in the queue, before polling on
    held_poll: float = 0.02  # with a batch in hand
    commit: float = 1.0  # between commits that were asked for
    unasked_commit: float = 5.0  # of what moved, asked for or not
    keepalive: float = 30.0  # a fenced member notices only at a commit
    call: float = 5.0
    retry: float = 0.5
    reconnect_first: float = 1.0
    reconnect_most: float = 30.0
    end: float = 10.0
    trouble: float = 60.0  # before the same trouble is told again
    silence: float = 12.0  # without a heartbeat or an assignment
    watch: float = 2.0
    constructions: int = 20  # each failed one leaks a thread and descriptors
    settled: float = 600.0  # a consumer that worked so long was no failure


@dataclass(slots=True)
class _Held:
    """A partition that is ours in this epoch.

    Not open: it was just assigned, and what ``poll`` returned of it is thrown away,
    since it may have been fetched for an earlier epoch.
    """

    epoch: int
    is_open: bool = False
    next: int = 0
    acknowledged: int | None = None


class Intake(threading.Thread):
    """Polls, tags records with their epoch, hands batches over, and commits.

    The loop takes with ``take``, writes ``committables``, and calls ``pause``,
    ``resume``, ``request_commit`` and ``stop``; nothing of that blocks.

    Args:
        wake_fd: eventfd that is written to whenever there is something to take.
        first_epoch: higher than every epoch in the books.
    """

    def __init__(
        self,
        settings: Settings,
        client_id: str,
        wake_fd: int,
        *,
        first_epoch: int = 1,
        pace: Pace = Pace(),
        connector: Connector | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(name="intake", daemon=True)
        self.batches: queue.Queue[Batch] = queue.Queue(4)
        self.notices: deque[Notice] = deque()
        self.committables: Mapping[tuple[int, int], int] = {}
        self.last_beat = clock()
        self._settings = settings.kafka
        # a copy: its owner may close his while we still run, and the number be reused
        self._wake_fd = os.dup(wake_fd)
        self._next_epoch = first_epoch
        self._pace = pace
        self._clock = clock
        self._connector = connector or (
            lambda events, beat: connect(settings.kafka, client_id, events, beat)
        )
        self._held: dict[int, _Held] = {}
        self._gone: dict[int, int | None] = {}
        self._in_hand: deque[Batch] = deque()
        self._lag: dict[int, int] = {}
        self._troubles: dict[str, str] = {}
        self._told: tuple[str, float] = ("", 0.0)
        self._failures = 0
        self._is_announced = False
        self._is_paused = False
        self._is_draining = False
        self._commit_asked = False
        self._commit_at = 0.0
        self._watch_at = 0.0
        self._has_ended = False
        self._closing = threading.Event()

    # what the loop calls

    def take(self) -> tuple[list[Notice], Batch | None]:
        """Notices, then the batch that comes after them; (…, None): nothing more.

        The batch is taken first, so that a notice that precedes it is never missed.
        """
        try:
            batch = self.batches.get_nowait()
        except queue.Empty:
            batch = None
        notices = [self.notices.popleft() for _ in range(len(self.notices))]
        return notices, batch

    def pause(self) -> None:
        """Take no more records; membership is kept."""
        self._is_paused = True

    def resume(self) -> None:
        """Go on after ``pause``."""
        self._is_paused = False

    def request_commit(self) -> None:
        """Commit soon what ``committables`` holds then."""
        self._commit_asked = True

    def stop(self, *, final: bool) -> None:
        """First, not final: hand over nothing more, keep the membership.

        Then, final: commit, close, and end with a Closed notice; that takes at most
        ten seconds each, unless the consumer hangs: join with a timeout.
        """
        self._is_draining = True
        if final:
            self._closing.set()

    def lag(self) -> dict[int, int]:
        """Records behind the end of the log, by partition, as of a moment ago."""
        return self._lag

    # what kafka-python's thread calls, inside a poll or close of ours

    def on_assigned(self, partitions: Collection[int]) -> None:
        """A new epoch for each; ``_open_new`` gives it its start."""
        for partition in partitions:
            self._begin_epoch(partition)

    def committable(self, partitions: Collection[int]) -> dict[int, int]:
        """The current epochs' entries, as they are now, that the broker lacks."""
        entries = self.committables
        found = {}
        for partition in partitions:
            held = self._held.get(partition)
            if held is None or not held.is_open:
                continue
            offset = entries.get((partition, held.epoch))
            if offset is not None and offset > (held.acknowledged or -1):
                found[partition] = offset
        return found

    def on_revoked(
        self, partitions: Collection[int], lost: bool, committed: Mapping[int, int]
    ) -> None:
        """The epoch of each is over."""
        if committed:
            self._notify(Acknowledged(dict(committed)))
        ours = tuple(number for number in partitions if self._held.pop(number, None))
        for number in partitions:
            self._gone.pop(number, None)
        if ours:
            self._notify(Revoked(ours, lost))

    # the thread

    def run(self) -> None:
        """Read until told to stop, or until it is no use."""
        try:
            self._read_until_closed()
        except (SourceFatal, ConfigError) as exc:
            self._end(Fatal(str(exc)))
        finally:
            if not self._has_ended:
                self._end(Fatal("the intake thread has died of an unexpected error"))

    def _read_until_closed(self) -> None:
        while (source := self._connect()) is not None:
            began = self._clock()
            try:
                self._read(source)
            except SourceBroken as exc:
                self._throw_away(source, str(exc), self._clock() - began)
            else:
                self._end(Closed(self._finish(source)))
                return
        self._end(Closed(True))

    def _read(self, source: KafkaSource) -> None:
        while not self._closing.is_set():
            self._beat()
            if self._in_hand:
                self._hand_over(self._pace.hand_over)
            source.pause_only(self._unwanted(source))
            self._receive(self._poll(source))
            self._go_on_where_possible(source)
            self._open_new(source)
            self._commit_when_due(source)
            self._watch(source)

    # connecting

    def _connect(self) -> KafkaSource | None:
        """A source; None when told to stop first."""
        pause = self._pace.reconnect_first
        while not self._closing.is_set():
            self._beat()
            try:
                source = self._connector(self, self._beat)
            except SourceUnreachable as exc:
                self._trouble("connect", str(exc))
            except (SourceTrouble, SourceBroken) as exc:
                self._trouble("connect", str(exc))
                self._count_failure(str(exc))
            else:
                self._trouble("connect", "")
                self._is_announced = False
                return source
            self._closing.wait(pause)
            pause = min(pause * 2, self._pace.reconnect_most)
        return None

    def _throw_away(self, source: KafkaSource, text: str, worked: float) -> None:
        """Another consumer is needed: the next poll of this one might never return."""
        self._trouble("connect", f"the Kafka consumer failed: {text}")
        if worked > self._pace.settled:
            self._failures = 0
        self._close(source, self._pace.call)
        self.on_revoked(list(self._held), True, {})
        self._count_failure(text)
        self._closing.wait(min(2.0**self._failures / 2, self._pace.reconnect_most))

    def _count_failure(self, text: str) -> None:
        self._failures += 1
        if self._failures >= self._pace.constructions:
            raise SourceFatal(f"gave up after {self._failures} Kafka consumers: {text}")

    # records

    def _unwanted(self, source: KafkaSource) -> set[int]:
        """Partitions to pause; all of them while something is in hand."""
        if self._is_stalled:
            return source.assigned()
        waiting = {number for number, held in self._held.items() if not held.is_open}
        return waiting | self._gone.keys()

    @property
    def _is_stalled(self) -> bool:
        return bool(self._in_hand) or self._is_paused or self._is_draining

    def _poll(self, source: KafkaSource) -> dict[int, list[Any]]:
        try:
            found = source.poll(
                self._pace.held_poll if self._in_hand else self._pace.poll
            )
        except OffsetsGone as exc:
            self._gone.update(exc.positions)
            return {}
        except CommitRefused:
            return {}  # the group is rebalancing
        except SourceTrouble as exc:
            self._trouble("poll", str(exc))
            self._closing.wait(self._pace.retry)
            return {}
        self._trouble("poll", "")
        return found

    def _receive(self, found: dict[int, list[Any]]) -> None:
        """Tag what came with the epoch as it is after the poll."""
        tagged: list[Record] = []
        for partition, records in found.items():
            held = self._held.get(partition)
            if held is None or not held.is_open or not records:
                continue
            epoch = held.epoch
            tagged += [
                Record(partition, got.offset, epoch, got.timestamp, got.value)
                for got in records
            ]
            held.next = records[-1].offset + 1
        if tagged and not self._is_draining:
            self._in_hand.append(Batch(tuple(tagged)))
            self._hand_over(0)

    def _hand_over(self, seconds: float) -> None:
        """Put what is in hand on the queue, as far as there is room within the time."""
        if self._is_draining:
            self._in_hand.clear()  # uncommitted, so it comes again
        while self._in_hand:
            try:
                self.batches.put(self._in_hand[0], seconds > 0, seconds)
            except queue.Full:
                return
            self._in_hand.popleft()
            self._wake()

    # where a partition begins and goes on

    def _begin_epoch(self, partition: int) -> _Held:
        held = self._held[partition] = _Held(self._next_epoch)
        self._gone.pop(partition, None)
        self._next_epoch += 1
        return held

    def _open_new(self, source: KafkaSource) -> None:
        """Find where each newly assigned partition begins, and begin there."""
        until = self._clock() + self._pace.call
        for partition, held in list(self._held.items()):
            if held.is_open or self._clock() > until:
                continue
            try:
                self._open(source, partition, held)
            except (SourceTrouble, CommitRefused) as exc:
                self._trouble("open", f"partition {partition}: {exc}")
                return
            self._trouble("open", "")

    def _open(self, source: KafkaSource, partition: int, held: _Held) -> None:
        committed = source.committed(partition, self._pace.call)
        start = self._first_start(source, partition) if committed is None else committed
        source.seek(partition, start)
        held.next = held.acknowledged = start
        held.is_open = True
        self._announce(source)
        self._notify(Assigned(partition, held.epoch, committed, start))

    def _first_start(self, source: KafkaSource, partition: int) -> int:
        """Where reading begins for the first time, committed at once.

        Else a kill before the first commit would make "latest" jump over what was read.
        """
        find = (
            source.end_offset
            if self._settings.start == "latest"
            else source.first_offset
        )
        start = find(partition, self._pace.call)
        source.commit({partition: start}, self._pace.call)
        return start

    def _announce(self, source: KafkaSource) -> None:
        if not self._is_announced:
            self._is_announced = True
            self._notify(Connected(source.cluster_id))

    def _go_on_where_possible(self, source: KafkaSource) -> None:
        """Read on behind lost offsets, and say which are lost."""
        for partition, position in list(self._gone.items()):
            held = self._held.get(partition)
            if held is not None and held.is_open:
                try:
                    self._go_on(source, partition, held, position)
                except SourceTrouble as exc:
                    self._trouble("open", f"partition {partition}: {exc}")
                    return
            self._gone.pop(partition, None)

    def _go_on(
        self, source: KafkaSource, partition: int, held: _Held, position: int | None
    ) -> None:
        wanted = held.next
        first = position
        if first is None:
            first = source.first_offset(partition, self._pace.call)
        source.seek(partition, first)
        self._notify(OffsetsLost(partition, wanted, first))
        if first < wanted:
            # the same offsets stand for other records now
            held = self._begin_epoch(partition)
            held.is_open = True
            self._notify(Assigned(partition, held.epoch, None, first))
        held.next = first

    # commits

    def _commit_when_due(self, source: KafkaSource) -> None:
        now = self._clock()
        age = now - self._commit_at
        asked = self._commit_asked and age >= self._pace.commit
        if not asked and age < self._pace.unasked_commit:
            return
        if age < self._pace.keepalive and not self.committable(list(self._held)):
            self._commit_asked = False
            return
        self._commit_asked = False
        self._commit_at = now
        try:
            self._commit(source, self._pace.call)
        except CommitRefused:
            pass  # rebalancing; the next commit sends what is true then
        except SourceTrouble as exc:
            self._trouble("commit", f"cannot commit: {exc}")

    def _commit(self, source: KafkaSource, seconds: float) -> None:
        """Send the current epochs' entries as they are at this moment."""
        fresh = self.committable(list(self._held))
        offsets = fresh or self._acknowledged()
        if not offsets:
            return
        source.commit(offsets, seconds)
        self._trouble("commit", "")
        for partition, offset in fresh.items():
            self._held[partition].acknowledged = offset
        if fresh:
            self._notify(Acknowledged(fresh))

    def _acknowledged(self) -> dict[int, int]:
        """What the broker has already: sent again where a commit is due anyhow."""
        return {
            number: held.acknowledged
            for number, held in self._held.items()
            if held.is_open and held.acknowledged is not None
        }

    # the end

    def _finish(self, source: KafkaSource) -> bool:
        """Commit, polling on while the group rebalances, then leave the group."""
        committed = self._commit_finally(source)
        self._beat()
        return self._close(source, self._pace.end) and committed

    def _commit_finally(self, source: KafkaSource) -> bool:
        until = self._clock() + self._pace.end
        while self._clock() < until:
            self._beat()
            try:
                self._commit(source, until - self._clock())
            except CommitRefused:
                source.pause_only(source.assigned())
                self._poll(source)
            except (SourceTrouble, SourceBroken, SourceFatal):
                return False
            else:
                return True
        return False

    def _close(self, source: KafkaSource, seconds: float) -> bool:
        try:
            source.close(seconds)
        except (SourceTrouble, SourceBroken, SourceFatal, CommitRefused):
            return False
        return True

    def _end(self, notice: Notice) -> None:
        self._has_ended = True
        self._notify(notice)
        os.close(self._wake_fd)

    # what is told

    def _watch(self, source: KafkaSource) -> None:
        now = self._clock()
        if now < self._watch_at:
            return
        self._watch_at = now + self._pace.watch
        self._lag = {
            number: max(0, mark - held.next)
            for number, held in list(self._held.items())
            if held.is_open and (mark := source.highwater(number)) is not None
        }
        self._trouble("group", self._group_trouble(source, now))

    def _group_trouble(self, source: KafkaSource, now: float) -> str:
        since = now - self._pace.silence
        if not self._held:
            reason = source.recent_reason(since)
            return f"no partition is assigned to us: {reason}" if reason else ""
        age = source.heartbeat_age()
        if age < self._pace.silence:
            return ""
        reason = source.recent_reason(since)
        text = f"no heartbeat for {age:.0f} s" if age < 1e9 else "no heartbeat yet"
        return f"{text}: {reason}" if reason else text

    def _trouble(self, key: str, text: str) -> None:
        """Note or clear a trouble; tells the first one, and the end of the last one."""
        if text:
            self._troubles[key] = text
        elif key in self._troubles:
            del self._troubles[key]
        else:
            return
        self._tell_trouble()

    def _tell_trouble(self) -> None:
        text = next(iter(self._troubles.values()), "")
        told, at = self._told
        now = self._clock()
        if bool(text) != bool(told) or (text and now - at >= self._pace.trouble):
            self._told = (text, now)
            self._notify(IntakeTrouble(text))

    def _notify(self, notice: Notice) -> None:
        self.notices.append(notice)
        self._wake()

    def _wake(self) -> None:
        os.eventfd_write(self._wake_fd, 1)

    def _beat(self) -> None:
        self.last_beat = self._clock()
