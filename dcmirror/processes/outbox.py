"""At a start: the outcome lines that killed runs did not bring to the journal.

The supervisor of each command that has an engine runs it before any work begins.
"""

from __future__ import annotations

from contextlib import suppress

from dcmirror.adapters.locks import acquire
from dcmirror.adapters.state_directory import StateDirectory
from dcmirror.errors import LockedError
from dcmirror.processes.settler import Settler

_COMMANDS = ("watch", "replay", "reconcile", "audit")


def write_outboxes(settler: Settler, state: StateDirectory, command: str) -> None:
    """Journal what this command's last run left, and that of commands that do not run.

    A command that runs has outcome lines on their way too: they are its own business.
    """
    settler.write_outbox_of_last_run(command)
    for other in _COMMANDS:
        if other != command:
            with suppress(LockedError), acquire(state.lock(other)):
                settler.write_outbox_of_last_run(other)
