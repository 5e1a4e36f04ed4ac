"""What the panel of skips counts, by its saved object."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from lens_reader import LensReader, lens_objects


def event(action: str, reason: str, **transfer: str) -> dict[str, Any]:
    return {
        "@timestamp": "2026-11-23T12:00:00.000Z",
        "event": {"action": action, "outcome": "success", "reason": reason},
        "dcmirror": {"transfer": transfer},
    }


def test_a_mirrored_file_is_no_skip_though_its_event_has_a_reason() -> None:
    """Uploads by NFS are announced before their last bytes."""
    events = [
        event("transfer-finished", "size_differs_from_event", state="mirrored"),
        event("transfer-finished", "newer-event", state="superseded"),
        event("transfer-finished", "already-mirrored", state="adopted"),
        event("event-skipped", "excluded"),
    ]
    panel = LensReader(lens_objects()["dcmirror-skipped"], datetime.now(UTC))
    rows = panel.rows(events)

    assert {"newer-event", "already-mirrored", "excluded"} == {
        row["reason"] for row in rows
    }
