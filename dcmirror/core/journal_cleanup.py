"""Journal events of cleanup: what was deleted at the source, what was kept and why."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from dcmirror.core.checksums import format_adler32
from dcmirror.core.deletion import Keep, Kept
from dcmirror.core.journal_document import Event, EventMaker, nanoseconds


@dataclass(slots=True)
class CleanupTally:
    """What a run of cleanup has done."""

    deleted: int = 0
    deleted_bytes: int = 0
    already_gone: int = 0
    resolved: int = 0
    parts: int = 0
    segments: int = 0
    directories: int = 0
    requests: int = 0
    longest_window: float = 0.0
    kept: Counter[Kept] = field(default_factory=Counter)


class CleanupEvents(EventMaker):
    """Sources that go, sources that stay."""

    def source_deleted(
        self,
        at: float,
        relative: str,
        source: tuple[str, str | None, int, int | None],
        *,
        reason: str,
        apart: bool | None = None,
        window: float | None = None,
    ) -> Event:
        """It is gone; ``source`` is path, pnfsid, size and Adler-32."""
        fields = _source(relative, source) | {
            "event.reason": reason,
            "event.outcome": "success",
            "dcmirror.cleanup.isolated": apart,
            "dcmirror.cleanup.window_ms": None if window is None else window * 1e3,
        }
        return self.make("source-deleted", at, f"{source[0]}: {reason}", fields)

    def source_kept(
        self,
        at: float,
        relative: str,
        source: tuple[str, str | None, int, int | None],
        keep: Keep,
    ) -> Event:
        """It stays."""
        fields = _source(relative, source) | {
            "event.reason": str(keep.why),
            "event.outcome": "failure",
            "error.message": keep.text,
        }
        message = f"{source[0]}: kept: {keep.text}"
        return self.make("source-kept", at, message, fields)

    def cleanup_finished(
        self, at: float, tally: CleanupTally, seconds: float, reason: str
    ) -> Event:
        """The run is over; ``reason`` says what ended it, "" for nothing left."""
        kept = tally.kept.total()
        fields = {
            "dcmirror.cleanup.deleted": tally.deleted,
            "dcmirror.cleanup.deleted_bytes": tally.deleted_bytes,
            "dcmirror.cleanup.already_gone": tally.already_gone,
            "dcmirror.cleanup.kept": kept,
            "dcmirror.cleanup.parts": tally.parts,
            "dcmirror.cleanup.directories": tally.directories,
            "dcmirror.cleanup.requests": tally.requests,
            "event.reason": reason or None,
            "event.outcome": "failure" if kept or reason else "success",
            "event.duration": nanoseconds(seconds),
        }
        message = f"cleanup: {tally.deleted} sources deleted, {kept} kept"
        return self.make("cleanup-finished", at, message, fields)


def _source(
    relative: str, source: tuple[str, str | None, int, int | None]
) -> dict[str, Any]:
    path, pnfsid, size, adler32 = source
    directory, _, name = path.rpartition("/")
    return {
        "file.path": path,
        "file.directory": directory or "/",
        "file.name": name,
        "file.size": size,
        "dcmirror.dcache.pnfsid": pnfsid,
        "dcmirror.transfer.relative": relative,
        "dcmirror.checksum.algorithm": None if adler32 is None else "adler32",
        "dcmirror.checksum.expected": None
        if adler32 is None
        else format_adler32(adler32),
    }
