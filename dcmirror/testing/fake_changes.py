"""What changes the namespace through the fake door: PUT, DELETE, MOVE, MKCOL."""

from __future__ import annotations

from urllib.parse import urlsplit

from dcmirror.testing.fake_events import Movement
from dcmirror.testing.fake_http import ClientGone, Exchange
from dcmirror.testing.fake_namespace import FileVersion, Stored, adler32_of, parent
from dcmirror.testing.fake_site import Deletion, Site


class Changes:
    """Methods answer one request each."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def put(self, exchange: Exchange, path: str, who: str) -> None:
        """Relay an upload; a client that leaves takes the new entry with it."""
        site = self._site
        if site.namespace.is_directory(path):
            exchange.reply(405)
            return
        old = site.namespace.get(path)
        upload = _Upload(site, exchange, path, who)
        try:
            version = upload.receive()
        except ClientGone:
            site.namespace.remove(path)
            text = "Client disconnected while proxying an upload."
            declared = exchange.head.content_length
            site.billing.refused(upload.movement(declared, 10011, text))
            raise
        # the events leave before the client has its answer: really seen (5 of 50)
        site.billing.moved(upload.movement(version.size))
        if old is not None:
            site.billing.replica_removed(old.pnfsid, old.size)
        exchange.reply(201)

    def delete(
        self, exchange: Exchange, path: str, who: str, *, is_kept: bool = False
    ) -> None:
        """Directories go with all that is in them: so does the real door."""
        namespace, billing = self._site.namespace, self._site.billing
        if namespace.get(path) is None and not namespace.is_directory(path):
            exchange.reply(404)
            return
        if is_kept:
            exchange.reply(204)
            return
        for gone, version in namespace.remove(path):
            adler32 = adler32_of(version.content)
            self._site.deletions.append(
                Deletion(gone, version.pnfsid, version.size, adler32)
            )
            billing.removed(
                Movement(
                    path=gone,
                    pnfsid=version.pnfsid,
                    size=version.size,
                    is_write=False,
                    session=billing.door_session(),
                    started=self._site.clock(),
                    owner=who,
                )
            )
            billing.replica_removed(version.pnfsid, version.size)
        exchange.reply(204)

    def move(self, exchange: Exchange, path: str, *, is_kept: bool = False) -> None:
        """Rename, never onto what is there; no event tells of it."""
        namespace = self._site.namespace
        try:
            target = self._site.path_of(urlsplit(exchange.header("destination")).path)
        except ValueError:
            exchange.reply(400)
            return
        if namespace.get(path) is None and not namespace.is_directory(path):
            exchange.reply(404)
        elif namespace.get(target) is not None or namespace.is_directory(target):
            exchange.reply(412)
        else:
            if not is_kept:
                namespace.move(path, target)
            exchange.reply(201)

    def make_collection(self, exchange: Exchange, path: str) -> None:
        namespace = self._site.namespace
        if namespace.get(path) is not None or namespace.is_directory(path):
            exchange.reply(405)
        elif not namespace.is_directory(parent(path)):
            exchange.reply(409)
        else:
            namespace.make_directory(path)
            exchange.reply(201)


class _Upload:
    """One PUT: the entry appears first, without a size, then the bytes come."""

    def __init__(self, site: Site, exchange: Exchange, path: str, who: str) -> None:
        self._site = site
        self._exchange = exchange
        self._path = path
        self._who = who
        self._started = site.clock()
        self._session = site.billing.door_session()
        self._pnfsid = site.namespace.new_pnfsid()

    def receive(self) -> FileVersion:
        blank = FileVersion(
            self._pnfsid, Stored(b""), None, self._started, complete=False
        )
        self._site.namespace.store(self._path, blank)
        content = Stored(b"".join(self._exchange.body()))
        now = self._site.clock()
        version = FileVersion(self._pnfsid, content, adler32_of(content), now)
        self._site.namespace.store(self._path, version)
        return version

    def movement(self, size: int, code: int = 0, message: str = "") -> Movement:
        return Movement(
            path=self._path,
            pnfsid=self._pnfsid,
            size=size,
            is_write=True,
            session=self._session,
            started=self._started,
            port=self._exchange.connection.peer[1],
            owner=self._who,
            code=code,
            message=message,
        )
