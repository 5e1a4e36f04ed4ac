"""What a reconcile has found so far: a database beside the catalogue, one per run."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from dcmirror.adapters.findings_file import (
    MOST_NAMES,
    PAGE,
    FindingsFile,
    chunks,
    storable,
)
from dcmirror.core.differences import DifferenceKind
from dcmirror.core.findings import Finding

_COLUMNS = "kind, path, relative, size, pnfsid, adler32, modified, detail, outcome"

#: path below the mirror, size, modification time
Stranger = tuple[str, int, float]


class FindingStore(FindingsFile):
    """The findings of one run; several threads may use it.

    Every method raises BooksError when the database cannot be read or written.
    """

    # -- the run ------------------------------------------------------------------

    def fact(self, key: str) -> str | None:
        """A remembered value."""
        rows = self._all("SELECT value FROM meta WHERE key = ?", (key,))
        return None if not rows else str(rows[0][0])

    def remember(self, key: str, value: str) -> None:
        """Keep a value for the run that goes on."""
        with self._writing() as database:
            database.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def learn_failures(self, rows: Iterable[tuple[str, str, str | None]]) -> None:
        """Path, class and pnfsid of what failed.csv has; the last of a path counts."""
        with self._writing() as database:
            database.executemany(
                "INSERT OR REPLACE INTO failures VALUES (?, ?, ?)",
                ((storable(path), name, pnfsid) for path, name, pnfsid in rows),
            )

    def failures(self, paths: Sequence[str]) -> dict[str, tuple[str, str | None]]:
        """Class and pnfsid of those that have failed."""
        found: dict[str, tuple[str, str | None]] = {}
        for chunk in chunks(paths):
            marks = ",".join("?" * len(chunk))
            sql = f"SELECT path, class, pnfsid FROM failures WHERE path IN ({marks})"
            found |= {row[0]: (row[1], row[2]) for row in self._all(sql, chunk)}
        return found

    # -- one directory after the other --------------------------------------------

    def begin(self, directory: str) -> None:
        """It is listed, perhaps once more: what was known of it goes."""
        with self._writing() as database:
            for table in ("findings", "strangers"):
                database.execute(
                    f"DELETE FROM {table} WHERE directory = ?", (storable(directory),)
                )
            database.execute(
                "DELETE FROM seen WHERE directory = ?", (storable(directory),)
            )

    def add(self, directory: str, found: Iterable[Finding]) -> None:
        """Differences of names in ``directory``."""
        with self._writing() as database:
            database.executemany(
                f"INSERT OR REPLACE INTO findings ({_COLUMNS}, directory) "
                "VALUES (?,?,?,?,?,?,?,?,?,?)",
                ((*_row_of(each), storable(directory)) for each in found),
            )

    def see(self, directory: str, names: Iterable[str]) -> None:
        """The source has these names in ``directory``."""
        with self._writing() as database:
            database.executemany(
                "INSERT OR IGNORE INTO seen VALUES (?, ?)",
                ((storable(directory), storable(name)) for name in names),
            )

    def unseen(self, directory: str, names: Sequence[str]) -> list[str]:
        """Those of ``names`` that the source did not show in ``directory``."""
        found: set[str] = set()
        for chunk in chunks(names):
            marks = ",".join("?" * len(chunk))
            sql = f"SELECT name FROM seen WHERE directory = ? AND name IN ({marks})"
            found |= {row[0] for row in self._all(sql, [storable(directory), *chunk])}
        return [name for name in names if storable(name) not in found]

    def add_strangers(self, directory: str, found: Iterable[Stranger]) -> None:
        """Files of the mirror that the complete listing of ``directory`` lacks."""
        place = storable(directory)
        with self._writing() as database:
            database.executemany(
                "INSERT OR REPLACE INTO strangers VALUES (?, ?, ?, ?)",
                ((storable(name), size, at, place) for name, size, at in found),
            )

    def end(self, directory: str, counts: Mapping[str, int]) -> None:
        """All of it was compared."""
        place = storable(directory)
        with self._writing() as database:
            database.execute("DELETE FROM seen WHERE directory = ?", (place,))
            database.execute(
                "INSERT OR REPLACE INTO directories VALUES (?, ?)",
                (place, json.dumps(dict(counts))),
            )

    def unlist(self, directory: str, relative: str, detail: str) -> None:
        """Its listing was not whole after all: what it lacks is not judged."""
        place = storable(directory)
        kind = DifferenceKind.UNREADABLE
        self.add(directory, [Finding(kind, directory, relative, detail=detail)])
        with self._writing() as database:
            database.execute("DELETE FROM strangers WHERE directory = ?", (place,))
        self.end(directory, {**self._counts_of(place), "unlisted": 1})

    def _counts_of(self, place: str) -> dict[str, int]:
        rows = self._all("SELECT counts FROM directories WHERE path = ?", (place,))
        counts: dict[str, int] = json.loads(rows[0][0]) if rows else {}
        return counts

    def counts(self) -> tuple[int, dict[str, int]]:
        """How many directories ended, and the sums of their counts."""
        number, sums = 0, dict[str, int]()
        for (text,) in self._stream("SELECT path, counts FROM directories", "path", ()):
            number += 1
            for name, value in json.loads(text).items():
                sums[name] = sums.get(name, 0) + value
        return number, sums

    # -- what came of it ----------------------------------------------------------

    def conclude(self, outcomes: Iterable[tuple[str, str]]) -> None:
        """Path and outcome of what was tried."""
        with self._writing() as database:
            database.executemany(
                "UPDATE findings SET outcome = ? WHERE path = ?",
                ((outcome, storable(path)) for path, outcome in outcomes),
            )

    def rename(self, path: str, detail: str) -> None:
        """What was missing is a file that had another name."""
        with self._writing() as database:
            database.execute(
                "UPDATE findings SET kind = ?, detail = ? WHERE path = ?",
                (DifferenceKind.RENAMED.value, detail, storable(path)),
            )

    def withdraw(self, paths: Sequence[str]) -> None:
        """These are no differences any more: they count as equal."""
        equal = Counter[str]()
        for chunk in chunks(paths):
            marks = ",".join("?" * len(chunk))
            sql = f"SELECT directory FROM findings WHERE path IN ({marks})"
            equal.update(row[0] for row in self._all(sql, chunk))
        with self._writing() as database:
            database.executemany(
                "DELETE FROM findings WHERE path = ?",
                ((storable(path),) for path in paths),
            )
        for place, number in equal.items():
            counts = self._counts_of(place)
            self.end(place, {**counts, "equal": counts.get("equal", 0) + number})

    def named(self, pattern: str) -> list[str]:
        """The paths of findings that are like it, as SQL's LIKE has it."""
        sql = "SELECT path FROM findings WHERE path LIKE ? ORDER BY path"
        return [row[0] for row in self._all(sql, (pattern,))]

    def forget(self, path: str) -> None:
        """It is no difference after all."""
        with self._writing() as database:
            database.execute("DELETE FROM findings WHERE path = ?", (storable(path),))

    def forget_strangers(self, relatives: Iterable[str]) -> None:
        """These are told already, or no difference."""
        with self._writing() as database:
            database.executemany(
                "DELETE FROM strangers WHERE relative = ?",
                ((storable(name),) for name in relatives),
            )

    def strangers_among(self, relatives: Sequence[str]) -> set[str]:
        """Those of ``relatives`` that only the mirror has."""
        found: set[str] = set()
        for chunk in chunks(relatives):
            marks = ",".join("?" * len(chunk))
            sql = f"SELECT relative FROM strangers WHERE relative IN ({marks})"
            found |= {row[0] for row in self._all(sql, chunk)}
        return found

    def strangers(self) -> Iterator[list[Stranger]]:
        """What only the mirror has, in pages; it may be forgotten meanwhile."""
        after = ""
        while True:
            rows = self._all(
                "SELECT relative, size, modified FROM strangers WHERE relative > ? "
                "ORDER BY relative LIMIT ?",
                (after, MOST_NAMES),
            )
            if not rows:
                return
            after = rows[-1][0]
            yield rows

    def strange_places(self) -> Iterator[str]:
        """The directories whose listings lack what the mirror has."""
        after = ""
        sql = (
            "SELECT DISTINCT directory FROM strangers WHERE directory > ? "
            "ORDER BY directory LIMIT ?"
        )
        while rows := self._all(sql, (after, PAGE)):
            yield from (row[0] for row in rows)
            after = rows[-1][0]

    def youngest_strangers(self, directory: str) -> list[str]:
        """Some of what only the mirror has there, the last modified first."""
        rows = self._all(
            "SELECT relative FROM strangers WHERE directory = ? "
            "ORDER BY modified DESC, relative LIMIT ?",
            (storable(directory), MOST_NAMES),
        )
        return [row[0] for row in rows]

    def missing(self) -> Iterator[list[tuple[str, str, str]]]:
        """Path, relative and pnfsid of what was missing, in pages."""
        after = ""
        while True:
            rows = self._all(
                "SELECT path, relative, pnfsid FROM findings WHERE path > ? "
                "AND kind = ? AND pnfsid IS NOT NULL ORDER BY path LIMIT ?",
                (after, DifferenceKind.MISSING.value, MOST_NAMES),
            )
            if not rows:
                return
            after = rows[-1][0]
            yield rows

    def findings(self, *, remaining: bool = False) -> Iterator[Finding]:
        """All of them by path, or only those that are not cured."""
        after = ""
        while True:
            rows = self._all(
                f"SELECT {_COLUMNS} FROM findings WHERE path > ? ORDER BY path LIMIT ?",
                (after, PAGE),
            )
            if not rows:
                return
            after = rows[-1][1]
            found = (_finding_of(row) for row in rows)
            yield from (each for each in found if each.remains or not remaining)

    def sums(self) -> dict[tuple[str, str], tuple[int, int]]:
        """Number and bytes by kind and outcome."""
        rows = self._all(
            "SELECT kind, outcome, count(*), coalesce(sum(size), 0) FROM findings "
            "GROUP BY kind, outcome"
        )
        return {(row[0], row[1]): (row[2], row[3]) for row in rows}


def _row_of(finding: Finding) -> tuple[object, ...]:
    return (
        finding.kind.value,
        storable(finding.path),
        storable(finding.relative),
        finding.size,
        None if finding.pnfsid is None else storable(finding.pnfsid),
        finding.adler32,
        finding.modified,
        storable(finding.detail),
        finding.outcome,
    )


def _finding_of(row: Sequence[object]) -> Finding:
    values = list(row)
    values[0] = DifferenceKind(str(values[0]))
    return Finding(*values)  # type: ignore[arg-type]
