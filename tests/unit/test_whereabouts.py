"""Looking for a file says yes, no, or whom to ask; it never breaks."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from dcmirror.adapters.whereabouts import look_for, unseen
from dcmirror.errors import DirectoryError, ExitStatus


def test_what_is_there_is_seen_and_what_is_not_is_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    assert look_for(tmp_path / "file") is not None
    assert look_for(tmp_path / "none") is None
    assert look_for(tmp_path / "file" / "below") is None


def test_a_name_that_cannot_be_looked_at_is_told_as_a_directory_error() -> None:
    with pytest.raises(DirectoryError, match="File name too long") as caught:
        look_for(Path("/" + "x" * 300))

    assert caught.value.exit_status == ExitStatus.DIRECTORY


def test_who_may_look_is_the_owner_of_what_keeps_us_out(tmp_path: Path) -> None:
    path = tmp_path / "state" / "catalogue.db"
    owner = pwd.getpwuid(os.stat(tmp_path).st_uid).pw_name

    assert unseen(path, PermissionError(13, "Permission denied")) == (
        f"{path}: Permission denied; ask as {owner} or a member of its group"
    )
