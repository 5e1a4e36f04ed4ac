"""Whether and when a failed attempt is tried again."""

from __future__ import annotations

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcmirror.core.failures import Failure, FailureClass, Treatment
from dcmirror.core.jobs import Job, JobKind
from dcmirror.core.retry import (
    LONGEST_PAUSE,
    Decision,
    GiveUp,
    Retry,
    RetryPolicy,
    WaitForHold,
    backoff,
    decide,
    patience_ends,
)

POLICY = RetryPolicy(1.0, 3, 600.0, 86400.0)
JOB = Job(
    "t",
    JobKind.TRIGGER,
    "/d/f",
    "f",
    "https://x/f",
    event_time=1000.0,
    accepted_at=1001.0,
)


def decided(
    failure_class: FailureClass,
    job: Job = JOB,
    now: float = 1002.0,
    step: int = 0,
    **failure: object,
) -> Decision:
    """The decision with a jitter of one."""
    return decide(
        job,
        Failure(failure_class, "why", **failure),  # type: ignore[arg-type]
        now=now,
        ladder_step=step,
        policy=POLICY,
        jitter=1.0,
    )


@pytest.mark.parametrize("attempt", [1, 2, 3])
def test_each_pause_is_three_times_as_long(attempt: int) -> None:
    job = dataclasses.replace(JOB, attempt=attempt)

    expected = Retry(3.0 ** (attempt - 1), charged=True)
    assert decided(FailureClass.TRANSIENT, job) == expected


def test_retrytimes_is_the_number_of_retries() -> None:
    """Three retries after the first attempt; the fourth failure is the last."""
    job = dataclasses.replace(JOB, attempt=4)

    assert decided(FailureClass.TRANSIENT, job) == GiveUp(FailureClass.TRANSIENT)


def test_a_server_that_names_a_pause_is_obeyed() -> None:
    assert decided(FailureClass.TRANSIENT, retry_after=42.0) == Retry(42.0, True)


@pytest.mark.parametrize("kind", [FailureClass.TRANSIENT, FailureClass.NOT_THERE])
@pytest.mark.parametrize("asked", [301.0, 1e8, math.inf])
def test_no_server_parks_a_file_for_longer_than_our_own_longest_pause(
    kind: FailureClass, asked: float
) -> None:
    decision = decided(kind, retry_after=asked)

    assert isinstance(decision, Retry)
    assert decision.delay == LONGEST_PAUSE


@pytest.mark.parametrize("asked", [-5.0, -math.inf, math.nan])
def test_a_pause_that_is_none_does_not_shorten_ours(asked: float) -> None:
    assert decided(FailureClass.TRANSIENT, retry_after=asked) == Retry(1.0, True)


@pytest.mark.parametrize(("step", "pause"), [(0, 1.0), (1, 3.0), (2, 10.0), (3, 30.0)])
def test_a_file_that_is_not_there_yet_is_asked_for_on_a_short_ladder(
    step: int, pause: float
) -> None:
    assert decided(FailureClass.NOT_THERE, step=step) == Retry(pause, charged=False)


def test_a_file_that_never_comes_is_gone_after_the_grace_period() -> None:
    late = JOB.accepted_at + 601.0

    got = decided(FailureClass.NOT_THERE, now=late, step=9, http_status=404)

    assert got == GiveUp(FailureClass.GONE)


def test_an_old_event_still_gets_some_patience() -> None:
    """A backlog of days must not turn a short 404 into a loss."""
    job = dataclasses.replace(JOB, event_time=0.0, accepted_at=1_000_000.0)

    got = [decided(FailureClass.NOT_THERE, job, now=1e6 + 1, step=n) for n in range(4)]

    assert got[:3] == [Retry(pause, charged=False) for pause in (1.0, 3.0, 10.0)]
    assert got[3] == GiveUp(FailureClass.GONE)


def test_a_clock_ahead_of_ours_does_not_lengthen_the_patience() -> None:
    job = dataclasses.replace(JOB, event_time=9999.0)

    assert patience_ends(job, POLICY) == job.accepted_at + 600.0


def test_an_srm_upload_may_take_a_day_to_be_committed() -> None:
    job = dataclasses.replace(JOB, awaits_commit=True)
    got = decided(FailureClass.NOT_THERE, job, now=1000.0 + 80000.0, step=20)

    assert got == Retry(900.0, charged=False)


def test_a_server_error_that_outlives_the_grace_is_charged() -> None:
    late = JOB.accepted_at + 601.0

    got = decided(FailureClass.NOT_THERE, now=late, step=9, http_status=500)

    assert got == Retry(1.0, charged=True)


@pytest.mark.parametrize("failure_class", list(FailureClass))
def test_held_causes_are_never_charged_and_permanent_ones_never_repeated(
    failure_class: FailureClass,
) -> None:
    got = decided(failure_class)

    if failure_class.treatment is Treatment.HOLD:
        assert got == WaitForHold()
    elif failure_class.treatment is Treatment.PERMANENT:
        assert got == GiveUp(failure_class)
    else:
        assert isinstance(got, Retry)


@given(
    st.floats(0.01, 100.0),
    st.integers(1, 10_000),
    st.floats(min_value=0.5, max_value=1.5),
)
def test_a_pause_is_bounded(retry_seconds: float, attempt: int, jitter: float) -> None:
    assert 0 < backoff(retry_seconds, attempt, jitter) <= LONGEST_PAUSE * 1.5
