"""The probe of a held source: does the door show the folder? (DESIGN, failure classes)

Runs in a worker, with the credential and over the connections of the copies.
"""

from __future__ import annotations

from collections.abc import Generator

from dcmirror.adapters.requests import Answer, Request
from dcmirror.core.jobs import HostUse
from dcmirror.core.messages import SourceState
from dcmirror.core.paths import path_map_of
from dcmirror.core.policy import place_of
from dcmirror.settings import DCache
from dcmirror.tasks.exchange import DOOR

_GOOD = frozenset({200, 207})


def folder_url(dcache: DCache) -> str:
    """The door's URL of the directory that is mirrored."""
    path_map = path_map_of(dcache)
    return path_map.directory_url(path_map.root)


class SourceProbe:
    """One PROPFIND of depth 0."""

    def __init__(self, dcache: DCache) -> None:
        self._url = folder_url(dcache)

    def run(self) -> Generator[Request, Answer, SourceState]:
        """Ask, and say what the door said."""
        answer = yield Request(self._url, at_door=True, method="PROPFIND")
        use = self._use(answer)
        status = answer.headers.status
        if answer.curl_code:
            return SourceState(False, answer.message or f"curl {answer.curl_code}", use)
        if status in _GOOD:
            return SourceState(True, "", use)
        reason = f" {answer.headers.reason}" if answer.headers.reason else ""
        return SourceState(False, f"PROPFIND of the folder: HTTP {status}{reason}", use)

    def _use(self, answer: Answer | None) -> tuple[HostUse, ...]:
        place = place_of(self._url)
        if answer is None or place is None:
            return ()
        return ((place.name, DOOR, answer.requests, answer.connections, 0),)

    def park(self, dropped: Answer | None = None) -> SourceState:
        """The answer of a probe that is given up because we stop."""
        return SourceState(False, "stopping", self._use(dropped))

    def crash(self, error: BaseException) -> SourceState:
        """The answer of a probe that met a bug of ours."""
        return SourceState(False, f"{type(error).__name__}: {error}")
