"""What ``dcmirror check`` asks of the limits that this process was started with."""

from __future__ import annotations

from collections.abc import Iterator

from dcmirror.adapters.linux import raise_descriptor_limit
from dcmirror.commands.check_report import Finding, ok, warn
from dcmirror.processes.posts import MORE_DESCRIPTORS, too_many_streams
from dcmirror.settings import Settings


def check_descriptors(settings: Settings) -> Iterator[Finding]:
    """Whether a worker may open what its streams need; the daemon may have more."""
    limit = raise_descriptor_limit()
    if trouble := too_many_streams(settings, settings.dcache.maxdownloads, limit):
        yield warn("descriptors", f"{trouble} here", MORE_DESCRIPTORS)
    else:
        yield ok("descriptors", f"{limit} for a process, which is enough")
