"""``dcmirror status``: what the daemon does now, and whether all is well."""

from __future__ import annotations

from dcmirror.commands.status_look import StatusOptions, look, show
from dcmirror.core.verdict import StatusVerdict


def status(options: StatusOptions) -> StatusVerdict:
    """Show the state of this instance; the verdict is the exit status."""
    if options.follow:
        # Terminals and signals are of no use to a monitoring plugin.
        from dcmirror.commands.status_follow import follow

        return follow(options)
    found = look(options.state, options.limits)
    show(found, options)
    return found.verdict
