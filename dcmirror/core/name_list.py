"""A list of files to compare: one path a line, or a namespace dump with sizes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain, islice

from dcmirror.core.paths import PathMap

#: Lines that are looked at to tell a dump from a list of paths.
_SAMPLE = 100
_REST = r"([0-9]{1,19})(?:[ \t]+([0-9a-fA-F]{8}|-))?[ \t]*"
# The first one that fits: behind a tab stands no part of the name.
_TABBED = re.compile(r"(/[^\t]*?[^\t ]) *\t[ \t]*" + _REST)
_SPACED = re.compile(r"(/.*?\S)[ \t]+" + _REST)
_MOST_BYTES = 16384


class ListForm(StrEnum):
    """What a list is taken for."""

    PATHS = "a list of paths"
    DUMP = "a dump of paths and sizes"
    NUMBERED = (
        "a list of paths that end in numbers; in a dump a size has a tab before it, or "
        "some line an Adler-32 behind it"
    )


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
    lines: Iterable[bytes],
    path_map: PathMap,
    under: str | None = None,
    on_form: Callable[[ListForm], None] = lambda form: None,
) -> Iterator[NamedFile | BadLine]:
    """What each line names; empty ones and those that begin with # name nothing.

    ``under``: other files are left out without a word.  ``on_form`` hears what the list
    is taken for, before the first line.
    """
    rest = iter(lines)
    sample = list(islice(rest, _SAMPLE))
    form = form_of(sample)
    on_form(form)
    is_dump = form is ListForm.DUMP
    for number, line in enumerate(chain(sample, rest), start=1):
        if line.strip() and not line.startswith(b"#"):
            found = _read(number, line, path_map, is_dump=is_dump)
            if under is None or isinstance(found, BadLine) or _below(found.path, under):
                yield found


def form_of(sample: Iterable[bytes]) -> ListForm:
    """What a list that begins with these lines is.

    It is a dump if all of them end in a size or a size and an Adler-32, and one shows
    that it is no part of the name: names may end in numbers, and dates, too.
    """
    texts = [
        line.decode("utf-8", "replace").rstrip("\r\n")
        for line in sample
        if line.strip() and not line.startswith(b"#")
    ]
    if not texts or not all(map(_fields, texts)):
        return ListForm.PATHS
    return ListForm.DUMP if any(map(_is_proof, texts)) else ListForm.NUMBERED


def _fields(text: str) -> re.Match[str] | None:
    return _TABBED.fullmatch(text) or _SPACED.fullmatch(text)


def _is_proof(text: str) -> bool:
    """Whether a line of path and size can hardly be a path alone."""
    if _TABBED.fullmatch(text):
        return True
    fields = _SPACED.fullmatch(text)
    digest = (fields and fields[3]) or "0"
    return not digest.isdigit()


def _read(
    number: int, line: bytes, path_map: PathMap, *, is_dump: bool
) -> NamedFile | BadLine:
    if len(line) > _MOST_BYTES:
        return BadLine(number, "longer than any path")
    try:
        text = line.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        return BadLine(number, "not UTF-8")
    fields = _fields(text) if is_dump else None
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
