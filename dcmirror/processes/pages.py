"""Where a survey's pages come from: a walk over the source, or a list of paths.

The thread that compares iterates over them; the requests are made in others.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice

from dcmirror.adapters.door_client import DoorClient
from dcmirror.core.door_errors import DoorError, DoorStopped
from dcmirror.core.listing import Entry
from dcmirror.core.name_list import BadLine, NamedFile
from dcmirror.processes.patience import Patience
from dcmirror.processes.survey import Page
from dcmirror.processes.walk import Listed, Walk

#: Named files that are asked for before they are compared.
_AT_ONCE = 200


class WalkPages:
    """The pages of a walk."""

    def __init__(self, walk: Walk) -> None:
        self._walk = walk

    @property
    def requests(self) -> int:
        """How many requests the walk took so far."""
        return self._walk.requests

    def __iter__(self) -> Iterator[Page]:
        for listed in self._walk:
            yield _page_of(listed)

    def done(self, directory: str) -> None:
        """It need not be listed again after a kill."""
        self._walk.done(directory)


def _page_of(listed: Listed) -> Page:
    return Page(
        directory=listed.directory,
        entries=listed.entries,
        is_first=listed.is_first,
        is_last=listed.is_last,
        is_whole=not (listed.vanished or listed.trouble),
        trouble=listed.trouble,
    )


@dataclass(frozen=True, slots=True)
class _Looked:
    named: NamedFile
    entry: Entry | None


class NamedPages:
    """The files that a list names; those of a dump without asking the source.

    Args:
        names: what the list's lines hold.
        refuse: hears of each line that cannot be used, with its number.
    """

    def __init__(
        self,
        names: Iterable[NamedFile | BadLine],
        make_client: Callable[[], DoorClient],
        parallel: int,
        patience: Patience,
        stop: threading.Event,
        refuse: Callable[[int, str], None],
    ) -> None:
        self._names = iter(names)
        self._make_client = make_client
        self._parallel = parallel
        self._patience = patience
        self._stop = stop
        self._refuse = refuse
        self._clients: list[DoorClient] = []
        self._own = threading.local()

    @property
    def requests(self) -> int:
        """How many requests it took so far."""
        return sum(client.requests for client in self._clients)

    def done(self, directory: str) -> None:
        """A list is read from its beginning again; what is equal by then is quick."""

    def __iter__(self) -> Iterator[Page]:
        with ThreadPoolExecutor(self._parallel, "looker") as pool:
            try:
                while chunk := list(islice(self._names, _AT_ONCE)):
                    yield self._page(chunk, pool)
            finally:
                pool.shutdown(cancel_futures=True)
                for client in self._clients:
                    client.close()

    def _page(self, chunk: list[NamedFile | BadLine], pool: ThreadPoolExecutor) -> Page:
        for item in chunk:
            if isinstance(item, BadLine):
                self._refuse(item.number, item.why)
        named = [item for item in chunk if isinstance(item, NamedFile)]
        looked = list(pool.map(self._look, named))
        if self._stop.is_set():
            raise DoorStopped("given up: we are told to stop")
        for each in looked:
            if each.entry is not None and each.entry.is_directory:
                self._refuse(each.named.number, "a directory")
        first = chunk[0].number
        return Page(
            directory=f"line {first}",
            entries=tuple(
                each.entry
                for each in looked
                if each.entry is not None and not each.entry.is_directory
            ),
            is_last=True,
            is_whole=False,
            absent=tuple(
                (each.named.number, each.named.path)
                for each in looked
                if each.entry is None
            ),
        )

    def _look(self, named: NamedFile) -> _Looked:
        if named.size is not None:
            entry = Entry(named.path, False, named.size, None, None, named.adler32)
            return _Looked(named, entry)
        return _Looked(named, self._ask(named.path))

    def _ask(self, path: str) -> Entry | None:
        try:
            found = self._patience.call(self._client().look, path)
        except DoorStopped:
            return None
        except DoorError as exc:
            if exc.concerns_all:
                raise
            return Entry(path, False, None, None, None, None, trouble=str(exc))
        return found and replace(found, path=path)

    def _client(self) -> DoorClient:
        client: DoorClient | None = getattr(self._own, "client", None)
        if client is None:
            client = self._own.client = self._make_client()
            self._clients.append(client)
        return client
