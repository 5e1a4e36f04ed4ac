"""What DoorClient promises of any WebDAV door; holds on the fake and on real ones.

Not collected by itself: a test module subclasses ``SourceContract`` and gives it a
``source`` fixture.  Where servers differ, they say so in ``SourceUnderTest``.
"""

from __future__ import annotations

import pytest

from contracts.looks import LooksContract
from contracts.sources import DATA, ODD_NAMES, SourceUnderTest


class SourceContract(LooksContract):
    """All claims: those of ``LooksContract``, and of delete and move."""

    @pytest.fixture
    def source(self) -> SourceUnderTest:
        raise NotImplementedError

    # delete

    def test_deleted_file_is_gone_and_its_neighbours_are_not(
        self, source: SourceUnderTest
    ) -> None:
        for name in ("file", "file2", "fil", "below/file"):
            source.store(name, DATA)
        is_deleted = source.deletes("file")

        assert is_deleted
        assert not source.exists("file")
        assert source.client.look(source.path("file")) is None
        assert set(source.listed()) == {"file2", "fil", "below"}
        assert set(source.listed("below")) == {"file"}

    def test_deleting_what_is_absent_is_404(self, source: SourceUnderTest) -> None:
        source.store("file", DATA)
        is_deleted = source.deletes("file")
        again = source.refusal(source.client.delete, "file")
        never = source.refusal(source.client.delete, "no/where")

        assert is_deleted
        assert (again, never) == (404, 404)

    def test_empty_file_can_be_deleted(self, source: SourceUnderTest) -> None:
        source.store("empty", b"")

        assert source.deletes("empty")
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
        assert source.deletes(name)
        assert [other for other in ODD_NAMES if source.exists(other)] == others

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
