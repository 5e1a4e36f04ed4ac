"""A WebDAV door under test: how to talk to it, and what is special about it."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dcmirror.adapters.door_client import DeleteAnswer, DoorClient, DoorOptions
from dcmirror.adapters.pace import Pace
from dcmirror.core.door_errors import DoorError
from dcmirror.core.listing import Entry
from dcmirror.core.paths import PathMap

if TYPE_CHECKING:
    from dcmirror.testing.pki import Pki

ODD_NAMES = (
    "with blank.dat",
    " leading and trailing ",
    "#hash.dat",
    "what?.dat",
    "x?y=1&z=2.dat",
    "100%.dat",
    "a%20b.dat",
    "a b.dat",
    "%2e%2e",
    "plus+sign.dat",
    "'single' \"double\" `back`.dat",
    "<tag>&amp;.dat",
    "back\\slash.dat",
    "p;v=w,x@y:z!$.dat",
    "x[y]~z'().dat",
    "{a|b}^c.dat",
    "...",
    ".hidden",
    "grüße-日本.dat",
    "e\u0301.dat",
    "\u00e9.dat",
    "\N{SATELLITE}\N{GRINNING FACE}.dat",
    "n" * 255,
)
DATA = b"0123456789abcdef" * 64


@dataclass
class SourceUnderTest:
    """One door, and how to put things behind it.

    Args:
        client: talks to it.
        make_client: makes more of them.
        root: namespace path of an existing, empty directory.
        store: puts a file below ``root``.
        exists: whether a file or directory is below ``root``, asked without the door.
        make_directory: makes one below ``root``.
        forbid: makes a directory below ``root`` with a file ``x``, and closes it.
        redirect: makes a name below ``root`` whose DELETE is redirected.
        hang_up: ends all connections, as a restart or an idle timeout does.
        pnfsid: of a file below ``root``, where the server has such a thing.
        lists_checksums: in the listing; else it is asked for by HEAD.
        has_checksums: at all.
        free_bytes: what the door says is free.
        unlisted: those of ``ODD_NAMES`` that a listing shows as something else.
        unseen: those that it cannot be asked about.
        unmoved: those that it cannot rename.
        delete_statuses: of a DELETE that was done.
        forbidden_statuses: of a DELETE that is not allowed.
        hangs_up: on some of those who ask for a DELETE or MOVE, without a word.
        overwrites: a rename replaces what has the name, though told not to.
    """

    client: DoorClient
    make_client: Callable[[], DoorClient]
    root: str
    store: Callable[[str, bytes], object]
    exists: Callable[[str], bool]
    make_directory: Callable[[str], object]
    forbid: Callable[[str], object]
    redirect: Callable[[str], object] | None = None
    hang_up: Callable[[], object] | None = None
    pnfsid: Callable[[str], str] | None = None
    lists_checksums: bool = False
    has_checksums: bool = True
    free_bytes: int | None = None
    unlisted: frozenset[str] = frozenset()
    unseen: frozenset[str] = frozenset()
    unmoved: frozenset[str] = frozenset()
    delete_statuses: tuple[int, ...] = (204,)
    forbidden_statuses: tuple[int, ...] = (403,)
    hangs_up: bool = False
    overwrites: bool = False

    def path(self, name: str) -> str:
        return f"{self.root}/{name}"

    def refusal(self, request: Callable[..., DeleteAnswer], *names: str) -> int:
        """The status of a request that is refused, and may be made again."""
        for _ in range(9 if self.hangs_up else 0):
            with contextlib.suppress(DoorError):
                return request(*map(self.path, names)).status
        return request(*map(self.path, names)).status

    def deletes(self, name: str) -> bool:
        """Whether a DELETE is done: its status says so, or else what is left."""
        for _ in range(3 if self.hangs_up else 0):
            with contextlib.suppress(DoorError):
                return self._says_deleted(name)
            if not self.exists(name):
                return True
        return self._says_deleted(name)

    def _says_deleted(self, name: str) -> bool:
        return self.client.delete(self.path(name)).status in self.delete_statuses

    def listed(self, name: str = "") -> dict[str, Entry]:
        """What the client lists, by name; each may come only once."""
        directory = self.path(name) if name else self.root
        entries = list(self.client.list(directory))
        found = {entry.path.removeprefix(f"{directory}/"): entry for entry in entries}
        assert len(found) == len(entries)
        return found

    def looked(self, name: str) -> Entry:
        entry = self.client.look(self.path(name))
        assert entry is not None
        assert entry.path == self.path(name)
        return entry


def credential_of(certificate: Path, key: Path, directory: Path) -> Path:
    """A user's certificate and key in one file, as a proxy would be."""
    path = directory / "credential.pem"
    path.write_bytes(certificate.read_bytes() + key.read_bytes())
    path.chmod(0o600)
    return path


def open_client(pki: Pki, url: str, credential: Path, pool: str = "/") -> DoorClient:
    """A client of the door at ``url``, which stands for the directory ``pool``."""
    options = DoorOptions(
        proxy=credential,
        capath=pki.capath,
        path_map=PathMap(url, pool, "/"),
        connect_seconds=10.0,
        answer_seconds=20.0,
    )
    return DoorClient(options, Pace(per_second=10_000.0))


@contextlib.contextmanager
def client_of(
    pki: Pki, url: str, credential: Path, pool: str = "/"
) -> Iterator[DoorClient]:
    """The same, and hangs up at the end."""
    client = open_client(pki, url, credential, pool)
    try:
        yield client
    finally:
        client.close()


def own_directory() -> str:
    """A name that no other test has."""
    return f"contract-{uuid.uuid4().hex[:8]}"
