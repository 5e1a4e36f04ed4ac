"""Counts since the start, for status, reports and the last line of a run."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Tally:
    """Counts since the start, for status and reports."""

    mirrored: int = 0
    bytes_mirrored: int = 0
    failed: int = 0
    retries: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    failures: dict[str, int] = field(default_factory=dict)

    def counts(self) -> dict[str, int]:
        """The four numbers that events and log lines carry."""
        return {
            "mirrored": self.mirrored,
            "skipped": sum(self.skipped.values()),
            "failed": self.failed,
            "retried": self.retries,
        }
