"""Whether a listing was whole, as far as the mirror can tell.

dCache ends a listing that takes it too long as if that were all.  Names of the mirror
that a listing lacks are witnesses: the source is asked for some of each directory, and
one that it has after all says that the listing was cut short.
"""

from __future__ import annotations

from collections.abc import Callable

from dcmirror.adapters.catalogue_names import CatalogueNames
from dcmirror.adapters.findings import FindingStore
from dcmirror.core.door_errors import DoorError
from dcmirror.core.escapes import shown
from dcmirror.core.listing import Entry
from dcmirror.core.paths import PathMap

#: Asked for in each directory: so few that a purge of the source costs no more than a
#: few listings, and the youngest ones, since retention takes the old ones first.
_MOST_ASKED = 5

#: What the source says to a path: what is there, None for nothing, why it cannot tell.
Ask = Callable[[str], Entry | DoorError | None]


class Witnesses:
    """Asks for names that listings lack.

    Args:
        settled_before: what the source has changed later may be newer than the listing.
    """

    def __init__(
        self,
        store: FindingStore,
        names: CatalogueNames,
        path_map: PathMap,
        ask: Ask,
        settled_before: float,
    ) -> None:
        self._store = store
        self._names = names
        self._path_map = path_map
        self._ask = ask
        self._settled_before = settled_before

    def hear(self) -> None:
        """Take what is only here back wherever the listing was no proof of it.

        Raises:
            BooksError, DoorError: not all were asked for.
        """
        for place in self._store.strange_places():
            trouble = self._hear(place)
            if trouble:
                relative = self._path_map.relative(place) or ""
                self._store.unlist(place, relative, trouble)

    def _hear(self, place: str) -> str:
        """Why the listing of a directory proves nothing; "": nobody contradicts it."""
        for relative in self._chosen(place):
            path = f"{self._path_map.root}{relative}"
            answer = self._ask(path)
            if isinstance(answer, DoorError):
                return str(answer)
            if answer is None:
                continue
            if (answer.modified or 0.0) < self._settled_before:
                return f"its listing was cut short: it lacks {shown(path)}"
            self._store.forget_strangers([relative])  # it came after the listing
        return ""

    def _chosen(self, place: str) -> list[str]:
        youngest = self._store.youngest_strangers(place)
        cleaned = self._names.cleaned(youngest)
        ours = self._names.pnfsids(youngest)
        left = [relative for relative in youngest if relative not in cleaned]
        return sorted(left, key=lambda relative: relative not in ours)[:_MOST_ASKED]
