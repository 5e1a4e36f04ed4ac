"""The files that a bench run copies, behind an nginx with client certificates."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from servers.nginx import Nginx

_BLOCK = 32 * 1024 * 1024
_PER_DIRECTORY = 1000


@dataclass(frozen=True)
class FileSet:
    """Files of one size; names follow from the count."""

    name: str
    count: int
    size: int

    @property
    def folder(self) -> str:
        return f"/{self.name}"

    def relatives(self) -> Iterator[str]:
        for number in range(self.count):
            yield f"run{number // _PER_DIRECTORY:03d}/file-{number:06d}.fits"


def write(files: FileSet, data: Path) -> None:
    """Make the files; random bytes, repeated in large ones."""
    block = os.urandom(min(_BLOCK, files.size))
    for relative in files.relatives():
        path = data / files.name / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as stream:
            left = files.size
            while left:
                left -= stream.write(block[:left])


@dataclass(frozen=True)
class Source:
    """The server and what a client needs to be let in."""

    url: str
    credential: Path
    capath: Path


def source_of(nginx: Nginx, directory: Path) -> Source:
    """The user's certificate and key in one file, as a proxy would be."""
    pki = nginx.pki
    credential = directory / "credential.pem"
    credential.write_bytes(pki.user_cert.read_bytes() + pki.user_key.read_bytes())
    credential.chmod(0o600)
    return Source(nginx.url, credential, pki.capath)
