"""Prometheus's own checker, where it is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

_CACHED = Path(__file__).parents[1] / ".cache/prometheus/promtool"


def promtool(*arguments: str | Path, stdin: bytes = b"") -> tuple[int, str]:
    """Exit status and what it complains about; skips where there is none."""
    found = shutil.which("promtool") or (str(_CACHED) if _CACHED.exists() else None)
    if found is None:
        if os.environ.get("DCMIRROR_REQUIRE_REAL") == "1":
            pytest.fail("no promtool, and DCMIRROR_REQUIRE_REAL=1")
        pytest.skip("no promtool (Debian package prometheus; scripts/test fetches it)")
    ran = subprocess.run(
        [found, *arguments], input=stdin, capture_output=True, check=False, timeout=60
    )
    return ran.returncode, ran.stderr.decode()
