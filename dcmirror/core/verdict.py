"""The verdicts of ``dcmirror status``, its exit statuses, and where they begin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

Status = Mapping[str, Any]


class StatusVerdict(IntEnum):
    """Exit statuses of ``dcmirror status``, which a Nagios or Icinga check can use."""

    WELL = 0
    WARNING = 1
    TROUBLE = 2
    NOT_RUNNING = 3


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


def total_lag(status: Status) -> int | None:
    """Records behind the end of all our partitions; None where nobody knows."""
    lags = status.get("lag")
    return sum(lags.values()) if lags else None
