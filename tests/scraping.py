"""What Prometheus would do: fetch, and read."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from helpers import wait_until

TEXT = "text/plain; version=0.0.4"

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def fetch(port: int, path: str = "/metrics", accept: str = TEXT) -> str:
    """A page of an endpoint on this host."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}", headers={"Accept": accept}
    )
    with _OPENER.open(request, timeout=10) as response:
        body: bytes = response.read()
    return body.decode()


class Scrape:
    """The samples of one exposition."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.samples: Samples = {}
        self.kinds: dict[str, str] = {}
        for family in text_string_to_metric_families(text):
            self.kinds[family.name] = family.type
            for sample in family.samples:
                key = sample.name, frozenset(sample.labels.items())
                assert key not in self.samples, f"twice: {key}"
                self.samples[key] = sample.value

    def __call__(self, name: str, **labels: str) -> float | None:
        """The sample with exactly these labels."""
        return self.samples.get((f"dcmirror_{name}", frozenset(labels.items())))

    def by(self, name: str, label: str, **labels: str) -> dict[str, float]:
        """The samples of a metric that have these labels, by another of theirs."""
        found: dict[str, float] = {}
        for (known, pairs), value in self.samples.items():
            have = dict(pairs)
            if known == f"dcmirror_{name}" and labels.items() <= have.items():
                found[have[label]] = found.get(have[label], 0) + value
        return found


def scrape(port: int) -> Scrape:
    """What the endpoint says now."""
    return Scrape(fetch(port))


def shows(
    port: int, claim: Callable[[Scrape], Any], deadline: float = 30.0, what: str = ""
) -> Scrape:
    """Wait until a scrape is as claimed."""

    def seen() -> Scrape | None:
        try:
            found = scrape(port)
        except OSError:
            return None
        return found if claim(found) else None

    return wait_until(seen, deadline, what=what or "metrics as claimed")  # type: ignore[return-value]
