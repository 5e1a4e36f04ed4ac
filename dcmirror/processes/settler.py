"""Makes outcomes durable, in batches and in one order (DESIGN, "Settle").

The supervisor's loop calls it.  failed.csv first, then one catalogue transaction with
copies, spans and outcome lines, then the journal; only then are offsets committable.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from dcmirror.adapters.catalogue import Catalogue, OutboxLine, Position, SettleBatch
from dcmirror.adapters.failed_csv import FailedCsv, FailedRow
from dcmirror.adapters.journal import Journal
from dcmirror.core.jobs import CopyRecord, Origin
from dcmirror.core.journal_values import Value
from dcmirror.core.ledger import Ledgers
from dcmirror.errors import BooksError

# Outcome lines that wait in memory, and in the outbox, for a journal that is full; and
# those that wait in the outbox for a disk that makes them durable.
_MOST_UNWRITTEN = 10_000


@dataclass(frozen=True, slots=True)
class Settlement:
    """One job's outcome: where it came from, how it counts, what the books say.

    ``is_adopted``: the copy lay there already, and was right.
    """

    task: str
    kind: str
    origin: Origin | None = None
    copy: CopyRecord | None = None
    row: FailedRow | None = None
    line: OutboxLine | None = None
    is_adopted: bool = False


@dataclass(slots=True)
class _Batch:
    settlements: list[Settlement]
    books: SettleBatch
    committables: dict[tuple[int, int], int]
    rows_written: bool = False
    is_recorded: bool = False


class Settler:
    """Gathers settlements and writes them; a batch that fails is tried again."""

    def __init__(
        self,
        catalogue: Catalogue,
        failed_csv: FailedCsv | None,
        journal: Journal,
        ledgers: Ledgers | None,
        *,
        on_settled: Callable[[list[Settlement]], None] | None = None,
    ) -> None:
        self._catalogue = catalogue
        self._failed_csv = failed_csv
        self._journal = journal
        self._ledgers = ledgers
        self._on_settled = on_settled
        self._gathered: list[Settlement] = []
        self._batch: _Batch | None = None
        self._delivered: list[str] = []
        self._unwritten: deque[OutboxLine] = deque()
        #: Copies that the catalogue does not tell of yet, by their relative path.
        self.fresh: dict[str, CopyRecord] = {}
        self.acknowledged: dict[int, int] = {}
        self.committables: dict[tuple[int, int], int] = {}

    @property
    def backlog(self) -> int:
        """Outcomes that are not durable yet."""
        stuck = len(self._batch.settlements) if self._batch else 0
        return len(self._gathered) + stuck

    def add(self, settlement: Settlement) -> None:
        """Take an outcome; durable after the next ``flush`` that returns."""
        self._gathered.append(settlement)
        if settlement.copy is not None:
            self.fresh[settlement.copy.relative] = settlement.copy

    def flush(self) -> None:
        """Write everything gathered.

        Raises:
            BooksError: catalogue, failed.csv or a required journal cannot be written;
                nothing of the batch is committable, and the next call tries it again.
        """
        while True:
            if self._batch is None:
                self._batch = self._make_batch()
            batch = self._batch
            self._write_rows(batch)
            self._record(batch)
            self._write_lines()
            self._batch = None
            self.committables = batch.committables
            if self._on_settled and batch.settlements:
                self._on_settled(batch.settlements)
            if not self._gathered:
                self.fresh.clear()
                return

    def prove(self) -> None:
        """Show that the catalogue can be written; raises BooksError."""
        self._catalogue.remember("books-proved-by-pid", str(os.getpid()))

    def write_outbox_of_last_run(self, command: str | None = None) -> int:
        """At a start: journal the outcome lines that a killed run did not get there.

        Args:
            command: whose lines, if not everybody's: a process that lives writes its
                own ones itself.
        """
        lines = [
            line
            for line in self._catalogue.outbox()
            if command is None or _owner(line) in (command, "")
        ]
        if not lines:
            return 0
        held = self._journal.holds([line.event_id for line in lines])
        missing = [line for line in lines if line.event_id not in held]
        self._delivered += held
        self._unwritten.extend(missing)
        self._write_lines()
        return len(missing)

    def _make_batch(self) -> _Batch:
        settlements, self._gathered = self._gathered, []
        lines = tuple(s.line for s in settlements if s.line is not None)
        spans, positions, committables = self._settle_offsets(settlements)
        books = SettleBatch(
            copies=tuple(s.copy for s in settlements if s.copy is not None),
            adopted=frozenset(
                s.copy.relative for s in settlements if s.copy and s.is_adopted
            ),
            failed=tuple(s.row.pnfsid for s in settlements if s.row and s.row.pnfsid),
            spans=spans,
            positions=positions,
            outbox=lines,
            delivered=tuple(self._forgettable()),
        )
        return _Batch(settlements, books, committables)

    def _forgettable(self) -> list[str]:
        """What leaves the outbox: only what a power cut cannot take.

        Where the journal cannot be synced, the rest waits for a later batch; or for the
        next start, which sees what the segments hold.
        """
        if self._delivered and not self._journal.sync():
            return self._delivered[:-_MOST_UNWRITTEN]
        return self._delivered

    def _settle_offsets(self, settlements: list[Settlement]) -> tuple:  # type: ignore[type-arg]
        if self._ledgers is None:
            return (), {}, {}
        for settlement in settlements:
            origin = settlement.origin
            if origin is None:
                continue
            ledger = self._ledgers.get(origin.partition, origin.epoch)
            if ledger is not None and ledger.is_pending(origin.offset):
                ledger.settle(origin.offset, settlement.kind)
        positions = {
            (led.topic, led.partition): Position(
                led.epoch,
                led.committable,
                self.acknowledged.get(led.partition, led.start),
            )
            for led in self._ledgers
        }
        return (
            tuple(self._ledgers.take_spans()),
            positions,
            self._ledgers.committables(),
        )

    def _write_rows(self, batch: _Batch) -> None:
        rows = [s.row for s in batch.settlements if s.row is not None]
        if rows and not batch.rows_written and self._failed_csv is not None:
            try:
                self._failed_csv.append(rows)
            except OSError as exc:
                raise BooksError(f"failed.csv: {exc}") from exc
        batch.rows_written = True

    def _record(self, batch: _Batch) -> None:
        books = batch.books
        if batch.is_recorded:
            return
        if books.copies or books.spans or books.outbox or books.delivered:
            self._catalogue.settle(books)
        batch.is_recorded = True
        del self._delivered[: len(books.delivered)]
        self._unwritten.extend(books.outbox)

    def _write_lines(self) -> None:
        """Bring outcome lines to the journal, those first that it could not take yet.

        They are in the outbox until it has them, so that a kill loses none.
        """
        lines = self._unwritten
        if not lines:
            return
        left = len(self._journal.append([line.line for line in lines]))
        self._deliver(len(lines) - left)
        if left and self._journal.required:
            raise BooksError(self._journal.trouble or "journal")
        if left > _MOST_UNWRITTEN:
            self._journal.give_up(Value.OUTCOME, left - _MOST_UNWRITTEN)
            self._deliver(left - _MOST_UNWRITTEN)

    def _deliver(self, number: int) -> None:
        """The outbox may forget the first lines."""
        for _ in range(number):
            self._delivered.append(self._unwritten.popleft().event_id)


def _owner(line: OutboxLine) -> str:
    """The command that made it."""
    owner, dash, _ = line.event_id.partition("-")
    return owner if dash else ""
