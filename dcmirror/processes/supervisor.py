"""The supervisor's loop: one place that waits, and everything it then does.

The process that the user started runs it.  It owns every decision and every book; what
it knows of Kafka or of failed.csv is a ``Feed``.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import wait

from dcmirror.core.entries import State
from dcmirror.core.holds import Hold, HoldKey, HoldKind
from dcmirror.core.messages import (
    DestinationState,
    Drain,
    ProbeDestination,
    ProbeSource,
    Ready,
    Report,
    RunJobs,
    SourceState,
)
from dcmirror.errors import (
    BooksError,
    ChildBootError,
    ChildrenDyingError,
    DcmirrorError,
    ExitStatus,
)
from dcmirror.processes.child import Child
from dcmirror.processes.engine import Engine
from dcmirror.processes.feeds import Feed, Hooks
from dcmirror.processes.fleet import Fleet
from dcmirror.processes.garbage import collect_rarely
from dcmirror.processes.signals import Signals, leave_now

#: Outcomes gather this long before they are settled together (seconds).
SETTLE_SECONDS = 0.2
#: A worker gets this much more than the drain's deadline to leave by itself.
DRAIN_MARGIN = 3.0
_LOGGER_SECONDS = 2.0
_BOOKS = HoldKey(HoldKind.BOOKS)
_DESTINATION = HoldKey(HoldKind.DESTINATION)


class Supervisor:
    """Runs until it is told to stop, the feed is exhausted, or it cannot go on."""

    def __init__(
        self,
        engine: Engine,
        fleet: Fleet,
        feed: Feed,
        hooks: Hooks,
        *,
        drain_seconds: float,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.engine = engine
        self.fleet = fleet
        self.feed = feed
        self.hooks = hooks
        self.error: DcmirrorError | None = None
        self.is_draining = False
        self.stopped_by: int | None = None
        self._drain_seconds = drain_seconds
        self._clock = clock
        self._wall = wall
        self._stops = 0
        self._hup = False
        self._deadline = float("inf")
        self._settle_at = float("inf")
        self._second = 0.0
        self._is_paused = False
        numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        self._signals = Signals(numbers, self._on_signal)

    # -- the loop -----------------------------------------------------------------

    def run(self) -> ExitStatus:
        """The loop; it waits in one place and returns the exit status.

        Raises:
            DcmirrorError: what ended the work, after everything was drained.
        """
        self.listen()
        collect_rarely()
        try:
            self._tell_started(self.fleet.spawn_missing(self._clock()))
            while not self._is_over():
                self._wait()
                now, wall = self._clock(), self._wall()
                self._hear_children(now, wall)
                self._take_feed(now, wall)
                self.engine.tick(now, wall)
                self._hand_out(now)
                self._settle(now)
                self._keep_time(now, wall)
                self.engine.story.flush_log()
            self._finish()
        finally:
            self.fleet.kill_all()
            self._signals.close()
        if self.error is not None:
            raise self.error
        return ExitStatus.DONE

    def _wait(self) -> None:
        fds: list[object] = [self._signals.fd]
        if self._hears_feed:
            fds.append(self.feed.fd)
        for child in self.fleet.children():
            fds.append(child.sentinel)
            if not child.from_child.closed:
                fds.append(child.from_child)
        if self._signals.fd in wait(fds, self._patience()):  # type: ignore[arg-type]
            self._signals.clear()

    def _patience(self) -> float:
        now = self._clock()
        due = [
            self._second + 1.0,
            self._settle_at,
            self._deadline,
            self.engine.dispatcher.next_due(),
            self.engine.holds.next_probe() if self.engine.hands_out else None,
            self.feed.next_due() if self._hears_feed else None,
            self.fleet.next_spawn(),
        ]
        return max(min(d for d in due if d is not None) - now, 0.0)

    def _is_over(self) -> bool:
        if self.is_draining:
            return not self.fleet.workers()
        return self.feed.is_exhausted and not self.engine.settler.backlog

    @property
    def _is_ending(self) -> bool:
        return self.is_draining or self._stops > 0

    # -- children -----------------------------------------------------------------

    def _hear_children(self, now: float, wall: float) -> None:
        for child in self.fleet.children():
            is_dead = child.process.exitcode is not None
            for message in self.fleet.receive(child, now):
                self._hear(child, message, now, wall)
            if is_dead:
                self._bury(child, now, wall)
        for child in self.fleet.overdue(now):
            self.engine.story.child_is_silent(child.name, now - child.last_beat)
            self.fleet.end_silent(child)

    def _hear(self, child: Child, message: object, now: float, wall: float) -> None:
        engine = self.engine
        if isinstance(message, Report):
            self._take_report(child, message, now, wall)
        elif isinstance(message, DestinationState):
            engine.space.learn(message.free_bytes, None)
            self._judge_destination(message, now)
        elif isinstance(message, SourceState):
            engine.tally.hosts.count(message.hosts)
            self._judge_source(message, now)
        elif isinstance(message, Ready):
            engine.space.learn(message.free_bytes, message.total_bytes)
            engine.dispatcher.seat(child.number, self.fleet.streams_of(child.number))

    def _take_report(
        self, child: Child, report: Report, now: float, wall: float
    ) -> None:
        engine = self.engine
        if report.publishing:
            child.last_beat = now + 3600.0  # a sync may take its time; not silent yet
        if report.leaving:
            engine.dispatcher.close(child.number)
        engine.space.learn(report.free_bytes, report.total_bytes)
        engine.story.steps(report.steps)
        for progress in report.progress:
            engine.progress[progress.task] = progress
        for result in report.results:
            child.has_worked = True
            engine.take_result(child.number, result, now, wall)

    def _bury(self, child: Child, now: float, wall: float) -> None:
        jobs = self.engine.worker_died(child.number, now, wall)
        try:
            death = self.fleet.bury(child, now, respawn=not self._is_ending)
        except (ChildrenDyingError, ChildBootError) as exc:
            self._fail(exc, now)
            return
        was_told = child.is_retiring or (
            self._is_ending and child.process.exitcode == 0
        )  # a TERM to the whole process group reaches the children as well
        if not was_told:
            self.engine.story.child_died(child.name, death.why, jobs)

    def _tell_started(self, started: list[Child]) -> None:
        for child in started:
            self.engine.story.child_started(child.name, child.process.pid or 0)

    # -- work ---------------------------------------------------------------------

    def _take_feed(self, now: float, wall: float) -> None:
        if self.is_draining:
            return
        if not self._hears_feed:
            self._throttle()
            return
        try:
            self.feed.take(now, wall)
            self.feed.tick(now)
        except BooksError as exc:
            self.engine.hold_desk.begin(_BOOKS, str(exc), now)
        self._throttle()
        error = self.feed.trouble(now)
        if error is not None:
            self._fail(error, now)

    @property
    def _hears_feed(self) -> bool:
        """Whether something is taken now; else waiting for it would be for nothing."""
        return not self.is_draining and _BOOKS not in self.engine.holds

    def _throttle(self) -> None:
        engine = self.engine
        wants_pause = engine.is_full or (self._is_paused and not engine.has_room)
        wants_pause = (
            wants_pause or _BOOKS in engine.holds or (_DESTINATION in engine.holds)
        )
        if wants_pause != self._is_paused:
            self._is_paused = wants_pause
            self.feed.throttle(is_paused=wants_pause)

    def _hand_out(self, now: float) -> None:
        self._probe(now)
        try:
            chosen = self.engine.hand_out(now)
        except BooksError as exc:
            self.engine.hold_desk.begin(_BOOKS, str(exc), now)
            return
        by_number = {child.number: child for child in self.fleet.workers()}
        min_free = self.engine.space.min_free
        for number, jobs in chosen.items():
            self.fleet.send(by_number[number], RunJobs(tuple(jobs), min_free))

    def _probe(self, now: float) -> None:
        """The probes that need no job: a small write, a look at the folder."""
        for hold in self.engine.holds.all():
            if hold.probe_at > now or hold.probing:
                continue
            if hold.key.kind is HoldKind.DESTINATION:
                self.engine.holds.probe_failed(hold.key, now)  # until it says better
                self._send_probe(ProbeDestination())
            elif hold.key.kind is HoldKind.SOURCE and self._may_ask_source(hold):
                self._send_probe(ProbeSource())

    def _may_ask_source(self, hold: Hold) -> bool:
        """Once per probe: the engine, which asks with a job, sets the next date."""
        return self.engine.hands_out and not self.engine.holds.is_hidden(hold)

    def _send_probe(self, message: ProbeDestination | ProbeSource) -> None:
        for child in self.fleet.workers():
            if child.is_ready and self.fleet.send(child, message):
                return

    def _judge_destination(self, state: DestinationState, now: float) -> None:
        if state.ok and self.engine.space.is_enough():
            self.engine.hold_desk.end(_DESTINATION, now)

    def _judge_source(self, state: SourceState, now: float) -> None:
        if state.ok:
            key = HoldKey(HoldKind.SOURCE, self.engine.holds.door)
            self.engine.hold_desk.end(key, now)

    def _settle(self, now: float) -> None:
        settler, holds = self.engine.settler, self.engine.holds
        hold = holds.get(_BOOKS)
        if hold is not None:
            if now >= hold.probe_at:
                self._flush(now)
        elif settler.backlog == 0:
            self._settle_at = float("inf")
        elif self._settle_at == float("inf"):
            self._settle_at = now + SETTLE_SECONDS
        elif now >= self._settle_at:
            self._flush(now)

    def _flush(self, now: float) -> bool:
        """The story first: of a record that is no job it has the only line."""
        self._settle_at = float("inf")
        try:
            self.engine.story.flush()
            if _BOOKS in self.engine.holds:
                self.engine.settler.prove()
            self.engine.settler.flush()
        except BooksError as exc:
            if _BOOKS in self.engine.holds:
                self.engine.holds.probe_failed(_BOOKS, now)
            self.engine.hold_desk.begin(_BOOKS, str(exc), now)
            return False
        self.engine.hold_desk.end(_BOOKS, now)
        return True

    def _keep_time(self, now: float, wall: float) -> None:
        if not self._is_ending:
            self._tell_started(self.fleet.spawn_missing(now))
        if now >= self._second + 1.0:
            self._second = now
            self._flush_each_second(now)
            self.engine.hold_desk.alert(now)
            self.hooks.every_second(now, wall)
        if self._hup:
            self._hup = False
            self.hooks.reload()
        if self._stops and not self.is_draining:
            self._drain(now)
        if self.is_draining and now >= self._deadline:
            self.fleet.kill_all()

    def _flush_each_second(self, now: float) -> None:
        """What was not ours is settled too; while books are held, the story goes on."""
        if _BOOKS not in self.engine.holds:
            self._flush(now)
            return
        with suppress(BooksError):  # it keeps what it could not tell
            self.engine.story.flush()

    # -- the end ------------------------------------------------------------------

    def _fail(self, error: DcmirrorError, now: float) -> None:
        """Something that ends the work: say so, drain, leave with its status."""
        if self.error is None:
            self.error = error
            self.engine.story.note(str(error), level="error")
            self._drain(now)

    def _drain(self, now: float) -> None:
        if self.is_draining:
            return
        self.is_draining = self.engine.is_stopping = True
        self._deadline = now + self._drain_seconds + DRAIN_MARGIN
        running = self.engine.dispatcher.count(State.OUT)
        self.engine.story.draining(running, self._drain_seconds)
        self.feed.stop_intake()
        self.fleet.retire(Drain(self._drain_seconds))

    def _finish(self) -> None:
        now = self._clock()
        self.engine.source_watch.settle_everything()
        self._flush(now)
        self.feed.close()
        self.hooks.every_second(self._clock(), self._wall())
        self.engine.story.stopped(self.engine.tally)
        self.engine.story.close()
        self.fleet.retire(Drain(0.0))
        self.fleet.join_workers(_LOGGER_SECONDS)
        self.fleet.end_logger(_LOGGER_SECONDS)

    # -- signals ------------------------------------------------------------------

    def listen(self) -> None:
        """From now on a signal is heard, if only once the loop runs."""
        self._signals.listen()

    def _on_signal(self, number: int) -> None:
        """Only notes it, but for the second TERM, which means now."""
        if number == signal.SIGHUP:
            self._hup = True
            return
        self._stops += 1
        self.stopped_by = number
        if self._stops >= 2:
            leave_now()
