"""The one line that a Nagios or Icinga check prints: verdict, reasons, figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dcmirror.core.escapes import shown
from dcmirror.core.judgement import Judgement
from dcmirror.core.sight import Life, Sight
from dcmirror.core.verdict import Limits, StatusVerdict, total_lag

#: The words that these systems use for our exit statuses.
WORDS = {
    StatusVerdict.WELL: "OK",
    StatusVerdict.WARNING: "WARNING",
    StatusVerdict.TROUBLE: "CRITICAL",
    StatusVerdict.NOT_RUNNING: "UNKNOWN",
}


def check_line(
    sight: Sight,
    judgement: Judgement,
    limits: Limits,
    shipping: Mapping[str, Any] | None = None,
) -> str:
    """``DCMIRROR WARNING - 2 holds ... | lag=123;1000;5000;0 ...``, one line."""
    reasons = "; ".join(reason.text for reason in judgement.reasons)
    text = shown(reasons or _well(sight)).replace("|", "/")
    figures = " ".join(_figures(sight, judgement, limits, shipping or {}))
    perfdata = f" | {figures}" if figures else ""
    return f"DCMIRROR {WORDS[judgement.verdict]} - {text}{perfdata}\n"


def _well(sight: Sight) -> str:
    jobs = sight.status.get("jobs", {})
    return f"{jobs.get('out', 0)} files in hand, {jobs.get('ready', 0)} ready"


def _figures(
    sight: Sight, judgement: Judgement, limits: Limits, shipping: Mapping[str, Any]
) -> Iterator[str]:
    """Performance data; counters end in c, sizes in B, times in s."""
    status = sight.status
    if judgement.life is not Life.RUNNING:
        return
    lag = total_lag(status)
    if lag is not None:
        yield f"lag={lag};{_limit(limits.warn_lag)};{_limit(limits.critical_lag)};0"
    jobs = status.get("jobs", {})
    yield f"in_hand={jobs.get('out', 0)};;;0"
    yield f"ready={jobs.get('ready', 0)};;;0"
    yield f"waiting={jobs.get('waiting', 0)};;;0"
    yield f"holds={len(status.get('holds', ()))};;;0"
    yield f"mirrored={status.get('mirrored', 0)}c"
    yield f"bytes={status.get('bytes_mirrored', 0)}c"
    yield f"failed={status.get('failed', 0)}c"
    yield f"retries={status.get('retries', 0)}c"
    left = status.get("credential_seconds_left")
    if left is not None:
        warn, trouble = limits.warn_credential, limits.trouble_credential
        yield f"credential={left:.0f}s;{warn:.0f}:;{trouble:.0f}:"
    if status.get("free_bytes") is not None:
        yield f"free={status['free_bytes']}B;;;0"
    if shipping.get("sink", "none") != "none":
        yield f"spool={shipping.get('behind_bytes', 0)}B;;;0"
        behind, limit = shipping.get("oldest_age_s") or 0.0, limits.shipping_behind
        yield f"spool_age={behind:.0f}s;{limit:.0f};;0"
    yield f"age={sight.silence or 0.0:.1f}s;{limits.slow:g};{limits.stuck:g};0"


def _limit(value: int | None) -> str:
    return "" if value is None else str(value)
