"""What a daemon's own words mean for the verdict: one rule for each kind of trouble."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from dcmirror.core.amounts import bytes_text, count_text, plural, span_text
from dcmirror.core.verdict import (
    HOLD_TROUBLE,
    Limits,
    Reason,
    Status,
    StatusVerdict,
    total_lag,
)

_WARNING, _TROUBLE = StatusVerdict.WARNING, StatusVerdict.TROUBLE

Rule = Callable[[Status, Limits], Iterator[Reason]]


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


def shipping_reasons(
    report: Status | None, at: float, limits: Limits
) -> Iterator[Reason]:
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
    elif why and state != "retrying":
        yield Reason(_WARNING, f"shipping to {where} goes on, but{why}")


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
