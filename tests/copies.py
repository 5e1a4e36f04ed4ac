"""Copies in a mirror and in the books, as a run of watch would have left them."""

from __future__ import annotations

import os
import time
from pathlib import Path

from dcmirror.adapters.catalogue import Catalogue, SettleBatch
from dcmirror.core import marks
from dcmirror.core.jobs import CopyRecord
from dcmirror.core.marks import Mark
from dcmirror.testing.fake_dcache import FakeDCache
from dcmirror.testing.fake_namespace import FileVersion, adler32_of, pieces

RAW = "/pnfs/example.org/data/exp/raw"
DAY = 86400.0


def copy_here(
    mirror: Path,
    catalogue: Path,
    source: FakeDCache,
    paths: list[str],
    *,
    age: float = 10 * DAY,
    **over: object,
) -> dict[str, CopyRecord]:
    """Copy what the source has; the rows by path below the mirror.

    ``over`` are fields of the rows that are to be otherwise.
    """
    there = source.files
    rows = {}
    for number, path in enumerate(paths):
        relative = path.removeprefix(RAW + "/")
        row = _copy(mirror, relative, path, there[path], time.time() - age + number)
        fields = {name: getattr(row, name) for name in CopyRecord.__slots__}
        rows[relative] = CopyRecord(**fields | over)  # type: ignore[arg-type]
    catalogue.parent.mkdir(parents=True, exist_ok=True)
    book = Catalogue(catalogue)
    book.settle(SettleBatch(copies=tuple(rows.values())))
    book.close()
    return rows


def _copy(
    mirror: Path, relative: str, path: str, version: FileVersion, copied_at: float
) -> CopyRecord:
    target = mirror / relative
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(b"".join(pieces(version.content)))
    os.utime(target, (copied_at, copied_at))
    mtime_ns = target.stat().st_mtime_ns
    adler32 = adler32_of(version.content)
    mark = Mark(version.pnfsid, adler32, True, version.size, mtime_ns, copied_at)
    os.setxattr(target, marks.ATTRIBUTE, marks.encode(mark))
    return CopyRecord(
        relative=relative,
        path=path,
        pnfsid=version.pnfsid,
        size=version.size,
        adler32=adler32,
        verified=True,
        mtime_ns=mtime_ns,
        copied_at=copied_at,
    )
