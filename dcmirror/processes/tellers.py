"""Where a command tells: its journal, its human log, and who writes to both."""

from __future__ import annotations

from typing import TypeVar

from dcmirror.adapters import shipping_report
from dcmirror.adapters.human_log import HumanLog
from dcmirror.adapters.journal import Journal
from dcmirror.adapters.state_directory import StateDirectory, instance_name
from dcmirror.errors import DirectoryError
from dcmirror.processes.teller import Teller
from dcmirror.settings import Settings

_LEVELS = ("error", "warning", "info", "debug")

T = TypeVar("T", bound=Teller)


def open_journal(
    settings: Settings, state: StateDirectory, *, required: bool = False
) -> Journal:
    """A journal of this process, with segments of its own.

    Raises:
        DirectoryError: something else stands in its place.
    """
    limits = settings.journal
    try:
        return Journal(
            state.journal,
            limits.max_bytes,
            limits.segment_bytes,
            checkpoint=state.checkpoint,
            required=required,
            min_free=limits.min_free,
        )
    except OSError as exc:
        raise DirectoryError(f"journal {state.journal}: {exc.strerror}") from exc


def open_log(settings: Settings, verbosity: int) -> HumanLog:
    """The human log, where the configuration wants it."""
    return HumanLog(settings.log.file, log_level(settings, verbosity))


def log_level(settings: Settings, verbosity: int) -> str:
    """The configured level, moved by -v and -q."""
    at = _LEVELS.index(settings.log.level) + verbosity
    return _LEVELS[min(max(at, 0), len(_LEVELS) - 1)]


def make_teller(
    kind: type[T],
    settings: Settings,
    state: StateDirectory,
    command: str,
    instance: str | None,
    journal: Journal,
    log: HumanLog,
) -> T:
    """Who tells in the command's name; ``instance`` is what --instance says."""
    return kind(
        journal,
        log,
        command,
        mirror=settings.local.downloadfolder,
        instance=instance_name(settings, instance),
        namespace=settings.elasticsearch.namespace,
        shipping=shipping_report.path_beside(state.checkpoint),
    )
