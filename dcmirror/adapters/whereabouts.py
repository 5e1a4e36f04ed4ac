"""Whether a file is there, and whom to ask where this user may not see it.

``Path.exists`` and its kin raise where the user may not enter a directory; every
command that looks into a state directory from outside asks here instead.
"""

from __future__ import annotations

import os
import pwd
from contextlib import suppress
from pathlib import Path

from dcmirror.core.escapes import shown
from dcmirror.errors import DirectoryError


def look_for(path: Path) -> os.stat_result | None:
    """What stands under this name; None for nothing.

    Raises:
        DirectoryError: we may not look; names who may.
    """
    try:
        return os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as exc:
        raise DirectoryError(unseen(path, exc)) from exc


def unseen(path: Path, exc: Exception) -> str:
    """Why we cannot look at a path; where we may not, as whom to ask."""
    why = (exc.strerror if isinstance(exc, OSError) else str(exc)) or str(exc)
    hint = ""
    if isinstance(exc, PermissionError):
        hint = f"; ask as {owner_of(path)} or a member of its group"
    return f"{shown(str(path))}: {why}{hint}"


def owner_of(path: Path) -> str:
    """Whose the path is, or the directory on its way that keeps us out."""
    for place in (path, *path.parents):
        with suppress(OSError):
            return user_name(os.stat(place).st_uid)
    return "its owner"


def user_name(uid: int) -> str:
    """His name, or his number where the host has none."""
    with suppress(KeyError):
        return pwd.getpwuid(uid).pw_name
    return str(uid)
