"""What a user meets who is not the one that dcmirror runs as."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp

import pytest

from config_text import SHORTEST

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="needs another user")

# Everything is imported before, since the other user may not read it either.
AS_ANOTHER_USER = """
import os, pkgutil, sys, importlib
import dcmirror.cli as cli, dcmirror.adapters, dcmirror.commands, dcmirror.core
for package in (dcmirror.adapters, dcmirror.commands, dcmirror.core):
    for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)
os.setgroups([]); os.setgid(65534); os.setuid(65534)
os.chdir("/")
sys.exit(cli.run(sys.argv[1:]))
"""


@pytest.fixture
def config() -> Iterator[Path]:
    """A configuration that all may read; its state directory is closed to others."""
    place = Path(mkdtemp(prefix="dcmirror-test-"))
    place.chmod(0o755)
    (place / "state").mkdir(mode=0o750)
    (place / "state" / "catalogue.db").touch()
    path = place / "dcmirror.toml"
    path.write_text(f'{SHORTEST}\n[state]\ndirectory = "{place / "state"}"\n')
    yield path
    shutil.rmtree(place)


def run(*args: object) -> subprocess.CompletedProcess[str]:
    """Python with these arguments, to its end."""
    return subprocess.run(
        [sys.executable, *map(str, args)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    "command",
    [
        "report",
        "audit",
        "cleanup --dry-run",
        "replay --dry-run",
        "reconcile --dry-run",
    ],
)
def test_who_may_not_enter_the_state_directory_is_told_whom_to_ask(
    config: Path, command: str
) -> None:
    ran = run("-c", AS_ANOTHER_USER, *command.split(), "-c", config)

    assert (13, "") == (ran.returncode, ran.stdout)
    assert "Permission denied" in ran.stderr
    assert "root" in ran.stderr
    assert ran.stderr.count("\n") == 1


def test_root_is_kept_from_writing_into_the_books_of_another_user(config: Path) -> None:
    tag = config.parent / "state" / "tag"
    tag.write_text("01234567\n")
    os.chown(tag, 65534, 65534)
    before = sorted(tag.parent.iterdir())
    ran = run("-m", "dcmirror", "replay", "-c", config)

    assert (13, "") == (ran.returncode, ran.stdout)
    assert "its books belong to nobody; run this as nobody: sudo -u" in ran.stderr
    assert before == sorted(tag.parent.iterdir())
