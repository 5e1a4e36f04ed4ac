"""The intake: a thread of the supervisor that alone touches the Kafka consumer.

Several calls of the consumer can hang, so nothing waits for this thread without a
limit: it beats, and who owns it may leave without it (it is a daemon).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

from dcmirror.adapters.kafka_errors import (
    SourceBroken,
    SourceFatal,
    SourceTrouble,
    SourceUnreachable,
)
from dcmirror.adapters.kafka_source import KafkaSource, RebalanceEvents, connect
from dcmirror.core.epochs import Epochs
from dcmirror.core.records import (
    Batch,
    Closed,
    Fatal,
    Notice,
)
from dcmirror.errors import ConfigError
from dcmirror.processes.intake_outlet import Outlet, Troubles, Wishes
from dcmirror.processes.intake_reader import Reader, Rebalancing
from dcmirror.processes.intake_timing import Timing
from dcmirror.settings import Settings

Connector = Callable[[RebalanceEvents, Callable[[], None]], KafkaSource]

_TIMING = Timing()


class Intake(threading.Thread):
    """Reads the topic as a member of the group, and hands it to the loop.

    The loop calls ``take``, writes ``committables``, and says ``pause``, ``resume``,
    ``request_commit`` and ``stop``; nothing of that blocks.

    Args:
        wake_fd: eventfd that is written to whenever there is something to take.
        first_epoch: higher than every epoch in the books.
        connector: makes the source; raises SourceUnreachable without having tried, or
            another SourceError after a constructor that failed.
    """

    def __init__(
        self,
        settings: Settings,
        client_id: str,
        wake_fd: int,
        *,
        first_epoch: int = 1,
        timing: Timing = _TIMING,
        connector: Connector | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(name="intake", daemon=True)
        self.last_beat = clock()
        self._start_at = settings.kafka.start
        self._timing = timing
        self._clock = clock
        self._connector = connector or (
            lambda events, beat: connect(settings.kafka, client_id, events, beat)
        )
        self._outlet = Outlet(wake_fd)
        self._wishes = Wishes()
        self._epochs = Epochs(first_epoch)
        self._troubles = Troubles(self._outlet.notify, timing.trouble)
        self._rebalancing = Rebalancing(self._epochs, self._outlet, self._wishes)
        self._reader: Reader | None = None
        self._failures = 0

    # what the loop calls

    def take(self) -> tuple[list[Notice], Batch | None]:
        """Notices, then the batch that comes after them; None: no more batches.

        The batch is taken first, so that a notice that precedes it is never missed; a
        batch without records brings notices alone.
        """
        return self._outlet.take()

    @property
    def committables(self) -> Mapping[tuple[int, int], int]:
        """(partition, epoch) → what may be committed; replaced, never changed."""
        return self._wishes.committables

    @committables.setter
    def committables(self, entries: Mapping[tuple[int, int], int]) -> None:
        self._wishes.committables = entries

    def pause(self) -> None:
        """Take no more records; membership is kept."""
        self._wishes.is_paused = True

    def resume(self) -> None:
        """Go on after ``pause``."""
        self._wishes.is_paused = False

    def request_commit(self) -> None:
        """Commit soon what ``committables`` holds then."""
        self._wishes.is_commit_asked = True

    def stop(self, *, final: bool) -> None:
        """First, not final: hand over nothing more, keep the membership.

        Then, final: commit, close, and end with a Closed notice; that takes at most
        ten seconds each, unless the consumer hangs: join with a timeout.
        """
        self._wishes.is_draining = True
        if final:
            self._wishes.closing.set()

    def lag(self) -> dict[int, int]:
        """Records behind the end of the log, by partition, as of a moment ago."""
        reader = self._reader
        return reader.lag if reader is not None else {}

    # the thread

    def run(self) -> None:
        """Read until told to stop, or until it is no use."""
        last_word: Notice = Fatal("the intake thread died of an unexpected error")
        try:
            last_word = Closed(self._read_until_closed())
        except (SourceFatal, ConfigError) as exc:
            last_word = Fatal(str(exc))
        finally:
            self._outlet.notify(last_word)
            if isinstance(last_word, Fatal) and self._reader is not None:
                self._reader.close(self._timing.call)
            self._outlet.close()

    def _read_until_closed(self) -> bool:
        while (source := self._connect()) is not None:
            began = self._clock()
            self._reader = reader = self._reader_of(source)
            try:
                while not self._wishes.closing.is_set():
                    reader.turn()
                return reader.finish()
            except SourceBroken as exc:
                self._throw_away(reader, str(exc), self._clock() - began)
        return True

    def _reader_of(self, source: KafkaSource) -> Reader:
        return Reader(
            source,
            self._start_at,
            self._epochs,
            self._outlet,
            self._wishes,
            self._troubles,
            self._timing,
            self._clock,
            self._beat,
        )

    def _connect(self) -> KafkaSource | None:
        """A source; None when told to stop first."""
        pause = self._timing.reconnect_first
        while not self._wishes.closing.is_set():
            self._beat()
            try:
                source = self._connector(self._rebalancing, self._beat)
            except SourceUnreachable as exc:
                self._trouble(str(exc))
            except (SourceTrouble, SourceBroken) as exc:
                self._trouble(str(exc))
                self._count_failure(str(exc))
            else:
                self._trouble("")
                return source
            self._wishes.closing.wait(pause)
            pause = min(pause * 2, self._timing.reconnect_most)
        return None

    def _throw_away(self, reader: Reader, text: str, worked: float) -> None:
        """Another consumer is needed: the next poll of this one might never return."""
        self._trouble(f"the Kafka consumer failed: {text}")
        self._reader = None
        reader.close(self._timing.call)
        self._rebalancing.on_revoked(self._epochs.all(), True, {})
        if worked > self._timing.settled:
            self._failures = 0
        self._count_failure(text)
        pause = self._timing.reconnect_first * 2.0 ** (self._failures - 1)
        self._wishes.closing.wait(min(pause, self._timing.reconnect_most))

    def _count_failure(self, text: str) -> None:
        self._failures += 1
        if self._failures >= self._timing.constructions:
            raise SourceFatal(f"gave up after {self._failures} Kafka consumers: {text}")

    def _trouble(self, text: str) -> None:
        self._troubles.put("connect", text, self._clock())

    def _beat(self) -> None:
        self.last_beat = self._clock()
