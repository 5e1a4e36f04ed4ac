"""The demo runs, shows a kill and a replay, and leaves nothing behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_demo_ends_with_equal_trees(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "dcmirror.testing.demo", "--plain"]
    options = ["--files", "40", "--directory", str(tmp_path)]
    done = subprocess.run(
        [*command, *options], capture_output=True, text=True, timeout=110
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "kill -9 of worker" in done.stdout
    assert "replay: exit status 0, 0 rows remain" in done.stdout
    assert "equal" in done.stdout
    assert [] == list(tmp_path.iterdir())
