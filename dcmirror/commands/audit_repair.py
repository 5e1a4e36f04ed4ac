"""Fetches again what an audit found missing or damaged, by the engine of ``watch``.

A damaged file stays in place until the new one replaces it.
"""

from __future__ import annotations

import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from dcmirror.adapters.catalogue_audit import AuditReader
from dcmirror.adapters.catalogue_scratch import Repair, Scratch
from dcmirror.adapters.failed_csv import FailedCsv
from dcmirror.adapters.state_directory import StateDirectory, failures_path
from dcmirror.commands.audit_copies import Looker
from dcmirror.commands.audit_report import AuditReport
from dcmirror.commands.engine_run import EngineRun, run_jobs
from dcmirror.commands.progress import Words, jobs_progress
from dcmirror.core.audit_copies import Standing
from dcmirror.core.audit_findings import AuditKind, refetches, speaks_of_source
from dcmirror.core.jobs import Job, JobKind
from dcmirror.core.paths import PathMap, check_relative, path_map_of
from dcmirror.errors import UnsafePathError
from dcmirror.processes.assembly import EngineRoom
from dcmirror.processes.listing_feed import JobsFeed
from dcmirror.settings import Settings

_AT_ONCE = 500
_WORDS = Words("repair", "files")


@dataclass(frozen=True, slots=True)
class Repaired:
    """What came of it: findings that are no more by kind, and files that failed."""

    mended: Counter[AuditKind]
    failed: int
    stopped_by: int | None


def repair(
    settings: Settings,
    state: StateDirectory,
    catalogue: AuditReader,
    scratch: Scratch,
    report: AuditReport,
    looker: Looker,
    *,
    instance: str | None,
    verbosity: int,
) -> Repaired:
    """Do it, and look at each file afterwards.

    The caller holds the lock ``audit``.

    Raises:
        LockedError: children of an earlier repair are alive still.
        DcmirrorError: what ended the work early; what was repaired stays so.
    """
    began = time.time()
    run = EngineRun(
        settings,
        state,
        "audit",
        instance=instance,
        verbosity=verbosity,
        failed_csv=FailedCsv(failures_path(settings, state.path)),
    )
    feed = JobsFeed(_jobs(settings, scratch, report))
    number, quiet = scratch.repair_count(), verbosity < 0
    with jobs_progress(sys.stderr, _WORDS, number, quiet=quiet) as progress:

        def show(room: EngineRoom) -> None:
            progress(feed.ended, feed.failed, room.engine.tally.bytes_mirrored)

        end = run_jobs(run, feed, on_second=show)
    mended = _mended(catalogue, scratch, looker, began)
    return Repaired(mended, end.failed, end.stopped_by)


def _jobs(
    settings: Settings, scratch: Scratch, report: AuditReport
) -> Iterator[Job | None]:
    dcache = settings.dcache
    path_map = path_map_of(dcache)
    for each in scratch.repairs():
        try:
            yield _job(each, path_map)
        except UnsafePathError as exc:
            report.say(f"not repaired: {each.path}: {exc}")


def _job(found: Repair, path_map: PathMap) -> Job:
    check_relative(found.relative)
    kinds = {AuditKind(kind) for kind in found.kinds.split(",")}
    is_other = any(map(speaks_of_source, kinds))
    return Job(
        task=str(uuid.uuid4()),
        kind=JobKind.REPAIR,
        path=found.path,
        relative=found.relative,
        url=path_map.url(found.path),
        # Where the source is another file by now, the door says which.
        size=None if is_other else found.size,
        pnfsid=None if is_other else found.pnfsid,
        accepted_at=time.time(),
        refetch=any(map(refetches, kinds)),
    )


def _mended(
    catalogue: AuditReader, scratch: Scratch, looker: Looker, began: float
) -> Counter[AuditKind]:
    """Findings whose file is in the books and in the mirror as it should be."""
    mended: Counter[AuditKind] = Counter()
    waiting: list[Repair] = []
    for each in scratch.repairs():
        waiting.append(each)
        if len(waiting) == _AT_ONCE:
            mended += _mended_of(waiting, catalogue, looker, began)
            waiting = []
    return mended + _mended_of(waiting, catalogue, looker, began)


def _mended_of(
    found: list[Repair], catalogue: AuditReader, looker: Looker, began: float
) -> Counter[AuditKind]:
    mended: Counter[AuditKind] = Counter()
    rows = catalogue.rows_of([each.relative for each in found])
    for each in found:
        row = rows.get(each.relative)
        if row is None or looker.judge(row) is not Standing.GOOD:
            continue
        kinds = [AuditKind(kind) for kind in each.kinds.split(",")]
        # Bytes that were wrong under the right size are right only in a new copy.
        if row.copied_at >= began or not any(map(refetches, kinds)):
            mended.update(kinds)
    return mended
