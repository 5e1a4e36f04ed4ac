"""Proves that a copy in the mirror is still what the catalogue says of it."""

from __future__ import annotations

import errno
from collections.abc import Callable

from dcmirror.adapters.mirror_store import Look, MirrorStore, TargetChanged
from dcmirror.core.deletion import CopySeen, Keep, Kept, copy_differs
from dcmirror.core.jobs import CopyRecord
from dcmirror.errors import DirectoryError, UnsafePathError


def prove(
    store: MirrorStore,
    copy: CopyRecord,
    *,
    is_deep: bool,
    is_stopped: Callable[[], bool],
) -> Look | Keep:
    """What proves the copy, or why nothing does.

    A file without a mark is read whatever ``is_deep`` says: its size and time alone
    would prove somebody else's file, too.

    Raises:
        DirectoryError: the mirror itself is not there.
    """
    try:
        look = store.look(copy.relative)
        differs = copy_differs(copy, seen_of(look))
        if differs is None and (is_deep or look.mark is None):
            differs = _read(store, copy, look, is_stopped)
    except (OSError, UnsafePathError) as error:
        return _unreadable(error)
    return differs or look


def changed_since(store: MirrorStore, copy: CopyRecord, proof: Look) -> Keep | None:
    """Why the proof no longer holds; costs a few system calls, and never raises."""
    try:
        if store.look(copy.relative) == proof:
            return None
    except (OSError, UnsafePathError) as error:
        return Keep(Kept.COPY_UNREADABLE, f"the copy cannot be read: {error}")
    return Keep(Kept.COPY_CHANGED, "the copy was replaced or changed just now")


def seen_of(look: Look) -> CopySeen:
    """A look as the pure rules take it."""
    return CopySeen(look.exists, look.size, look.mtime_ns, look.mark)


def _read(
    store: MirrorStore, copy: CopyRecord, look: Look, is_stopped: Callable[[], bool]
) -> Keep | None:
    value = None
    try:
        for step in store.digest_steps(copy.relative, look):
            value = step
            if is_stopped():
                return Keep(Kept.STOPPED, "stopped while the copy was read")
    except TargetChanged as error:
        return Keep(Kept.COPY_CHANGED, str(error))
    if value != copy.adler32:
        text = f"the copy has Adler-32 {value:08x}, the catalogue {copy.adler32:08x}"
        return Keep(Kept.COPY_CHANGED, text)
    return None


def _unreadable(error: OSError | UnsafePathError) -> Keep:
    if isinstance(error, OSError) and error.errno == errno.ENODEV:
        raise DirectoryError(
            f"{error.filename}: {error.strerror}; is it mounted?"
        ) from error
    text = error.strerror if isinstance(error, OSError) else str(error)
    return Keep(Kept.COPY_UNREADABLE, f"the copy cannot be read: {text}")
