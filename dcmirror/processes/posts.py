"""The children that a command has, and what each is started with."""

from __future__ import annotations

import os
from multiprocessing.connection import Connection
from pathlib import Path

from dcmirror.adapters.credentials import capath_of
from dcmirror.adapters.state_directory import StateDirectory
from dcmirror.processes.fleet import Post
from dcmirror.processes.logger import LoggerBoot, logger_main
from dcmirror.processes.worker import WorkerBoot, worker_main
from dcmirror.processes.worker_attempts import descriptors_for
from dcmirror.settings import Settings

_MOST_WORKERS = 4


def worker_posts(
    settings: Settings, tag: str, proxy: Path, downloads: int
) -> list[Post]:
    """One post for each worker; their streams add up to ``downloads``."""
    capath = capath_of(settings.local, os.environ)
    return [
        _worker_post(settings, number, streams, tag, proxy, capath)
        for number, streams in enumerate(_shares(settings, downloads), start=1)
    ]


def too_many_streams(settings: Settings, downloads: int, limit: int) -> str:
    """Why a worker may run out of descriptors, if a process may have ``limit``."""
    streams = max(_shares(settings, downloads))
    needed = descriptors_for(streams)
    if needed <= limit:
        return ""
    return (
        f"the {streams} streams of a worker may need {needed} descriptors, "
        f"and {limit} is the limit of a process"
    )


#: What an operator does about it.
MORE_DESCRIPTORS = (
    "raise LimitNOFILE of the unit (ulimit -Hn in a shell), set more [pipeline] "
    "workers, or lower maxdownloads"
)


def _worker_post(
    settings: Settings, number: int, streams: int, tag: str, proxy: Path, capath: Path
) -> Post:
    name = f"worker {number}"

    def boot(inbox: Connection, outbox: Connection) -> WorkerBoot:
        return WorkerBoot(
            settings=settings,
            name=name,
            streams=streams,
            tag=tag,
            proxy=proxy,
            capath=capath,
            inbox=inbox,
            outbox=outbox,
        )

    return Post(name, worker_main, boot, streams)


def logger_post(settings: Settings, state: StateDirectory, command: str) -> Post:
    """The post that ships the journal; the one of ``watch`` answers /metrics too."""
    status = state.status if command == "watch" else None

    def boot(inbox: Connection, outbox: Connection) -> LoggerBoot:
        return LoggerBoot(
            settings=settings,
            journal_directory=state.journal,
            checkpoint=state.checkpoint,
            export=settings.journal.export,
            name="logger",
            inbox=inbox,
            outbox=outbox,
            status=status,
        )

    return Post("logger", logger_main, boot)


def _shares(settings: Settings, downloads: int) -> list[int]:
    """``downloads`` in whole parts that differ by one at most, one for each worker."""
    wanted = settings.pipeline.workers or min(os.cpu_count() or 1, _MOST_WORKERS)
    count = min(wanted, downloads)
    each, rest = divmod(downloads, count)
    return [each + (number < rest) for number in range(count)]
