"""A list of files to compare: one path a line, or a namespace dump with sizes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice

from dcmirror.core.paths import PathMap

#: Lines that are looked at to tell a dump from a list of paths.
_SAMPLE = 100
_DUMP = re.compile(r"(/.*?\S)[ \t]+([0-9]{1,19})(?:[ \t]+([0-9a-fA-F]{8}|-))?[ \t]*")
_MOST_BYTES = 16384


@dataclass(frozen=True, slots=True)
class NamedFile:
    """A line that can be used; ``size`` and ``adler32`` only in a dump."""

    number: int
    path: str
    size: int | None = None
    adler32: int | None = None


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that cannot."""

    number: int
    why: str


def read_names(
    lines: Iterable[bytes], path_map: PathMap, under: str | None = None
) -> Iterator[NamedFile | BadLine]:
    """What each line names; empty ones and those that begin with # name nothing.

    It is a dump ("path size [adler32]") if all of the first 100 lines are; names may
    have spaces in both.  ``under``: other files are left out without a word.
    """
    rest = iter(lines)
    sample = list(islice(rest, _SAMPLE))
    is_dump = _is_dump(sample)
    for number, line in enumerate(chain(sample, rest), start=1):
        if line.strip() and not line.startswith(b"#"):
            found = _read(number, line, path_map, is_dump=is_dump)
            if under is None or isinstance(found, BadLine) or _below(found.path, under):
                yield found


def _is_dump(sample: list[bytes]) -> bool:
    texts = [
        line.decode("utf-8", "replace").rstrip("\r\n")
        for line in sample
        if line.strip() and not line.startswith(b"#")
    ]
    return bool(texts) and all(map(_DUMP.fullmatch, texts))


def _read(
    number: int, line: bytes, path_map: PathMap, *, is_dump: bool
) -> NamedFile | BadLine:
    if len(line) > _MOST_BYTES:
        return BadLine(number, "longer than any path")
    try:
        text = line.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        return BadLine(number, "not UTF-8")
    fields = _DUMP.fullmatch(text) if is_dump else None
    if is_dump and fields is None:
        return BadLine(number, "not a path, a size and perhaps an Adler-32")
    path, size, adler32 = fields.groups() if fields else (text, None, None)
    if path_map.relative(path) is None:
        return BadLine(number, f"not a path below {path_map.root}")
    if path.endswith("/"):
        return BadLine(number, "a directory")
    return NamedFile(
        number,
        path,
        None if size is None else int(size),
        None if adler32 in (None, "-") else int(adler32, 16),
    )


def _below(path: str, under: str) -> bool:
    return path == under or path.startswith(f"{under.rstrip('/')}/")
