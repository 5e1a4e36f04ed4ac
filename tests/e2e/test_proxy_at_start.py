"""A command that begins without a good proxy says so at once: the mail comes today."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from deployment import Deployment

from copies import RAW, copy_here
from dcmirror.testing.fake_dcache import FakeDCache
from dcmirror.testing.pki import Pki

NOBODY = "127.0.0.1:9"


@pytest.fixture
def site(deploy: Callable[..., Deployment], source: FakeDCache) -> Deployment:
    """One copy, whose source may be deleted."""
    made = deploy(
        NOBODY,
        source.door_url,
        cleanup={"allowed": True, "max_fraction": 1.0, "min_age_days": 0.0},
    )
    source.upload(f"{RAW}/f", size=100, seed=1)
    copy_here(made.mirror, made.state / "catalogue.db", source, [f"{RAW}/f"])
    return made


@pytest.mark.parametrize("proxy", ["missing", "expired"])
@pytest.mark.parametrize(
    "command", ["cleanup", "reconcile", "reconcile --dry-run", "audit --source"]
)
def test_a_bad_proxy_at_the_start_is_told_at_once(
    site: Deployment, pki: Pki, tmp_path: Path, command: str, proxy: str
) -> None:
    path = tmp_path / "x509up"
    if proxy == "expired":
        pki.make_proxy(-3600, path)
    site.tables["local"]["proxy"] = str(path)
    site.write()
    done = site.run(*command.split(), timeout=300)

    assert done.returncode == 12, done.stderr
    assert "held: " not in done.stderr
