"""A tree at a source, what goes wrong with it, and what is at the source in the end."""

from __future__ import annotations

import os
import random
import zlib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from dcmirror.core.marks import ATTRIBUTE, Mark, encode
from dcmirror.testing.fake_client import RemoteDCache
from dcmirror.testing.fake_namespace import Patterned

if TYPE_CHECKING:
    from servers.xrootd import XRootD

SIZES = (1000, 1, 3000, 0, 700)


@dataclass(frozen=True, slots=True)
class Held:
    """One file at the source now."""

    size: int
    adler32: int
    pnfsid: str | None


class Source(Protocol):
    """A place that can be filled and spoilt; names are paths below the folder."""

    def replace(self, name: str) -> None:
        """Another file stands there; nobody tells."""

    def rename(self, name: str, new: str) -> None:
        """Nobody tells."""

    def files(self) -> dict[str, Held]:
        """What is there now."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Which files of a tree meet what; the groups have no file in common.

    ``contents`` has size and seed of each.  ``renamed`` maps old names to new ones.
    ``flipped`` copies keep size and time, ``cut`` ones do not.
    """

    contents: dict[str, tuple[int, int]]
    unsent: frozenset[str]
    replaced: frozenset[str]
    renamed: dict[str, str]
    flipped: frozenset[str]
    cut: frozenset[str]

    @property
    def sent(self) -> list[str]:
        """Those that events tell of."""
        return [name for name in self.contents if name not in self.unsent]


def plan_of(count: int, directories: int, seed: int) -> Plan:
    """3 % never told, 1 % replaced, 0.5 % renamed, 0.5 % of the copies damaged."""
    contents = {}
    each = count // directories
    for directory in range(directories):
        size = SIZES[directory % len(SIZES)]
        for number in range(each):
            name = f"run{directory:02}/file-{number:06d}.dat"
            contents[name] = (size, directory * 100_000 + number)
    names = sorted(contents)
    random.Random(seed).shuffle(names)
    full = [name for name in names if contents[name][0]]
    damaged = full[: count // 200]
    rest = iter([name for name in names if name not in set(damaged)])

    def some(number: int) -> list[str]:
        return [next(rest) for _ in range(number)]

    return Plan(
        contents,
        unsent=frozenset(some(count * 3 // 100)),
        replaced=frozenset(some(count // 100)),
        renamed={name: f"{name}.renamed" for name in some(count // 200)},
        flipped=frozenset(damaged[::2]),
        cut=frozenset(damaged[1::2]),
    )


def content(plan: Plan, name: str) -> bytes:
    """The bytes that a file had at first."""
    size, seed = plan.contents[name]
    return bytes(Patterned(size, seed).piece(0, size))


class FakeSource:
    """The fake dCache in a process of its own; ``folder`` is the namespace path."""

    def __init__(self, remote: RemoteDCache, folder: str) -> None:
        self.remote = remote
        self._folder = folder

    def fill(self, plan: Plan) -> None:
        """Everything at once, and nobody tells."""
        first: dict[str, tuple[int, int]] = {}
        counts: dict[str, int] = {}
        for name, what in plan.contents.items():
            directory = name.rpartition("/")[0]
            first.setdefault(directory, what)
            counts[directory] = counts.get(directory, 0) + 1
        for directory, (size, seed) in first.items():
            self.remote.populate(
                self.path(directory), counts[directory], size=size, seed=seed
            )

    def path(self, name: str) -> str:
        """In the namespace."""
        return f"{self._folder}/{name}"

    def tell(self, names: Iterable[str]) -> None:
        """Publish the events of uploads."""
        paths = [self.path(name) for name in names]
        for start in range(0, len(paths), 1000):
            self.remote.tell(paths[start : start + 1000])
        self.remote.flush()

    def replace(self, name: str) -> None:
        self.remote.replace(self.path(name))

    def rename(self, name: str, new: str) -> None:
        self.remote.move(self.path(name), self.path(new))

    def files(self) -> dict[str, Held]:
        return {
            path.removeprefix(f"{self._folder}/"): Held(**found)
            for path, found in self.remote.files().items()
        }


class XRootDSource:
    """A real XRootD; ``folder`` is the directory below its data directory."""

    def __init__(self, door: XRootD, folder: str) -> None:
        self._door = door
        self._folder = folder.strip("/")

    def fill(self, plan: Plan) -> None:
        for name in plan.contents:
            self._door.upload(f"/{self._folder}/{name}", content(plan, name))

    def replace(self, name: str) -> None:
        old = self._path(name).read_bytes()
        other = bytes(byte ^ 0x5A for byte in old) + b"more"
        self._path(name).unlink()
        self._door.upload(f"/{self._folder}/{name}", other)

    def rename(self, name: str, new: str) -> None:
        self._path(name).rename(self._path(new))

    def files(self) -> dict[str, Held]:
        root = self._door.data / self._folder
        found = {}
        for path in root.rglob("*"):
            if not path.is_file():
                continue
            with suppress(FileNotFoundError):  # deleted meanwhile
                data = path.read_bytes()
                name = str(path.relative_to(root))
                found[name] = Held(len(data), zlib.adler32(data), None)
        return found

    def _path(self, name: str) -> Path:
        return self._door.data / self._folder / name


def spoil_source(source: Source, plan: Plan) -> None:
    """What no event announces."""
    for name in plan.replaced:
        source.replace(name)
    for old, new in plan.renamed.items():
        source.rename(old, new)


def flip(path: Path) -> None:
    """Another byte, the same size and time: only who reads it sees it."""
    now = path.stat()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    os.utime(path, ns=(now.st_atime_ns, now.st_mtime_ns))


def spoil_mirror(mirror: Path, plan: Plan) -> None:
    """A bad disk: some copies rot, some are cut."""
    for name in plan.flipped:
        flip(mirror / name)
    for name in plan.cut:
        os.truncate(mirror / name, plan.contents[name][0] // 2)


def leave_copies(
    mirror: Path, plan: Plan, names: Iterable[str], held: dict[str, Held]
) -> None:
    """What an instance leaves whose state directory was lost: files with marks."""
    for directory in {name.rpartition("/")[0] for name in plan.contents}:
        (mirror / directory).mkdir(parents=True)
    for name in names:
        path = mirror / name
        path.write_bytes(content(plan, name))
        here = held[name]
        mark = Mark(
            pnfsid=here.pnfsid,
            adler32=here.adler32,
            verified=True,
            size=here.size,
            mtime_ns=path.stat().st_mtime_ns,
            event_time=None,
        )
        os.setxattr(path, ATTRIBUTE, encode(mark))


def differing(mirror: Path, held: dict[str, Held]) -> list[str]:
    """Names at the source whose copies are missing or have other bytes."""
    return [name for name, there in held.items() if not is_copy(mirror / name, there)]


def is_copy(path: Path, there: Held) -> bool:
    """Whether these are the bytes of that file."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return False
    return (len(data), zlib.adler32(data)) == (there.size, there.adler32)


def by_kind(rows: Iterable[dict[str, Any]]) -> dict[str, set[str]]:
    """The names of a report's rows, by kind."""
    found: dict[str, set[str]] = {}
    for row in rows:
        found.setdefault(row["kind"], set()).add(row["relative"] or row["place"])
    return found
