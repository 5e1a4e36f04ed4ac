"""Whether each copy is there as the catalogue has it, and its bytes are right.

What seems wrong is looked at once more, row and file, at the end: ``watch`` replaces
files while we read, and its row follows its rename.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from dcmirror.adapters.catalogue import Catalogue
from dcmirror.adapters.catalogue_audit import AuditReader
from dcmirror.adapters.catalogue_scratch import Scratch
from dcmirror.adapters.mirror_store import Look, MirrorStore, TargetChanged
from dcmirror.adapters.read_pace import ReadPace
from dcmirror.commands.audit_report import AuditReport
from dcmirror.core.amounts import plural
from dcmirror.core.audit_copies import (
    AuditRow,
    Seen,
    Standing,
    finding,
    judge_bytes,
    judge_look,
)
from dcmirror.core.audit_findings import AuditKind, Finding
from dcmirror.core.checksums import ADLER32_START
from dcmirror.core.marks import Mark
from dcmirror.errors import BooksError, UnsafePathError

_CHUNK_BYTES = 1024 * 1024
#: How long a row may be behind the file that was published.
_SETTLE_SECONDS = 1.5
_TRIES = 3
_SCRUBS_AT_ONCE = 500
_SCRUB_SECONDS = 5.0
_MOST_UNWRITTEN = 100_000
_HAVE_BYTES = (Standing.GOOD, Standing.NEWER)


@dataclass(slots=True)
class Looker:
    """Looks at names of the mirror, never through a symlink."""

    store: MirrorStore
    leaves: bool

    def judge(self, row: AuditRow) -> Standing | Finding:
        """What a look says of the row."""
        return judge_look(row, self.see(row), leaves=self.leaves)

    def see(self, row: AuditRow) -> Seen:
        """What is there; trouble of the disk is part of the answer."""
        try:
            return _seen(self.store.look(row.relative))
        except UnsafePathError as exc:
            return Seen(True, odd=str(exc))
        except OSError as exc:
            if exc.errno == errno.ENODEV:
                raise  # the mirror itself is gone
            return Seen(True, odd=exc.strerror or str(exc), is_broken=True)


def _seen(look: Look) -> Seen:
    return Seen(look.exists, look.size, look.mtime_ns, look.mark)


class CopyAudit:
    """The looks: every row once, the suspects twice."""

    def __init__(
        self,
        catalogue: AuditReader,
        looker: Looker,
        scratch: Scratch,
        report: AuditReport,
    ) -> None:
        self._catalogue = catalogue
        self._looker = looker
        self._scratch = scratch
        self._report = report

    def look_at(self, rows: Iterable[AuditRow]) -> list[AuditRow]:
        """Look at a page of rows; those that have bytes to read."""
        judged = self._report.tally.judged
        suspects, there = [], []
        for row in rows:
            standing = self._looker.judge(row)
            judged["copies"] += 1
            judged["bytes"] += row.size
            if isinstance(standing, Finding):
                suspects.append(row.relative)
                continue
            if standing is not Standing.GOOD:
                judged[standing.value] += 1
            if standing in _HAVE_BYTES:
                there.append(row)
        if suspects:
            self._scratch.suspect(suspects)
        return there

    def conclude(self, *, is_running: Callable[[], bool]) -> None:
        """Look at the suspects again; what is wrong still is told."""
        has_waited = False
        for names in self._scratch.suspects():
            if not has_waited and is_running():
                time.sleep(_SETTLE_SECONDS)
                has_waited = True
            for row in self._catalogue.rows_of(names).values():
                standing = self._looker.judge(row)
                if isinstance(standing, Finding):
                    self._report.take(standing)
                elif standing is not Standing.GOOD:
                    self._report.tally.judged[standing.value] += 1


class Scrub:
    """The reading: bytes against the row and the mark."""

    def __init__(
        self,
        catalogue: AuditReader,
        looker: Looker,
        report: AuditReport,
        pace: ReadPace,
        remember: Remembered,
    ) -> None:
        self._catalogue = catalogue
        self._looker = looker
        self._report = report
        self._pace = pace
        self._remember = remember

    def read(self, row: AuditRow) -> None:
        """Read one copy; one that changes meanwhile is looked at again."""
        for _ in range(_TRIES):
            found = self._try(row)
            if not isinstance(found, Finding):
                if found:
                    self._report.tally.judged["read"] += 1
                    self._report.tally.judged["bytes_read"] += row.size
                    self._remember.good(row.relative)
                return
            now = self._catalogue.rows_of([row.relative]).get(row.relative, row)
            if now[:-1] == row[:-1]:
                self._report.tally.judged["read"] += 1
                self._report.tally.judged["bytes_read"] += row.size
                self._report.take(found)
                self._remember.bad(row.relative)
                return
            row = now

    def _try(self, row: AuditRow) -> Finding | bool:
        """What is wrong with the bytes; True: nothing, False: they were not judged."""
        try:
            # One look for both: what is judged by its mark must be what is read.
            look = self._looker.store.look(row.relative)
        except UnsafePathError:
            return False  # CopyAudit has told of it
        except OSError as exc:
            if exc.errno == errno.ENODEV:
                raise  # the mirror itself is gone
            return False
        standing = judge_look(row, _seen(look), leaves=self._looker.leaves)
        if standing is Standing.NEWER:
            row = _as_marked(row, look.mark)
        elif standing is not Standing.GOOD:
            return False
        try:
            computed = self._digest(row, look)
        except (TargetChanged, UnsafePathError, FileNotFoundError):
            return False
        except OSError as exc:
            text = f"it cannot be read: {exc.strerror or exc}"
            return finding(AuditKind.UNREADABLE, row, text)
        return judge_bytes(row, look.mark, computed) or True

    def _digest(self, row: AuditRow, look: Look) -> int:
        value, left = ADLER32_START, look.size
        for step in self._looker.store.digest_steps(row.relative, look, evicts=True):
            value = step
            piece = min(left, _CHUNK_BYTES)
            left -= piece
            self._pace.spend(piece)
        return value


def _as_marked(row: AuditRow, mark: Mark | None) -> AuditRow:
    """A newer file is judged by what its mark says."""
    if mark is None:
        return row
    return row._replace(size=mark.size, adler32=mark.adler32, mtime_ns=mark.mtime_ns)


class Remembered:
    """Writes down which copies were read, in short transactions, some at a time."""

    def __init__(self, catalogue: Catalogue | None, report: AuditReport) -> None:
        self._catalogue = catalogue
        self._report = report
        self._good: list[str] = []
        self._bad: list[str] = []
        self._written_at = time.monotonic()

    def good(self, relative: str) -> None:
        """This copy was read and is good."""
        if self._catalogue is None:
            return
        self._good.append(relative)
        now = time.monotonic()
        is_due = now - self._written_at >= _SCRUB_SECONDS
        if is_due or len(self._good) % _SCRUBS_AT_ONCE == 0:
            self._written_at = now
            self.flush()

    def bad(self, relative: str) -> None:
        """This copy is damaged: at once, since cleanup may be about to trust it."""
        self._bad.append(relative)
        self._flush_bad()

    def flush(self, *, is_last: bool = False) -> None:
        """Write what has gathered; a busy catalogue is asked again later."""
        self._flush_bad(is_last=is_last)
        if self._catalogue is None or not self._good:
            return
        try:
            self._catalogue.scrubbed(self._good, time.time())
            self._good = []
        except BooksError as exc:
            if is_last or len(self._good) >= _MOST_UNWRITTEN:
                files = plural(len(self._good), "file")
                text = f"{files} will be read again soon: {exc}"
                self._report.note("not-remembered", text, len(self._good))
                self._good = []

    def _flush_bad(self, *, is_last: bool = False) -> None:
        if not self._bad:
            return
        why = "the catalogue cannot be written"
        try:
            if self._catalogue is not None:
                self._catalogue.found_damaged(self._bad, time.time())
                self._bad = []
        except BooksError as exc:
            why = str(exc)
        if is_last and self._bad:
            files = plural(len(self._bad), "damaged file")
            text = f"cleanup does not know of {files}: {why}"
            self._report.note("damage-not-remembered", text, len(self._bad))
