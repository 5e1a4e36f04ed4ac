"""What the demo believes in the end: both trees, byte for byte, and the books."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dcmirror.testing.demo_tree import (
    Upload,
    sha256_of_file,
    sha256_of_upload,
    tree_digest,
)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two trees, file by file."""

    source: str
    mirror: str
    files: int
    bytes: int
    missing: tuple[str, ...]
    different: tuple[str, ...]
    surplus: tuple[str, ...]

    @property
    def is_equal(self) -> bool:
        return self.source == self.mirror and not self.faults

    @property
    def faults(self) -> tuple[str, ...]:
        """What is wrong, one line each."""
        return (
            *(f"missing: {name!r}" for name in self.missing),
            *(f"different: {name!r}" for name in self.different),
            *(f"not expected: {name!r}" for name in self.surplus),
        )


def compare(expected: Mapping[str, Upload], mirror: Path) -> Comparison:
    """Read every byte of the mirror and compare it with what was uploaded.

    A part that was left behind is a file that nobody expects.
    """
    source = {name: sha256_of_upload(upload) for name, upload in expected.items()}
    found = {name: sha256_of_file(mirror / name) for name in _files_below(mirror)}
    return Comparison(
        source=tree_digest(source.items()),
        mirror=tree_digest(found.items()),
        files=len(found),
        bytes=sum((mirror / name).stat().st_size for name in found),
        missing=tuple(sorted(source.keys() - found.keys())),
        different=tuple(
            sorted(
                name for name in source.keys() & found.keys()
                if source[name] != found[name]
            )
        ),
        surplus=tuple(sorted(found.keys() - source.keys())),
    )  # fmt: skip


def _files_below(directory: Path) -> list[str]:
    return [
        os.path.relpath(os.path.join(parent, name), directory)
        for parent, _, names in os.walk(directory)
        for name in names
    ]
