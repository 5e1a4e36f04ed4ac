"""The fake dCache's WebDAV door: looks up, redirects, takes uploads, removes."""

from __future__ import annotations

import time
from collections.abc import Callable
from email.utils import formatdate
from urllib.parse import quote

from dcmirror.testing.fake_changes import Changes
from dcmirror.testing.fake_faults import Fault, Kind, spoil_digest
from dcmirror.testing.fake_http import Exchange
from dcmirror.testing.fake_mischief import after, before
from dcmirror.testing.fake_movers import Mover
from dcmirror.testing.fake_namespace import FileVersion
from dcmirror.testing.fake_pool import send_file
from dcmirror.testing.fake_site import SERVER, Site, split_target
from dcmirror.testing.fake_webdav import answer_propfind

_BLOCKED_AFTER = 3
_BLOCK_SECONDS = 20.0


class Door:
    """Answers for the door's port.

    Args:
        site: the dCache it is a door of.
        url: the door's own base URL.
        pool_url: base URL of a pool, by its name.
        refused_url: where nobody listens.
        allowed: whether a client name is mapped to a user.
        redirects: False: relays the data itself (``webdav.redirect.on-read``).
        mover_seconds: how long a GET waits for a free mover.
        blocks: three authentication errors block all for 20 s (11.2 and later).
    """

    def __init__(
        self,
        site: Site,
        *,
        url: Callable[[], str],
        pool_url: Callable[[str], str],
        refused_url: str,
        allowed: Callable[[str], bool],
        redirects: bool = True,
        mover_seconds: float = 180.0,
        blocks: bool = False,
    ) -> None:
        self._site = site
        self._changes = Changes(site)
        self._url = url
        self._pool_url = pool_url
        self._refused_url = refused_url
        self._allowed = allowed
        self._redirects = redirects
        self._mover_seconds = mover_seconds
        self._blocks = blocks
        self._bad_logins: list[float] = []

    def handle(self, exchange: Exchange) -> None:
        who = client_name(exchange)
        url_path, _ = split_target(exchange.head.target)
        try:
            path = self._site.path_of(url_path)
        except ValueError:
            exchange.reply(400)
            return
        seen = self._site.log.begin("door", exchange, path, who)
        try:
            for late in self._site.movers.expired(self._site.clock()):
                self._gave_up(late)
            fault = self._site.faults.take("door", exchange.head.method, path)
            seen.fault = fault.kind if fault else None
            if not self._break(exchange, path, fault):
                self._answer(exchange, path, who, fault)
        finally:
            self._site.log.end(seen, exchange)

    def _break(self, exchange: Exchange, path: str, fault: Fault | None) -> bool:
        """Do what the fault says; whether that was the whole answer."""
        match fault.kind if fault else None:
            case None:
                return False
            case Kind.STALL if fault:
                exchange.pause(fault.seconds)
                return False
            case Kind.RESET:
                exchange.reset()
            case Kind.HANG_UP:
                exchange.hang_up()
            case Kind.STATUS if fault:
                extra = {"Retry-After": fault.retry_after}
                if fault.status == 401:
                    extra["WWW-Authenticate"] = 'Basic realm="dCache"'
                exchange.reply(fault.status, extra, b"as you wish\n")
            case Kind.REDIRECT_LOOP:
                here = f"{self._url()}{self._site.url_path_of(path)}"
                exchange.reply(302, {"Location": here})
            case Kind.REDIRECT_TO if fault:
                exchange.reply(302, {"Location": fault.url})
            case Kind.POOL_REFUSED:
                there = f"{self._refused_url}{self._site.url_path_of(path)}"
                exchange.reply(302, {"Location": f"{there}?dcache-http-uuid=none"})
            case _:
                return False
        return True

    def _answer(
        self, exchange: Exchange, path: str, who: str | None, fault: Fault | None
    ) -> None:
        if self._blocked():
            exchange.reply(429)
        elif who is None or not self._allowed(who):
            self._bad_logins.append(time.monotonic())
            exchange.reply(401, {"WWW-Authenticate": 'Basic realm="dCache"'})
        else:
            self._login_passed(exchange, path, who, fault)

    def _login_passed(
        self, exchange: Exchange, path: str, who: str, fault: Fault | None
    ) -> None:
        before(self._site, exchange, path, fault)
        is_kept = fault is not None and fault.kind is Kind.KEEP
        match exchange.head.method:
            case "GET":
                self._get(exchange, path, who)
            case "HEAD":
                self._head(exchange, path, fault)
            case "PUT":
                self._changes.put(exchange, path, who)
            case "DELETE":
                self._changes.delete(exchange, path, who, is_kept=is_kept)
            case "MOVE":
                self._changes.move(exchange, path, is_kept=is_kept)
            case "MKCOL":
                self._changes.make_collection(exchange, path)
            case "PROPFIND":
                answer_propfind(exchange, self._site, path, fault)
            case "OPTIONS":
                methods = "GET, HEAD, PUT, DELETE, MOVE, MKCOL, PROPFIND, OPTIONS"
                exchange.reply(200, {"Allow": methods, "DAV": "1"})
            case _:
                exchange.reply(405)
        after(self._site, path, fault)

    def _get(self, exchange: Exchange, path: str, who: str) -> None:
        version = self._site.namespace.get(path)
        if version is None:
            self._no_file(exchange, path)
        elif not version.complete or version.broken:
            code, text = (
                (10004, "File is broken")
                if version.broken
                else (10022, "File upload not yet completed")
            )
            self._site.failed_request(
                path, version.pnfsid, version.size, who, code, text
            )
            exchange.reply(500, body=text.encode())
        else:
            self._redirect(exchange, path, version, who)

    def _redirect(
        self, exchange: Exchange, path: str, version: FileVersion, who: str
    ) -> None:
        def make(mover_id: str, pool: str) -> Mover:
            session = self._site.billing.door_session()
            now = self._site.clock()
            return Mover(mover_id, pool, path, version, session, who, now)

        mover = self._site.movers.start(make, self._mover_seconds)
        if mover is None:
            exchange.reply(500, body=b"no redirect from mover\n")
        elif not self._redirects:
            self._relay(exchange, mover)
        else:
            location = (
                f"{self._pool_url(mover.pool)}{self._site.url_path_of(path)}"
                f"?dcache-http-uuid={mover.id}"
                f"&dcache-http-ref={quote(self._url(), safe='')}"
            )
            exchange.reply(302, {"Server": SERVER, "Location": location})

    def _relay(self, exchange: Exchange, mover: Mover) -> None:
        self._site.movers.use(mover)
        headers = _entity_headers(mover.version) | {"Accept-Ranges": "bytes"}
        try:
            send_file(exchange, mover.version, headers, None)
        finally:
            self._site.movers.end(mover)
        port = exchange.connection.peer[1]
        self._site.billing.moved(mover.movement(exchange.sent, port, 0, ""))

    def _no_file(self, exchange: Exchange, path: str) -> None:
        if self._site.namespace.is_directory(path):
            exchange.reply(200, {"Content-Type": "text/html"}, b"<html></html>\n")
        else:
            exchange.reply(404, body=b"Path not found\n")

    def _head(self, exchange: Exchange, path: str, fault: Fault | None) -> None:
        version = self._site.namespace.get(path)
        if version is None:
            self._no_file(exchange, path)
            return
        headers = _entity_headers(version)
        # a file being written has no length yet; reply() would say 0
        headers["Content-Length"] = str(version.size) if version.complete else ""
        if fault is not None and fault.kind is Kind.NO_LENGTH:
            headers["Content-Length"] = ""
        if "adler32" in exchange.header("want-digest").lower() and version.complete:
            headers["Digest"] = spoil_digest(fault, version.adler32) or ""
        exchange.reply(200, headers)

    def _gave_up(self, mover: Mover) -> None:
        text = "No connection from client after 300 seconds. Giving up."
        self._site.billing.moved(mover.movement(0, 40000, 10006, text))

    def _blocked(self) -> bool:
        oldest = time.monotonic() - _BLOCK_SECONDS
        recent = [moment for moment in self._bad_logins if moment > oldest]
        self._bad_logins[:] = recent
        return self._blocks and len(recent) >= _BLOCKED_AFTER


def client_name(exchange: Exchange) -> str | None:
    """The user's name in the grid's spelling: a proxy's is its user's."""
    certificate = exchange.connection.certificate
    if certificate is None:
        return None
    short = {"domainComponent": "DC", "commonName": "CN", "organizationName": "O"}
    names = [pair for rdn in certificate["subject"] for pair in rdn]
    issuer = [pair for rdn in certificate["issuer"] for pair in rdn]
    # a proxy is named after its issuer: that is the user (or a proxy of the user)
    shown = issuer if names[:-1] == issuer else names
    return "".join(f"/{short.get(key, key)}={value}" for key, value in shown)


def _entity_headers(version: FileVersion) -> dict[str, str]:
    return {
        "Server": SERVER,
        "ETag": version.etag,
        "Last-Modified": formatdate(version.mtime, usegmt=True),
        "Accept-Ranges": "bytes",
    }
