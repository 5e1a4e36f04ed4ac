"""Holds at work: when they begin and end, and which job probes them.

The engine asks it before it hands jobs out and after each attempt.
"""

from __future__ import annotations

from dcmirror.core.diagnosis import CURL_CA, CURL_CERTIFICATE, CURL_TIMEOUT
from dcmirror.core.dispatch import Dispatcher
from dcmirror.core.entries import Entry
from dcmirror.core.failures import Failure, FailureClass, Treatment
from dcmirror.core.holds import SOURCE_CLASSES, Hold, HoldBook, HoldKey, HoldKind
from dcmirror.core.jobs import AttemptResult, ResultKind
from dcmirror.processes.story import Story

#: Kinds that the supervisor probes by itself, without a job.
_PROBED_WITHOUT_JOB = (HoldKind.DESTINATION, HoldKind.BOOKS)
#: Ends of an attempt that say nothing of any host.
_SILENT = (ResultKind.BUSY, ResultKind.AGAIN, ResultKind.PARKED)
#: Until a probe that could not be made, or said nothing, is made again (seconds).
_SOON = 1.0
#: Half of a topic's retention, where nobody changed Kafka's default of seven days.
ALERT_SECONDS = 3.5 * 86400


class HoldDesk:
    """The holds of one engine."""

    def __init__(self, dispatcher: Dispatcher, holds: HoldBook, story: Story) -> None:
        self.holds = holds
        self._dispatcher = dispatcher
        self._story = story

    @property
    def source_key(self) -> HoldKey:
        """The hold of a source under suspicion."""
        return HoldKey(HoldKind.SOURCE, self.holds.door)

    def begin(self, key: HoldKey, cause: str, now: float) -> None:
        """Stop work for a cause; said once."""
        hold = self.holds.begin(key, cause, now)
        if hold is not None:
            self._story.hold_began(hold)

    def end(self, key: HoldKey, now: float) -> None:
        """The cause is gone: go on; said once."""
        hold = self.holds.end(key)
        if hold is not None:
            self._story.hold_ended(hold, now)
            self._dispatcher.release(key, now)

    def wait_for_end(self, entry: Entry, failure: Failure, now: float) -> None:
        """A job met a cause that is held: it waits, uncharged."""
        key = self.holds.key_for(failure.failure_class, failure.host)
        if key is None:
            self._dispatcher.ready_again(entry)
            return
        where = f" from {failure.host}" if failure.host and not key.host else ""
        self.begin(key, f"{failure.message}{where}", now)
        if key.kind is HoldKind.POOL:
            self._dispatcher.hold(entry, key)
        else:
            self._dispatcher.ready_again(entry, first=True)

    def is_source_held(self, failure: Failure) -> bool:
        """Whether this failure is one of those the source hold stands for."""
        held = self.source_key in self.holds
        return held and failure.failure_class in SOURCE_CLASSES

    def alert(self, now: float) -> None:
        """Say once of a long hold that Kafka will not keep the records for ever."""
        for hold in self.holds.all():
            if now - hold.since > ALERT_SECONDS and not hold.alerted:
                hold.alerted = True
                days = (now - hold.since) / 86400
                self._story.note(
                    f"held for {days:.1f} days ({hold.key}: {hold.cause}); records "
                    "that outlive the topic's retention are lost",
                    level="error",
                )

    # -- probes -------------------------------------------------------------------

    def probes(self, now: float) -> list[tuple[Entry, int]]:
        """One job for each hold whose probe is due and that a job can probe."""
        pairs = []
        for hold in self.holds.all():
            kind = hold.key.kind
            if hold.probing or hold.probe_at > now or kind in _PROBED_WITHOUT_JOB:
                continue
            if self.holds.is_hidden(hold):
                hold.probe_at = now + _SOON
                continue
            pair = self._probe(hold, now)
            if pair is not None:
                pairs.append(pair)
            elif kind is HoldKind.POOL and not self._candidates(hold):
                self.end(hold.key, now)  # no file waits for that pool any more
            elif kind is HoldKind.SOURCE:
                self.holds.probe_failed(hold.key, now)  # the folder was asked for
            else:
                hold.probe_at = now + _SOON  # nothing to probe with, or nobody free
        return pairs

    def _probe(self, hold: Hold, now: float) -> tuple[Entry, int] | None:
        for entry in self._candidates(hold):
            worker = self._dispatcher.hand_out_one(entry.job.task, now)
            if worker is not None:
                hold.probing = entry.job.task
                return entry, worker
        return None

    def _candidates(self, hold: Hold) -> list[Entry]:
        if hold.key.kind is HoldKind.POOL:
            # All of them: who is not the next one of its path cannot be handed out.
            entries = self._dispatcher.entries.values()
            return [e for e in entries if e.held_by == hold.key]
        ready = list(self._dispatcher.probe_candidates())
        if hold.key.kind is HoldKind.SOURCE:
            fresh = [e for e in ready if not e.past_source_hold]
            return (fresh or ready)[-1:]
        return ready[:1]

    def inconclusive(self, entry: Entry, now: float) -> None:
        """The job, if it probed, came back without an answer, or its worker died."""
        hold = self.holds.probed_by(entry.job.task)
        if hold is not None:
            hold.probing, hold.probe_at = None, now + _SOON

    # -- what an attempt's end says -----------------------------------------------

    def judge(self, entry: Entry, result: AttemptResult, now: float) -> None:
        """Breakers and probes: what this end says of the hosts it touched."""
        failure = result.failure
        key = None
        for host in _answering(result):
            self.holds.answered(host)
        if failure is not None:
            key = self.holds.key_for(failure.failure_class, failure.host)
            key = key or self._timed_out(failure, now)
        probed = self.holds.probed_by(result.task)
        if probed is not None:
            self._judge_probe(entry, probed.key, result, key, now)

    def _timed_out(self, failure: Failure, now: float) -> HoldKey | None:
        host = failure.host
        if failure.curl_code != CURL_TIMEOUT or host is None:
            return None
        if not self.holds.timed_out(host):
            return None
        key = self.holds.key_for(FailureClass.HOST, host)
        if key is not None:
            self.begin(key, "many timeouts in a row", now)
        return key

    def _judge_probe(
        self,
        entry: Entry,
        probed: HoldKey,
        result: AttemptResult,
        key: HoldKey | None,
        now: float,
    ) -> None:
        is_silent = result.kind in _SILENT or (
            result.failure is None and not result.requests
        )
        if key == probed or _fails_source(probed, result):
            self.holds.probe_failed(probed, now)
        elif is_silent or _ends_before(probed, key, result):
            self.inconclusive(entry, now)
        else:
            self.end(probed, now)


def _answering(result: AttemptResult) -> list[str]:
    """The hosts that answered something, with a failure of another kind too."""
    if not result.requests:
        return []
    door, pool, failure = result.door_host, result.pool_host, result.failure
    if failure is None:
        return [host for host in (door, pool) if host]
    hosts = []
    said_something = failure.http_status or failure.received
    if failure.host and said_something and failure.curl_code != CURL_TIMEOUT:
        hosts.append(failure.host)
    if door and pool and failure.host == pool != door:
        hosts.append(door)  # it has sent us there
    return hosts


def _ends_before(probed: HoldKey, key: HoldKey | None, result: AttemptResult) -> bool:
    """Whether another cause kept the attempt from getting as far as the probed one."""
    if key is None or result.failure is None:
        return False
    # A proxy or a CA directory that cannot be read: nobody was asked.
    asked_nobody = result.failure.curl_code in (CURL_CERTIFICATE, CURL_CA)
    return asked_nobody or not probed.is_before(key)


def _fails_source(probed: HoldKey, result: AttemptResult) -> bool:
    if probed.kind is not HoldKind.SOURCE or result.failure is None:
        return False
    treatment = result.failure.failure_class.treatment
    return treatment in (Treatment.PERMANENT, Treatment.LADDER)
