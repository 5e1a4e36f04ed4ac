"""What Maven fetches for the tests."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from servers.ladder import Unavailable

_ERROR = re.compile(r"^\[ERROR\] (.+)", re.MULTILINE)


def fetch(
    *arguments: str, cwd: Path | None = None, environ: Mapping[str, str] | None = None
) -> None:
    """Run Maven without a terminal.

    Raises:
        Unavailable: there is none, or it ends in an error, whose first line is told.
    """
    maven = shutil.which("mvn")
    if maven is None:
        raise Unavailable("Apache Maven is not installed")
    done = subprocess.run(
        [maven, "-B", "-q", "-Dstyle.color=never", *arguments],
        cwd=cwd,
        env=environ,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode:
        said = _ERROR.search(done.stdout)
        raise Unavailable(f"Maven: {said[1] if said else done.stderr.strip()}")
