"""Whether and when a failed attempt is tried again: data in, decision out.

The supervisor keeps the due times; nothing here sleeps, and the jitter is an argument.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from dcmirror.core.failures import Failure, FailureClass, Treatment
from dcmirror.core.jobs import Job

#: Pauses of the short ladder, in multiples of retryseconds.
LADDER = (1.0, 3.0, 10.0, 30.0, 60.0)
#: Also of what a server asks for: its file holds up the committed offset meanwhile.
LONGEST_PAUSE = 300.0
LONGEST_COMMIT_PAUSE = 900.0
#: Rungs that even the file of an old event gets before it counts as gone: a backlog may
#: have kept the job waiting for longer than any grace period.
LEAST_RUNGS = 3


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """What the configuration says of patience; all times in seconds."""

    retry_seconds: float
    retry_times: int
    grace_seconds: float
    commit_grace_seconds: float


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again in ``delay`` seconds; ``charged`` uses up one of retrytimes."""

    delay: float
    charged: bool


@dataclass(frozen=True, slots=True)
class GiveUp:
    """A row of failed.csv, under ``failure_class``."""

    failure_class: FailureClass


@dataclass(frozen=True, slots=True)
class WaitForHold:
    """The cause is held; the job is ready again, uncharged, when the hold ends."""


Decision = Retry | GiveUp | WaitForHold


def patience_ends(job: Job, policy: RetryPolicy) -> float:
    """When a file that is not there stops being merely late (seconds, epoch).

    The clock that stamped the event may be ahead of ours, so the time at which the job
    was accepted bounds it.
    """
    grace = policy.commit_grace_seconds if job.awaits_commit else policy.grace_seconds
    stamped = job.accepted_at if job.event_time is None else job.event_time
    return min(stamped, job.accepted_at) + grace


def backoff(retry_seconds: float, attempt: int, jitter: float) -> float:
    """Pause after the ``attempt``-th (from 1) failed attempt; jitter is 0.5 to 1.5."""
    exponent = min(attempt - 1, 20)  # 3^20 is far beyond the cap, and stays a float
    return float(min(retry_seconds * 3.0**exponent, LONGEST_PAUSE)) * jitter


def ladder_pause(
    step: int, policy: RetryPolicy, jitter: float, *, awaits_commit: bool
) -> float:
    """Pause after the ``step``-th (from 0) time that the file was not there."""
    if step < len(LADDER):
        pause = LADDER[step]
    elif awaits_commit:
        pause = min(LADDER[-1] * 3.0 ** (step - len(LADDER) + 1), LONGEST_COMMIT_PAUSE)
    else:
        pause = LADDER[-1]
    return pause * policy.retry_seconds * (0.75 + jitter / 4)


def decide(
    job: Job,
    failure: Failure,
    *,
    now: float,
    ladder_step: int,
    policy: RetryPolicy,
    jitter: float,
) -> Decision:
    """What becomes of ``job`` after ``failure``.

    Args:
        job: its ``attempt`` counts charged attempts, from 1.
        failure: what went wrong.
        now: seconds since the epoch.
        ladder_step: how often the file was not there before.
        policy: the configured patience.
        jitter: a random number from 0.5 to 1.5.
    """
    treatment = failure.failure_class.treatment
    if treatment is Treatment.HOLD:
        return WaitForHold()
    if treatment is Treatment.PERMANENT:
        return GiveUp(failure.failure_class)
    if treatment is Treatment.LADDER:
        if ladder_step < LEAST_RUNGS or now < patience_ends(job, policy):
            pause = ladder_pause(
                ladder_step, policy, jitter, awaits_commit=job.awaits_commit
            )
            return Retry(max(pause, _asked_pause(failure)), charged=False)
        if failure.http_status != 500:
            return GiveUp(FailureClass.GONE)
    if job.attempt > policy.retry_times:
        return GiveUp(_final_class(failure))
    pause = backoff(policy.retry_seconds, job.attempt, jitter)
    return Retry(max(pause, _asked_pause(failure)), charged=True)


def _asked_pause(failure: Failure) -> float:
    """What ``Retry-After`` may demand; a task of the site may put anything there."""
    asked = failure.retry_after or 0.0
    return 0.0 if math.isnan(asked) else min(asked, LONGEST_PAUSE)


def _final_class(failure: Failure) -> FailureClass:
    """A 500 that outlived the grace period is a server's trouble, not a late file."""
    if failure.failure_class is FailureClass.NOT_THERE:
        return FailureClass.TRANSIENT
    return failure.failure_class
