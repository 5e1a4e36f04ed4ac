"""What DoorClient promises of any WebDAV door; holds on the fake and on real ones.

Not collected by itself: a test module subclasses ``SourceContract`` and gives it a
``source`` fixture.  Where servers differ, they say so in ``SourceUnderTest``.
"""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dcmirror.adapters.door_client import DeleteAnswer, DoorClient, DoorOptions
from dcmirror.adapters.pace import Pace
from dcmirror.core.door_errors import DoorError
from dcmirror.core.failures import FailureClass
from dcmirror.core.listing import Entry
from dcmirror.core.paths import PathMap
from dcmirror.processes.patience import Patience
from dcmirror.processes.walk import Walk

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
        hangs_up: on some of those whose DELETE or MOVE it refuses, without a word.
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


class SourceContract:
    """The claims."""

    @pytest.fixture
    def source(self) -> SourceUnderTest:
        raise NotImplementedError

    # list

    def test_listing_tells_files_from_directories_and_their_sizes(
        self, source: SourceUnderTest
    ) -> None:
        source.store("full", DATA)
        source.store("empty", b"")
        source.store("below/deep/file", b"x")
        source.make_directory("hollow")
        found = source.listed()

        assert {name: entry.is_directory for name, entry in found.items()} == {
            "full": False,
            "empty": False,
            "below": True,
            "hollow": True,
        }
        assert (found["full"].size, found["empty"].size) == (len(DATA), 0)
        assert (found["below"].size, found["hollow"].size) == (None, None)
        assert {entry.trouble for entry in found.values()} == {""}

    def test_listing_goes_down_one_step_only(self, source: SourceUnderTest) -> None:
        source.store("below/deep/file", b"x")
        source.store("below/file", b"xy")

        assert set(source.listed("below")) == {"deep", "file"}
        assert set(source.listed("below/deep")) == {"file"}

    def test_listing_of_an_empty_directory_is_empty(
        self, source: SourceUnderTest
    ) -> None:
        source.make_directory("hollow")

        assert source.listed("hollow") == {}

    def test_listing_of_what_is_not_there_is_an_error(
        self, source: SourceUnderTest
    ) -> None:
        with pytest.raises(DoorError) as raised:
            source.listed("nowhere")

        assert raised.value.http_status == 404

    def test_listing_of_a_file_is_an_error(self, source: SourceUnderTest) -> None:
        source.store("file", DATA)

        with pytest.raises(DoorError):
            source.listed("file")

    def test_listing_of_what_is_forbidden_is_an_error(
        self, source: SourceUnderTest
    ) -> None:
        source.forbid("forbidden")

        with pytest.raises(DoorError) as raised:
            source.listed("forbidden")
        assert (raised.value.http_status, raised.value.kind) == (
            403,
            FailureClass.FORBIDDEN,
        )

    def test_long_listing_has_every_name_once(self, source: SourceUnderTest) -> None:
        names = {f"file-{number:04d}" for number in range(1500)}
        for name in names:
            source.store(f"long/{name}", b"")

        assert set(source.listed("long")) == names

    def test_listing_tells_when_a_file_was_written(
        self, source: SourceUnderTest
    ) -> None:
        began = time.time()
        source.store("file", DATA)
        modified = source.listed()["file"].modified

        assert modified is not None
        assert began - 2 <= modified <= time.time() + 2

    def test_walk_shows_every_directory_and_every_file_once(
        self, source: SourceUnderTest
    ) -> None:
        files = {f"d{n % 5}/e{n % 15}/file {n}" for n in range(60)}
        for name in files:
            source.store(name, b"x")
        patience = Patience(print, threading.Event())
        pages = []
        with Walk(
            source.make_client, source.root, 4, patience, threading.Event()
        ) as walk:
            for page in walk:
                pages.append(page)
                walk.done(page.directory)
        seen = [entry for page in pages for entry in page.entries]

        assert sorted(source.path(name) for name in files) == sorted(
            entry.path for entry in seen if not entry.is_directory
        )
        assert len(pages) == len({page.directory for page in pages}) == 21
        assert {page.trouble for page in pages} == {""}

    # look

    def test_look_tells_of_a_file_what_the_listing_does(
        self, source: SourceUnderTest
    ) -> None:
        source.store("below/file", DATA)
        listed, looked = source.listed("below")["file"], source.looked("below/file")

        assert (looked.size, looked.is_directory) == (len(DATA), False)
        assert looked.modified == listed.modified
        if listed.adler32 is not None:
            assert looked.adler32 == listed.adler32

    def test_look_at_nothing_is_none(self, source: SourceUnderTest) -> None:
        source.store("file", DATA)

        assert source.client.look(source.path("nowhere")) is None
        assert source.client.look(source.path("no/where")) is None

    def test_look_tells_a_directory(self, source: SourceUnderTest) -> None:
        source.store("below/file", DATA)
        entry = source.looked("below")

        assert (entry.is_directory, entry.size) == (True, None)

    def test_look_sees_that_a_file_became_a_directory(
        self, source: SourceUnderTest
    ) -> None:
        source.store("name", DATA)
        assert not source.looked("name").is_directory
        source.client.delete(source.path("name"))
        source.store("name/below", DATA)

        assert source.looked("name").is_directory

    def test_look_at_what_is_forbidden_is_an_error(
        self, source: SourceUnderTest
    ) -> None:
        source.forbid("forbidden")

        with pytest.raises(DoorError) as raised:
            source.client.look(source.path("forbidden/x"))
        assert raised.value.kind is FailureClass.FORBIDDEN

    @pytest.mark.parametrize("data", [b"", b"x", DATA], ids=["empty", "one", "many"])
    def test_look_tells_the_checksum(
        self, source: SourceUnderTest, data: bytes
    ) -> None:
        source.store("file", data)
        expected = zlib.adler32(data) if source.has_checksums or not data else None
        listed = source.listed()["file"].adler32

        assert source.looked("file").adler32 == expected
        assert listed == (expected if source.lists_checksums or not data else None)

    def test_look_tells_which_file_it_is(self, source: SourceUnderTest) -> None:
        source.store("file", DATA)
        first = source.looked("file").pnfsid
        source.store("file", DATA)
        second = source.looked("file").pnfsid

        if source.pnfsid is None:
            assert (first, second) == (None, None)
        else:
            assert first != second == source.pnfsid("file")
            assert source.listed()["file"].pnfsid == second

    def test_look_sees_at_once_that_a_file_has_changed(
        self, source: SourceUnderTest
    ) -> None:
        source.store("file", DATA)
        source.looked("file")
        source.store("file", b"other")
        entry = source.looked("file")

        assert entry.size == 5
        assert entry.adler32 == (
            zlib.adler32(b"other") if source.has_checksums else None
        )

    def test_free_bytes_are_what_the_door_says(self, source: SourceUnderTest) -> None:
        assert source.client.free_bytes(source.root) == source.free_bytes

    # delete

    def test_deleted_file_is_gone_and_its_neighbours_are_not(
        self, source: SourceUnderTest
    ) -> None:
        for name in ("file", "file2", "fil", "below/file"):
            source.store(name, DATA)
        answer = source.client.delete(source.path("file"))

        assert answer.status in source.delete_statuses
        assert not source.exists("file")
        assert source.client.look(source.path("file")) is None
        assert set(source.listed()) == {"file2", "fil", "below"}
        assert set(source.listed("below")) == {"file"}

    def test_deleting_what_is_absent_is_404(self, source: SourceUnderTest) -> None:
        source.store("file", DATA)
        first = source.client.delete(source.path("file")).status
        again = source.refusal(source.client.delete, "file")
        never = source.refusal(source.client.delete, "no/where")

        assert first in source.delete_statuses
        assert (again, never) == (404, 404)

    def test_empty_file_can_be_deleted(self, source: SourceUnderTest) -> None:
        source.store("empty", b"")

        answer = source.client.delete(source.path("empty"))
        assert answer.status in source.delete_statuses
        assert not source.exists("empty")

    def test_what_is_forbidden_is_not_deleted(self, source: SourceUnderTest) -> None:
        source.forbid("forbidden")
        status = source.refusal(source.client.delete, "forbidden/x")

        assert status in source.forbidden_statuses
        assert source.exists("forbidden/x")

    @pytest.mark.parametrize("name", ["", "below/", "/"])
    def test_what_may_be_a_directory_is_not_even_asked_to_be_deleted(
        self, source: SourceUnderTest, name: str
    ) -> None:
        source.store("below/file", DATA)
        source.looked("below/file")
        before = source.client.requests

        with pytest.raises(ValueError, match="file"):
            source.client.delete(source.path(name))
        assert source.client.requests == before
        assert source.exists("below/file")

    def test_redirect_of_a_delete_is_not_followed(
        self, source: SourceUnderTest
    ) -> None:
        if source.redirect is None:
            pytest.skip("this server redirects no DELETE")
        source.redirect("name")
        before = source.client.requests
        answer = source.client.delete(source.path("name"))

        assert 300 <= answer.status < 400
        assert source.client.requests == before + 1
        assert source.exists("name")

    def test_delete_on_a_connection_that_was_closed_is_answered(
        self, source: SourceUnderTest
    ) -> None:
        if source.hang_up is None:
            pytest.skip("this server's connections cannot be closed alone")
        for name in ("first", "second"):
            source.store(name, DATA)
        source.client.delete(source.path("first"))
        source.hang_up()
        answer = source.client.delete(source.path("second"))

        assert answer.status in source.delete_statuses
        assert not source.exists("second")

    def test_client_outlives_a_connection_that_has_served_enough(
        self, source: SourceUnderTest
    ) -> None:
        source.store("file", b"")
        sizes = {source.looked("file").size for _ in range(120)}

        assert sizes == {0}
        assert source.client.requests >= 120

    def test_empty_directory_can_be_deleted(self, source: SourceUnderTest) -> None:
        source.make_directory("hollow")
        source.store("file", DATA)
        answer = source.client.delete_directory(source.path("hollow"))

        assert answer.status in source.delete_statuses
        assert set(source.listed()) == {"file"}

    # move

    def test_renamed_file_is_the_same_one_elsewhere(
        self, source: SourceUnderTest
    ) -> None:
        source.store("below/file", DATA)
        before = source.looked("below/file")
        target = source.path("below/.apart")
        answer = source.client.move(source.path("below/file"), target)
        after = source.looked("below/.apart")

        assert answer.status in (200, 201, 204)
        assert (after.size, after.pnfsid) == (before.size, before.pnfsid)
        assert after.adler32 == before.adler32
        assert set(source.listed("below")) == {".apart"}

    def test_rename_replaces_nothing(self, source: SourceUnderTest) -> None:
        if source.overwrites:
            pytest.skip("this server's rename replaces what is there")
        source.store("old", DATA)
        source.store("new", b"newer")
        answer = source.client.move(source.path("old"), source.path("new"))

        assert answer.status == 412
        assert (source.looked("old").size, source.looked("new").size) == (len(DATA), 5)

    def test_rename_of_nothing_is_404(self, source: SourceUnderTest) -> None:
        source.store("bystander", DATA)
        status = source.refusal(source.client.move, "nowhere", "there")

        assert status == 404
        assert set(source.listed()) == {"bystander"}

    def test_odd_names_are_renamed_and_get_their_names_back(
        self, source: SourceUnderTest
    ) -> None:
        for name in ODD_NAMES:
            if name in source.unmoved:
                continue
            source.store(name, DATA)
            there, apart = source.path(name), source.path("apart")
            first = source.client.move(there, apart).status
            again = source.client.move(apart, there).status

            assert {first, again} <= {200, 201, 204}, name
            assert source.exists(name), name
            assert not source.exists("apart"), name

    # names

    def test_odd_names_are_listed_as_they_are(self, source: SourceUnderTest) -> None:
        expected = {}
        for number, name in enumerate(ODD_NAMES):
            if name not in source.unlisted:
                source.store(name, bytes(number))
                expected[name] = number
        found = source.listed()

        assert {name: entry.size for name, entry in found.items()} == expected
        assert {entry.trouble for entry in found.values()} == {""}

    @pytest.mark.parametrize("name", ODD_NAMES)
    def test_odd_name_is_looked_at_and_deleted_alone(
        self, source: SourceUnderTest, name: str
    ) -> None:
        if name in source.unseen:
            pytest.skip("a name that this server cannot be asked about")
        others = [other for other in ODD_NAMES if other != name]
        for number, other in enumerate(others):
            source.store(other, bytes(number))
        source.store(name, DATA)

        assert source.looked(name).size == len(DATA)
        assert source.client.delete(source.path(name)).status in source.delete_statuses
        assert [other for other in ODD_NAMES if source.exists(other)] == others

    def test_odd_directory_is_entered(self, source: SourceUnderTest) -> None:
        name = "odd dir & co, grüße+"
        source.store(f"{name}/file", DATA)

        assert source.listed()[name].is_directory
        assert set(source.listed(name)) == {"file"}
        assert source.looked(name).is_directory
