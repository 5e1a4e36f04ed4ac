"""What of a report of ``reconcile`` or ``audit`` a replay has to do."""

from __future__ import annotations

import uuid
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from dcmirror.adapters.catalogue import Catalogue
from dcmirror.adapters.mirror_scan import MirrorScan
from dcmirror.core.audit_findings import (
    REPAIRABLE,
    AuditKind,
    refetches,
    speaks_of_source,
)
from dcmirror.core.choosing import Choice, Chooser
from dcmirror.core.differences import DifferenceKind
from dcmirror.core.escapes import shown
from dcmirror.core.findings import CURABLE, CURED
from dcmirror.core.jobs import CopyRecord, Job, JobKind
from dcmirror.core.paths import PathMap, check_relative
from dcmirror.core.report_rows import NotAReportError, ReportRow
from dcmirror.errors import UnsafePathError


@dataclass(frozen=True, slots=True)
class Rules:
    """What a command's kinds mean to a replay.

    ``curable``: fetching the file helps.  ``doubted``: the copy is looked at first, for
    it may have been mended since.  ``damaged``: what lies here must not be adopted,
    whatever its mark says.  ``unlike``: the source is another file than the row says.
    """

    kinds: frozenset[str]
    curable: frozenset[str]
    doubted: frozenset[str]
    damaged: frozenset[str]
    unlike: frozenset[str]
    job: JobKind


def _words(*kinds: str) -> frozenset[str]:
    return frozenset(map(str, kinds))


RULES = {
    "reconcile": Rules(
        kinds=_words(*DifferenceKind),
        curable=_words(*CURABLE),
        doubted=_words(DifferenceKind.CHECKSUM),
        damaged=_words(DifferenceKind.CHECKSUM),
        unlike=frozenset(),
        job=JobKind.RECONCILE,
    ),
    "audit": Rules(
        kinds=_words(*AuditKind),
        curable=_words(*REPAIRABLE),
        doubted=_words(*REPAIRABLE),
        damaged=_words(*filter(refetches, REPAIRABLE)),
        unlike=_words(*filter(speaks_of_source, REPAIRABLE)),
        job=JobKind.REPAIR,
    ),
}


@dataclass(slots=True)
class Plan:
    """The jobs of a report, and the rows that are none, by why."""

    rows: list[ReportRow] = field(default_factory=list)
    jobs: list[Job] = field(default_factory=list)
    kept: Counter[str] = field(default_factory=Counter)
    mended: int = 0
    refusals: list[str] = field(default_factory=list)

    def document(self, name: str) -> dict[str, Any]:
        """What --json says before anything was done."""
        return {
            "file": name,
            "nothing_to_copy": dict(sorted(self.kept.items())),
            "right_by_now": self.mended,
            "refused": len(self.refusals),
        }


class Planner:
    """Makes jobs of those rows that still need one."""

    def __init__(
        self,
        command: str,
        path_map: PathMap,
        scan: MirrorScan,
        catalogue: Catalogue,
        now: float,
    ) -> None:
        self._command = command
        self._rules = RULES[command]
        self._map = path_map
        self._scan = scan
        self._catalogue = catalogue
        self._now = now

    def plan(self, rows: list[ReportRow], choice: Choice) -> Plan:
        """The jobs of these rows, of those that the choice looks at.

        Raises:
            NotAReportError: a kind is none of the command's.
        """
        chooser = Chooser(choice, self._map)
        plan = Plan()
        for row in self._worst(rows).values():
            if not chooser.wants_path(row.path):
                continue
            if choice.limit is not None and len(plan.jobs) >= choice.limit:
                break
            self._add(plan, row)
        return plan

    def _worst(self, rows: list[ReportRow]) -> dict[str, ReportRow]:
        """One row of each file: an audit may find several things about it."""
        found: dict[str, ReportRow] = {}
        for row in rows:
            if row.kind not in self._rules.kinds:
                raise NotAReportError(
                    f"{row.place}: {shown(row.kind[:40])!r} is nothing that "
                    f"{self._command} finds"
                )
            known = found.setdefault(row.path, row)
            if self._weight(row) > self._weight(known):
                found[row.path] = row
        return found

    def _weight(self, row: ReportRow) -> int:
        rules = self._rules
        sets = (rules.curable, rules.damaged, rules.unlike)
        return sum(row.kind in kinds for kinds in sets)

    def _add(self, plan: Plan, row: ReportRow) -> None:
        if row.outcome in CURED:
            plan.mended += 1
        elif row.kind not in self._rules.curable:
            plan.kept[row.kind] += 1
        else:
            try:
                job = self._job(row)
            except UnsafePathError as exc:
                plan.refusals.append(f"{row.place}: left as it is: {shown(str(exc))}")
                return
            if self._is_mended(row, job.relative):
                plan.mended += 1
            else:
                plan.rows.append(row)
                plan.jobs.append(job)

    def _job(self, row: ReportRow) -> Job:
        relative = self._map.relative(row.path)
        if relative is None:
            raise UnsafePathError(f"{row.path} is not below [dcache] folder")
        check_relative(relative)
        is_unlike = row.kind in self._rules.unlike
        return Job(
            task=str(uuid.uuid4()),
            kind=self._rules.job,
            path=row.path,
            relative=relative,
            url=self._map.url(row.path),
            size=None if is_unlike else row.size,
            pnfsid=None if is_unlike else row.pnfsid,
            accepted_at=self._now,
            refetch=row.kind in self._rules.damaged,
        )

    def _is_mended(self, row: ReportRow, relative: str) -> bool:
        """Whether somebody else has done it since: only what must not be adopted."""
        if row.kind not in self._rules.doubted:
            return False  # the engine sees for itself, without a transfer
        copy = self._catalogue.lookup([relative]).get(relative)
        if copy is None or copy.adler32 is None or not self._is_the_wanted(row, copy):
            return False
        local = self._scan.look(relative)
        if local.odd or (local.size, local.mtime_ns) != (copy.size, copy.mtime_ns):
            return False
        return self._scan.adler32(relative) == copy.adler32

    def _is_the_wanted(self, row: ReportRow, copy: CopyRecord) -> bool:
        """Whether the catalogue's row is what the report wants to see there."""
        then = (row.pnfsid, row.size, row.adler32)
        now = (copy.pnfsid, copy.size, copy.adler32)
        if row.kind in self._rules.unlike:
            return now != then
        known = [pair for pair in zip(now, then, strict=True) if pair[1] is not None]
        return all(one == other for one, other in known)
