"""Asks the door for the source of each chosen copy, several at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from dcmirror.adapters.catalogue_audit import AuditReader
from dcmirror.adapters.door_client import DoorClient
from dcmirror.commands.audit_report import AuditReport
from dcmirror.core.audit_copies import AuditRow
from dcmirror.core.audit_findings import Finding
from dcmirror.core.audit_source import Answer, judge_source
from dcmirror.core.door_errors import DoorError
from dcmirror.core.listing import Entry
from dcmirror.processes.patience import Patience

_AT_ONCE = 200


class DoorLooks:
    """Threads with a client of each one's own; use it in ``with``."""

    def __init__(
        self,
        make_client: Callable[[], DoorClient],
        patience: Patience,
        parallel: int,
    ) -> None:
        self._make_client = make_client
        self._patience = patience
        self._clients: list[DoorClient] = []
        self._local = threading.local()
        self._pool = ThreadPoolExecutor(parallel, "source")

    def __enter__(self) -> DoorLooks:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)
        for client in self._clients:
            client.close()

    @property
    def requests(self) -> int:
        """How many the door was sent."""
        return sum(client.requests for client in self._clients)

    def all(
        self, rows: Iterable[AuditRow]
    ) -> Iterator[tuple[AuditRow, Entry | DoorError | None]]:
        """Each row and what the door says of its path.

        Raises:
            DoorError: the door cannot be asked.
        """
        left = iter(rows)
        while chunk := list(islice(left, _AT_ONCE)):
            answers = self._pool.map(self.look, [row.path for row in chunk])
            yield from zip(chunk, answers, strict=True)

    def look(self, path: str) -> Entry | DoorError | None:
        """What the door has there, None for nothing; an error that is this path's own.

        Raises:
            DoorError: the door cannot be asked.
        """
        try:
            return self._patience.call(self._client().look, path)
        except DoorError as exc:
            if exc.concerns_all:
                raise
            return exc

    def _client(self) -> DoorClient:
        client: DoorClient | None = getattr(self._local, "client", None)
        if client is None:
            client = self._local.client = self._make_client()
            self._clients.append(client)
        return client


class SourceAudit:
    """Compares what the door says with the catalogue."""

    def __init__(
        self,
        catalogue: AuditReader,
        report: AuditReport,
        looks: DoorLooks,
        fresh_seconds: float,
    ) -> None:
        self._catalogue = catalogue
        self._report = report
        self._looks = looks
        self._fresh_seconds = fresh_seconds
        self._began = time.time()

    def ask(
        self,
        rows: Iterable[AuditRow],
        each: Callable[[AuditRow], None],
        most: int | None = None,
    ) -> None:
        """Compare these rows with the door, at most so many; ``each`` hears of them.

        What is known to be deleted there is neither asked for nor counted: there may
        be nothing left but that.

        Raises:
            DoorError: the door cannot be asked.
        """
        chosen = islice(filter(self._has_source, rows), most)
        for row, answer in self._looks.all(chosen):
            self._judge(row, answer)
            each(row)

    def _has_source(self, row: AuditRow) -> bool:
        if row.source_deleted_at is None and row.gone_at is None:
            return True
        self._report.tally.judged[Answer.DELETED.value] += row.gone_at is None
        return False

    def _judge(self, row: AuditRow, answer: Entry | DoorError | None) -> None:
        judged = self._report.tally.judged
        judged["sources"] += 1
        if isinstance(answer, DoorError):
            judged["source_unknown"] += 1
            self._report.note("source-unknown", f"{row.path}: {answer}")
            return
        found = self._compare(row, answer)
        if isinstance(found, Finding):
            if self._catalogue.is_being_deleted(row.relative):
                judged[Answer.DELETED.value] += 1
                return
            now = self._catalogue.rows_of([row.relative]).get(row.relative, row)
            # It was copied, or deleted, or set apart and put back, while we asked.
            if now != row or self._was_in_hand(row):
                found = self._compare(now, self._again(now, answer))
        if isinstance(found, Finding):
            self._report.take(found)
        elif found is not Answer.SAME:
            judged[found.value] += 1

    def _was_in_hand(self, row: AuditRow) -> bool:
        return self._catalogue.was_being_deleted(row.relative, self._began)

    def _again(self, row: AuditRow, before: Entry | None) -> Entry | None:
        answer = self._looks.look(row.path)
        return before if isinstance(answer, DoorError) else answer

    def _compare(self, row: AuditRow, entry: Entry | None) -> Answer | Finding:
        fresh_since = time.time() - self._fresh_seconds
        return judge_source(row, entry, fresh_since=fresh_since)
