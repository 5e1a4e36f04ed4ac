"""Mirrors on real file systems."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from dcmirror.adapters import linux
from dcmirror.adapters.mirror_store import MirrorStore
from store_children import make_store


@pytest.fixture(params=["disk", "tmpfs"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A mirror on the file system of the test directory, and one on tmpfs."""
    if request.param == "disk":
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        yield Path(directory)


@pytest.fixture(params=["openat2", "walk"])
def any_kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With openat2, and as on a kernel that has none."""
    if request.param == "walk":

        def missing(*_: object) -> int:
            raise NotImplementedError

        monkeypatch.setattr(linux, "open_beneath", missing)


@pytest.fixture
def store(root: Path) -> MirrorStore:
    return make_store(root)


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[object]:
    """A function that mounts a small file system; skips where we are not allowed."""
    points: list[Path] = []

    def mount(kind: str, options: str = "size=1m") -> Path:
        point = tmp_path / f"mount-{len(points)}"
        point.mkdir()
        command = ["mount", "-t", kind, "-o", options, kind, str(point)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"cannot mount {kind}: {done.stderr.strip()}")
        points.append(point)
        return point

    yield mount
    for point in points:
        subprocess.run(["umount", "--lazy", str(point)], check=True)
