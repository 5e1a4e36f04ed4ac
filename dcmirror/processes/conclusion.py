"""At the end of a survey: which missing files were renamed, and what is only here.

Both need the whole source: a name counts as gone only where a complete listing lacks
it that its witnesses do not contradict, or where the door, asked for that very name,
does not have it.
"""

from __future__ import annotations

from collections import defaultdict

from dcmirror.adapters.catalogue_names import CatalogueNames
from dcmirror.adapters.findings import FindingStore, Stranger
from dcmirror.core.differences import DifferenceKind
from dcmirror.core.findings import Finding
from dcmirror.core.paths import PathMap
from dcmirror.processes.witnesses import Ask, Witnesses

#: Where the findings stand that no directory of the source has.
PLACE = "only here"


class Conclusion:
    """Turns what was noted into findings.

    Args:
        ask: asks the door for a path.
        witnesses: what doubts the listings; None: each name was asked for.
    """

    def __init__(
        self,
        store: FindingStore,
        names: CatalogueNames,
        path_map: PathMap,
        ask: Ask,
        witnesses: Witnesses | None = None,
    ) -> None:
        self.old_names = 0
        self._store = store
        self._names = names
        self._path_map = path_map
        self._ask = ask
        self._witnesses = witnesses

    def draw(self) -> None:
        """Judge everything; may be called again after a kill.

        Raises:
            BooksError, DoorError: it is not all judged.
        """
        self._store.begin(PLACE)
        if self._witnesses is not None:
            self._witnesses.hear()
        for page in self._store.missing():
            self._judge_missing(page)
        for strangers in self._store.strangers():
            self._judge_strangers(strangers)

    # -- renamed ------------------------------------------------------------------

    def _judge_missing(self, page: list[tuple[str, str, str]]) -> None:
        homes = self._homes([pnfsid for _, _, pnfsid in page])
        others = {
            (path, relative): [home for home in homes[pnfsid] if home[1] != relative]
            for path, relative, pnfsid in page
            if len(homes[pnfsid]) > 1 or relative not in _relatives(homes[pnfsid])
        }
        olds = [old for found in others.values() for _, old in found]
        gone = self._store.strangers_among(olds)
        for (path, _), found in others.items():
            for old_path, old in found:
                if old in gone or self._ask(old_path) is None:
                    self._store.rename(path, f"was {old_path}")
                    self._store.forget_strangers([old])
                    self.old_names += old in gone
                    break

    def _homes(self, pnfsids: list[str]) -> dict[str, list[tuple[str, str]]]:
        """Path and path below the mirror of the copies of each file."""
        found: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for pnfsid, path, relative in self._names.homes(pnfsids):
            found[pnfsid].append((path, relative))
        return found

    # -- only here ----------------------------------------------------------------

    def _judge_strangers(self, page: list[Stranger]) -> None:
        relatives = [relative for relative, _, _ in page]
        cleaned = self._names.cleaned(relatives)
        pnfsids = self._names.pnfsids(relatives)
        homes = self._homes([each for each in pnfsids.values() if each])
        found = []
        for relative, size, modified in page:
            if relative in cleaned:
                continue
            pnfsid = pnfsids.get(relative)
            others = [
                path for path, home in homes[pnfsid or ""] if home not in relatives
            ]
            found.append(
                Finding(
                    DifferenceKind.ONLY_HERE,
                    f"{self._path_map.root}{relative}",
                    relative,
                    size=size,
                    pnfsid=pnfsid,
                    modified=modified,
                    detail=_tell(relative in pnfsids, others),
                )
            )
        self._store.add(PLACE, found)


def _tell(is_ours: bool, others: list[str]) -> str:
    if others:
        return f"the same file is {others[0]}"
    return "the source lists it no more" if is_ours else "not from dcmirror"


def _relatives(homes: list[tuple[str, str]]) -> set[str]:
    return {relative for _, relative in homes}
