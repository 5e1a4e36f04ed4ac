"""The feed of ``watch``: what the intake thread brings, given to the reception.

The supervisor's loop calls it; nothing here waits, but for ``close`` with its limits.
"""

from __future__ import annotations

import os
from collections import deque
from typing import Any

from dcmirror.core.attention import Attention, excused
from dcmirror.core.escapes import shown
from dcmirror.core.records import Acknowledged, Batch, Closed, Fatal, Notice
from dcmirror.errors import DcmirrorError, IntakeError
from dcmirror.processes.engine import Engine
from dcmirror.processes.intake import Intake
from dcmirror.processes.reception import Reception

#: A thread that has not beaten for so long hangs in a call that never returns.
LONGEST_SILENCE = 60.0
#: Partitions that status.json lists.
MOST_PARTITIONS = 256
_COMMIT_SECONDS = 1.0
_END_SECONDS = 20.0


class KafkaFeed:
    """One intake thread and the reception behind it."""

    def __init__(
        self, intake: Intake, wake_fd: int, reception: Reception, engine: Engine
    ) -> None:
        self.fd = wake_fd
        self.intake = intake
        self.reception = reception
        self._engine = engine
        self._notices: deque[Notice] = deque()
        self._batch: Batch | None = None
        self._fatal: str | None = None
        self._commit_at = 0.0
        self._is_paused = False
        self._trouble_since: float | None = None
        self._attention = Attention()
        self._heard_at = float("-inf")

    def start(self) -> None:
        """Begin to read."""
        self.intake.start()

    def take(self, now: float, wall: float) -> None:
        """Everything that has arrived; what a BooksError leaves is taken next time."""
        self._clear_wake()
        while True:
            self._take_notices()
            if self._batch is not None:
                self.reception.take_batch(self._batch, now, wall)
                self._batch = None
            notices, self._batch = self.intake.take()
            self._notices.extend(notices)
            if self._batch is None and not self._notices:
                return

    def _take_notices(self) -> None:
        while self._notices:
            notice = self._notices[0]
            if isinstance(notice, Fatal):
                self._fatal = notice.text
            elif not isinstance(notice, Closed):
                self.reception.take_notice(notice)
            self._notices.popleft()

    def _clear_wake(self) -> None:
        try:
            os.eventfd_read(self.fd)
        except BlockingIOError:
            return

    def throttle(self, *, is_paused: bool) -> None:
        """Partitions are paused, the membership is kept."""
        self._is_paused = is_paused
        if is_paused:
            self.intake.pause()
        else:
            self.intake.resume()

    def tick(self, now: float) -> None:
        """The net's due times, and a commit of what is settled."""
        self.reception.look_at_net(now)
        committables = self._engine.settler.committables
        if committables is not self.intake.committables:
            self.intake.committables = committables
        if now >= self._commit_at:
            self._commit_at = now + _COMMIT_SECONDS
            self.intake.request_commit()

    def next_due(self) -> float | None:
        """When the next door record is due."""
        return self.reception.net.next_due()

    def trouble(self, now: float) -> DcmirrorError | None:
        """The intake has ended for good, or hangs."""
        if self._fatal is not None:
            return IntakeError(self._fatal)
        heard_at = max(self._heard_at, self.intake.last_beat)
        self._heard_at = excused(heard_at, self._attention.missed(now), now)
        silence = now - self._heard_at
        if silence > LONGEST_SILENCE:
            return IntakeError(
                f"the Kafka intake has been silent for {silence:.0f} s: a call of the "
                "client hangs; start dcmirror again"
            )
        return None

    @property
    def is_exhausted(self) -> bool:
        """A topic never ends."""
        return False

    @property
    def lag(self) -> dict[int, int]:
        """Records behind the end, by partition."""
        return self.intake.lag()

    def status(self, now: float) -> dict[str, Any]:
        """What status.json says of Kafka: the partitions furthest behind first."""
        lag, settler = self.lag, self._engine.settler
        ledgers = sorted(
            self.reception.ledgers, key=lambda led: -lag.get(led.partition, 0)
        )
        trouble = self.reception.trouble
        return {
            "lag": lag,
            "net": len(self.reception.net),
            "partitions": [
                {
                    "topic": ledger.topic,
                    "partition": ledger.partition,
                    "lag": lag.get(ledger.partition),
                    "committed": settler.acknowledged.get(ledger.partition),
                    "pending": ledger.pending_count,
                    "above_gap": ledger.settled_above_gap,
                }
                for ledger in ledgers[:MOST_PARTITIONS]
            ],
            "partitions_total": len(ledgers),
            "kafka": {
                "trouble": shown(trouble) if trouble else None,
                "trouble_for": self._troubled_for(now),
                "paused": self._is_paused,
                "silent_for": round(max(now - self.intake.last_beat, 0.0), 1),
            },
        }

    def _troubled_for(self, now: float) -> float | None:
        if not self.reception.trouble:
            self._trouble_since = None
            return None
        if self._trouble_since is None:
            self._trouble_since = now
        return round(now - self._trouble_since, 1)

    def stop_intake(self) -> None:
        """No more records; the membership is kept for the last commit."""
        self.intake.stop(final=False)

    def close(self) -> None:
        """The last commit, then leave the group; never longer than 20 seconds."""
        self.intake.committables = self._engine.settler.committables
        self.intake.stop(final=True)
        self.intake.join(timeout=_END_SECONDS)
        notices, _ = self.intake.take()
        is_committed = False
        for notice in notices:
            if isinstance(notice, Acknowledged):
                self._engine.settler.acknowledged.update(notice.offsets)
            elif isinstance(notice, Closed):
                is_committed = notice.committed
        if not is_committed:
            self._engine.story.note(
                "Kafka did not take the last commit in time; nothing is lost: the next "
                "start skips what the books have",
                level="warning",
            )
