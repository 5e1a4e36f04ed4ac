"""What an operator should think of one look at a command that runs, or ran."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dcmirror.core.amounts import span_text
from dcmirror.core.sight import Life, Sight
from dcmirror.core.verdict import Limits, Reason, Status, StatusVerdict
from dcmirror.core.verdict_rules import RULES, shipping_reasons

_WARNING, _TROUBLE = StatusVerdict.WARNING, StatusVerdict.TROUBLE


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict, the worst reason first."""

    verdict: StatusVerdict
    life: Life
    reasons: tuple[Reason, ...] = ()

    @property
    def word(self) -> str:
        """The verdict in one word for the headline."""
        if self.life in (Life.STUCK, Life.STOPPED, Life.UNKNOWN):
            return self.life.value
        return self.verdict.name.lower().replace("_", " ")


def judge(sight: Sight, shipping: Status | None, limits: Limits) -> Judgement:
    """What an operator should think of one look at a command."""
    life = life_of(sight, limits)
    if life in (Life.STOPPED, Life.UNKNOWN):
        reason = Reason(StatusVerdict.NOT_RUNNING, _absence(sight))
        return Judgement(StatusVerdict.NOT_RUNNING, life, (reason,))
    reasons = list(_liveness(sight, life, limits))
    if life is Life.RUNNING:
        for rule in RULES:
            reasons += rule(sight.status, limits)
        reasons += shipping_reasons(shipping, sight.at, limits)
    reasons.sort(key=lambda reason: -reason.verdict)
    worst = reasons[0].verdict if reasons else StatusVerdict.WELL
    return Judgement(worst, life, tuple(reasons))


def life_of(sight: Sight, limits: Limits) -> Life:
    """Whether the command runs, and whether it turns."""
    if sight.is_running is None:
        return Life.UNKNOWN
    if not sight.is_running:
        return Life.STOPPED
    if not sight.is_of_this_run:
        late = (sight.running_for or 0.0) > limits.start
        return Life.STUCK if late else Life.STARTING
    return Life.STUCK if (sight.silence or 0.0) > limits.stuck else Life.RUNNING


# -- is it there, does it turn --------------------------------------------------------


def _absence(sight: Sight) -> str:
    status = sight.status
    if sight.is_running is None:
        return sight.problem or f"dcmirror {sight.command} cannot be seen from here"
    if not status:
        return f"not running: {sight.problem or 'it has never run here'}"
    ended = status.get("ended")
    if ended is None:
        ago = span_text(sight.at - status["at"])
        return f"not running: killed or crashed {ago} ago (pid {status['pid']})"
    ago = span_text(sight.at - ended["at"])
    error = ended.get("error")
    return (
        f"not running: {f'ended {ago} ago: {error}' if error else f'stopped {ago} ago'}"
    )


_DOES = {
    "T": "it is stopped by a signal; CONT lets it go on",
    "t": "a debugger holds it",
    "D": "it waits in the kernel for a disk or a network file system",
    "R": "it computes",
    "S": "it waits for something",
    "Z": "it has died, but nobody has reaped it",
}


def _liveness(sight: Sight, life: Life, limits: Limits) -> Iterator[Reason]:
    who = f"dcmirror {sight.command}" + (f" (pid {sight.pid})" if sight.pid else "")
    does = _DOES.get(sight.process, "")
    more = f": {does}" if does else ""
    if life is Life.STARTING:
        span = span_text(sight.running_for or 0.0)
        yield Reason(_WARNING, f"{who} has been starting for {span}{more}")
    elif life is Life.STUCK and not sight.is_of_this_run:
        span = span_text(sight.running_for or 0.0)
        yield Reason(_TROUBLE, f"{who} has been starting for {span} already{more}")
    elif life is Life.STUCK:
        span = span_text(sight.silence or 0.0)
        yield Reason(_TROUBLE, f"{who} has shown no life for {span}{more}")
    elif (sight.silence or 0.0) > limits.slow:
        span = span_text(sight.silence or 0.0)
        yield Reason(_WARNING, f"{who} has shown no life for {span}{more}")
    if sight.problem is not None:
        yield Reason(_WARNING, sight.problem)
