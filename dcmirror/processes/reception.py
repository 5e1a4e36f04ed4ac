"""From Kafka records to jobs: the first half of the supervisor's decisions.

The supervisor's loop calls it with what the intake thread brings.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable

from dcmirror.adapters.catalogue import Catalogue
from dcmirror.core.entries import State
from dcmirror.core.failures import Failure, FailureClass
from dcmirror.core.jobs import Job, Origin
from dcmirror.core.ledger import Ledgers, PartitionLedger
from dcmirror.core.net import NetTable
from dcmirror.core.plan import Garbage, NotOurs, Planner, Skip, Unsafe, Upload
from dcmirror.core.records import (
    Acknowledged,
    Assigned,
    Batch,
    Connected,
    IntakeTrouble,
    Notice,
    OffsetsLost,
    Record,
    Revoked,
)
from dcmirror.core.tally import Cover
from dcmirror.core.uploads import Verdict
from dcmirror.errors import BooksError
from dcmirror.processes.engine import Engine

_SAW_TRANSFERS = "topic-shows-transfers:"


class Reception:
    """Decides of every record whether it is work, and keeps the ledgers' left side."""

    def __init__(
        self,
        engine: Engine,
        planner: Planner,
        catalogue: Catalogue,
        ledgers: Ledgers,
        *,
        task_space: uuid.UUID,
        net_seconds: float,
        requests_without_mover: str,
    ) -> None:
        self.planner = planner
        self.net = NetTable()
        self.ledgers = ledgers
        self.trouble = ""
        self._engine = engine
        self._catalogue = catalogue
        self._ledgers = ledgers
        self._task_space = task_space
        self._cluster = ""
        self._over: dict[int, int] = {}
        self._net_seconds = net_seconds
        self._hints = requests_without_mover
        fact = catalogue.fact(_SAW_TRANSFERS + ledgers.topic)
        self._saw_transfers = fact is not None
        self._handlers: dict[Verdict, Callable[[Upload, Job, float], None]] = {
            Verdict.TRIGGER: self._trigger,
            Verdict.NET: self._door_record,
            Verdict.COMMIT: self._commit,
            Verdict.HINT: self._hint,
        }

    # -- notices ------------------------------------------------------------------

    def take_notice(self, notice: Notice) -> None:
        """What the intake says of itself, in the order in which it said it."""
        story = self._engine.story
        if isinstance(notice, Assigned):
            self._assigned(notice)
        elif isinstance(notice, Revoked):
            self._revoked(notice)
        elif isinstance(notice, Acknowledged):
            self._engine.settler.acknowledged.update(notice.offsets)
        elif isinstance(notice, OffsetsLost):
            self._offsets_lost(notice)
        elif isinstance(notice, Connected):
            self._cluster = notice.cluster_id or ""
        elif isinstance(notice, IntakeTrouble):
            self.trouble = notice.text
            story.intake_trouble(notice.text)

    def _assigned(self, notice: Assigned) -> None:
        """A new epoch.  Without a Revoked before it the log was replaced: jobs of the
        old one go on, since nobody can read their records again."""
        if notice.epoch <= self._over.get(notice.partition, 0):
            return  # a Revoked overtook it
        honoured = self._catalogue.assign(
            self._ledgers.topic,
            notice.partition,
            notice.epoch,
            notice.committed,
            notice.start,
        )
        self._ledgers.assign(notice.partition, notice.epoch, notice.start, honoured)
        self._engine.settler.acknowledged[notice.partition] = notice.start
        self._engine.story.assigned(
            self._ledgers.topic, notice.partition, notice.epoch, notice.start
        )

    def _offsets_lost(self, notice: OffsetsLost) -> None:
        """Of an epoch that is over it is not told: whoever reads on meets the gap, and
        tells of it from the committed offset on."""
        lost = (notice.partition, notice.wanted, notice.first)
        if self._ledgers.skip_to(notice.partition, notice.epoch, notice.first):
            self._engine.story.offsets_lost(self._ledgers.topic, *lost)

    def _revoked(self, notice: Revoked) -> None:
        for partition in notice.partitions:
            self._over[partition] = notice.epoch
            self._disown(partition)
        self._engine.story.revoked(
            self._ledgers.topic, notice.partitions, lost=notice.lost
        )

    def _disown(self, partition: int) -> None:
        if self._ledgers.revoke(partition) is not None:
            self.net.drop_partition(self._ledgers.topic, partition)
            self._engine.drop_partition(self._ledgers.topic, partition)

    # -- records ------------------------------------------------------------------

    def take_batch(self, batch: Batch, now: float, wall: float) -> None:
        """Every record of one poll; ``now`` is monotonic, ``wall`` epoch seconds."""
        get = self._ledgers.get
        decide = self.planner.decide
        learning = not self._saw_transfers
        for record in batch.records:
            ledger = get(record.partition, record.epoch)
            if ledger is None:
                continue
            if learning and self.planner.shows_transfer(record.value):
                self._learn_transfers()
                learning = False
            decision = decide(record.value)
            if isinstance(decision, NotOurs):
                ledger.receive_settled(record.offset, "not-ours")
            else:
                self._take_ours(record, ledger, decision, now, wall)

    def look_at_net(self, now: float) -> None:
        """Door records whose transfer did not come become jobs."""
        for job in self.net.due(now):
            self._engine.offer(job)

    def _take_ours(
        self,
        record: Record,
        ledger: PartitionLedger,
        decision: Skip | Garbage | Unsafe | Upload,
        now: float,
        wall: float,
    ) -> None:
        origin = Origin(ledger.topic, record.partition, record.offset, record.epoch)
        task = self._task_of(origin)
        if isinstance(decision, Garbage):
            if ledger.receive_settled(record.offset, "garbage"):
                self._engine.story.garbage(origin, decision.reason, decision.excerpt)
            return
        if isinstance(decision, Upload):
            job = self.planner.job_of(
                decision, task=task, origin=origin, accepted_at=wall
            )
            joined = self._join(decision)
            if ledger.receive(record.offset):
                self._handlers[decision.verdict](decision, job, now)
            if joined is not None:
                self._engine.endings.covered(joined, Cover.JOINED)
            return
        if not ledger.receive(record.offset):
            return
        if isinstance(decision, Skip):
            self._engine.endings.event_skipped(
                task, origin, decision.event, decision.reason, decision.detail
            )
        elif decision.verdict is not Verdict.TRIGGER and self._saw_transfers:
            # The pool's record of the same upload makes the row of failed.csv.
            self._engine.endings.event_skipped(
                task, origin, decision.event, "unsafe-path", decision.reason
            )
        else:
            failure = Failure(FailureClass.UNSAFE_PATH, decision.reason)
            self._engine.endings.event_refused(
                task, origin, decision.event, failure, wall
            )

    def _join(self, upload: Upload) -> Job | None:
        if upload.verdict is not Verdict.TRIGGER:
            return None
        return self.net.transfer_seen(upload.event.initiator, upload.event.pnfsid)

    def _trigger(self, upload: Upload, job: Job, now: float) -> None:
        self._engine.offer(job)

    def _door_record(self, upload: Upload, job: Job, now: float) -> None:
        event = upload.event
        if self.net.is_joined(event.session, event.pnfsid):
            self._engine.endings.covered(job, Cover.JOINED)
            return
        early = self.net.wait(job, event.session, now + self._net_seconds)
        if early is not None:
            self._engine.offer(early)

    def _commit(self, upload: Upload, job: Job, now: float) -> None:
        dispatcher = self._engine.dispatcher
        waiting = [
            entry
            for entry in dispatcher.waiting_for(upload.relative)
            if entry.state is State.WAITING
        ]
        if not waiting:
            self._engine.offer(job)
            return
        for entry in waiting:
            dispatcher.ready_again(entry, first=True, since=now)
        self._engine.endings.covered(job, Cover.JOINED)

    def _hint(self, upload: Upload, job: Job, now: float) -> None:
        if self._hints == "ignore" or (self._hints == "auto" and self._saw_transfers):
            self._engine.endings.covered(job, Cover.HINT_IGNORED)
        elif job.pnfsid and self._is_known(job.pnfsid):
            self._engine.endings.covered(job, Cover.KNOWN)
        else:
            self._engine.offer(job)

    def _is_known(self, pnfsid: str) -> bool:
        """Whether the books have an outcome; books that do not answer know nothing.

        The record was received already, so it must end as something: as a job, which
        finds by itself what is there.
        """
        try:
            return self._catalogue.knows_pnfsid(pnfsid)
        except BooksError:
            return False

    def _learn_transfers(self) -> None:
        self._saw_transfers = True
        self._catalogue.remember(_SAW_TRANSFERS + self._ledgers.topic, "yes")

    def _task_of(self, origin: Origin) -> str:
        name = f"{self._cluster}/{origin.topic}/{origin.partition}/{origin.offset}"
        return str(uuid.uuid5(self._task_space, name))
