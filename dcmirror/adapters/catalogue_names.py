"""What the catalogue knows of many names at once: for a comparison with the source."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from dcmirror.adapters.catalogue_reading import CatalogueReader


class CatalogueNames(CatalogueReader):
    """A connection that only reads; a missing file has no rows.

    Args:
        began: of a deletion that ended later, a listing may have seen the middle.
    """

    def __init__(self, path: Path, began: float = math.inf) -> None:
        super().__init__(path)
        self._began = began

    def count(self) -> int:
        """How many copies there are whose source is not deleted."""
        sql = "SELECT count(*) FROM copies WHERE source_deleted_at IS NULL"
        rows = self._rows(sql, ())
        return int(rows[0][0]) if rows else 0

    def cleaned(self, relatives: Sequence[str]) -> set[str]:
        """Those whose source dcmirror has deleted, or is about to, or was just now."""
        marks = ",".join("?" * len(relatives))
        sql = (
            "SELECT relative FROM copies WHERE source_deleted_at IS NOT NULL "
            f"AND relative IN ({marks}) UNION SELECT relative FROM deletions "
            f"WHERE relative IN ({marks}) AND (ended_at IS NULL OR ended_at >= ?)"
        )
        values = (*relatives, *relatives, self._began)
        return {row[0] for row in self._rows(sql, values)}

    def homes(self, pnfsids: Sequence[str]) -> list[tuple[str, str, str]]:
        """Pnfsid, path and path below the mirror of all copies of these files."""
        marks = ",".join("?" * len(pnfsids))
        sql = f"SELECT pnfsid, path, relative FROM copies WHERE pnfsid IN ({marks})"
        return self._rows(sql, tuple(pnfsids))
