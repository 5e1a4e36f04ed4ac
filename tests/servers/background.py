"""A server that starts beside the first tests."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, Protocol, TypeVar


class Closable(Protocol):
    def close(self) -> None: ...


S = TypeVar("S", bound=Closable)


class Background(Generic[S]):
    """Calls ``start`` once, in a thread; who asks for the result waits for it.

    A skip or a failure that ``start`` raises is raised again to everyone who asks.
    """

    def __init__(self, start: Callable[[], S]) -> None:
        self._start = start
        self._found: Future[S] = Future()
        self._thread: threading.Thread | None = None
        self._may_end = threading.Event()

    def begin(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, daemon=True)
            self._thread.start()

    def _run(self) -> None:
        try:
            found = self._start()
        except BaseException as exc:  # noqa: BLE001 - pytest's skip is no Exception
            self._found.set_exception(exc)
        else:
            self._found.set_result(found)
            # a leashed program dies with the thread that started it
            self._may_end.wait()

    def result(self) -> S:
        self.begin()
        return self._found.result()

    def close(self) -> None:
        """Wait for the start, if there was one, and end what it gave."""
        if self._thread is None:
            return
        if self._found.exception() is None:
            self._found.result().close()
        self._may_end.set()
        self._thread.join()
