"""What cleanup sweeps here: parts that nobody writes, segments over the limit."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

from dcmirror.adapters import segments
from dcmirror.adapters.journal_space import JournalSpace
from dcmirror.adapters.mirror_store import MirrorStore
from dcmirror.adapters.state_directory import StateDirectory
from dcmirror.core.escapes import shown
from dcmirror.core.journal_cleanup import CleanupTally
from dcmirror.errors import DirectoryError
from dcmirror.settings import Settings

_HOUR = 3600.0


def sweep(
    settings: Settings,
    state: StateDirectory,
    store: MirrorStore,
    tally: CleanupTally,
    say: Callable[[str], None],
    *,
    is_dry: bool,
) -> None:
    """Remove what is left over, or only name it.

    Raises:
        DirectoryError: the mirror is not there.
    """
    before = time.time() - settings.cleanup.part_age_hours * _HOUR
    verb = "would remove" if is_dry else "removed"
    try:
        for name in store.sweep_own_parts(before, is_dry=is_dry):
            tally.parts += 1
            say(f"{verb} the part {shown(name)}")
    except OSError as exc:
        where = settings.local.downloadfolder
        raise DirectoryError(f"{where}: {exc.strerror or exc}") from exc
    if not is_dry:
        tally.segments += _trim(settings, state)


def _trim(settings: Settings, state: StateDirectory) -> int:
    """Bring the journal below its limit again; how many segments that took.

    Only what is shipped goes: what is dropped is for who writes to count, and to tell.
    """
    limits = settings.journal
    if not state.journal.is_dir():
        return 0
    before = len(segments.list_segments(state.journal))
    space = JournalSpace(
        state.journal, limits.max_bytes, limits.min_free, state.checkpoint, Counter()
    )
    with suppress(OSError):  # what is left must be kept until it is shipped
        space.make_room(0, None, keeps_story=True)
    return before - len(segments.list_segments(state.journal))
