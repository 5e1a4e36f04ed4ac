"""The demo runs, shows a kill and a replay, and leaves nothing behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dcmirror.testing.demo import main


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


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--files", "3"], "--files: '3' is no number from 20 on"),
        (["--files", "many"], "--files: 'many' is no number from 20 on"),
        (["--directory", "/dev/null/x"], "--directory: /dev/null/x: Not a directory"),
    ],
)
def test_what_the_demo_cannot_use_is_told_in_a_line(
    options: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(options)

    assert ended.value.code == 2
    assert told in capsys.readouterr().err
