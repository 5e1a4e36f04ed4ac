"""What an audit tells of itself; its repairs are the engine's story."""

from __future__ import annotations

import time
from pathlib import Path

from dcmirror.adapters.human_log import HumanLog
from dcmirror.adapters.journal import Journal
from dcmirror.adapters.state_directory import instance_name
from dcmirror.core.journal_audit import AuditCounts
from dcmirror.processes.teller import Teller
from dcmirror.settings import Settings


class AuditStory(Teller):
    """One event, at the end."""

    def finished(self, counts: AuditCounts, seconds: float, reason: str) -> None:
        """It is over."""
        event = self._events.audit_finished(time.time(), counts, seconds, reason)
        self._tell(event)


def tell_audit(
    settings: Settings,
    state: Path,
    instance: str | None,
    counts: AuditCounts,
    seconds: float,
    reason: str,
) -> None:
    """Write it to the journal of the state directory, in a segment of its own.

    Raises:
        OSError: the journal is not ours to write.
    """
    limits = settings.journal
    journal = Journal(
        state / "journal",
        limits.max_bytes,
        limits.segment_bytes,
        checkpoint=state / "checkpoint.json",
        min_free=limits.min_free,
    )
    story = AuditStory(
        journal,
        HumanLog(None, "error"),
        "audit",
        mirror=settings.local.downloadfolder,
        instance=instance_name(settings, instance),
        namespace=settings.elasticsearch.namespace,
    )
    story.finished(counts, seconds, reason)
    story.close()
