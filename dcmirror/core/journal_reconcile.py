"""Journal events of reconcile: that it runs, and what it found."""

from __future__ import annotations

from typing import Any

from dcmirror.core.findings import Summary
from dcmirror.core.journal_document import Event, EventMaker, nanoseconds, time_text


class ReconcileEvents(EventMaker):
    """One event at its beginning, one at its end."""

    def reconcile_started(self, at: float, what: str, *, is_resumed: bool) -> Event:
        """``what`` says which part of the source is compared."""
        fields = {"event.reason": "resumed" if is_resumed else None}
        return self.make("reconcile-started", at, what, fields)

    def reconcile_finished(self, at: float, summary: Summary, reason: str) -> Event:
        """``reason`` says what ended it early, "" for nothing."""
        found = sum(summary.found.values())
        remaining = sum(summary.remaining.values()) + summary.old_names
        fields: dict[str, Any] = {
            "dcmirror.reconcile.directories": summary.directories,
            "dcmirror.reconcile.files": summary.files,
            "dcmirror.reconcile.bytes": summary.size,
            "dcmirror.reconcile.differences": found,
            "dcmirror.reconcile.remaining": remaining,
            "dcmirror.reconcile.copied": summary.outcomes.get("copied", 0),
            "dcmirror.reconcile.adopted": summary.outcomes.get("adopted", 0),
            "dcmirror.reconcile.failed": summary.outcomes.get("failed", 0),
            "dcmirror.reconcile.unlisted": summary.unlisted,
            "dcmirror.reconcile.requests": summary.impact.requests,
            "dcmirror.reconcile.dry_run": summary.is_dry,
            "dcmirror.reconcile.whole": summary.is_whole,
            "dcmirror.reconcile.settled_before": time_text(summary.settled_before),
            "event.reason": reason or None,
            "event.start": time_text(summary.started),
            "event.outcome": "success" if summary.is_equal else "failure",
            "event.duration": nanoseconds(summary.impact.seconds),
        }
        fields |= {
            f"dcmirror.reconcile.found.{kind.replace('-', '_')}": number
            for kind, number in summary.found.items()
        }
        message = (
            f"reconcile{' --dry-run' if summary.is_dry else ''}: {summary.files} files "
            f"compared, {found} differences found, {remaining} remain"
        )
        return self.make("reconcile-finished", at, message, fields)
