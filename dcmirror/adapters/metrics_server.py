"""Starts the endpoint for Prometheus beside the logger's own work.

The logger process of ``watch`` calls ``serve``.  What goes wrong here is told once and
tried again; it never harms who called.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

from dcmirror import __version__
from dcmirror.adapters.http_endpoint import Endpoint, Pages
from dcmirror.settings import Metrics

_RETRY_SECONDS = 10.0

Complain = Callable[[str], object]


def serve(
    settings: Metrics,
    status: Path,
    shipping: Path,
    complain: Complain,
    *,
    retry_seconds: float = _RETRY_SECONDS,
) -> None:
    """Answer scrapes from now on, in a thread; without a port, nothing happens."""
    if settings.port is None:
        return
    server = _Server(
        settings.address, settings.port, status, shipping, complain, retry_seconds
    )
    threading.Thread(target=server.run, name="metrics", daemon=True).start()


class _Server:
    """One endpoint that comes back whatever ends it."""

    def __init__(
        self,
        address: str,
        port: int,
        status: Path,
        shipping: Path,
        complain: Complain,
        retry_seconds: float,
    ) -> None:
        self._address = address
        self._port = port
        self._files = status, shipping
        self._complain = complain
        self._retry_seconds = retry_seconds
        self._told = ""

    def run(self) -> None:
        """Serve for ever."""
        while True:
            try:
                self._serve()
            except (OSError, ImportError) as exc:
                self._tell(exc)
            time.sleep(self._retry_seconds)

    def _serve(self) -> None:
        # Here, since it costs memory and time that only those pay who want metrics.
        from dcmirror.adapters.metrics import Exposition

        exposition = Exposition(*self._files)
        pages: Pages = {"/metrics": exposition.render, "/": _front_page}
        endpoint = Endpoint(self._address, self._port, pages)
        self._told = ""
        try:
            endpoint.run()
        finally:
            endpoint.close()

    def _tell(self, exc: OSError | ImportError) -> None:
        text = f"metrics at {self._address} port {self._port}: {exc}"
        if text != self._told:
            self._told = text
            self._complain(f"{text}; trying again")


def _front_page(_accept: str) -> tuple[str, bytes]:
    text = (
        f"<!doctype html><title>dcmirror</title><h1>dcmirror {__version__}</h1>"
        '<p><a href="/metrics">Metrics</a> for Prometheus.</p>\n'
    )
    return "text/html; charset=utf-8", text.encode()
