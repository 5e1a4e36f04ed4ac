"""One attempt to copy a file: look, claim, fetch, verify, publish (DESIGN 5.5 to 5.8).

Runs in a worker.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace

from dcmirror.adapters.mirror_store import Look as Seen
from dcmirror.adapters.mirror_store import (
    Part,
    PartBusy,
    TargetChanged,
)
from dcmirror.adapters.requests import Answer
from dcmirror.core.diagnosis import (
    is_no_descriptor,
    is_want_of_room,
    may_be_everywhere,
)
from dcmirror.core.failures import Failure, FailureClass
from dcmirror.core.jobs import (
    AttemptResult,
    CopyRecord,
    Job,
    JobKind,
    Progress,
    ResultKind,
    Step,
)
from dcmirror.core.marks import Mark
from dcmirror.core.verification import (
    Held,
    Look,
    Source,
    Wanted,
    held_of,
    judge_held,
    judge_source,
)
from dcmirror.core.wording import report_text
from dcmirror.errors import UnsafePathError
from dcmirror.tasks.attempt import Action, Attempt, CopyTools, Pause, Publish, Reply
from dcmirror.tasks.exchange import (
    AttemptFailed,
    Exchange,
    NoDescriptor,
    destination_failed,
    not_written,
)
from dcmirror.tasks.verify import BodyCheck, Verified

#: Fetches of one attempt while the file under the path changes.
_MAX_FETCHES = 3
#: Jobs that ask for the proof that an unverified copy does not have yet.
_SEEK_PROOF = (JobKind.RECONCILE, JobKind.REPAIR)


class CopyAttempt:
    """One attempt of one job, from its first look to its result."""

    def __init__(self, job: Job, tools: CopyTools, queued_ms: float) -> None:
        self.job = job
        self.tools = tools
        self.phase = "queued"
        self.phase_since = self.started_at = tools.wall()
        self.wanted = Wanted(job.pnfsid, job.size)
        self.exchange = Exchange(job, tools.rules, tools.wall, self.enter)
        self.exchange.phases["queued"] = queued_ms
        self.size = job.size
        self.needed: int | None = None
        self.received = 0
        self.part: Part | None = None
        self.target = f"{tools.root}/{job.relative}"

    def enter(self, phase: str) -> None:
        """The attempt waits for something else now."""
        self.phase = phase
        self.phase_since = self.tools.wall()

    def progress(self, received: int) -> Progress:
        """Where the attempt is; ``received`` bytes came of the running request."""
        phase = self.phase
        if received and phase in ("door", "pool_queue"):
            phase = "data"
        written = max(received, self.received)
        return Progress(self.job.task, phase, written, self.size, self.phase_since)

    def run(self) -> Attempt:
        """The attempt.  Closing the generator early removes its part."""
        try:
            return (yield from self._tries())
        except AttemptFailed as exc:
            return self._failed(exc.failure, exc.error)
        except TargetChanged:
            return self._result(ResultKind.AGAIN)
        except (PartBusy, NoDescriptor) as exc:
            return self._result(ResultKind.BUSY, reason=str(exc))
        except UnsafePathError as exc:
            return self._failed(Failure(FailureClass.UNSAFE_PATH, str(exc)))
        except OSError as exc:
            if is_no_descriptor(exc):
                return self._result(ResultKind.BUSY, reason=str(exc))
            return self._failed(destination_failed(exc).failure, exc)
        finally:
            self._discard()

    def _tries(self) -> Attempt:
        for _ in range(_MAX_FETCHES):
            seen = self.tools.store.look(self.job.relative)
            result = yield from self._look(seen)
            if result is None:
                result = yield from self._fetch(seen)
            if result is not None:
                return result
        raise AttemptFailed(
            Failure(FailureClass.TRANSIENT, "the file changes while it is read")
        )

    # What the mirror has already (5.5)

    def _look(self, seen: Seen) -> Generator[Action, Reply, AttemptResult | None]:
        if self.job.refetch:
            return None
        held = self._held_proof(seen)
        leave = self.tools.leaves_missing
        look = judge_held(self.wanted, held, exists=seen.exists, leave=leave)
        if look is Look.FETCH:
            return None
        if look is Look.READ and self._is_trusted(seen):
            trusted = Held(self.wanted.pnfsid, seen.size, None, verified=False)
            return self._adopt(seen, trusted)
        pnfsid = self.wanted.pnfsid
        if look in (Look.ASK, Look.READ):
            source = yield from self.exchange.head()
            if held is None:
                held = yield from self._read_local(seen, source)
            look = judge_source(self.wanted, held, source, exists=seen.exists)
            pnfsid = source.pnfsid or pnfsid
            self._believe(source)
        if look is Look.ADOPT and held is not None:
            return self._adopt(seen, replace(held, pnfsid=pnfsid))
        if look is Look.SUPERSEDED:
            return self._result(ResultKind.SUPERSEDED, reason="mirrored already")
        if look is Look.LEFT:
            return self._result(ResultKind.LEFT, reason="removed from the mirror")
        return None

    def _held_proof(self, seen: Seen) -> Held | None:
        """What mark or row says; who looks for proof is told nothing unverified."""
        held = held_of(seen, self.job.known)
        seeks = self.job.kind in _SEEK_PROOF and not self.job.trusts_size
        if seeks and seen.exists and held is not None and not held.verified:
            return None
        return held

    def _is_trusted(self, seen: Seen) -> bool:
        """Whether the right size is enough for a file that nothing speaks for."""
        return self.job.trusts_size and self.wanted.size == seen.size

    def _believe(self, source: Source) -> None:
        """The path is another file than the event's: that one is wanted from now on."""
        if source.pnfsid is not None and source.pnfsid != self.wanted.pnfsid:
            self.wanted = Wanted(source.pnfsid, source.size)

    def _read_local(self, seen: Seen, source: Source) -> Generator[Action, Reply, Held]:
        """An old copy without mark or row: only its own checksum can speak for it."""
        computed = None
        if seen.size == source.size and source.adler32 is not None:
            self.enter("checksum")
            began = self.tools.clock()
            steps = self.tools.store.digest_steps(self.job.relative, seen)
            for value in steps:
                computed = value
                yield Pause()
            self._spend("checksum", began)
        return Held(None, seen.size, computed, verified=True)

    def _adopt(self, seen: Seen, held: Held) -> AttemptResult:
        if not _knows(self.job.known, seen, held):
            # A kill may have come right after the rename, before its directory's sync.
            self.tools.store.sync_directories(self.job.relative)
        copy = self._record(held, seen.mtime_ns)
        return self._result(ResultKind.ADOPTED, copy=copy)

    # The bytes (5.6 and 5.7)

    def _fetch(self, seen: Seen) -> Generator[Action, Reply, AttemptResult | None]:
        """Fetch and publish; None: start again, the path is another file by now."""
        self.part = self.tools.store.claim(self.job.relative, seen)
        self._say("copy_init", f"Creating destination file {self.target}.part")
        self._say("copy_start", f"Getting data from {self.job.url}")
        began = self.tools.clock()
        self.size = self.job.size
        answer = yield from self.exchange.get(
            self._write, self.wanted.size, self._expect
        )
        seconds = self.tools.clock() - began
        self.size = self.received = answer.received
        check = BodyCheck(self.wanted, answer, self.exchange, self.tools)
        verified = yield from check.run()
        if isinstance(verified, Source):
            self._believe(verified)
            self._discard()
            superseded = self._superseded()
            return superseded
        return (yield from self._publish(answer, verified, seconds))

    def _expect(self, length: int | None) -> None:
        """The body is about to come: what nobody reserved must find its room now."""
        self.needed = length
        if length is None:
            return
        self.size = length
        if length > (self.job.size or 0):
            self._admit(length)

    def _write(self, data: memoryview) -> None:
        """A body that nobody knows the length of finds its room bit by bit."""
        assert self.part is not None
        if self.size is None:
            self._admit(len(data))
        self.part.write(data)

    def _admit(self, size: int) -> None:
        assert self.part is not None
        try:
            self.tools.room.admit(size, self.part)
        except OSError:
            self.needed = self.part.bytes_written + size
            raise

    def _superseded(self) -> AttemptResult | None:
        """Whether the file that the path is by now has been mirrored already."""
        mark = self.tools.store.look(self.job.relative).mark
        if mark is None or mark.pnfsid is None or mark.pnfsid != self.wanted.pnfsid:
            return None
        return self._result(ResultKind.SUPERSEDED, reason="a newer upload is mirrored")

    # Its name (5.8)

    def _publish(
        self, answer: Answer, verified: Verified, seconds: float
    ) -> Generator[Action, Reply, AttemptResult]:
        part, self.part = self.part, None
        assert part is not None
        job = self.job
        told = job.event_time or answer.headers.last_modified or job.modified
        mark = Mark(
            verified.pnfsid,
            verified.adler32,
            verified.is_proved,
            answer.received,
            0,
            self.job.event_time,
        )
        self.enter("publish")
        published = yield Publish(part, mark, told or self.tools.wall())
        assert published is not None
        assert not isinstance(published, Answer)
        self.exchange.phases["publish"] = published.seconds * 1000
        if published.error is not None:
            raise not_written(published.error, answer.received)
        if published.changed:
            return self._result(ResultKind.AGAIN)
        self._tell(answer.received, seconds, verified)
        mtime_ns = published.mark.mtime_ns if published.mark else 0
        published_as = Held(mark.pnfsid, mark.size, mark.adler32, mark.verified)
        copy = self._record(published_as, mtime_ns)
        return self._result(ResultKind.MIRRORED, copy=copy, reason=verified.reason)

    def _tell(self, size: int, seconds: float, verified: Verified) -> None:
        word = "OK" if verified.is_proved else "none"
        text = f"{self.job.url} to {self.target} (checksum validation: {word})"
        self._say("copy_over", text)
        self._say("copy_report", report_text(size, seconds))

    # Words and values

    def _say(self, name: str, text: str) -> None:
        self.tools.say(Step(self.job.task, name, self.tools.wall(), text))

    def _spend(self, phase: str, began: float) -> None:
        self.exchange.phases[phase] = (self.tools.clock() - began) * 1000

    def _discard(self) -> None:
        part, self.part = self.part, None
        self.received = 0
        if part is not None:
            part.discard()

    def _record(self, held: Held, mtime_ns: int) -> CopyRecord:
        job = self.job
        origin = job.origin
        return CopyRecord(
            relative=job.relative,
            path=job.path,
            pnfsid=held.pnfsid,
            size=held.size,
            adler32=held.adler32,
            verified=held.verified,
            mtime_ns=mtime_ns,
            copied_at=self.tools.wall(),
            event_time=job.event_time,
            topic=origin.topic if origin else None,
            partition=origin.partition if origin else None,
            offset=origin.offset if origin else None,
        )

    def _failed(self, failure: Failure, error: OSError | None = None) -> AttemptResult:
        if error is not None and may_be_everywhere(error.errno):
            failure = self._of_the_mirror(failure)
        if error is not None and is_want_of_room(error.errno):
            failure = replace(failure, needed=self.needed)
        return self._result(ResultKind.FAILED, failure=failure)

    def _of_the_mirror(self, failure: Failure) -> Failure:
        """The same, unless the mirror takes nothing at all: then that is the cause."""
        refusal = self.tools.room.refusal()
        if refusal is None:
            return failure
        message = f"cannot write in the mirror: {refusal}: {self.tools.root}"
        return replace(failure, failure_class=FailureClass.DESTINATION, message=message)

    def park(self, dropped: Answer | None = None) -> AttemptResult:
        """The result of an attempt that is given back unfinished.

        ``dropped`` is what there was of the answer that it waited for.
        """
        if dropped is not None:
            self.exchange.count(dropped)
        return self._result(ResultKind.PARKED)

    def crash(self, error: BaseException) -> AttemptResult:
        """The result of an attempt that met a bug of ours (G6)."""
        text = f"{type(error).__name__}: {error}"
        return self._failed(Failure(FailureClass.TRANSIENT, text))

    def _result(
        self,
        kind: ResultKind,
        *,
        copy: CopyRecord | None = None,
        failure: Failure | None = None,
        reason: str | None = None,
    ) -> AttemptResult:
        exchange = self.exchange
        hosts = exchange.hosts
        return AttemptResult(
            task=self.job.task,
            kind=kind,
            started_at=self.started_at,
            ended_at=self.tools.wall(),
            copy=copy,
            failure=failure,
            bytes_received=exchange.received,
            requests=sum(use[2] for use in hosts),
            connections=sum(use[3] for use in hosts),
            door_host=exchange.door.name,
            pool_host=exchange.pool.name if exchange.pool else None,
            http_status=exchange.http_status,
            reason=reason,
            phases=exchange.phases,
            hosts=hosts,
        )


def _knows(known: CopyRecord | None, seen: Seen, held: Held) -> bool:
    """Whether the catalogue's row speaks of this very file, not of an older version."""
    return known is not None and (known.pnfsid, known.size, known.mtime_ns) == (
        held.pnfsid,
        seen.size,
        seen.mtime_ns,
    )
