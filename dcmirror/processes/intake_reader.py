"""Reading with one Kafka consumer, from its making to its end.

The supervisor's intake thread runs this.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Collection, Mapping
from typing import Any

from dcmirror.adapters.kafka_errors import (
    CommitRefused,
    OffsetsGone,
    SourceBroken,
    SourceError,
    SourceTrouble,
)
from dcmirror.adapters.kafka_source import KafkaSource
from dcmirror.core.epochs import Epochs, Held
from dcmirror.core.records import (
    Acknowledged,
    Assigned,
    Batch,
    Connected,
    OffsetsLost,
    Revoked,
)
from dcmirror.processes.intake_outlet import Outlet, Troubles, Wishes
from dcmirror.processes.intake_timing import Timing


class Rebalancing:
    """Hears of rebalances on kafka-python's thread, inside a poll or close of ours."""

    def __init__(self, epochs: Epochs, outlet: Outlet, wishes: Wishes) -> None:
        self._epochs = epochs
        self._outlet = outlet
        self._wishes = wishes

    def on_assigned(self, partitions: Collection[int]) -> None:
        """A new epoch for each; the reader finds its start."""
        for partition in partitions:
            self._epochs.begin(partition)

    def committable(self, partitions: Collection[int]) -> dict[int, int]:
        """What the loop has settled of them, as of now."""
        return self._epochs.committable(self._wishes.committables, partitions)

    def on_revoked(
        self, partitions: Collection[int], lost: bool, committed: Mapping[int, int]
    ) -> None:
        """The epoch of each is over."""
        if committed:
            self._outlet.notify(Acknowledged(dict(committed)))
        ended = self._epochs.end(partitions)
        if ended:
            self._outlet.notify(Revoked(ended, lost, self._epochs.newest))


class Reader:
    """Polls, tags, hands over, opens new partitions and commits, turn by turn."""

    def __init__(
        self,
        source: KafkaSource,
        start: str,
        epochs: Epochs,
        outlet: Outlet,
        wishes: Wishes,
        troubles: Troubles,
        timing: Timing,
        clock: Callable[[], float],
        beat: Callable[[], None],
    ) -> None:
        self.lag: dict[int, int] = {}
        self._source = source
        self._start = start
        self._epochs = epochs
        self._outlet = outlet
        self._wishes = wishes
        self._troubles = troubles
        self._timing = timing
        self._clock = clock
        self._beat = beat
        self._gone: dict[int, tuple[Held, int | None]] = {}
        self._is_announced = False
        self._began = self._commit_at = self._collected_at = clock()
        self._watch_at = self._began + timing.watch

    def turn(self) -> None:
        """One poll and all that goes with it.

        Raises:
            SourceBroken, SourceFatal
        """
        self._beat()
        self._make_room()
        self._source.pause_only(self._unwanted())
        records = self._epochs.tag(self._poll())
        if records:
            self._hand_over(Batch(records))
        self._go_on_behind_gaps()
        self._open_new()
        self._commit_when_due()
        self._watch()

    def finish(self) -> bool:
        """Commit, polling on while the group rebalances, then leave the group."""
        committed = self._commit_finally()
        if not committed:
            self._wishes.committables = {}  # the listener need not wait for it again
        self._beat()
        return self.close(self._timing.end) and committed

    def close(self, seconds: float) -> bool:
        """Leave the group; False: not cleanly."""
        try:
            self._source.close(seconds)
        except SourceError:
            return False
        return True

    # records

    def _hand_over(self, batch: Batch) -> None:
        """While draining nothing more: what it follows may have been dropped."""
        if not self._wishes.is_draining:
            self._outlet.hand_over(batch)

    def _make_room(self) -> None:
        if self._wishes.is_draining:
            self._outlet.drop()
        elif self._outlet.has_in_hand:
            self._outlet.flush(self._timing.hand_over)

    def _unwanted(self) -> Collection[int]:
        """Partitions to pause; all of them while a batch is in hand."""
        wishes = self._wishes
        if self._outlet.has_in_hand or wishes.is_paused or wishes.is_draining:
            return self._source.assigned()
        return self._epochs.waiting().keys() | self._gone.keys()

    def _poll(self) -> Mapping[int, list[Any]]:
        busy = self._outlet.has_in_hand
        try:
            found = self._source.poll(
                self._timing.held_poll if busy else self._timing.poll
            )
        except OffsetsGone as exc:
            self._note_gone(exc.positions)
            return {}
        except CommitRefused:
            return {}  # the group is rebalancing
        except SourceTrouble as exc:
            self._trouble("poll", str(exc))
            self._wishes.closing.wait(self._timing.retry)
            return {}
        self._trouble("poll", "")
        return found

    # where a partition begins, and where it goes on

    def _open_new(self) -> None:
        """Find where each newly assigned partition begins, and begin there."""
        until = self._clock() + self._timing.call
        for partition, held in self._epochs.waiting().items():
            if self._clock() > until:
                return
            self._beat()
            try:
                self._open(partition, held)
            except (SourceTrouble, CommitRefused) as exc:
                self._trouble("open", f"partition {partition}: {exc}")
                return
            self._trouble("open", "")

    def _open(self, partition: int, held: Held) -> None:
        committed = self._source.committed(partition, self._timing.call)
        start = self._first_start(partition) if committed is None else committed
        self._begin(partition, held, committed, start)
        held.acknowledged = start

    def _first_start(self, partition: int) -> int:
        """Where reading begins for the first time, committed at once.

        Else a kill before the first commit would make "latest" jump over what was read.
        """
        latest = self._start == "latest"
        find = self._source.end_offset if latest else self._source.first_offset
        start = find(partition, self._timing.call)
        self._source.commit({partition: start}, self._timing.call)
        return start

    def _begin(
        self, partition: int, held: Held, committed: int | None, start: int
    ) -> None:
        self._source.seek(partition, start)
        held.next = start
        held.is_open = True
        if not self._is_announced:
            self._is_announced = True
            self._outlet.notify(Connected(self._source.cluster_id))
        begun = Assigned(partition, held.epoch, committed, start)
        self._hand_over(Batch((), (begun,)))

    def _note_gone(self, positions: Mapping[int, int | None]) -> None:
        for partition, position in positions.items():
            held = self._epochs.opened(partition)
            if held is not None:
                self._gone[partition] = (held, position)

    def _go_on_behind_gaps(self) -> None:
        for partition, (held, position) in list(self._gone.items()):
            if self._epochs.opened(partition) is held:
                try:
                    self._go_on(partition, held, position)
                except SourceTrouble as exc:
                    self._trouble("open", f"partition {partition}: {exc}")
                    return
            del self._gone[partition]

    def _go_on(self, partition: int, held: Held, position: int | None) -> None:
        """Read on at the oldest offset there is, and say which are lost."""
        first = position
        if first is None:
            first = self._source.first_offset(partition, self._timing.call)
        lost = OffsetsLost(partition, held.epoch, held.next, first)
        self._hand_over(Batch((), (lost,)))
        if first >= held.next:
            self._source.seek(partition, first)
            held.next = first
        else:
            # the log was cut or made anew: the same offsets mean other records now
            self._begin(partition, self._epochs.begin(partition), None, first)

    # commits

    def _commit_when_due(self) -> None:
        if not self._is_commit_due(self._clock() - self._commit_at):
            return
        self._wishes.is_commit_asked = False
        self._commit_at = self._clock()
        try:
            self._commit(self._timing.call)
        except CommitRefused:
            pass  # rebalancing; the next commit sends what is true then
        except SourceTrouble as exc:
            self._trouble("commit", f"cannot commit: {exc}")

    def _is_commit_due(self, age: float) -> bool:
        if age >= self._timing.keepalive:
            return True
        asked = self._wishes.is_commit_asked and age >= self._timing.commit
        return (asked or age >= self._timing.unasked_commit) and bool(self._fresh())

    def _fresh(self) -> dict[int, int]:
        return self._epochs.committable(self._wishes.committables)

    def _commit(self, seconds: float) -> None:
        """Send the entries of the current epochs as they are at this moment."""
        fresh = self._fresh()
        # nothing moved: the same again, for only a commit shows that we are fenced
        offsets = fresh or self._epochs.acknowledged()
        if not offsets:
            return
        self._source.commit(offsets, seconds)
        self._trouble("commit", "")
        self._epochs.acknowledge(fresh)
        if fresh:
            self._outlet.notify(Acknowledged(fresh))

    def _commit_finally(self) -> bool:
        until = self._clock() + self._timing.end
        while (left := until - self._clock()) > 0:
            self._beat()
            try:
                self._commit(left)
                return True
            except CommitRefused:
                self._source.pause_only(self._source.assigned())
                self._poll_on()
            except SourceError:
                return False
        return False

    def _poll_on(self) -> None:
        """Let the group's rebalance end."""
        try:
            self._source.poll(self._timing.poll)
        except (OffsetsGone, CommitRefused, SourceTrouble):
            self._wishes.closing.wait(0)

    # what is told

    def _watch(self) -> None:
        now = self._clock()
        if now < self._watch_at:
            return
        self._watch_at = now + self._timing.watch
        self.lag = self._lag()
        trouble = self._group_trouble(now)
        self._trouble("group", trouble)
        if trouble:
            self._collect_garbage(now)

    def _lag(self) -> dict[int, int]:
        found = {}
        for partition, position in self._epochs.positions().items():
            mark = self._source.highwater(partition)
            if mark is not None:
                found[partition] = max(0, mark - position)
        return found

    def _group_trouble(self, now: float) -> str:
        """Heartbeats that are not sent are the one sign of a broker that is away."""
        since = max(self._began, now - self._timing.silence)
        topic = "" if self._epochs else self._source.topic_reason(since)
        if topic:
            return f"no partition is assigned to us: {topic}"
        silent = min(self._source.heartbeat_age(), now - self._began)
        if silent < self._timing.silence:
            return ""
        text = f"no heartbeat to the broker for {silent:.0f} s"
        if silent >= self._timing.stuck and self._source.is_reachable(
            self._timing.call
        ):
            raise SourceBroken(text)
        reason = self._source.connection_reason(since)
        if not reason and not self._epochs:
            return (
                f"no partition is ours yet, after {silent:.0f} s: the group waits for "
                "a member that is gone, or is slow to leave"
            )
        return f"{text}: {reason}" if reason else text

    def _collect_garbage(self, now: float) -> None:
        """Each refused connection leaves a socket that only a collection closes."""
        if now - self._collected_at >= self._timing.collect:
            self._collected_at = now
            gc.collect()

    def _trouble(self, kind: str, text: str) -> None:
        self._troubles.put(kind, text, self._clock())
