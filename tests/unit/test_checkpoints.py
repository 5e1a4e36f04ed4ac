"""How far the journal was shipped, when there are several places to ship to."""

from __future__ import annotations

from pathlib import Path

import pytest

from dcmirror.adapters import checkpoints
from dcmirror.adapters.checkpoints import Checkpoint, Position

BEGUN = Checkpoint(writers={"w": Position(3, 40, 2)}, shipped=90)
AHEAD = Checkpoint(writers={"w": Position(7), "v": Position(1)}, shipped=200)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "checkpoint.json"


def test_the_slowest_place_counts(path: Path) -> None:
    checkpoints.save_all(path, {"elastic": BEGUN, "file": AHEAD}, ("elastic", "file"))

    assert checkpoints.load(path) == BEGUN


def test_nothing_is_shipped_as_long_as_one_place_has_not_begun(path: Path) -> None:
    checkpoints.save_all(path, {"file": AHEAD}, ("elastic", "file"))

    assert checkpoints.load(path) == Checkpoint()


def test_a_place_that_is_no_longer_in_use_holds_nothing_back(path: Path) -> None:
    checkpoints.save_all(path, {"elastic": BEGUN, "file": AHEAD}, ("file",))

    assert checkpoints.load(path) == AHEAD


def test_what_is_shipped_is_read_again_when_the_file_was_replaced(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[Path] = []
    load = checkpoints.load
    monkeypatch.setattr(checkpoints, "load", lambda at: loads.append(at) or load(at))
    shipped = checkpoints.Shipped(path)
    assert {} == shipped.positions()
    checkpoints.save_all(path, {"file": BEGUN}, ("file",))
    assert BEGUN.writers == shipped.positions() == shipped.positions()
    checkpoints.save_all(path, {"file": AHEAD}, ("file",))
    assert AHEAD.writers == shipped.positions() == shipped.positions()
    path.unlink()

    assert {} == shipped.positions()
    assert 4 == len(loads)


def test_a_count_that_an_older_version_did_not_have_costs_no_position(
    path: Path,
) -> None:
    checkpoints.save_all(path, {"file": AHEAD}, ("file",))
    path.write_text(path.read_text().replace('"dead_letters_lost": 0', '"other": 0'))

    assert checkpoints.load(path) == AHEAD


@pytest.mark.parametrize("text", ["", "{}", '{"version": 1}', "[]", "null"])
def test_what_cannot_be_read_is_nothing(path: Path, text: str) -> None:
    path.write_text(text)

    assert checkpoints.load(path) == Checkpoint()
