"""Takes back the differences that were cured while a survey went on.

A dry run takes hours, or goes on with one of last week; ``watch`` copies meanwhile.
"""

from __future__ import annotations

from itertools import islice

from dcmirror.adapters.catalogue import Catalogue
from dcmirror.adapters.findings import FindingStore
from dcmirror.adapters.mirror_scan import MirrorScan
from dcmirror.core.differences import DifferenceKind, Equal, Known, Rules, judge
from dcmirror.core.findings import Finding
from dcmirror.core.jobs import CopyRecord
from dcmirror.core.listing import Entry

#: Of names that the source has: a copy would cure these.
_CURABLE = frozenset(DifferenceKind) - {
    DifferenceKind.ONLY_HERE,
    DifferenceKind.UNREADABLE,
}
_PAGE = 500


def withdraw_copied(
    store: FindingStore, scan: MirrorScan, books: Catalogue, rules: Rules
) -> None:
    """Call equal what is equal by now; the source is not asked again."""
    rest = (
        finding
        for finding in store.findings(remaining=True)
        if finding.kind in _CURABLE
    )
    while page := list(islice(rest, _PAGE)):
        rows = books.lookup([finding.relative for finding in page])
        store.withdraw(
            [
                finding.path
                for finding in page
                if _is_equal(finding, scan, rows.get(finding.relative), rules)
            ]
        )


def _is_equal(
    finding: Finding, scan: MirrorScan, row: CopyRecord | None, rules: Rules
) -> bool:
    entry = Entry(
        path=finding.path,
        is_directory=False,
        size=finding.size,
        modified=finding.modified,
        pnfsid=finding.pnfsid,
        adler32=finding.adler32,
    )
    judged = judge(entry, scan.look(finding.relative), Known(row), rules)
    return judged.kind is Equal.EQUAL
