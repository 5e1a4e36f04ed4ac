"""The files in which a reconcile survives a kill: its findings, and its walk."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path

from dcmirror.adapters.findings import FindingStore
from dcmirror.adapters.findings_file import remove
from dcmirror.settings import Settings

#: A comparison that was left for longer than this is begun anew (seconds).
_LONGEST_PAUSE = 7 * 86400.0


class Kind(Enum):
    """Each has files of its own; a list of files is never gone on with."""

    COPY = "reconcile"
    DRY = "reconcile-dry"
    LIST = "reconcile-list"


def fingerprint(settings: Settings, root: str, *, trusts_size: bool) -> str:
    """What must be the same for a run to go on with another one's findings."""
    dcache = settings.dcache
    same = {
        "dcache": [dcache.url, dcache.pool, dcache.folder],
        "root": root,
        "mirror": str(settings.local.downloadfolder),
        "rules": list(settings.filter.rules),
        "trusts_size": trusts_size,
        "missing": settings.destination.missing,
    }
    return json.dumps(same)


class Spool:
    """One kind's files in the state directory."""

    def __init__(self, directory: Path, kind: Kind, fingerprint: str) -> None:
        self._findings = directory / f"{kind.value}.db"
        self._fingerprint = fingerprint
        walk = directory / f"{kind.value}.walk"
        self.journal = None if kind is Kind.LIST else walk

    def forget(self) -> None:
        """The next run begins anew."""
        remove(self._findings)
        if self.journal is not None:
            remove(self.journal)

    @contextmanager
    def opened(self, *, restart: bool) -> Iterator[FindingStore]:
        """The findings of the run that this one goes on with, or none."""
        if restart or not self._fits():
            self.forget()
        store = FindingStore(self._findings)
        try:
            if store.fact("started") is None:
                store.remember("fingerprint", self._fingerprint)
                store.remember("started", str(time.time()))
            yield store
        finally:
            store.close()

    def _fits(self) -> bool:
        """Whether what is there may be gone on with."""
        if self.journal is None or not self.journal.exists():
            return False
        if not self._findings.exists():
            return False
        store = FindingStore(self._findings)
        try:
            age = time.time() - float(store.fact("started") or 0.0)
            is_same = store.fact("fingerprint") == self._fingerprint
        finally:
            store.close()
        return is_same and 0.0 <= age < _LONGEST_PAUSE
