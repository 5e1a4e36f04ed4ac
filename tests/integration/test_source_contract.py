"""What DoorClient promises, on the fake dCache and on real XRootD and Apache."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from contracts.sources import (
    ODD_NAMES,
    SourceUnderTest,
    client_of,
    credential_of,
    open_client,
    own_directory,
)
from contracts.webdav import SourceContract
from dcmirror.testing.fake_dcache import FakeDCache

if TYPE_CHECKING:
    from dcmirror.testing.pki import Pki
    from servers.apache import Apache
    from servers.xrootd import XRootD

FREE = 123_456_789_012
_MISREAD = re.compile(r"[?]|%[0-9a-f]{2}| $|.{255}")
METHODS = ("GET", "HEAD", "PROPFIND", "DELETE")


@pytest.fixture(scope="module")
def fake(pki: Pki) -> Iterator[FakeDCache]:
    with FakeDCache(pki) as fake:
        yield fake


class TestFakeDCache(SourceContract):
    """The fake, with a proxy."""

    @pytest.fixture
    def source(self, fake: FakeDCache, pki: Pki) -> Iterator[SourceUnderTest]:
        root = f"{fake.root}/{own_directory()}"
        space = fake.site.namespace
        space.make_directory(root)
        fake.set_quota(root, FREE)

        def exists(name: str) -> bool:
            path = f"{root}/{name}"
            return space.get(path) is not None or space.is_directory(path)

        def forbid(name: str) -> None:
            fake.upload(f"{root}/{name}/x", b"secret")
            fake.faults.add("status", f"{root}/{name}*", status=403, methods=METHODS)

        def redirect(name: str) -> None:
            fake.upload(f"{root}/{name}", b"file")
            there = fake.url_of(f"{root}/{name}")
            fake.faults.add(
                "redirect-to", f"{root}/{name}", url=there, methods="DELETE"
            )

        door = (pki, fake.door_url, pki.proxy, fake.root)
        with client_of(*door) as client:
            yield SourceUnderTest(
                client=client,
                make_client=partial(open_client, *door),
                root=root,
                store=lambda name, data: fake.upload(f"{root}/{name}", data),
                exists=exists,
                make_directory=lambda name: space.make_directory(f"{root}/{name}"),
                forbid=forbid,
                redirect=redirect,
                hang_up=fake.close_connections,
                pnfsid=lambda name: fake.files[f"{root}/{name}"].pnfsid,
                lists_checksums=True,
                free_bytes=FREE,
            )
        fake.faults.clear()


class TestApache(SourceContract):
    """mod_dav with a user certificate; it knows neither checksums nor pnfsids."""

    @pytest.fixture
    def source(
        self, apache: Apache, pki: Pki, tmp_path: Path
    ) -> Iterator[SourceUnderTest]:
        root = f"/{own_directory()}"
        apache.make_directory(root)

        def hang_up() -> None:
            apache.kill()
            apache.start()

        credential = credential_of(pki.user_cert, pki.user_key, tmp_path)
        door = (pki, apache.url, credential)
        with client_of(*door) as client:
            yield SourceUnderTest(
                client=client,
                make_client=partial(open_client, *door),
                root=root,
                store=lambda name, data: apache.upload(f"{root}/{name}", data),
                exists=lambda name: (apache.data / root[1:] / name).exists(),
                make_directory=lambda name: apache.make_directory(f"{root}/{name}"),
                forbid=lambda name: apache.upload(f"{root}/{name}/x", b"secret"),
                # it sends who asks for a directory without a slash to the one with it
                redirect=lambda name: apache.upload(f"{root}/{name}/below", b"x"),
                hang_up=hang_up,
                has_checksums=False,
            )


class TestXRootD(SourceContract):
    """A grid door with a proxy; its checksums are asked for by HEAD."""

    @pytest.fixture
    def source(self, xrootd: XRootD, pki: Pki) -> Iterator[SourceUnderTest]:
        root = f"/{own_directory()}"
        there = xrootd.data / root[1:]

        def make_directory(name: str) -> None:
            xrootd.upload(f"{root}/{name}/x", b"", has_digest=False).unlink()

        def forbid(name: str) -> None:
            xrootd.upload(f"{root}/{name}/x", b"secret", has_digest=False)
            shutil.chown(there / name, "root", "root")
            (there / name).chmod(0o700)

        make_directory(".")
        door = (pki, xrootd.url, pki.proxy)
        with client_of(*door) as client:
            yield SourceUnderTest(
                client=client,
                make_client=partial(open_client, *door),
                root=root,
                store=lambda name, data: xrootd.upload(
                    f"{root}/{name}", data, has_digest=False
                ),
                exists=lambda name: (there / name).exists(),
                make_directory=make_directory,
                forbid=forbid,
                delete_statuses=(200,),
                # of its 404 to a DELETE one in ten never arrives, of its 200 fewer
                hangs_up=True,
                # it takes what follows a "?" for options even where that was escaped,
                # and lists names without escaping them: there "%20" is no blank, and
                # a blank at the end is nobody's; of 255 bytes it lists 254
                unlisted=frozenset(name for name in ODD_NAMES if _MISREAD.search(name)),
                unseen=frozenset(name for name in ODD_NAMES if "?" in name),
                # it does not decode a rename's target, nor heed "Overwrite: F"
                unmoved=frozenset(name for name in ODD_NAMES if quote(name) != name),
                overwrites=True,
            )
