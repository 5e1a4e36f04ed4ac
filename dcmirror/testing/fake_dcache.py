"""A dCache to test with: door, pools, namespace and events in one process.

It does what a real one was seen to do, and misbehaves on demand.  In a process of its
own: ``python -m dcmirror.testing.fake_dcache --help``.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from dcmirror.testing.fake_door import Door
from dcmirror.testing.fake_events import Billing, Mode
from dcmirror.testing.fake_faults import Faults
from dcmirror.testing.fake_movers import Movers
from dcmirror.testing.fake_namespace import FileVersion, Namespace
from dcmirror.testing.fake_pool import Pool
from dcmirror.testing.fake_server import HttpServer
from dcmirror.testing.fake_site import Deletion, Quota, RequestLog, Site
from dcmirror.testing.fake_uploads import Uploader
from dcmirror.testing.pki import Pki

ROOT = "/pnfs/example.org/data"


class FakeDCache(Uploader):
    """A dCache with one WebDAV door and some pools on loopback ports.

    Args:
        pki: whose host certificate it shows and whose users it knows.
        publish: gets the value of every record that is published.
        root: namespace directory that the door shows as ``/``.
        mode: which services publish, and so what the records tell.
        seed: of pnfsids, of the order of records and of probable faults.
        pools: how many.
        pool_tls: False: redirects go to plain http at an IP address.
        demand_certificate: False: a client without one gets 401, not a TLS alert.
        mover_slots: movers at a time in each pool; None: any number.
        mover_seconds: how long a GET waits for one, then 500.
        connect_seconds: how long a mover waits for its client, then it gives up.
        relays: the door sends the data itself.
        blocks: three authentication errors block everybody for 20 s (429).
        port: of the door; 0: any.
        clock: of events, of Last-Modified and of movers.
    """

    def __init__(
        self,
        pki: Pki,
        *,
        publish: Callable[[bytes], None] | None = None,
        root: str = ROOT,
        mode: Mode | str = Mode.SERVICES,
        seed: int = 0,
        pools: int = 2,
        pool_tls: bool = True,
        demand_certificate: bool = True,
        mover_slots: int | None = None,
        mover_seconds: float = 180.0,
        connect_seconds: float = 300.0,
        relays: bool = False,
        blocks: bool = False,
        port: int = 0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        names = tuple(f"pool{number + 1}" for number in range(pools))
        site = Site(
            root=root.rstrip("/"),
            namespace=Namespace(seed),
            movers=Movers(names, slots=mover_slots, connect_seconds=connect_seconds),
            faults=Faults(seed),
            billing=Billing(publish, mode=mode, seed=seed, clock=clock),
            clock=clock,
        )
        super().__init__(site, pki.user_dn)
        self.unmapped: set[str] = set()
        self._pki = pki
        self._refused = _refusing_socket()
        self._pool_servers = {
            name: HttpServer(
                name, Pool(site, name).handle, _pool_context(pki, pool_tls)
            )
            for name in names
        }
        door = Door(
            site,
            url=lambda: self.door_url,
            pool_url=self._pool_url,
            refused_url=f"https://localhost:{self._refused.getsockname()[1]}",
            allowed=lambda who: who not in self.unmapped,
            redirects=not relays,
            mover_seconds=mover_seconds,
            blocks=blocks,
        )
        context = _door_context(pki, demand_certificate)
        self._door_server = HttpServer("door", door.handle, context, port=port)

    def __repr__(self) -> str:
        return f"<FakeDCache {self.door_url} {self.site.namespace!r}>"

    def __enter__(self) -> FakeDCache:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        for server in self._servers:
            server.start()

    def stop(self) -> None:
        """Stop; RuntimeError when the fake itself failed at something."""
        for server in self._servers:
            server.stop()
        self._refused.close()
        errors = [text for server in self._servers for text in server.errors]
        if errors:
            raise RuntimeError(f"the fake dCache failed: {errors[0]}")

    @property
    def door_url(self) -> str:
        """URL of the directory ``root``, without a slash at the end."""
        return f"https://localhost:{self._door_server.port}"

    @property
    def root(self) -> str:
        return self.site.root

    @property
    def requests(self) -> RequestLog:
        return self.site.log

    @property
    def faults(self) -> Faults:
        return self.site.faults

    @property
    def files(self) -> dict[str, FileVersion]:
        """What is there now, by namespace path."""
        return self.site.namespace.files()

    @property
    def deletions(self) -> list[Deletion]:
        """What DELETEs at the door have really removed, in their order."""
        return list(self.site.deletions)

    def url_of(self, path: str) -> str:
        """The door's URL of a namespace path."""
        return f"{self.door_url}{self.site.url_path_of(path)}"

    def publish_raw(self, value: bytes) -> None:
        """Publish anything at all, garbage too."""
        self.site.billing.emit_bytes(value)

    def move(self, source: str, target: str) -> None:
        """Rename: nobody tells."""
        self.site.namespace.move(source, target)

    def remove(self, path: str) -> None:
        """A file vanishes without an event (REST, bulk, the namespace's own tools)."""
        self.site.namespace.remove(path)

    def set_digest(self, path: str, adler32: int | None) -> None:
        """dCache has stored this checksum for the file (by now), or none."""
        self.site.namespace.update(path, adler32=adler32)

    def set_quota(self, directory: str, available: int, used: int = 0) -> None:
        """Directory and all below it have this as their quota properties (RFC 4331).

        As in dCache with a write token; without, these properties do not exist.
        """
        self.site.quotas[directory] = Quota(available, used)

    @contextmanager
    def before(self, method: str, callback: Callable[[str], object]) -> Iterator[None]:
        """Meanwhile, call back with the path when such a request is about to be done.

        It has arrived and is allowed; nothing was looked at yet.  Here a test replaces,
        moves or removes files as late as HTTP allows:
        ``with fake.before("DELETE", fake.replace): ...``
        """
        self.site.watchers[method] = callback
        try:
            yield
        finally:
            del self.site.watchers[method]

    def close_connections(self) -> None:
        """Hang up on everybody, as an idle timeout or a restart does."""
        for server in self._servers:
            server.close_connections()

    @contextmanager
    def host_certificate(self, certificate: Path, key: Path) -> Iterator[None]:
        """The door shows another certificate, such as an expired one, for a while."""
        context = self._door_server.context
        assert context is not None
        context.load_cert_chain(certificate, key)
        self._door_server.close_connections()
        try:
            yield
        finally:
            context.load_cert_chain(self._pki.host_cert, self._pki.host_key)
            self._door_server.close_connections()

    @property
    def _servers(self) -> list[HttpServer]:
        return [self._door_server, *self._pool_servers.values()]

    def _pool_url(self, name: str) -> str:
        server = self._pool_servers[name]
        # by name with TLS, by address without: so does the real one
        if server.context is not None:
            return f"https://localhost:{server.port}"
        return f"http://127.0.0.1:{server.port}"


def _door_context(pki: Pki, demand: bool) -> ssl.SSLContext:
    context = _server_context(pki)
    context.load_verify_locations(capath=str(pki.capath))
    context.verify_mode = ssl.CERT_REQUIRED if demand else ssl.CERT_OPTIONAL
    context.verify_flags |= ssl.VERIFY_ALLOW_PROXY_CERTS
    return context


def _pool_context(pki: Pki, tls: bool) -> ssl.SSLContext | None:
    # pools neither want nor look at a client certificate
    return _server_context(pki) if tls else None


def _server_context(pki: Pki) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(pki.host_cert, pki.host_key)
    return context


def _refusing_socket() -> socket.socket:
    """A port that is ours and refuses everybody, since nothing listens on it."""
    holder = socket.socket()
    holder.bind(("127.0.0.1", 0))
    return holder


if __name__ == "__main__":
    # here alone, since that module needs this one
    from dcmirror.testing.fake_process import main

    main()
