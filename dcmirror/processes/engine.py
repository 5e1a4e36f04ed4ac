"""What becomes of jobs: the supervisor's decisions between a job and its settling.

The supervisor's loop calls it; it never waits.  ``watch``, ``replay``, ``reconcile``
and ``audit`` use the same engine with another source of jobs.
"""

from __future__ import annotations

import dataclasses
import random
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from dcmirror.core.dispatch import Dispatcher
from dcmirror.core.entries import Entry, State
from dcmirror.core.failures import Failure, FailureClass
from dcmirror.core.holds import (
    SOURCE_CLASSES,
    HoldBook,
    HoldKey,
    HoldKind,
)
from dcmirror.core.jobs import (
    AttemptResult,
    CopyRecord,
    Job,
    JobKind,
    Progress,
    ResultKind,
)
from dcmirror.core.refusals import Refusals
from dcmirror.core.retry import GiveUp, Retry, RetryPolicy, WaitForHold, decide
from dcmirror.core.tally import Tally
from dcmirror.errors import BooksError
from dcmirror.processes.endings import Endings
from dcmirror.processes.hold_desk import HoldDesk
from dcmirror.processes.settler import Settler
from dcmirror.processes.source_watch import SourceWatch
from dcmirror.processes.space import Space
from dcmirror.processes.story import Story

_DESTINATION = HoldKey(HoldKind.DESTINATION)
#: Deaths alone in a worker after which a job is poison.
POISON_DEATHS = 2
#: Longest pause of a job whose destination keeps changing under it.
LONGEST_AGAIN = 30.0


@dataclass(frozen=True, slots=True)
class EnginePlan:
    """The limits that an engine works by; bytes and seconds."""

    policy: RetryPolicy
    net_seconds: float
    max_jobs: int
    max_waiting: int
    min_free: int | None
    suspects_source: bool = True


class Engine:
    """Jobs in, settlements out; everything in between is a state of the dispatcher."""

    def __init__(
        self,
        plan: EnginePlan,
        dispatcher: Dispatcher,
        holds: HoldBook,
        settler: Settler,
        story: Story,
        lookup: Callable[[Iterable[str]], dict[str, CopyRecord]],
        rng: random.Random,
    ) -> None:
        self.plan = plan
        self.dispatcher = dispatcher
        self.holds = holds
        self.hold_desk = HoldDesk(dispatcher, holds, story)
        self.settler = settler
        self.story = story
        self.tally = Tally()
        self.endings = Endings(self.tally, story, settler)
        self.source_watch = SourceWatch(
            dispatcher, self.hold_desk, self._settle_suspect
        )
        self.progress: dict[str, Progress] = {}
        self.space = Space(dispatcher, self.progress, plan.min_free)
        self.refusals = Refusals(scale=holds.scale)
        self.is_stopping = False
        self.is_yielding = False  # to another command, whose work is more urgent
        self._lookup = lookup
        self._rng = rng
        self._agains: dict[str, int] = {}
        self._disowned: set[str] = set()

    # -- jobs come in -------------------------------------------------------------

    def offer(self, job: Job) -> None:
        """Take a job in; one that still runs for an earlier epoch is ours again."""
        known = self.dispatcher.entries.get(job.task)
        if known is not None and known.job.path != job.path:
            # The topic was made anew: another record has this offset now.
            task = uuid.uuid5(uuid.UUID(job.task), job.path)
            job = dataclasses.replace(job, task=str(task))
            known = self.dispatcher.entries.get(job.task)
        if known is not None:
            known.job = dataclasses.replace(known.job, origin=job.origin)
            self._disowned.discard(job.task)
            return
        self.story.upload(job)
        self.dispatcher.add(job)

    def drop_partition(self, topic: str, partition: int) -> None:
        """Another instance owns it: what waits is dropped, what runs may finish."""
        for entry in list(self.dispatcher.entries.values()):
            origin = entry.job.origin
            if origin is None or (origin.topic, origin.partition) != (topic, partition):
                continue
            if entry.state is State.OUT:
                self._disowned.add(entry.job.task)
            else:
                self._forget(entry)

    # -- jobs go out --------------------------------------------------------------

    @property
    def is_full(self) -> bool:
        """Whether intake should pause (G4)."""
        return self.dispatcher.load >= self.plan.max_jobs

    @property
    def has_room(self) -> bool:
        """Whether intake may go on after a pause."""
        return self.dispatcher.load <= self.plan.max_jobs // 2

    @property
    def hands_out(self) -> bool:
        """Whether jobs, and with them probes, may go out at all."""
        return not (self.is_stopping or self.is_yielding)

    def hand_out(self, now: float) -> dict[int, list[Job]]:
        """The jobs that each worker gets now, with what the books know of them."""
        if not self.hands_out:
            return {}
        pairs = self.hold_desk.probes(now)
        if not self.holds.global_holds():
            pairs += self.dispatcher.hand_out(now, self.space.left())
            if self.dispatcher.short_of:
                self._begin_space_hold(now)
        if not pairs:
            return {}
        try:
            known = self._lookup([entry.job.relative for entry, _ in pairs])
        except BooksError:
            self._take_back([entry for entry, _ in pairs], now)
            raise
        fresh = self.settler.fresh
        chosen: dict[int, list[Job]] = {}
        for entry, worker in pairs:
            relative = entry.job.relative
            row = fresh.get(relative) or known.get(relative)
            if row != entry.job.known:
                entry.job = dataclasses.replace(entry.job, known=row)
            chosen.setdefault(worker, []).append(entry.job)
        return chosen

    def _take_back(self, entries: list[Entry], now: float) -> None:
        """They were chosen but not sent."""
        for entry in reversed(entries):
            self.hold_desk.inconclusive(entry, now)
            self.dispatcher.ready_again(entry, first=True)

    def replan(self, plan: EnginePlan, now: float) -> None:
        """Other limits from now on; a hold for want of space is looked at again."""
        self.plan = plan
        self.space.keep_free(plan.min_free)
        self.holds.probe_now(_DESTINATION, now)

    def _begin_space_hold(self, now: float) -> None:
        if self.dispatcher.count(State.OUT):
            return  # what runs gives back its reservation, or fills the disk, first
        if not self.space.could_take(self.dispatcher.needs):
            return  # no hold would ever end: ``tick`` lets it go
        self.hold_desk.begin(_DESTINATION, self.space.shortage(), now)

    # -- attempts come back -------------------------------------------------------

    def take_result(
        self, worker: int, result: AttemptResult, now: float, wall: float
    ) -> None:
        """Decide what one attempt's end means for its job, and for the holds."""
        self.tally.hosts.count(result.hosts)
        entry = self.dispatcher.entries.get(result.task)
        if entry is None or entry.worker != worker:
            return  # a worker that was given up on; its job is with another one now
        self.progress.pop(result.task, None)
        self.hold_desk.judge(entry, result, now)
        if result.task in self._disowned and result.copy is None:
            self._disown(entry, result)
        elif result.kind is ResultKind.FAILED and result.failure is not None:
            self._failed(entry, result, result.failure, now, wall)
        elif result.kind in (ResultKind.MIRRORED, ResultKind.ADOPTED):
            self._mirrored(entry, result)
        elif result.kind is ResultKind.BUSY:
            pause = self.plan.net_seconds
            entry.last_failure = "busy"
            self.dispatcher.wait_until(entry, now + pause, now)
        elif result.kind is ResultKind.AGAIN:
            self._again(entry, now)
        elif result.kind is ResultKind.PARKED:
            self.dispatcher.ready_again(entry, first=True)
        else:
            self._leave(entry, result)

    def worker_died(self, worker: int, now: float, wall: float) -> list[Job]:
        """Its jobs go back as suspects; who dies alone a second time is poison."""
        accused = self.dispatcher.unseat(worker, now)
        for entry in accused:
            self.progress.pop(entry.job.task, None)
            self.hold_desk.inconclusive(entry, now)
            if entry.job.task in self._disowned:
                self._forget(entry)
            elif entry.deaths_alone >= POISON_DEATHS:
                text = f"the worker died {POISON_DEATHS} times with only this file"
                failure = Failure(FailureClass.POISON, text)
                self._settle_entry(entry, FailureClass.POISON, failure, None, wall)
        return [entry.job for entry in accused]

    def _mirrored(self, entry: Entry, result: AttemptResult) -> None:
        if result.requests:
            self.source_watch.answered(result.started_at)
        self._forget(entry)
        if result.kind is ResultKind.MIRRORED and result.copy and result.copy.size:
            self.refusals.written(entry.handed_out_at)
        self.endings.mirrored(entry.job, result)

    def _disown(self, entry: Entry, result: AttemptResult) -> None:
        """The new owner of its partition tries it again: the journal alone knows."""
        self._forget(entry)
        self.story.disowned(entry.job, result)

    def _leave(self, entry: Entry, result: AttemptResult) -> None:
        """Superseded by a newer upload, or left alone as configured."""
        if result.requests:
            self.source_watch.answered(result.started_at)
        self._forget(entry)
        self.endings.skipped(entry.job, result.kind.value)

    def _again(self, entry: Entry, now: float) -> None:
        times = self._agains.get(entry.job.task, 0)
        self._agains[entry.job.task] = times + 1
        pause = min(0.05 * 2.0 ** min(times, 12), LONGEST_AGAIN)
        entry.last_failure = "changing"
        self.dispatcher.wait_until(entry, now + pause * self._jitter(), now)

    def _failed(
        self,
        entry: Entry,
        result: AttemptResult,
        failure: Failure,
        now: float,
        wall: float,
    ) -> None:
        if self.hold_desk.is_source_held(failure):
            self.dispatcher.ready_again(entry)
            return
        if failure.failure_class is FailureClass.DESTINATION:
            self._refused(entry, failure, result, now, wall)
            return
        decision = decide(
            entry.job,
            failure,
            now=wall,
            ladder_step=entry.ladder_step,
            policy=self.plan.policy,
            jitter=self._jitter(),
        )
        if isinstance(decision, WaitForHold):
            self.hold_desk.wait_for_end(entry, failure, now)
        elif isinstance(decision, Retry):
            self._retry(entry, failure, decision, result, now)
        else:
            self._give_up(entry, decision, failure, result, now, wall)

    def _refused(
        self,
        entry: Entry,
        failure: Failure,
        result: AttemptResult,
        now: float,
        wall: float,
    ) -> None:
        """The destination did not take it; is it full, or is it this file (G5, G6)?"""
        entry.announced = failure.needed or entry.announced
        if not self.space.could_take(entry.needs):
            self._never_fits(entry, result, wall)
            return
        job = entry.job
        refused = self.refusals.refused(job.task, job.relative, now)
        if refused.gives_up:
            text = f"{failure.message}; again and again, while others were written"
            failure = dataclasses.replace(failure, message=text)
            self._settle_entry(entry, failure.failure_class, failure, result, wall)
            return
        if refused.holds:
            self.hold_desk.begin(_DESTINATION, failure.message, now)
        if refused.pause is not None:
            pause = Retry(refused.pause * self._jitter(), charged=False)
            self._wait(entry, failure, pause, result, now)
        elif failure.needed:
            self.dispatcher.next_when_it_fits(entry)
        else:
            self.dispatcher.ready_again(entry, first=True)

    def _retry(
        self,
        entry: Entry,
        failure: Failure,
        decision: Retry,
        result: AttemptResult,
        now: float,
    ) -> None:
        job = entry.job
        self._wait(entry, failure, decision, result, now)
        if decision.charged:
            entry.job = dataclasses.replace(job, attempt=job.attempt + 1)
        else:
            entry.ladder_step += 1

    def _wait(
        self,
        entry: Entry,
        failure: Failure,
        decision: Retry,
        result: AttemptResult,
        now: float,
    ) -> None:
        self.tally.take_retry(failure.failure_class.value)
        self.story.retry(entry.job, failure, decision, result)
        entry.last_failure = failure.failure_class.value
        self.dispatcher.wait_until(entry, now + decision.delay, now)

    def _give_up(
        self,
        entry: Entry,
        decision: GiveUp,
        failure: Failure,
        result: AttemptResult,
        now: float,
        wall: float,
    ) -> None:
        failure_class = decision.failure_class
        if failure_class is FailureClass.GONE and entry.job.kind is JobKind.RECONCILE:
            # A listing showed it a while ago; nobody announced it since.
            self._forget(entry)
            self.endings.skipped(entry.job, "vanished")
            return
        suspects = self.plan.suspects_source and not entry.past_source_hold
        if failure_class not in SOURCE_CLASSES or not suspects or self.is_stopping:
            self._settle_entry(entry, failure_class, failure, result, wall)
            return
        self.source_watch.suspect(entry, failure_class, failure, result, now)

    def _settle_suspect(
        self,
        entry: Entry,
        failure_class: FailureClass,
        failure: Failure,
        result: AttemptResult,
    ) -> None:
        self._settle_entry(entry, failure_class, failure, result, result.ended_at)

    # -- ends ---------------------------------------------------------------------

    def tick(self, now: float, wall: float) -> None:
        """Due times, bounds and patience."""
        self.dispatcher.due(now)
        self.source_watch.settle_due(now)
        self._let_go_of_what_never_fits(wall)
        for entry in self.dispatcher.longest_waiting(self.plan.max_waiting):
            failure = Failure(
                FailureClass.OVERFLOW,
                f"more than {self.plan.max_waiting} jobs wait ([pipeline] max_waiting)",
            )
            self._settle_entry(entry, FailureClass.OVERFLOW, failure, None, wall)

    def _let_go_of_what_never_fits(self, wall: float) -> None:
        """Events with forged sizes must not stop all the others (G6)."""
        entry = self.dispatcher.entries.get(self.dispatcher.short_for or "")
        while entry is not None and entry.state is State.READY:
            if self.space.could_take(entry.needs):
                return
            self._never_fits(entry, None, wall)
            entry = self.dispatcher.next_ready()

    def _never_fits(
        self, entry: Entry, result: AttemptResult | None, wall: float
    ) -> None:
        text = self.space.impossible(entry.needs)
        failure = Failure(FailureClass.DESTINATION, text)
        self._settle_entry(entry, FailureClass.DESTINATION, failure, result, wall)

    def _settle_entry(
        self,
        entry: Entry,
        failure_class: FailureClass,
        failure: Failure,
        result: AttemptResult | None,
        wall: float,
    ) -> None:
        self._forget(entry)
        self.endings.failed(entry.job, failure_class, failure, result, wall)

    def _forget(self, entry: Entry) -> None:
        task = entry.job.task
        self.dispatcher.remove(task)
        self.source_watch.forget(task)
        self.refusals.forget(task)
        self._agains.pop(task, None)
        self._disowned.discard(task)
        self.progress.pop(task, None)

    def _jitter(self) -> float:
        return self._rng.uniform(0.5, 1.5)
