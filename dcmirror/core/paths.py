"""From a namespace path to the door's URL and to a safe path below the mirror."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from urllib.parse import quote

from dcmirror.errors import ConfigError, UnsafePathError
from dcmirror.settings import DCache

NAME_MAX = 255  # bytes of one name, on every local file system we know
PATH_MAX = 4096  # bytes of a path with its closing NUL, to the kernel

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_SLASHES = re.compile(r"/{2,}")
_OWN_PART = re.compile(
    r"\.dcmirror-[0-9a-f]{16}\.part|\..+\.[0-9a-f]{8}\.part", re.DOTALL
)
_ISOLATED = re.compile(r"\.dcmirror-[0-9a-f]{16}\.isolated")


class PathMap:
    """Namespace paths below ``folder``, as URLs at the door and as mirror paths.

    ``url`` stands for the namespace directory ``pool``; ``folder`` is relative to
    ``pool``, taken literally.  Each may end with a slash; ``pool`` and ``folder`` may
    be "/", ``folder`` also "".
    """

    __slots__ = ("_below_folder", "_below_pool", "_url")

    def __init__(self, url: str, pool: str, folder: str) -> None:
        self._url = url.rstrip("/")
        self._below_pool = _directory(pool)
        self._below_folder = _directory(f"{pool}/{folder}")

    @property
    def root(self) -> str:
        """The namespace directory that is mirrored; ends with a slash."""
        return self._below_folder

    def under(self, path: str | None) -> str:
        """The directory that --under names, else the root; without a slash at its end.

        Raises:
            ConfigError: it is not below the folder.
        """
        root = self.root.rstrip("/")
        if path is None or path.rstrip("/") == root:
            return root or "/"
        if self.relative(path) is None:
            raise ConfigError(
                f"--under {path}: not below {self.root} ([dcache] folder)"
            )
        return path.rstrip("/")

    def relative(self, path: str) -> str | None:
        """The path below the mirror, unchecked; None if it is not below the folder."""
        path = _one_slash(path)
        relative = path.removeprefix(self._below_folder)
        return relative if relative and len(relative) < len(path) else None

    def url(self, path: str) -> str:
        """The door's URL of a namespace path below ``pool``.

        Raises:
            UnsafePathError: the path is not below ``pool`` or is no Unicode text.
        """
        path = _one_slash(path)
        below = path.removeprefix(self._below_pool)
        if not below or len(below) == len(path):
            raise UnsafePathError(f"not below {self._below_pool}: {path!r}")
        try:
            return f"{self._url}/{quote(below, safe='/')}"
        except UnicodeEncodeError as exc:
            raise UnsafePathError(f"not Unicode text: {path!r}") from exc

    def directory_url(self, path: str) -> str:
        """The door's URL of a directory, ``pool`` itself too; ends with a slash.

        Raises:
            UnsafePathError: as ``url`` does.
        """
        return self.url(f"{path}/.").removesuffix(".")


def path_map_of(dcache: DCache) -> PathMap:
    """Where the files of this configuration are."""
    return PathMap(dcache.url, dcache.pool, dcache.folder)


def _directory(path: str) -> str:
    return _one_slash(f"/{path}/")


def _one_slash(path: str) -> str:
    """dCache and POSIX both read ``//`` as ``/``."""
    return _SLASHES.sub("/", path) if "//" in path else path


def check_relative(relative: str, *, root_bytes: int = 0) -> None:
    """Refuse what could leave the mirror, forge a log line or not exist on disk.

    Args:
        root_bytes: length of the mirror's own path, which counts against PATH_MAX.

    Raises:
        UnsafePathError: with the reason.
    """
    if _CONTROL.search(relative):
        raise UnsafePathError("a control character in the path")
    if _SURROGATE.search(relative):
        raise UnsafePathError("the path is not Unicode text")
    for name in relative.split("/"):
        _check_name(name)
        if is_isolated_name(name):
            raise UnsafePathError("a name under which dcmirror deletes at the source")
    if is_own_part_name(name):
        # A sweep would take it for a part that nobody finished.
        raise UnsafePathError("a name that dcmirror gives to unfinished files")
    if root_bytes + 1 + _bytes(relative) >= PATH_MAX:
        raise UnsafePathError(f"the path has more than {PATH_MAX - 1} bytes")


def _check_name(name: str) -> None:
    if name == "":
        raise UnsafePathError("an empty component in the path")
    if name in (".", ".."):
        raise UnsafePathError(f'a component "{name}" in the path')
    if _bytes(name) > NAME_MAX:
        raise UnsafePathError(f"a name of more than {NAME_MAX} bytes")


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8"))


def part_name(name: str, *, tag: str | None, taken: Callable[[str], bool]) -> str:
    """The name of the unpublished file beside its target.

    Args:
        tag: of this instance, where others write to the same mirror; else None.
        taken: whether a name is a mirrored file's own (somebody uploads a, and a.part).
    """
    candidate = f"{name}.part" if tag is None else f".{name}.{tag}.part"
    attempt = 0
    while _bytes(candidate) > NAME_MAX or taken(candidate):
        seed = f"{tag or ''}/{name}/{attempt}"
        digest = hashlib.sha256(seed.encode()).hexdigest()
        candidate = f".dcmirror-{digest[:16]}.part"
        attempt += 1
        if attempt > 16:
            raise UnsafePathError(f"no free name for the part of {name!r}")
    return candidate


def is_part_name(name: str) -> bool:
    """Whether a name looks like a part, ours or anybody's."""
    return name.endswith(".part") and name != ".part"


def is_own_part_name(name: str) -> bool:
    """Whether a name has one of the hidden forms that only dcmirror gives."""
    return _OWN_PART.fullmatch(name) is not None


def isolated_name(seed: str) -> str:
    """The name that a source has between being set apart and being deleted.

    It differs for each ``seed``; nobody else uses such names.
    """
    digest = hashlib.sha256(seed.encode("utf-8", "backslashreplace")).hexdigest()
    return f".dcmirror-{digest[:16]}.isolated"


def is_isolated_name(name: str) -> bool:
    """Whether a name at the source is ``isolated_name``'s: never to be mirrored."""
    return _ISOLATED.fullmatch(name) is not None
