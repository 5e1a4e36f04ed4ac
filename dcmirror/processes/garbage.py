"""How often a process looks for cycles; supervisor and children call it once."""

from __future__ import annotations

import gc

# Values that the collector would look through again and again, and nearly all of them
# are freed by their reference counts: at Python's own 700 it takes 3 % of the time.
_FRESH_VALUES = 10_000


def collect_rarely() -> None:
    """Keep what was imported out of every collection, and collect less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_FRESH_VALUES, 10, 10)
