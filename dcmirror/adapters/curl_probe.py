"""Single requests to door and pool, with a deadline, for ``dcmirror check``.

The options are those of the transfers, so that what works here works there.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dcmirror.adapters.curl_handle import HEADERS, IGNORED_BODY_BYTES
from dcmirror.adapters.curl_requests import CurlLine, Question
from dcmirror.adapters.requests import Answer, TransferOptions
from dcmirror.core.limits import Limits
from dcmirror.core.multistatus import RESOURCE_TYPE, propfind_body

_PROPFIND_HEADERS = ("Depth: 0", "Content-Type: application/xml; charset=utf-8")


@dataclass(frozen=True, slots=True)
class Prober:
    """Asks one thing at a time; ``seconds`` bounds each step of it."""

    proxy: Path | None
    capath: Path | None
    seconds: float

    def propfind(self, url: str) -> Answer:
        """Whether the door shows a directory (depth 0)."""
        body = propfind_body((RESOURCE_TYPE,))
        return self._ask(Question("PROPFIND", url, _PROPFIND_HEADERS, body), self.proxy)

    def get(self, url: str, *, at_door: bool) -> Answer:
        """Begin a download and leave it after the first bytes."""
        proxy = self.proxy if at_door else None
        return self._ask(Question("GET", url, HEADERS), proxy)

    def _ask(self, question: Question, proxy: Path | None) -> Answer:
        seconds = self.seconds
        limits = Limits(seconds, seconds, IGNORED_BODY_BYTES / seconds, seconds)
        line = CurlLine(TransferOptions(proxy, self.capath, limits), lambda: False)
        try:
            for _ in line.ask(question):
                pass  # nobody wants the body
            return line.answer
        finally:
            line.close()
