"""What a survey finds set apart by cleanup, and nobody sees to where it is.

It may be a file that has no copy, and nobody but a survey comes upon it.  But cleanups
of other books may delete from the same source: what one of them had in hand when it was
listed is gone a moment later, so there is a second look before it is told.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from dcmirror.adapters.catalogue import Catalogue
from dcmirror.adapters.findings import FindingStore
from dcmirror.core.listing import Entry
from dcmirror.core.paths import is_isolated_name
from dcmirror.processes.witnesses import Ask


def left_apart(
    entries: Iterable[Entry], books: Catalogue, since: float
) -> Iterator[tuple[Entry, str]]:
    """Those of the entries that no cleanup sees to, and what to say of each.

    Args:
        since: what cleanup saw to later may have been listed before.
    """
    apart = {entry.path: entry for entry in entries if _is_apart(entry.path)}
    if apart:
        for path, was in books.left_apart(apart, since).items():
            yield apart[path], _detail(was)


def look_again(store: FindingStore, ask: Ask) -> None:
    """Forget what is not there any more.

    Raises:
        BooksError, DoorError: not all were looked at.
    """
    for path in store.named("%.isolated"):
        if is_isolated_name(path.rpartition("/")[2]) and ask(path) is None:
            store.forget(path)


def _is_apart(path: str) -> bool:
    """Whether it was set apart itself, and not a directory above it."""
    if not path.endswith(".isolated"):
        return False
    above, _, name = path.rpartition("/")
    return is_isolated_name(name) and not is_isolated_name(above.rpartition("/")[2])


def _detail(was: str | None) -> str:
    if was is None:
        return (
            "a name under which dcmirror deletes, and these books do not know of it: "
            "see what it is, and rename it"
        )
    return (
        f"cleanup gave {was} this name to delete it, and does not see to it here; "
        "rename it: it need not be what was copied"
    )
