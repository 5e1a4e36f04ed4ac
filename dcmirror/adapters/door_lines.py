"""The connections of one thread to the door: what is asked, and what came to nothing.

Everything here keeps to the command's pace, ends when it is told to stop, and raises
DoorError for an answer that did not come or cannot be read.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from dcmirror.adapters.curl_requests import CurlLine, Question
from dcmirror.adapters.pace import Pace
from dcmirror.adapters.requests import Answer, TransferOptions
from dcmirror.adapters.webdav import Headers
from dcmirror.core import diagnosis
from dcmirror.core.door_errors import DoorError, DoorStopped, with_remedy
from dcmirror.core.escapes import shown
from dcmirror.core.failures import FailureClass
from dcmirror.core.http_values import retry_after_seconds
from dcmirror.core.multistatus import (
    MultistatusError,
    MultistatusReader,
    Response,
    propfind_body,
)

_XML = "Content-Type: application/xml; charset=utf-8"
_MULTISTATUS = 207


class DoorLines:
    """One connection, and a second one while the answer on the first is read."""

    def __init__(
        self,
        options: TransferOptions,
        pace: Pace,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._options = options
        self._pace = pace
        self._wall = wall
        self._is_abandoned = False
        self._lines: list[CurlLine] = []
        self._idle: list[CurlLine] = []
        self._requests_before = 0

    @property
    def requests(self) -> int:
        """How many requests were sent."""
        return self._requests_before + sum(line.requests for line in self._lines)

    def close(self) -> None:
        """Hang up; a later request would connect again."""
        self._requests_before = self.requests
        for line in self._lines:
            line.close()
        self._lines.clear()
        self._idle.clear()

    def abandon(self) -> None:
        """End what is under way, and whatever would come, with DoorStopped."""
        self._is_abandoned = True

    def _must_stop(self) -> bool:
        return self._is_abandoned or self._pace.is_stopped

    def propfind(
        self, path: str, url: str, *, depth: int, wanted: tuple[str, ...]
    ) -> Iterator[Response]:
        """What the door says of a name (depth 0) and of what is in it (1), as it comes.

        It is whole only if this ends without an error.
        """
        question = Question(
            "PROPFIND",
            url,
            (f"Depth: {depth}", _XML),
            propfind_body(wanted),
            wanted_status=_MULTISTATUS,
        )
        reader = MultistatusReader(wanted)
        try:
            for piece in self._pieces(question, path):
                yield from reader.feed(piece)
            reader.close()
        except MultistatusError as exc:
            raise not_understood(path, str(exc)) from exc

    def _pieces(self, question: Question, path: str) -> Iterator[bytes]:
        """The body of the answer that was wanted."""
        line = self._take_line()
        try:
            yield from self._on(line, question, path)
            headers = line.answer.headers
            if headers.status != question.wanted_status:
                raise self.refused(question.method, path, headers)
        finally:
            self._give_back(line)

    def ask(self, question: Question, path: str) -> Answer:
        """Send a request about ``path``; whatever the door answers is the answer."""
        line = self._take_line()
        try:
            for _ in self._on(line, question, path):
                pass
            return line.answer
        finally:
            self._give_back(line)

    def _on(self, line: CurlLine, question: Question, path: str) -> Iterator[bytes]:
        if not self._pace.wait(self._must_stop):
            raise DoorStopped(f"{shown(path)}: not asked for: we are told to stop")
        yield from line.ask(question)
        answer = line.answer
        status = answer.headers.status
        if status == 429:
            self._defer(answer.headers)
        if answer.curl_code and (status < 200 or status == question.wanted_status):
            if self._must_stop():
                raise DoorStopped(f"{shown(path)}: given up: we are told to stop")
            raise _unanswered(question.method, path, answer)

    def _defer(self, headers: Headers) -> None:
        """All threads of the command slow down, for the door counts by address."""
        asked = retry_after_seconds(headers.retry_after, self._wall())
        self._pace.defer(1.0 if asked is None else asked)

    def _take_line(self) -> CurlLine:
        """A second one where somebody asks for more while a listing comes in."""
        if not self._idle:
            line = CurlLine(self._options, self._must_stop)
            self._lines.append(line)
            return line
        return self._idle.pop()

    def _give_back(self, line: CurlLine) -> None:
        if line in self._lines:  # else it was closed meanwhile
            self._idle.append(line)

    def refused(self, method: str, path: str, headers: Headers) -> DoorError:
        """An answer that is not the one that was asked for, as an error."""
        status = headers.status
        retry_after = retry_after_seconds(headers.retry_after, self._wall())
        kind = _kind_of(status)
        reason = f" {headers.reason}" if headers.reason else ""
        text = f"{shown(path)}: the door answers {method} with status {status}{reason}"
        return DoorError(
            with_remedy(text, kind, status),
            kind,
            http_status=status,
            retry_after=retry_after,
        )


def _kind_of(status: int) -> FailureClass:
    if 300 <= status < 400:
        return FailureClass.REDIRECT
    if status >= 500:  # only of a GET may it mean a file that is not there yet
        return FailureClass.TRANSIENT
    return diagnosis.of_status(status)


def _unanswered(method: str, path: str, answer: Answer) -> DoorError:
    code, message = answer.curl_code, answer.message
    kind = diagnosis.of_curl(code, message, is_connected=answer.is_connected)
    status = answer.headers.status or None
    text = f"{shown(path)}: {method} had no answer: {message or f'curl error {code}'}"
    return DoorError(with_remedy(text, kind, status), kind, http_status=status)


def not_understood(path: str, why: str) -> DoorError:
    """An answer that cannot be what was asked for."""
    text = f"{shown(path)}: the door's listing cannot be used: {why}"
    return DoorError(text, FailureClass.TRANSIENT)
