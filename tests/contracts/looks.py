"""What DoorClient promises of what it lists and looks at, at any WebDAV door.

Not collected by itself: ``contracts.webdav`` has the whole contract.
"""

from __future__ import annotations

import threading
import time
import zlib

import pytest

from contracts.sources import DATA, ODD_NAMES, SourceUnderTest
from dcmirror.core.door_errors import DoorError
from dcmirror.core.failures import FailureClass
from dcmirror.processes.patience import Patience
from dcmirror.processes.walk import Walk


class LooksContract:
    """The claims of list, look and walk."""

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

    def test_a_directory_is_told_from_a_file_and_from_nothing(
        self, source: SourceUnderTest
    ) -> None:
        source.store("odd dir/a+b", DATA)

        def has(name: str) -> bool:
            return source.client.has_directory(source.path(name))

        assert has("odd dir")
        assert has("")
        assert not has("odd dir/a+b")
        assert not has("nowhere")
        assert not has("nowhere/below")

    def test_look_sees_that_a_file_became_a_directory(
        self, source: SourceUnderTest
    ) -> None:
        source.store("name", DATA)
        assert not source.looked("name").is_directory
        assert source.deletes("name")
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

    def test_odd_directory_is_entered(self, source: SourceUnderTest) -> None:
        name = "odd dir & co, grüße+"
        source.store(f"{name}/file", DATA)

        assert source.listed()[name].is_directory
        assert set(source.listed(name)) == {"file"}
        assert source.looked(name).is_directory
