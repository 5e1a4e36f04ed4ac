"""The fake dCache's namespace: paths, pnfsids, contents and checksums."""

from __future__ import annotations

import random
import threading
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

# A prime length, so that two exchanged or repeated buffers never look right.
_PATTERN_LENGTH = 1_048_573
_PATTERN = memoryview(random.Random("dcmirror").randbytes(_PATTERN_LENGTH) * 2)
PIECE_BYTES = 1 << 18


class Content(Protocol):
    """Bytes that can be read from anywhere, in pieces."""

    @property
    def size(self) -> int: ...

    def piece(self, offset: int, length: int) -> memoryview: ...


@dataclass(frozen=True, slots=True)
class Stored:
    """Bytes that somebody uploaded."""

    data: bytes

    @property
    def size(self) -> int:
        return len(self.data)

    def piece(self, offset: int, length: int) -> memoryview:
        return memoryview(self.data)[offset : offset + length]


@dataclass(frozen=True, slots=True)
class Patterned:
    """Any number of bytes that need no memory; other seeds give other bytes."""

    size: int
    seed: int

    def piece(self, offset: int, length: int) -> memoryview:
        start = (self.seed * 7919 + offset) % _PATTERN_LENGTH
        length = min(length, self.size - offset, _PATTERN_LENGTH)
        return _PATTERN[start : start + length]


def pieces(
    content: Content, start: int = 0, end: int | None = None
) -> Iterator[memoryview]:
    """The bytes from ``start`` to before ``end``."""
    end = content.size if end is None else end
    while start < end:
        piece = content.piece(start, min(PIECE_BYTES, end - start))
        yield piece
        start += len(piece)


def adler32_of(content: Content) -> int:
    # zlib's own, not the one under test
    if content.size <= PIECE_BYTES:
        return zlib.adler32(content.piece(0, content.size))
    value = 1
    for piece in pieces(content):
        value = zlib.adler32(piece, value)
    return value


@dataclass(frozen=True, slots=True)
class FileVersion:
    """One file as it was at one time; an overwrite makes another one.

    ``adler32`` None: dCache has stored no checksum (yet).  ``complete`` False: it is
    still being written.  ``broken``: its upload was cut.
    """

    pnfsid: str
    content: Content
    adler32: int | None
    mtime: float
    complete: bool = True
    broken: bool = False

    @property
    def size(self) -> int:
        return self.content.size

    @property
    def etag(self) -> str:
        return f'"{self.pnfsid}_{int(self.mtime * 1000)}"'


class Namespace:
    """Maps namespace paths to files; directories appear with their first entry."""

    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(f"pnfsid {seed}")
        self._files: dict[str, FileVersion] = {}
        self._children: dict[str, set[str]] = {"/": set()}
        self._lock = threading.RLock()

    def __repr__(self) -> str:
        return f"<Namespace {len(self._files)} files>"

    def new_pnfsid(self) -> str:
        with self._lock:
            return f"0000{self._random.getrandbits(128):032X}"

    def get(self, path: str) -> FileVersion | None:
        return self._files.get(path)

    def files(self) -> dict[str, FileVersion]:
        """A copy of everything."""
        with self._lock:
            return dict(self._files)

    def is_directory(self, path: str) -> bool:
        return path in self._children

    def children(self, directory: str) -> list[str]:
        """Full paths of the entries of a directory, sorted."""
        with self._lock:
            names = sorted(self._children.get(directory, ()))
        return [join(directory, name) for name in names]

    def store(self, path: str, version: FileVersion) -> None:
        """Put a version in place, whatever was there."""
        with self._lock:
            self.make_directory(parent(path))
            self._files[path] = version
            self._children[parent(path)].add(path.rpartition("/")[2])

    def store_all(
        self, directory: str, versions: Iterable[tuple[str, FileVersion]]
    ) -> None:
        """Put many files into one directory, by name."""
        with self._lock:
            self.make_directory(directory)
            children = self._children[directory]
            for name, version in versions:
                self._files[join(directory, name)] = version
                children.add(name)

    def update(self, path: str, **changes: object) -> FileVersion:
        """The same file (same pnfsid) with something changed."""
        with self._lock:
            version = replace(self._files[path], **changes)  # type: ignore[arg-type]
            self._files[path] = version
            return version

    def make_directory(self, path: str) -> None:
        with self._lock:
            if path not in self._children:
                self._children[path] = set()
                above, _, name = path.rpartition("/")
                self.make_directory(above or "/")
                self._children[above or "/"].add(name)

    def remove(self, path: str) -> list[tuple[str, FileVersion]]:
        """Remove a file, or a directory with all that is below; what files went."""
        with self._lock:
            removed = self._remove_below(path)
            self._children[parent(path)].discard(path.rpartition("/")[2])
            return removed

    def move(self, source: str, target: str) -> None:
        """Rename a file, or a directory with all that is below."""
        with self._lock:
            if source in self._files:
                self.store(target, self._files.pop(source))
            else:
                self.make_directory(target)
                for child in self.children(source):
                    self.move(child, join(target, child.rpartition("/")[2]))
                del self._children[source]
            self._children[parent(source)].discard(source.rpartition("/")[2])

    def _remove_below(self, path: str) -> list[tuple[str, FileVersion]]:
        version = self._files.pop(path, None)
        if version is not None:
            return [(path, version)]
        removed = []
        for child in self.children(path):
            removed += self._remove_below(child)
        self._children.pop(path, None)
        return removed


def parent(path: str) -> str:
    return path.rpartition("/")[0] or "/"


def join(directory: str, name: str) -> str:
    return f"{directory.rstrip('/')}/{name}"
