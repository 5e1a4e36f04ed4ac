"""Compares the source with the mirror, page by page, and hands on what is to be copied.

Reconcile runs it, in a thread beside the engine's loop, or alone for a dry run.  What
it finds goes to the store; nothing grows with the number of files.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

from dcmirror.adapters.catalogue import Catalogue
from dcmirror.adapters.findings import FindingStore
from dcmirror.adapters.mirror_scan import MirrorScan
from dcmirror.core.deletion import is_same_source
from dcmirror.core.differences import (
    COPIED,
    DifferenceKind,
    Judged,
    Known,
    Rules,
    judge,
)
from dcmirror.core.door_errors import DoorStopped
from dcmirror.core.filters import Rules as Filter
from dcmirror.core.findings import Finding
from dcmirror.core.jobs import CopyRecord, Job, JobKind
from dcmirror.core.listing import Entry
from dcmirror.core.paths import PathMap, check_relative, is_isolated_name
from dcmirror.errors import UnsafePathError
from dcmirror.processes.meanwhile import withdraw_copied
from dcmirror.processes.outstanding import Outstanding, Task
from dcmirror.processes.set_apart import left_apart
from dcmirror.processes.strangers import Strangers


@dataclass(frozen=True, slots=True)
class Page:
    """Some names of one directory, or of a list of paths.

    ``is_first``: what came of ``directory`` before is to be forgotten.  ``is_whole``:
    with the last page all names of it were shown, so that what the mirror has besides
    is only here.  ``trouble``: why it cannot be listed.  ``absent`` are numbered paths
    that were asked for and are not at the source.
    """

    directory: str
    entries: tuple[Entry, ...]
    is_first: bool = True
    is_last: bool = False
    is_whole: bool = True
    trouble: str = ""
    absent: tuple[tuple[int, str], ...] = ()


class Source(Protocol):
    """Where pages come from; ``requests`` is how many it cost so far."""

    @property
    def requests(self) -> int: ...

    def __iter__(self) -> Iterator[Page]: ...

    def done(self, directory: str) -> None:
        """All of it was compared, and copied where that was to be."""


@dataclass(frozen=True, slots=True)
class SurveyPlan:
    """What is compared, and how; ``rules`` are asked for with each page.

    What changed in the mirror after ``settled_before`` is not judged to be only here.
    """

    path_map: PathMap
    filter: Filter
    rules: Callable[[], Rules]
    settled_before: float
    root_bytes: int = 0
    limit: int | None = None


class Survey:
    """One comparison; ``run`` does it.  The counters may be read by other threads.

    Args:
        books: opens the catalogue; called in the thread that runs.
        offer: takes a job, waiting while there are many; None: nothing is copied.
    """

    def __init__(
        self,
        plan: SurveyPlan,
        source: Source,
        store: FindingStore,
        books: Callable[[], Catalogue],
        scan: MirrorScan,
        stop: threading.Event,
        offer: Callable[[Job], None] | None = None,
    ) -> None:
        self.files = self.size = self.differences = self.offered = 0
        self.is_complete = False
        self.at_limit = False
        self.refuse: Callable[[int, str], None] = _say_nothing
        self.outstanding = Outstanding(source.done)
        self._plan = plan
        self._source = source
        self._store = store
        self._open_books = books
        self._scan = scan
        self._stop = stop
        self._offer = offer
        # What was deleted after this may have been listed before.
        self._began = time.time()
        self._counts: dict[str, Counter[str]] = {}
        self._strangers = Strangers(
            scan, store, plan.path_map, plan.filter, plan.settled_before
        )
        self._rules = plan.rules()

    def run(self) -> None:
        """Compare everything, or as much as the limit and ``stop`` allow.

        Raises:
            DoorError, BooksError, DirectoryError: it cannot go on.
        """
        books = self._open_books()
        try:
            for page in self._source:
                self._take(page, books)
                if self.at_limit or self._stop.is_set():
                    return
            if self._offer is None:
                withdraw_copied(self._store, self._scan, books, self._rules)
        except DoorStopped:
            return
        finally:
            books.close()
        self.is_complete = not self._stop.is_set()

    # -- a page -------------------------------------------------------------------

    def _take(self, page: Page, books: Catalogue) -> None:
        place = page.directory
        if page.is_first:
            self._counts[place] = Counter()
            self._store.begin(place)
            self.outstanding.begin(place)
        if page.is_whole:
            self._store.see(place, [_name(entry.path) for entry in page.entries])
        self._compare(page, books)
        if self.at_limit or self._stop.is_set():
            return
        self._strangers.take_absent(place, page.absent, self.refuse)
        if page.is_last:
            if page.trouble:
                self._note_trouble(page)
            elif page.is_whole:
                self._strangers.find(place)
            self._store.end(place, self._counts.pop(place))
            self.outstanding.complete(place)

    def _note_trouble(self, page: Page) -> None:
        relative = self._plan.path_map.relative(page.directory) or ""
        kind = DifferenceKind.UNREADABLE
        self._counts[page.directory]["unlisted"] += 1
        self.differences += 1
        found = Finding(kind, page.directory, relative, detail=page.trouble)
        self._store.add(page.directory, [found])

    def _compare(self, page: Page, books: Catalogue) -> None:
        counts = self._counts[page.directory]
        self._rules = self._plan.rules()
        self._tell_apart(page, counts, books)
        chosen = list(self._chosen(page, counts))
        relatives = [relative for _, relative in chosen]
        rows = books.lookup(relatives)
        failures = self._store.failures([entry.path for entry, _ in chosen])
        self._note_back(chosen, rows, books)
        found: list[tuple[Finding, Entry]] = []
        for entry, relative in chosen:
            name, of = failures.get(entry.path, (None, None))
            known = Known(rows.get(relative), name, of)
            found += self._judged(entry, relative, known, counts)
        self._hand_on(page.directory, found)

    def _note_back(
        self,
        chosen: list[tuple[Entry, str]],
        rows: dict[str, CopyRecord],
        books: Catalogue,
    ) -> None:
        """Sources that were taken for gone, and were only away for a while.

        A dry run notes them too: it is the books that were wrong.
        """
        deleted = books.deleted_sources(rows, self._began)
        back = [
            rows[relative]
            for entry, relative in chosen
            if relative in deleted and is_same_source(rows[relative], entry)
        ]
        if back:
            books.sources_are_back(back, self._began)

    def _tell_apart(self, page: Page, counts: Counter[str], books: Catalogue) -> None:
        told = []
        for entry, detail in left_apart(page.entries, books, self._began):
            relative = self._plan.path_map.relative(entry.path) or ""
            kind = DifferenceKind.UNREADABLE
            told.append(_finding(kind, entry, relative, detail))
            counts["isolated"] -= not entry.is_directory
        self.differences += len(told)
        self._store.add(page.directory, told)

    def _chosen(self, page: Page, counts: Counter[str]) -> Iterator[tuple[Entry, str]]:
        """The files with names that can be used, and their paths below the mirror."""
        refused = []
        for entry in page.entries:
            relative = self._plan.path_map.relative(entry.path) or ""
            if ".isolated" in relative and _is_isolated(relative):
                counts["isolated"] += not entry.is_directory
                continue
            if self._is_excluded(entry, relative):
                counts["excluded"] += 1
                continue
            why = entry.trouble or self._refusal(entry, relative)
            if why:
                kind = DifferenceKind.UNREADABLE
                refused.append(_finding(kind, entry, relative, why))
            elif not entry.is_directory:
                yield entry, relative
        self.differences += len(refused)
        self._store.add(page.directory, refused)

    def _is_excluded(self, entry: Entry, relative: str) -> bool:
        rules = self._plan.filter
        if entry.is_directory:  # and then it is not listed either
            return rules.excludes_all_below(relative)
        return rules.excluded_by(relative) is not None

    def _refusal(self, entry: Entry, relative: str) -> str:
        try:
            check_relative(relative, root_bytes=self._plan.root_bytes)
            self._plan.path_map.url(entry.path)
        except UnsafePathError as exc:
            return str(exc)
        return ""

    def _judged(
        self, entry: Entry, relative: str, known: Known, counts: Counter[str]
    ) -> list[tuple[Finding, Entry]]:
        local = self._scan.look(relative)
        judged = judge(entry, local, known, self._rules)
        if judged.must_read:
            local = replace(local, adler32=self._scan.adler32(relative))
            judged = judge(entry, local, known, self._rules)
        self._count(entry, judged, counts)
        kind = judged.difference
        if kind is None:
            return []
        return [(_finding(kind, entry, relative, judged.detail), entry)]

    def _count(self, entry: Entry, judged: Judged, counts: Counter[str]) -> None:
        size = entry.size or 0
        counts["files"] += 1
        counts["bytes"] += size
        self.files += 1
        self.size += size
        if judged.difference is None:
            counts[judged.kind.value] += 1
        else:
            self.differences += 1

    def _hand_on(self, place: str, found: list[tuple[Finding, Entry]]) -> None:
        """Keep the differences, then offer what can be cured, up to the limit."""
        limit, has_limit = self._plan.limit, self._plan.limit is not None
        if has_limit and self._offer is None:
            self.at_limit = self.differences >= (limit or 0)
        self._store.add(place, [finding for finding, _ in found])
        if self._offer is None:
            return
        for finding, entry in found:
            if finding.kind not in COPIED:
                continue
            if has_limit and self.offered >= (limit or 0):
                self.at_limit = True
                return
            self._send(place, finding, entry, self._offer)
            if self._stop.is_set():
                return

    def _send(
        self,
        place: str,
        finding: Finding,
        entry: Entry,
        offer: Callable[[Job], None],
    ) -> None:
        job = self._job(finding, entry)
        self.outstanding.add(job.task, Task(finding.path, place))
        self.offered += 1
        offer(job)

    def _job(self, finding: Finding, entry: Entry) -> Job:
        return Job(
            task=str(uuid.uuid4()),
            kind=JobKind.RECONCILE,
            path=entry.path,
            relative=finding.relative,
            url=self._plan.path_map.url(entry.path),
            size=entry.size,
            pnfsid=entry.pnfsid,
            # The mark may have the same pnfsid and size, and would be believed.
            refetch=finding.kind is DifferenceKind.CHECKSUM,
            trusts_size=self._rules.trusts_size,
            modified=entry.modified,
        )


def _finding(kind: DifferenceKind, entry: Entry, relative: str, detail: str) -> Finding:
    return Finding(
        kind=kind,
        path=entry.path,
        relative=relative,
        size=entry.size,
        pnfsid=entry.pnfsid,
        adler32=entry.adler32,
        modified=entry.modified,
        detail=detail,
    )


def _say_nothing(number: int, why: str) -> None:
    """Lists of files alone have lines to complain of."""


def _is_isolated(relative: str) -> bool:
    """Cleanup has set the file, or a directory above it, apart to delete it."""
    return any(is_isolated_name(name) for name in relative.split("/"))


def _name(path: str) -> str:
    return path.rpartition("/")[2]
