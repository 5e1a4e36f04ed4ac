"""Whether the files that the configuration names could be written.

``check`` and the start of ``watch`` ask it.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from stat import S_ISDIR, S_ISREG

from dcmirror.adapters.directory_probe import look_at

FILE_REMEDY = "it must be a file, in a directory that exists, and ours to write to"


def trouble_with_failures(path: Path) -> OSError | None:
    """Why failed.csv could not be kept there.

    It is replaced, beside a lock: the directory counts even if the file exists.
    """
    return _trouble_beside(path) or trouble_with(path, S_ISREG)


def trouble_with(
    path: Path, suits: Callable[[int], bool] = lambda mode: not S_ISDIR(mode)
) -> OSError | None:
    """Why we could not write to a file that exists, or make one that does not."""
    try:
        if not suits(os.stat(path).st_mode):
            return OSError(errno.EINVAL, "not a file")
    except FileNotFoundError:
        return _trouble_beside(path)
    except OSError as error:
        return error
    if not os.access(path, os.W_OK, effective_ids=True):
        return OSError(errno.EACCES, os.strerror(errno.EACCES))
    return None


def _trouble_beside(path: Path) -> OSError | None:
    state = look_at(path.parent)
    if state.is_missing:
        return OSError(errno.ENOENT, os.strerror(errno.ENOENT))
    return state.trouble
