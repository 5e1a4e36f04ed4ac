"""One deletion at real servers: what is set apart, what gets its name back."""

from __future__ import annotations

import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from contracts.sources import client_of, credential_of, own_directory
from dcmirror.adapters.door_client import DoorClient
from dcmirror.core.deletion import Kept, Result
from dcmirror.core.jobs import CopyRecord
from dcmirror.processes.patience import Patience
from dcmirror.tasks.delete import Deletion
from dcmirror.tasks.delete_words import Outcome

if TYPE_CHECKING:
    from dcmirror.testing.pki import Pki
    from servers.apache import Apache
    from servers.xrootd import XRootD

DATA = b"what was copied"


class Door:
    """A real door whose client lets somebody else act before a request is sent."""

    def __init__(self, client: DoorClient) -> None:
        self._client = client
        self.before: dict[str, Callable[[], object]] = {}
        self.asked: list[str] = []

    def __getattr__(self, name: str) -> Any:
        self.asked.append(name)
        self.before.pop(name, lambda: None)()
        return getattr(self._client, name)


def copy_of(path: str, data: bytes = DATA) -> CopyRecord:
    return CopyRecord(
        relative=path.lstrip("/"),
        path=path,
        pnfsid=None,
        size=len(data),
        adler32=zlib.adler32(data),
        verified=True,
        mtime_ns=1,
        copied_at=time.time() + 5,
    )


def delete(door: Door, path: str) -> Outcome:
    apart = f"{path.rpartition('/')[0]}/.dcmirror-0123456789abcdef.isolated"
    return Deletion(
        door,
        Patience(print, threading.Event()),
        copy_of(path),
        apart,
        copy_differs=lambda: None,
        clock=time.monotonic,
        was_seen=True,
    ).run()


class TestXRootD:
    @pytest.fixture
    def door(self, xrootd: XRootD, pki: Pki) -> Iterator[Door]:
        with client_of(pki, xrootd.url, pki.proxy) as client:
            yield Door(client)

    @pytest.fixture
    def folder(self) -> str:
        return f"/{own_directory()}"

    def names(self, xrootd: XRootD, folder: str) -> set[str]:
        return {path.name for path in (xrootd.data / folder[1:]).iterdir()}

    def test_source_is_set_apart_and_deleted(
        self, xrootd: XRootD, door: Door, folder: str
    ) -> None:
        for name in ("file", "other"):
            xrootd.upload(f"{folder}/{name}", DATA)
        outcome = delete(door, f"{folder}/file")

        assert outcome.result is Result.DELETED
        assert self.names(xrootd, folder) == {"other"}

    def test_what_took_its_place_gets_its_name_back(
        self, xrootd: XRootD, door: Door, folder: str
    ) -> None:
        file = xrootd.upload(f"{folder}/file", DATA)
        door.before["move"] = lambda: xrootd.upload(f"{folder}/file", DATA[::-1])
        outcome = delete(door, f"{folder}/file")

        assert outcome.result is Result.REPLACED
        assert self.names(xrootd, folder) == {"file"}
        assert file.read_bytes() == DATA[::-1]

    @pytest.mark.parametrize("name", ["with blank", "grüße", "odd dir/file"])
    def test_name_that_would_be_misread_is_not_renamed(
        self, xrootd: XRootD, door: Door, folder: str, name: str
    ) -> None:
        file = xrootd.upload(f"{folder}/{name}", DATA)
        outcome = delete(door, f"{folder}/{name}")

        assert outcome.result is Result.NOT_DELETED
        assert "move" not in door.asked
        assert self.names(xrootd, folder) == {name.partition("/")[0]}
        assert file.read_bytes() == DATA


def test_apache_knows_no_checksum_so_that_nothing_is_deleted(
    apache: Apache, pki: Pki, tmp_path: Path
) -> None:
    folder = f"/{own_directory()}"
    file = apache.upload(f"{folder}/file", DATA)
    credential = credential_of(pki.user_cert, pki.user_key, tmp_path)
    with client_of(pki, apache.url, credential) as client:
        outcome = delete(Door(client), f"{folder}/file")

    assert outcome.keep is not None
    assert outcome.keep.why is Kept.NO_DIGEST
    assert [path.name for path in file.parent.iterdir()] == ["file"]
