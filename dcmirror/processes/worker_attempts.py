"""The attempts in hand: each goes on when what it waited for has come.

A worker runs this.  An attempt is a generator; it waits for an answer of a door or a
pool, for a stream to ask with, for the publisher, or for a time.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

from dcmirror.adapters.curl_stream import Stream
from dcmirror.adapters.curl_transfer import Transfers
from dcmirror.adapters.requests import Answer, Request
from dcmirror.core.jobs import AttemptResult
from dcmirror.core.messages import SourceState
from dcmirror.processes.publisher import FinishedPart, Publisher
from dcmirror.tasks.attempt import Action, Publish, Reply
from dcmirror.tasks.copy import CopyAttempt
from dcmirror.tasks.probe import SourceProbe

#: Finished parts gather that long while there is more to do; idle, they leave at once.
_GATHER_SECONDS = 0.02
_GATHER_PARTS = 16
#: Attempts beyond the streams: waiting for a digest or for the publisher.
_MAX_OFF_STREAM = 64
#: Of a worker besides its attempts: 14, directories of the publisher's group, names
#: that are being looked up, files of CAs.
_OWN_DESCRIPTORS = 64
#: A connection to the door, one to a pool, a part, and a directory now and then.
_DESCRIPTORS_PER_STREAM = 4


def descriptors_for(streams: int) -> int:
    """What a worker with so many streams may have open at once."""
    busy = streams * _DESCRIPTORS_PER_STREAM
    return _OWN_DESCRIPTORS + _MAX_OFF_STREAM + busy


@dataclass(slots=True, eq=False)
class Run:
    """One attempt in hand, or a probe that is driven like one."""

    attempt: CopyAttempt | SourceProbe
    steps: Generator[Action, Any, AttemptResult | SourceState]
    stream: Stream | None
    told_at: float
    is_publishing: bool = False

    @property
    def received(self) -> int:
        """Bytes of the body that is coming in just now."""
        return self.stream.body.received if self.stream else 0


class Attempts:
    """All runs, and which of them has which stream."""

    def __init__(
        self,
        transfers: Transfers,
        streams: int,
        publisher: Publisher,
        end: Callable[[AttemptResult | SourceState], None],
        clock: Callable[[], float],
    ) -> None:
        self.runs: set[Run] = set()
        self.sleeping: list[tuple[float, int, Run]] = []
        self._transfers = transfers
        self._publisher = publisher
        self._end_with = end
        self._clock = clock
        self._free = transfers.make_streams(streams)
        self._most_runs = streams + _MAX_OFF_STREAM
        self._by_stream: dict[Stream, Run] = {}
        self._wanting: deque[tuple[Run, Request]] = deque()
        self._ready: deque[Run] = deque()
        self._finished: list[FinishedPart] = []
        self._finished_since = 0.0
        self._numbers = itertools.count()

    @property
    def has_room(self) -> bool:
        """Whether another attempt could begin to ask at once."""
        return bool(self._free) and len(self.runs) < self._most_runs

    @property
    def due(self) -> float:
        """When ``go_on`` or ``hand_over`` has work to do, on the monotonic clock."""
        if self._ready:
            return 0.0
        due = math.inf
        if self._finished:
            due = self._finished_since + _GATHER_SECONDS
        if self.sleeping:
            due = min(due, self.sleeping[0][0])
        return due

    def begin(self, attempt: CopyAttempt | SourceProbe) -> None:
        """Take an attempt in hand."""
        run = Run(attempt, attempt.run(), None, self._clock())
        self.runs.add(run)
        if self._free:
            self._give_stream(run)
        self._advance(run, None)

    def go_on(self, now: float) -> None:
        """Whoever waited for an answer, a time, a turn or a stream, and has it now."""
        for stream, answer in self._transfers.take_finished():
            run = self._by_stream.get(stream)
            if run is not None:
                self._advance(run, answer)
        self._wake_sleepers(now)
        for _ in range(len(self._ready)):
            self._advance(self._ready.popleft(), None)
        while self._wanting and self._free:
            run, request = self._wanting.popleft()
            if run in self.runs:
                self._give_stream(run)
                self._start(run, request)

    def take_published(self) -> None:
        """Whoever waited for the publisher."""
        for published in self._publisher.take_results():
            run = published.token
            if isinstance(run, Run) and run in self.runs:
                run.is_publishing = False
                self._advance(run, published)

    def hand_over(self, *, may_gather: bool) -> None:
        """Give finished parts to the publisher.

        Together: every group wakes the publisher, and costs at least one sync.
        """
        if not self._finished or (may_gather and self._is_worth_waiting()):
            return
        finished, self._finished = self._finished, []
        self._publisher.submit(*finished)

    def park_all(self, *, even_publishing: bool) -> None:
        """Give the attempts back: requests are dropped, parts removed."""
        for run in list(self.runs):
            if even_publishing or not run.is_publishing:
                self._park(run)

    def _park(self, run: Run) -> None:
        dropped = self._transfers.drop(run.stream) if run.stream else None
        result = run.attempt.park(dropped)
        run.steps.close()
        self._end(run, result)

    def _advance(self, run: Run, reply: Reply) -> None:
        """Send an attempt what it waited for, and do what it wants next."""
        if run not in self.runs:  # parked meanwhile
            return
        try:
            if isinstance(reply, Answer) and reply.bug is not None:
                raise reply.bug
            self._do(run, run.steps.send(reply))
        except StopIteration as stop:
            self._end(run, stop.value)
        except Exception as exc:  # noqa: BLE001 - the job boundary (G6)
            self._crash(run, exc)

    def _crash(self, run: Run, bug: Exception) -> None:
        run.steps.close()
        self._end(run, run.attempt.crash(bug))

    def _do(self, run: Run, action: Action) -> None:
        if isinstance(action, Request):
            self._request(run, action)
        elif isinstance(action, Publish):
            self._take_stream(run)
            run.is_publishing = True
            part = FinishedPart(action.part, action.mark, action.mtime, run)
            if not self._finished:
                self._finished_since = self._clock()
            self._finished.append(part)
        elif action.seconds > 0:
            self._take_stream(run)
            due = self._clock() + action.seconds
            heapq.heappush(self.sleeping, (due, next(self._numbers), run))
        else:
            self._ready.append(run)

    def _request(self, run: Run, request: Request) -> None:
        if run.stream is None:
            self._wanting.append((run, request))
        else:
            self._transfers.start(run.stream, request)

    def _start(self, run: Run, request: Request) -> None:
        """A request that had to wait for a stream."""
        try:
            self._request(run, request)
        except Exception as exc:  # noqa: BLE001 - the job boundary (G6)
            self._crash(run, exc)

    def _give_stream(self, run: Run) -> None:
        run.stream = self._free.pop()
        self._by_stream[run.stream] = run

    def _take_stream(self, run: Run) -> None:
        if run.stream is not None:
            del self._by_stream[run.stream]
            self._free.append(run.stream)
            run.stream = None

    def _end(self, run: Run, result: AttemptResult | SourceState) -> None:
        self._take_stream(run)
        self.runs.discard(run)
        self._end_with(result)

    def _is_worth_waiting(self) -> bool:
        return (
            len(self._finished) < _GATHER_PARTS
            and self._clock() < self._finished_since + _GATHER_SECONDS
        )

    def _wake_sleepers(self, now: float) -> None:
        while self.sleeping and self.sleeping[0][0] <= now:
            run = heapq.heappop(self.sleeping)[2]
            if run in self.runs:
                self._advance(run, None)
