"""A configuration as short as can be, and what reading one gives."""

from __future__ import annotations

import pytest

from dcmirror import config
from dcmirror.errors import ConfigError
from dcmirror.settings import Settings

SHORTEST = """\
[kafka]
topic = "billing"
servers = ["k:9092"]
consumergroup = "g"
[dcache]
url = "https://door.example.org:2880"
pool = "/"
folder = "/raw"
[local]
downloadfolder = "/data"
"""


def parsed(text: str, **environ: str) -> Settings:
    return config.parse(text, "t.toml", environ)


def problems(text: str, **environ: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parsed(text, **environ)
    return str(caught.value).splitlines()


def with_line(table: str, line: str) -> str:
    """SHORTEST with one more line in a table."""
    header = f"[{table}]\n"
    if header in SHORTEST:
        return SHORTEST.replace(header, f"{header}{line}\n")
    return f"{SHORTEST}{header}{line}\n"
