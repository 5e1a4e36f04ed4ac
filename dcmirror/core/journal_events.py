"""Builds the journal's events: what happened, as nested ECS documents.

The supervisor's story calls it; ``journal_table`` says what there may be in an event.
"""

from __future__ import annotations

from dcmirror.core.journal_audit import AuditEvents
from dcmirror.core.journal_cleanup import CleanupEvents
from dcmirror.core.journal_daemon import DaemonEvents
from dcmirror.core.journal_document import Event, Writer, render
from dcmirror.core.journal_reconcile import ReconcileEvents
from dcmirror.core.journal_table import ACTIONS, FIELDS
from dcmirror.core.journal_transfers import TransferEvents

__all__ = ["ACTIONS", "FIELDS", "Event", "JournalEvents", "Writer", "render"]


class JournalEvents(
    TransferEvents, DaemonEvents, CleanupEvents, ReconcileEvents, AuditEvents
):
    """All builders; each returns a document for ``render``."""
