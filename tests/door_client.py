"""A careful client of the fake dCache, and a listener to what it publishes."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

from contracts.door import Answer, connected, exchange
from dcmirror.testing.fake_dcache import FakeDCache
from dcmirror.testing.pki import Pki


class Client:
    """Talks to one fake; the connections are its own and closed at the end."""

    def __init__(self, fake: FakeDCache, pki: Pki, proxy: Path | None = None) -> None:
        self.fake = fake
        self.context = ssl.create_default_context(capath=str(pki.capath))
        self.stranger = ssl.create_default_context(capath=str(pki.capath))
        self.context.load_cert_chain(proxy or pki.proxy)

    def at_door(
        self, method: str, path: str, body: str | None = None, **headers: str
    ) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        url = self.fake.url_of(path)
        with connected(url, self.context) as connection:
            return exchange(connection, method, url, named, body)

    def at_pool(self, url: str, method: str = "GET", **headers: str) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        with connected(url, self.stranger) as connection:
            return exchange(connection, method, url, named)

    def location(self, path: str) -> str:
        answer = self.at_door("GET", path)
        assert answer.status == 302
        return answer.headers["Location"]

    def get(self, path: str, **headers: str) -> Answer:
        return self.at_pool(self.location(path), **headers)


class Events(list[bytes]):
    """What was published, as a publish callable."""

    __call__ = list.append

    @property
    def parsed(self) -> list[dict[str, Any]]:
        return [json.loads(value) for value in self]

    def take(self) -> list[dict[str, Any]]:
        taken = self.parsed
        self.clear()
        return taken

    def one(self, kind: str) -> dict[str, Any]:
        """The only record of this kind."""
        (found,) = [event for event in self.parsed if event["msgType"] == kind]
        return found


Make = Callable[..., tuple[FakeDCache, Client]]
