"""What an audit says at its end."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any, cast

from dcmirror.commands.audit_counts import SpanTotals
from dcmirror.commands.audit_summary import lines
from dcmirror.core.audit_findings import Tally


def test_offsets_that_other_records_cover_are_no_skips() -> None:
    """As status and report have it; the spans call both skipped."""
    kinds = {
        "mirrored": 14,
        "skipped:joined": 14,
        "skipped:hint-ignored": 2,
        "skipped:known": 1,
        "skipped:excluded": 3,
        "not-ours": 90,
    }
    totals = SpanTotals(partitions=1, offsets=124, kinds=Counter(kinds))
    told = lines(cast(Any, SimpleNamespace(tally=Tally())), totals, None)

    assert (
        "offsets: 124 settled on 1 partition: 14 mirrored, 0 failed, 3 skipped, "
        "17 covered by other records, 90 not ours"
    ) == told[0]
