"""dead-letters.ndjson: lines that Elasticsearch refused for good, with its reason.

The logger process runs this.  Two files of bounded size: the newest are kept.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from dcmirror.adapters.durable import write_all
from dcmirror.adapters.sinks import ShippedLine
from dcmirror.core.bulk import Refusal, document_id

FILE_NAME = "dead-letters.ndjson"
_MAX_BYTES = 8 * 1024 * 1024


class DeadLetters:
    """Appends; what it returned from is on disk."""

    def __init__(self, path: Path, max_bytes: int = _MAX_BYTES) -> None:
        self.path = path
        self._max_bytes = max_bytes

    def add(self, refused: Sequence[tuple[ShippedLine, Refusal]]) -> None:
        """Set lines aside, each as it was in the journal.

        Raises:
            OSError: they are not set aside.
        """
        if not refused:
            return
        self._make_room()
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        fd = os.open(self.path, flags, 0o640)
        try:
            write_all(fd, b"".join(_letter(line, why) for line, why in refused))
            os.fsync(fd)
        finally:
            os.close(fd)

    def _make_room(self) -> None:
        try:
            if self.path.stat().st_size > self._max_bytes:
                os.rename(self.path, self.path.with_suffix(".old.ndjson"))
        except FileNotFoundError:
            pass


def _letter(line: ShippedLine, why: Refusal) -> bytes:
    head = {
        "segment": line.segment,
        "line": line.number,
        "_id": document_id(line.segment, line.number).decode(),
        "status": why.status,
        "type": why.kind,
        "reason": why.reason,
    }
    start = json.dumps(head, separators=(",", ":"))[:-1].encode()
    return b'%b,"document":%b}\n' % (start, line.body)
