"""Uploads to the fake dCache other than by HTTP PUT: every protocol's own habits."""

from __future__ import annotations

import itertools
import uuid

from dcmirror.testing.fake_events import DOORS, Movement
from dcmirror.testing.fake_namespace import (
    Content,
    FileVersion,
    Patterned,
    Stored,
    adler32_of,
)
from dcmirror.testing.fake_site import Site

_seeds = itertools.count(1)


class Uploader:
    """Stores files at a site and lets pools and doors tell of them."""

    def __init__(self, site: Site, owner: str) -> None:
        self.site = site
        self.owner = owner

    def upload(
        self,
        path: str,
        data: bytes | None = None,
        *,
        size: int | None = None,
        seed: int | None = None,
        protocol: str = "webdav",
        publish: bool = True,
        digest: bool = True,
        transfer_path: str | None = None,
    ) -> str:
        """Store a file and publish its events; its pnfsid, a new one each time.

        Args:
            path: in the namespace.
            data: the bytes; or else
            size: how many bytes, and
            seed: which.
            protocol: a key of ``DOORS``.
            publish: False: the file is there, nobody tells.
            digest: False: dCache has no Adler-32 of it.
            transfer_path: where the mover wrote (xrootd's persist-on-close).
        """
        version = self._store(path, _content(data, size, seed), digest)
        if publish:
            self.tell(path, protocol=protocol, transfer_path=transfer_path)
        return version.pnfsid

    def populate(
        self, directory: str, count: int, *, size: int = 1000, seed: int = 0
    ) -> list[str]:
        """Many small files that nobody tells of, each of other bytes; their paths.

        A hundred thousand take about a second; the same seed gives the same bytes.
        """
        directory = directory.rstrip("/")
        names = [f"file-{number:06d}.dat" for number in range(count)]
        now = self.site.clock()
        self.site.namespace.store_all(
            directory,
            (
                (name, self._new_version(Patterned(size, seed + number), now))
                for number, name in enumerate(names)
            ),
        )
        return [f"{directory}/{name}" for name in names]

    def replace(
        self, path: str, data: bytes | None = None, *, publish: bool = False
    ) -> str:
        """Overwrite a file: another pnfsid; by default other bytes, as many as before.

        This is what an adversary does between a check and a DELETE.
        """
        content = _content(data, self._there(path).size, None)
        old = self._there(path).content
        while data is None and adler32_of(content) == adler32_of(old) and old.size:
            content = _content(None, old.size, None)
        version = self._store(path, content, True)
        if publish:
            self.tell(path)
        return version.pnfsid

    def tell(
        self, path: str, *, protocol: str = "webdav", transfer_path: str | None = None
    ) -> None:
        """Publish the events of an upload that is there (again)."""
        version = self._there(path)
        movement = self._movement(path, version, protocol, transfer_path)
        self.site.billing.moved(movement)

    def upload_persist_on_close(self, path: str, data: bytes) -> str:
        """xrootd: the pool moves the file into place before it tells."""
        temporary = _temporary(path)
        return self.upload(path, data, protocol="xrootd", transfer_path=temporary)

    def upload_srm(self, path: str, data: bytes) -> str:
        """The data of an SRM put: told, but not in place before ``commit_srm``."""
        temporary = _temporary(path)
        version = self._store(temporary, Stored(data), True)
        self.site.billing.moved(self._movement(path, version, "ftp", temporary))
        return temporary

    def commit_srm(self, path: str, temporary: str) -> None:
        """srmPutDone: the move, and the SRM manager's record of it (10.1 and later)."""
        version = self.site.namespace.files()[temporary]
        self.site.namespace.move(temporary, path)
        self.site.billing.committed(self._movement(path, version, "ftp", temporary))

    def abort_srm(self, path: str, temporary: str) -> None:
        """srmAbort: the data is gone."""
        version = self.site.namespace.files()[temporary]
        self.site.namespace.remove(temporary)
        movement = self._movement(path, version, "ftp", temporary, 666, "aborted")
        self.site.billing.committed(movement)

    def rewrite_nfs(self, path: str, data: bytes) -> str:
        """NFS: another write session of the same file: same pnfsid, other bytes."""
        content = Stored(data)
        version = self.site.namespace.update(
            path,
            content=content,
            adler32=adler32_of(content),
            mtime=self.site.clock(),
        )
        self.site.billing.moved(self._movement(path, version, "nfs", None))
        return version.pnfsid

    def begin(self, path: str) -> str:
        """An upload begins: HEAD finds the entry without a size, GET gives 500."""
        pnfsid = self.site.namespace.new_pnfsid()
        blank = FileVersion(
            pnfsid, Stored(b""), None, self.site.clock(), complete=False
        )
        self.site.namespace.store(path, blank)
        return pnfsid

    def finish(self, path: str, data: bytes, *, publish: bool = True) -> None:
        """The upload that ``begin`` began is complete."""
        content = Stored(data)
        self.site.namespace.update(
            path, content=content, adler32=adler32_of(content), complete=True
        )
        if publish:
            self.tell(path)

    def cut(self, path: str, data: bytes, declared: int) -> None:
        """An upload that was cut after the redirect: its entry stays, broken."""
        self._store(path, Stored(data), True)
        version = self.site.namespace.update(path, broken=True)
        text = f"Connection lost before end of file ({declared})."
        self.site.billing.moved(
            self._movement(path, version, "webdav", None, 10004, text)
        )

    def _store(self, path: str, content: Content, digest: bool) -> FileVersion:
        old = self.site.namespace.get(path)
        version = self._new_version(content, self.site.clock(), digest)
        self.site.namespace.store(path, version)
        if old is not None:
            self.site.billing.replica_removed(old.pnfsid, old.size)
        return version

    def _there(self, path: str) -> FileVersion:
        version = self.site.namespace.get(path)
        if version is None:
            raise KeyError(path)
        return version

    def _new_version(
        self, content: Content, now: float, digest: bool = True
    ) -> FileVersion:
        adler32 = adler32_of(content) if digest else None
        return FileVersion(self.site.namespace.new_pnfsid(), content, adler32, now)

    def _movement(
        self,
        path: str,
        version: FileVersion,
        protocol: str,
        transfer_path: str | None,
        code: int = 0,
        message: str = "",
    ) -> Movement:
        cell, _ = DOORS[protocol]
        return Movement(
            path=path,
            pnfsid=version.pnfsid,
            size=version.size,
            is_write=True,
            session=self.site.billing.door_session(cell),
            started=self.site.clock(),
            transfer_path=transfer_path,
            owner=self.owner,
            protocol=protocol,
            code=code,
            message=message,
        )


def _content(data: bytes | None, size: int | None, seed: int | None) -> Content:
    if data is not None:
        return Stored(data)
    if size is None:
        raise TypeError("upload() needs data or size")
    return Patterned(size, next(_seeds) if seed is None else seed)


def _temporary(path: str) -> str:
    return f"/upload/{uuid.uuid4()}/{path.rpartition('/')[2]}"
