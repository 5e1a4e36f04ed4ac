"""Whether all is well: the thresholds of ``dcmirror status`` and its exit statuses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from dcmirror.core.amounts import bytes_text, count_text, plural, span_text
from dcmirror.core.sight import Life, Sight


class StatusVerdict(IntEnum):
    """Exit statuses of ``dcmirror status``, which a Nagios or Icinga check can use."""

    WELL = 0
    WARNING = 1
    TROUBLE = 2
    NOT_RUNNING = 3


_WARNING, _TROUBLE = StatusVerdict.WARNING, StatusVerdict.TROUBLE

_HOUR = 3600.0
#: After so many seconds a hold is no longer a warning but trouble.
HOLD_TROUBLE = {
    "destination": 60.0,
    "credential": 0.0,
    "door": 900.0,
    "pool": _HOUR,
    "books": 300.0,
    "source": 900.0,
}


@dataclass(frozen=True, slots=True)
class Limits:
    """From where on something is a warning or trouble; seconds and records."""

    warn_lag: int | None = None
    critical_lag: int | None = None
    slow: float = 5.0
    stuck: float = 20.0
    start: float = 90.0
    warn_credential: float = 6 * _HOUR
    trouble_credential: float = _HOUR
    kafka_trouble: float = 300.0
    kafka_silence: float = 20.0
    lag_growth: int = 1000
    worker_silence: float = 30.0
    warn_restarts: int = 3
    trouble_restarts: int = 10
    trouble_deaths: int = 3
    first_byte: float = 120.0
    first_byte_without_broker: float = 30.0
    warn_failed: int = 10
    shipping_behind: float = 600.0
    shipping_silence: float = 60.0


@dataclass(frozen=True, slots=True)
class Reason:
    """Why it is not well."""

    verdict: StatusVerdict
    text: str


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


Status = Mapping[str, Any]
Rule = Callable[[Status, Limits], Iterator[Reason]]


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
        reasons += _shipping(shipping, sight.at, limits)
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


# -- what it says of itself -----------------------------------------------------------


def _holds(status: Status, limits: Limits) -> Iterator[Reason]:
    for hold in status.get("holds", ()):
        kind = hold["kind"].split(" ")[0]
        is_long = hold["for"] >= HOLD_TROUBLE.get(kind, 0.0) or hold.get("alerted")
        text = f"held for {span_text(hold['for'])}: {hold['kind']}: {hold['cause']}"
        yield Reason(_TROUBLE if is_long else _WARNING, text)


def _credential(status: Status, limits: Limits) -> Iterator[Reason]:
    left = status.get("credential_seconds_left")
    is_held = any(hold["kind"] == "credential" for hold in status.get("holds", ()))
    if left is None or is_held or left >= limits.warn_credential:
        return
    verdict = _TROUBLE if left < limits.trouble_credential else _WARNING
    yield Reason(verdict, f"the proxy expires in {span_text(left)}")


def _kafka(status: Status, limits: Limits) -> Iterator[Reason]:
    kafka = status.get("kafka") or {}
    trouble, span = kafka.get("trouble"), kafka.get("trouble_for") or 0.0
    silence = kafka.get("silent_for") or 0.0
    if trouble:
        verdict = _TROUBLE if span > limits.kafka_trouble else _WARNING
        yield Reason(verdict, f"Kafka for {span_text(span)}: {trouble}")
    if silence > limits.kafka_silence:
        yield Reason(_WARNING, f"the Kafka intake has hung for {span_text(silence)}")


def _lag(status: Status, limits: Limits) -> Iterator[Reason]:
    lag = total_lag(status)
    if lag is None:
        return
    text = f"lag is {plural(lag, 'record')}"
    if limits.critical_lag is not None and lag >= limits.critical_lag:
        yield Reason(_TROUBLE, f"{text} (limit {count_text(limits.critical_lag)})")
    elif limits.warn_lag is not None:
        if lag >= limits.warn_lag:
            yield Reason(_WARNING, f"{text} (limit {count_text(limits.warn_lag)})")
    else:
        yield from _growth(status, text, limits)


def _growth(status: Status, text: str, limits: Limits) -> Iterator[Reason]:
    """Without a limit it is a warning that we cannot keep up."""
    rates = status.get("rates", {})
    long, short = rates.get("900", {}), rates.get("300", {})
    grown, covered = long.get("lag", 0), long.get("seconds", 0.0)
    if covered >= 300 and grown >= limits.lag_growth and short.get("lag", 0) > 0:
        more = f"{count_text(grown)} more in {span_text(covered)}"
        yield Reason(_WARNING, f"{text} and grows: {more}")


def _workers(status: Status, limits: Limits) -> Iterator[Reason]:
    restarts = status.get("rates", {}).get("300", {}).get("restarts", 0)
    if restarts >= limits.warn_restarts:
        verdict = _TROUBLE if restarts >= limits.trouble_restarts else _WARNING
        yield Reason(verdict, f"child processes died {restarts} times in 5 min")
    for post in status.get("missing", ()):
        if post["deaths"] >= limits.trouble_deaths and post["name"] != "logger":
            times = f"died {post['deaths']} times running without having done anything"
            yield Reason(_TROUBLE, f"{post['name']} {times}")
    for worker in status.get("workers", ()):
        silence = worker.get("beat_age") or 0.0
        owes_beats = worker.get("streams") and worker.get("ready")
        if owes_beats and silence > limits.worker_silence:
            who = f"{worker['name']} (pid {worker['pid']})"
            text = f"{who} has shown no life for {span_text(silence)}"
            yield Reason(_WARNING, text)


def jam(status: Status, limits: Limits) -> str | None:
    """Many that wait for their first byte, and are let go all at once (DESIGN 5)."""
    transfers = [t for t in status.get("transfers", ()) if t["phase"] != "queued"]
    is_away = bool((status.get("kafka") or {}).get("trouble"))
    patience = limits.first_byte_without_broker if is_away else limits.first_byte
    ages = [
        transfer["phase_for"] or 0.0
        for transfer in transfers
        if transfer["phase"] in ("door", "pool_queue")
        and (transfer["phase_for"] or 0.0) >= patience
    ]
    if len(ages) < 3 or 2 * len(ages) < len(transfers):
        return None
    text = (
        f"{len(ages)} of {plural(len(transfers), 'transfer')} wait for their first "
        f"byte, up to {span_text(max(ages))}"
    )
    if is_away:
        text += (
            "; while the broker is away dCache's doors and pools wait for their own "
            "producers: this ends with it"
        )
    return text


def _first_byte(status: Status, limits: Limits) -> Iterator[Reason]:
    text = jam(status, limits)
    if text is not None:
        yield Reason(_WARNING, text)


def _failures(status: Status, limits: Limits) -> Iterator[Reason]:
    done = status.get("rates", {}).get("900", {})
    failed, files = done.get("failed", 0), done.get("files", 0)
    if failed < limits.warn_failed or 20 * failed < failed + files:
        return
    verdict = _TROUBLE if failed > files else _WARNING
    yield Reason(
        verdict,
        f"{plural(failed, 'file')} given up in {span_text(done['seconds'])}, "
        f"{count_text(files)} mirrored; see failed.csv",
    )


def _space(status: Status, limits: Limits) -> Iterator[Reason]:
    free, keep = status.get("free_bytes"), status.get("min_free") or 0
    is_held = any(h["kind"] == "destination" for h in status.get("holds", ()))
    if free is None or is_held:
        return
    left = free - (status.get("reserved_bytes") or 0)
    if left < 2 * keep:
        text = f"{bytes_text(max(left, 0))} left, {bytes_text(keep)} are kept free"
        yield Reason(_WARNING, f"the destination is nearly full: {text}")


def _journal(status: Status, limits: Limits) -> Iterator[Reason]:
    """What only concerns observing is never more than a warning (G7)."""
    trouble = (status.get("journal") or {}).get("trouble")
    dropped = status.get("rates", {}).get("900", {}).get("dropped", 0)
    if trouble:
        yield Reason(_WARNING, trouble)
    if dropped:
        yield Reason(_WARNING, f"the journal dropped {plural(dropped, 'event')}")


def _shipping(report: Status | None, at: float, limits: Limits) -> Iterator[Reason]:
    if not report or report.get("sink", "none") == "none":
        return
    where, state = report["sink"], report["state"]
    if at - report["at"] > limits.shipping_silence:
        span = span_text(at - report["at"])
        yield Reason(_WARNING, f"nobody has shipped the journal for {span}")
        return
    lasted = at - report.get("since", at)
    behind = report.get("oldest_age_s") or 0.0
    why = f": {report['reason']}" if report.get("reason") else ""
    if state == "paused" or (state == "retrying" and lasted > limits.slow):
        text = f"shipping to {where} is {state} for {span_text(lasted)}{why}"
        yield Reason(_WARNING, text)
    elif behind > limits.shipping_behind:
        text = f"shipping to {where} is {span_text(behind)} behind{why}"
        yield Reason(_WARNING, text)


RULES: tuple[Rule, ...] = (
    _holds,
    _credential,
    _kafka,
    _lag,
    _workers,
    _first_byte,
    _failures,
    _space,
    _journal,
)


def total_lag(status: Status) -> int | None:
    """Records behind the end of all our partitions; None where nobody knows."""
    lags = status.get("lag")
    return sum(lags.values()) if lags else None
