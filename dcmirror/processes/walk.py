"""A walk over all directories of the source below one: several at a time, resumable.

Threads of a command run it, each with a client of its own; whoever iterates gets what
they list.  Memory does not grow with the tree: a few pages are under way, and what is
still to be listed is on disk.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from dcmirror.adapters.door_client import DoorClient
from dcmirror.adapters.frontier import Frontier
from dcmirror.core.door_errors import DoorError, DoorStopped
from dcmirror.core.escapes import shown
from dcmirror.core.failures import FailureClass
from dcmirror.core.http_values import GONE
from dcmirror.core.listing import Entry
from dcmirror.processes.patience import Patience

#: Entries that are handed over together; each is about half a KiB.
PAGE = 2000
#: dCache's directories make no loops; a tree this deep is one all the same.
DEEPEST = 200
#: Directories in a row that cannot be listed, after which the root is looked at: where
#: that is in trouble too, it is the door's fault.
_TROUBLES_IN_A_ROW = 10
_LOOK_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Listed:
    """A page of a directory's listing.

    A listing that broke off begins again: with ``is_first``, forget what came of this
    directory before.  It is whole with ``is_last`` and not earlier.  ``vanished``: it
    is not there (any more), or no directory.  ``trouble``: why it cannot be listed;
    nothing is known of what is in it then.
    """

    directory: str
    entries: tuple[Entry, ...]
    is_last: bool
    vanished: bool = False
    is_first: bool = True
    trouble: str = ""


class Walk:
    """All directories from ``root`` down, in no order but parents before children.

    Args:
        make_client: called by each thread for the client that it will use.
        root: a namespace path; it must be there.
        parallel: how many directories are listed at a time.
        patience: shared by the threads; holds and repetitions are its business.
        stop: ends the walk within a second or two, with DoorStopped.
        journal: a file in which the walk survives a kill: directories that were not
            ``done`` are listed again by the next walk of the same root.
        leaves_out: which directories are not listed, nor anything below them.
    """

    def __init__(
        self,
        make_client: Callable[[], DoorClient],
        root: str,
        parallel: int,
        patience: Patience,
        stop: threading.Event,
        journal: Path | None = None,
        leaves_out: Callable[[str], bool] = lambda directory: False,
    ) -> None:
        self._leaves_out = leaves_out
        self._root = root.rstrip("/") or "/"
        self._make_client = make_client
        self._patience = patience
        self._stop = stop
        self._frontier = Frontier(journal, self._root)
        self._pages: queue.Queue[Listed] = queue.Queue(max(1, parallel))
        self._clients: list[DoorClient] = []
        self._threads = [
            threading.Thread(target=self._run, name=f"lister {number}", daemon=True)
            for number in range(max(1, parallel))
        ]
        self._more = threading.Condition()
        self._failure: BaseException | None = None
        self._is_over = False
        self._troubles = 0

    @property
    def is_resumed(self) -> bool:
        """Whether this goes on with a walk that was interrupted."""
        return self._frontier.is_resumed

    @property
    def requests(self) -> int:
        """How many requests this walk took."""
        return sum(client.requests for client in self._clients)

    def done(self, directory: str) -> None:
        """What was listed of this directory is in safety; it need not come again."""
        self._frontier.done(directory)

    def close(self) -> None:
        """Give the rest up; the journal goes if every directory is done."""
        self._end()
        self._frontier.close()

    def __enter__(self) -> Walk:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Listed]:
        """The pages as they come in.

        Raises:
            DoorStopped: told to stop; what came is not all.
            DoorError: the door is held for too long, shows no root, or not any more
                when it has trouble with one directory after the other.
        """
        for thread in self._threads:
            thread.start()
        try:
            while (page := self._next_page()) is not None:
                yield page
        finally:
            self._end()

    def _next_page(self) -> Listed | None:
        while True:
            if self._stop.is_set():
                raise DoorStopped("the listing was given up: we are told to stop")
            if self._failure is not None:
                raise self._failure
            is_last_look = not any(thread.is_alive() for thread in self._threads)
            try:
                return self._pages.get(timeout=0 if is_last_look else _LOOK_SECONDS)
            except queue.Empty:
                if is_last_look and self._failure is None:
                    return None

    def _end(self) -> None:
        self._is_over = True
        for client in self._clients:
            client.abandon()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(timeout=1.0)

    # In the threads.

    def _run(self) -> None:
        try:
            client = self._make_client()
            self._clients.append(client)
            try:
                self._list_all(client)
            finally:
                client.close()
        except DoorStopped as exc:
            if not self._must_end():  # else it hides the failure that ended us all
                self._failure = exc
        except BaseException as exc:  # noqa: BLE001 - whoever iterates gets it
            self._failure = exc

    def _list_all(self, client: DoorClient) -> None:
        while (taken := self._take()) is not None:
            self._list(client, *taken)
            with self._more:
                self._more.notify_all()

    def _take(self) -> tuple[int, str] | None:
        """The next directory; None when all are listed."""
        while not self._must_end():
            taken = self._frontier.take()
            if taken is not None or not self._frontier.has_unlisted():
                return taken
            with self._more:
                self._more.wait(_LOOK_SECONDS)
        return None

    def _must_end(self) -> bool:
        return self._is_over or self._stop.is_set() or self._failure is not None

    def _list(self, client: DoorClient, number: int, path: str) -> None:
        try:
            if path.count("/") - self._root.count("/") > DEEPEST:
                text = f"{shown(path)}: more than {DEEPEST} directories below the root"
                raise DoorError(text, FailureClass.UNSAFE_PATH)
            self._patience.call(self._list_once, client, number, path)
            self._troubles = 0
        except DoorStopped:
            return
        except DoorError as error:
            self._judge(client, error, path)
            self._frontier.begin(number)
            self._put(self._page_of(error, path))
            self._frontier.listed(number)

    def _list_once(self, client: DoorClient, number: int, path: str) -> None:
        self._frontier.begin(number)
        page: list[Entry] = []
        is_first = True
        for entry in client.list(path):
            page.append(entry)
            if len(page) == PAGE:
                self._hand_over(number, path, page, is_first, False)
                page, is_first = [], False
        self._hand_over(number, path, page, is_first, True)
        self._frontier.listed(number)

    def _hand_over(
        self, number: int, path: str, page: list[Entry], is_first: bool, is_last: bool
    ) -> None:
        """Pass a page on, once what is in it is written down."""
        below = [entry.path for entry in page if self._is_entered(entry)]
        self._frontier.found(number, below)
        self._put(Listed(path, tuple(page), is_last, is_first=is_first))

    def _is_entered(self, entry: Entry) -> bool:
        if not entry.is_directory or entry.trouble:
            return False
        return not self._leaves_out(entry.path)

    def _put(self, page: Listed) -> None:
        while not self._must_end():
            try:
                self._pages.put(page, timeout=_LOOK_SECONDS)
                return
            except queue.Full:
                continue
        raise DoorStopped("the listing was given up")

    def _judge(self, client: DoorClient, error: DoorError, path: str) -> None:
        """Raise what no other directory could be spared."""
        if error.concerns_all or path == self._root:
            raise error
        if not _has_vanished(error):
            self._troubles += 1
            if self._troubles >= _TROUBLES_IN_A_ROW:
                self._look_at_root(client, error)
                self._troubles = 0

    def _look_at_root(self, client: DoorClient, error: DoorError) -> None:
        """Private directories may well stand side by side; or the door is in trouble.

        A tree that goes too deep in many places has no bottom.
        """
        is_loop = error.kind is FailureClass.UNSAFE_PATH
        if is_loop or self._patience.call(client.look, self._root) is None:
            raise error

    def _page_of(self, error: DoorError, path: str) -> Listed:
        if _has_vanished(error):
            return Listed(path, (), True, vanished=True)
        return Listed(path, (), True, trouble=str(error))


def _has_vanished(error: DoorError) -> bool:
    return error.http_status in GONE or error.kind is FailureClass.REMOVED
