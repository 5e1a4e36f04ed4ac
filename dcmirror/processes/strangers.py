"""Notes what the mirror has and the source does not: after each complete listing.

The survey's thread runs it; the conclusion judges what was noted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from dcmirror.adapters.findings import FindingStore
from dcmirror.adapters.mirror_scan import LocalName, MirrorScan
from dcmirror.core.filters import Rules as Filter
from dcmirror.core.paths import PathMap


class Strangers:
    """Looks through the mirror's side of a directory.

    Args:
        settled_before: what changed in the mirror later may be newer than the listing.
    """

    def __init__(
        self,
        scan: MirrorScan,
        store: FindingStore,
        path_map: PathMap,
        filter: Filter,
        settled_before: float,
    ) -> None:
        self._scan = scan
        self._store = store
        self._path_map = path_map
        self._filter = filter
        self._settled_before = settled_before

    def find(self, place: str) -> None:
        """Note what is here in a directory whose names at the source were all seen."""
        below = self._path_map.relative(f"{place}/") or ""
        for page in self._scan.names(below.rstrip("/")):
            unseen = set(self._store.unseen(place, [each.name for each in page]))
            found = [(f"{below}{e.name}", e) for e in page if e.name in unseen]
            self._note(place, (item for item in found if not item[1].is_directory))
            for relative, each in found:
                if each.is_directory:
                    for files in self._scan.files_below(relative):
                        self._note(place, files)

    def take_absent(
        self,
        place: str,
        absent: Iterable[tuple[int, str]],
        refuse: Callable[[int, str], None],
    ) -> None:
        """Paths of a list that are not at the source: perhaps they are here."""
        strangers = []
        for number, path in absent:
            relative = self._path_map.relative(path) or ""
            local = self._scan.look(relative)
            if local.exists and not local.odd:
                strangers.append((relative, local.size, local.mtime_ns / 1e9))
            else:
                refuse(number, "neither at the source nor here")
        self._store.add_strangers(place, strangers)

    def _note(self, place: str, files: Iterable[tuple[str, LocalName]]) -> None:
        self._store.add_strangers(place, self._settled(files))

    def _settled(
        self, files: Iterable[tuple[str, LocalName]]
    ) -> Iterator[tuple[str, int, float]]:
        for relative, each in files:
            is_ours = self._filter.excluded_by(relative) is None
            if is_ours and each.changed < self._settled_before:
                yield relative, each.size, each.modified
