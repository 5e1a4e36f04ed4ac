"""What the demo uploads: a tree of many sizes, with odd names and second thoughts."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from dcmirror.testing.fake_namespace import Patterned, pieces

FOLDER = "/experiment"
RULES = ("exclude *.tmp", "exclude scratch/**")
KIB, MIB = 1024, 1024 * 1024

_ODD_NAMES = (
    "a name with blanks.dat",
    "grüße aus 東京.dat",
    "percent%20sign%.dat",
    "question?mark#hash.dat",
    "plus+and&ampersand;semicolon.dat",
    "quote'and\"double.dat",
    "brackets[1]{2}.dat",
    "-leading-dash",
    ".hidden",
    "z" * 250,
)


@dataclass(frozen=True, slots=True)
class Upload:
    """One upload: a path below the folder and the bytes (``Patterned``) it gets."""

    relative: str
    size: int
    seed: int

    @property
    def content(self) -> Patterned:
        return Patterned(self.size, self.seed)


@dataclass(frozen=True, slots=True)
class Tree:
    """All uploads in order, and what shall come of them.

    Args:
        uploads: below the folder; a later one of the same path overwrites.
        unwanted: below the folder, but the filter's rules exclude them.
        strangers: namespace paths outside the folder.
        forbidden: one of the uploads that the door will refuse to hand out.
    """

    uploads: tuple[Upload, ...]
    unwanted: tuple[Upload, ...]
    strangers: tuple[str, ...]
    forbidden: str

    @property
    def final(self) -> dict[str, Upload]:
        """What the mirror must hold in the end."""
        return {upload.relative: upload for upload in self.uploads}

    @property
    def biggest(self) -> str:
        """The upload that takes longest."""
        return max(self.uploads, key=lambda upload: upload.size).relative

    @property
    def total_bytes(self) -> int:
        return sum(upload.size for upload in self.uploads)


def plan(files: int, seed: int) -> Tree:
    """The same tree for the same numbers."""
    dice = random.Random(f"demo {seed}")
    sizes = list(_sizes(files, dice))
    dice.shuffle(sizes)
    names = [_name(number, dice) for number in range(files)]
    first = [
        Upload(name, size, seed * 1_000_003 + number)
        for number, (name, size) in enumerate(zip(names, sizes, strict=True))
    ]
    again = [
        Upload(old.relative, old.size // 2 + 17, old.seed + 500_009)
        for old in dice.sample(first, k=max(1, files // 20))
    ]
    uploads = [*first[: files // 2], *_mixed(first[files // 2 :], again, dice)]
    overwritten = {upload.relative for upload in again}
    return Tree(
        uploads=tuple(_in_order(uploads, first)),
        unwanted=tuple(_unwanted(files)),
        strangers=tuple(f"/elsewhere/{number}" for number in range(files // 20)),
        forbidden=next(
            upload.relative
            for upload in reversed(first)
            if upload.relative not in overwritten
        ),
    )


def tree_digest(files: Iterable[tuple[str, str]]) -> str:
    """One SHA-256 of all names and their files' SHA-256."""
    digest = hashlib.sha256()
    for relative, of_file in sorted(files):
        digest.update(f"{of_file}  {relative}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def sha256_of_upload(upload: Upload) -> str:
    digest = hashlib.sha256()
    for piece in pieces(upload.content):
        digest.update(piece)
    return digest.hexdigest()


def sha256_of_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sizes(files: int, dice: random.Random) -> Iterator[int]:
    """A few empty and a few big ones; most are small, most bytes are not."""
    for number in range(files):
        share = number / files
        if number < 2:
            yield 64 * MIB
        elif share < 0.03:
            yield 0
        elif share < 0.12:
            yield dice.randrange(MIB, 8 * MIB)
        elif share < 0.40:
            yield dice.randrange(64 * KIB, MIB)
        else:
            yield dice.randrange(1, 64 * KIB)


def _name(number: int, dice: random.Random) -> str:
    if number < len(_ODD_NAMES):
        return f"odd names/{_ODD_NAMES[number]}"
    return f"run{dice.randrange(8):03d}/detector{dice.randrange(4)}/f{number:05d}.h5"


def _mixed(one: list[Upload], other: list[Upload], dice: random.Random) -> list[Upload]:
    mixed = one + other
    dice.shuffle(mixed)
    return mixed


def _in_order(uploads: list[Upload], first: list[Upload]) -> Iterator[Upload]:
    """A file's second version comes after its first, wherever it was drawn."""
    firsts = {upload.relative: upload for upload in first}
    seen: set[Upload] = set()
    for upload in uploads:
        original = firsts[upload.relative]
        for wanted in (original, upload):
            if wanted not in seen:
                seen.add(wanted)
                yield wanted


def _unwanted(files: int) -> Iterator[Upload]:
    for number in range(max(1, files // 30)):
        yield Upload(f"run000/being-written-{number}.tmp", 1000, number)
        yield Upload(f"scratch/deep/er/{number}", 1000, number)
