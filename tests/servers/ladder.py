"""Which real server a test gets: one given, Docker's, this machine's own, or none.

A fixture asks ``Ladder.climb``; the header and the summary of the run tell on which
rung each server stood.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn, TypeVar
from urllib.parse import urlsplit

import pytest

T = TypeVar("T")

DOCKER_SECONDS = 3.0


class Unavailable(Exception):
    """This rung cannot be had here; the message says why."""


@dataclass
class Ladder:
    """The rungs, top first; remembers where each server stood.

    Args:
        environ: the environment as it was before the tests cleaned it.
    """

    environ: Mapping[str, str]
    stood: dict[str, str] = field(default_factory=dict)

    @property
    def is_required(self) -> bool:
        return self.environ.get("DCMIRROR_REQUIRE_REAL") == "1"

    def address(self, server: str) -> str | None:
        return self.environ.get(f"DCMIRROR_TEST_{server.upper()}") or None

    def climb(
        self,
        server: str,
        *,
        given: Callable[[str], T] | None = None,
        docker: Callable[[], T] | None = None,
        local: Callable[[], T],
    ) -> T:
        """Start ``server`` on the first rung that holds; skip or fail when none does.

        A given address never falls back: who names a server wants that one.
        """
        address = self.address(server)
        if address and given:
            self.stood[server] = f"the address given, {address}"
            return given(address)
        troubles = []
        for rung, start in (("Docker", docker), ("local", local)):
            try:
                if start is docker:
                    check_docker(self.environ)
                if start is not None:
                    found = start()
                    self.stood[server] = rung
                    return found
            except Unavailable as exc:
                troubles.append(f"{rung}: {exc}")
        return self.give_up(server, "; ".join(troubles))

    def give_up(self, server: str, why: str) -> NoReturn:
        self.stood[server] = f"none ({why})"
        if self.is_required:
            pytest.fail(f"no real {server}, and DCMIRROR_REQUIRE_REAL=1: {why}")
        pytest.skip(f"no real {server}: {why}")


def check_docker(environ: Mapping[str, str]) -> None:
    """Whether an engine answers a ping; Unavailable otherwise, within three seconds."""
    address = environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    try:
        with _dial(address) as sock:
            sock.sendall(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")
            if b"200" not in sock.recv(64):
                raise Unavailable("the engine does not answer a ping")
    except OSError as exc:
        raise Unavailable(f"no engine ({exc.strerror or exc})") from exc


def _dial(address: str) -> socket.socket:
    url = urlsplit(address)
    if url.scheme == "unix":
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(DOCKER_SECONDS)
        try:
            sock.connect(url.path)
        except OSError:
            sock.close()
            raise
        return sock
    target = (url.hostname or "localhost", url.port or 2375)
    return socket.create_connection(target, DOCKER_SECONDS)


def cache_directory() -> Path:
    """What downloads are kept in between runs."""
    return Path(__file__).resolve().parents[2] / ".cache"


@contextmanager
def locked(name: str) -> Iterator[None]:
    """One process at a time does what is called ``name``."""
    import fcntl

    cache_directory().mkdir(exist_ok=True)
    fd = os.open(cache_directory() / f"{name}.lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
