"""Looks again at what a survey found set apart, before it is told.

Cleanups of other books may delete from the same source: what one of them had in hand
when it was listed is gone a moment later.
"""

from __future__ import annotations

from dcmirror.adapters.findings import FindingStore
from dcmirror.core.paths import is_isolated_name
from dcmirror.processes.witnesses import Ask


def look_again(store: FindingStore, ask: Ask) -> None:
    """Forget what is not there any more.

    Raises:
        BooksError, DoorError: not all were looked at.
    """
    for path in store.named("%.isolated"):
        if is_isolated_name(path.rpartition("/")[2]) and ask(path) is None:
            store.forget(path)
