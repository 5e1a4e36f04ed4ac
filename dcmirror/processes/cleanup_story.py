"""What cleanup tells: lines of the human log, and events of the journal."""

from __future__ import annotations

import time

from dcmirror.core.deletion import HARMLESS, Keep
from dcmirror.core.jobs import CopyRecord
from dcmirror.core.journal_cleanup import CleanupTally
from dcmirror.processes.teller import Teller


class CleanupStory(Teller):
    """Sources that go, sources that stay, and the end of the run."""

    def deleted(
        self,
        copy: CopyRecord,
        reason: str,
        *,
        apart: bool | None = None,
        window: float | None = None,
    ) -> None:
        """A source is gone."""
        event = self._events.source_deleted(
            time.time(),
            copy.relative,
            (copy.path, copy.pnfsid, copy.size, copy.adler32),
            reason=reason,
            apart=apart,
            window=window,
        )
        self._tell(event)
        self._log.line("SOURCE_DELETED", f"{copy.path}: {reason}")

    def kept(self, copy: CopyRecord, keep: Keep) -> None:
        """A source stays."""
        source = (copy.path, copy.pnfsid, copy.size, copy.adler32)
        self._tell(self._events.source_kept(time.time(), copy.relative, source, keep))
        level = "info" if keep.why in HARMLESS else "warning"
        text = f"{copy.path}: {keep.why}: {keep.text}"
        self._log.line("SOURCE_KEPT", text, level=level)

    def finished(self, tally: CleanupTally, seconds: float, reason: str) -> None:
        """The run is over."""
        self._tell(self._events.cleanup_finished(time.time(), tally, seconds, reason))
