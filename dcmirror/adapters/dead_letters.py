"""dead-letters.ndjson: lines that Elasticsearch refused for good, with its reason.

The logger process adds to it, `elastic resend` takes from it.  Two files of bounded
size: the newest are kept, and who adds is told how many went.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from dcmirror.adapters.durable import write_all
from dcmirror.adapters.sinks import ShippedLine
from dcmirror.core.bulk import Refusal, document_id

FILE_NAME = "dead-letters.ndjson"
_MAX_BYTES = 8 * 1024 * 1024
_DOCUMENT = b',"document":'


class DeadLetters:
    """Appends; what it returned from is on disk."""

    def __init__(self, path: Path, max_bytes: int = _MAX_BYTES) -> None:
        self.path = path
        self._older = path.with_suffix(".old.ndjson")
        self._max_bytes = max_bytes
        self._lost = 0

    def pop_lost(self) -> int:
        """How many letters had to go for newer ones, since this was asked last."""
        lost, self._lost = self._lost, 0
        return lost

    def add(self, refused: Sequence[tuple[ShippedLine, Refusal]]) -> None:
        """Set lines aside, each as it was in the journal.

        Raises:
            OSError: they are not set aside.
        """
        if not refused:
            return
        self._make_room()
        with _held(self.path, os.O_CREAT) as fd:
            write_all(fd, b"".join(_letter(line, why) for line, why in refused))
            os.fsync(fd)

    def files(self) -> list[Path]:
        """Where letters lie now, the oldest first."""
        last = [path for path in (self._older, self.path) if path.exists()]
        return [*self._taken(), *last]

    def take(self) -> list[Path]:
        """Move all letters to files that nobody adds to, for who removes them then.

        What an earlier taker left behind comes first.

        Raises:
            OSError: some stay where they are.
        """
        for path in (self._older, self.path):
            numbers = [int(taken.suffixes[-2][1:]) for taken in self._taken()]
            number = max(numbers, default=0) + 1
            with suppress(FileNotFoundError), _held(path):
                os.rename(path, self.path.with_suffix(f".resend.{number}.ndjson"))
        return self._taken()

    def _taken(self) -> list[Path]:
        found = self.path.parent.glob(f"{self.path.stem}.resend.[0-9]*.ndjson")
        return sorted(found, key=lambda path: int(path.suffixes[-2][1:]))

    def _make_room(self) -> None:
        with suppress(FileNotFoundError), _held(self.path) as fd:
            if os.fstat(fd).st_size > self._max_bytes:
                self._replace_older()

    def _replace_older(self) -> None:
        """Not while somebody takes them: what is taken is not lost."""
        with ExitStack() as held:
            lost = 0
            with suppress(FileNotFoundError):
                held.enter_context(_held(self._older))
                lost = _count(self._older)
            os.rename(self.path, self._older)
            self._lost += lost


def read(path: Path) -> Iterator[tuple[ShippedLine, str] | None]:
    """Each letter's line and why it was refused; None for what is no letter.

    Raises:
        OSError: the file cannot be read.
    """
    with open(path, "rb") as file:
        for text in file:
            yield _read(text)


def _count(path: Path) -> int:
    with open(path, "rb") as file:
        return sum(1 for _ in file)


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
    return b"%b%b%b}\n" % (start, _DOCUMENT, line.body)


def _read(text: bytes) -> tuple[ShippedLine, str] | None:
    # A quote within a string is escaped, so these bytes can only be that member.
    start, mark, end = text.partition(_DOCUMENT)
    if not mark or not end.endswith(b"}\n"):
        return None
    try:
        head = json.loads(start + b"}")
        why = Refusal(0, int(head["status"]), str(head["type"]), str(head["reason"]))
        line = ShippedLine(str(head["segment"]), int(head["line"]), end[:-2])
        json.loads(line.body)
    except (ValueError, KeyError, TypeError):
        return None
    return line, str(why)


@contextmanager
def _held(path: Path, flags: int = 0) -> Iterator[int]:
    """The file that has the name now, and keeps it for as long as it is held."""
    flags |= os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC
    while True:
        fd = os.open(path, flags, 0o640)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            if _is_named(fd, path):
                yield fd
                return
        finally:
            os.close(fd)


def _is_named(fd: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(fd))
    except FileNotFoundError:
        return False
