"""Whose source is asked for next: --source --oldest goes round, in the order of paths.

The catalogue keeps the last path that was asked for, so that each copy's turn comes,
whether it can be read or not, and nothing is written for each.
"""

from __future__ import annotations

from collections.abc import Iterator

from dcmirror.adapters.catalogue import Catalogue
from dcmirror.adapters.catalogue_audit import AuditReader
from dcmirror.core.audit_copies import AuditRow

_FACT = "audit-source-last"


class Turns:
    """The rows from where the last audit ended.

    ``last`` is the path below the mirror that was asked for last; whoever asks sets it.
    """

    def __init__(self, catalogue: AuditReader) -> None:
        self._catalogue = catalogue
        self.last = self._began = catalogue.fact(_FACT) or ""

    def rows(self) -> Iterator[AuditRow]:
        """All rows, once round."""
        for page in self._catalogue.rows(after=self._began):
            yield from page
        for page in self._catalogue.rows():
            for row in page:
                if row.relative > self._began:
                    return
                yield row

    def keep(self, catalogue: Catalogue) -> None:
        """The next audit goes on behind the last one.

        Raises:
            BooksError: it cannot be written.
        """
        catalogue.remember(_FACT, self.last)
