"""A new file that only its owner may read, for a secret that is made once."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from dcmirror.adapters.durable import sync_directory, write_all
from dcmirror.errors import ConfigError


class KeyFile:
    """The open file; whoever leaves it empty leaves none."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = os.open(
            path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600
        )

    def write(self, secret: str) -> None:
        """Durably: nobody can show the secret a second time."""
        write_all(self._fd, f"{secret}\n".encode())
        os.fsync(self._fd)
        sync_directory(self.path.parent)

    def is_empty(self) -> bool:
        return os.fstat(self._fd).st_size == 0

    def close(self) -> None:
        os.close(self._fd)


@contextlib.contextmanager
def new_key_file(path: Path) -> Iterator[KeyFile]:
    """A place for a secret, made before the secret is.

    Raises:
        ConfigError: there is such a file already, or there can be none.
    """
    try:
        file = KeyFile(path)
    except FileExistsError as error:
        raise ConfigError(f"{path}: exists already; name a new file") from error
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    try:
        yield file
    finally:
        if file.is_empty():
            path.unlink()
        file.close()
